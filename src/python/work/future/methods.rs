//! The Python methods of futures, but for those attributes that are installed by hand (attributes.rs).

use super::class::{Field, Future};
use super::instance;
use super::state::{State, Step, Stepped};
use super::watchers::Caller;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::lookup;
use crate::python::interpreter::wait::ring;
use crate::python::values::errors;
use crate::python::values::options::read_threading_timeout;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

#[pymethods]
impl Future {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Future::default()
    }

    /// Replaces the `__init__` of `concurrent.futures.Future`, which would create a condition.
    #[pyo3(signature = ())]
    fn __init__(&self) {}

    /// Cancels the call if it has not started; returns whether it is cancelled.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (cancelled, wakeups) = Self::cancel_now(slf, Caller::User)?;
        ring(slf.py(), wakeups);
        Ok(cancelled)
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        self.state().is_cancelled()
    }

    /// Whether the call is running.
    fn running(&self) -> bool {
        matches!(self.state(), State::Running | State::Finishing)
    }

    /// Whether the call was cancelled, has returned or has raised.
    fn done(&self) -> bool {
        self.state().is_done()
    }

    /// Returns what the call returned, or raises its exception; blocks until the call is done.
    ///
    /// Args:
    ///     timeout: Seconds; None for no limit.
    ///
    /// Raises:
    ///     TimeoutError: The time is over.
    ///     CancelledError: The call was cancelled.
    ///     PoolDeadlockError: A worker would block for ever, waiting for its own pool.
    #[pyo3(signature = (timeout = None))]
    fn result<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut state = slf.get().state();
        if !state.is_done() {
            state = Self::wait(slf, read_threading_timeout(timeout)?, "result")?;
        }
        if state == State::Returned {
            return Ok(slf.get().outcome(py));
        }
        match Self::read(slf, state)? {
            (_, Some(exception)) => Err(PyErr::from_value(exception)),
            (result, None) => Ok(result.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// Returns the call's exception, or None; blocks, and raises, as result() does.
    #[pyo3(signature = (timeout = None))]
    fn exception<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let state = Self::wait(slf, read_threading_timeout(timeout)?, "exception")?;
        Self::read(slf, state).map(|(_, exception)| exception)
    }

    /// Has fn(future) called when the future is done: by the thread that completes it, or at once if it is done.
    ///
    /// Callbacks are called in the order in which they were added; an exception in one is logged.
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Bound<'_, PyAny>) -> PyResult<()> {
        let callback = r#fn.clone().unbind();
        instance::track(slf.as_any());
        match slf
            .get()
            .watch_undone(|extras| extras.callbacks.push(callback))
        {
            Ok(()) => Ok(()),
            Err(_) => Self::call_back(slf, &r#fn, Caller::User),
        }
    }

    /// For executors and tests: marks the call as running; returns False, and notifies waiters, if cancelled.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let Err(state) = slf.get().word.step(Step::Run) else {
            return Ok(true);
        };
        if let Stepped::Moved = Self::step(slf, Step::Notify)? {
            return Ok(false);
        }
        let message = "Future %s in unexpected state: %s";
        let arguments = (message, slf.as_ptr() as usize, state.name());
        errors::futures_logger(py)?.guarded_method1("critical", arguments)?;
        Err(PyRuntimeError::new_err("Future in unexpected state"))
    }

    /// For executors and tests: sets the result of the call.
    fn set_result(slf: &Bound<'_, Self>, result: Bound<'_, PyAny>) -> PyResult<()> {
        Self::set(slf, result, false)
    }

    /// For executors and tests: sets the exception of the call.
    fn set_exception(slf: &Bound<'_, Self>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let raised = !exception.is_none();
        Self::set(slf, exception, raised)
    }

    /// Blocks as result() does until the future is done, with whatever outcome.
    #[pyo3(signature = (timeout = None))]
    fn _wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::wait(
            slf,
            read_threading_timeout(timeout)?,
            "waiting for a result",
        )
        .map(drop)
    }

    /// For annotations: Future[int].
    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lookup::generic_alias(class, item)
    }

    #[getter]
    fn _result<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.fields(py).0
    }

    #[setter(_result)]
    fn assign_result(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) {
        Self::assign_field(slf, Field::Result, value);
    }

    #[getter]
    fn _exception<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.fields(py).1
    }

    #[setter(_exception)]
    fn assign_exception(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) {
        Self::assign_field(slf, Field::Exception, value);
    }

    #[getter]
    fn _done_callbacks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.watch(|extras| {
            extras
                .callbacks
                .iter()
                .map(|callback| callback.clone_ref(py))
                .collect()
        })
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        instance::track(slf.as_any());
        instance::set_attribute(slf.as_any(), name, Some(value))
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        instance::set_attribute(slf.as_any(), name, None)
    }

    /// The `__dict__` of a subclass.
    #[getter(_dict)]
    fn get_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        instance::track(slf.as_any());
        instance::dict(slf.as_any())
    }

    #[setter(_dict)]
    fn set_dict(slf: &Bound<'_, Self>, dict: &Bound<'_, PyAny>) -> PyResult<()> {
        instance::track(slf.as_any());
        instance::set_dict(slf.as_any(), dict)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let why = ": what it waits for happens in this process";
        Err(errors::cannot_pickle(slf, why))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let mut has_outcome = self.state().has_outcome();
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile, and
        // the collector runs attached and alone.
        if let Some(extras) = lock(&self.extras).as_deref() {
            if let Some(fields) = &extras.fields {
                has_outcome |= fields.has_former;
                visit.call(&fields.result)?;
                visit.call(&fields.exception)?;
            }
            if let Some(waiting) = &extras.waiting {
                visit.call(&waiting.condition)?;
                visit.call(&waiting.waiters)?;
            }
            for callback in &extras.callbacks {
                visit.call(callback)?;
            }
        }
        if has_outcome {
            // SAFETY: as in `outcome`.
            visit.call(unsafe { &*self.outcome.get() })?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let extras = lock(&self.extras).take();
        let had_former = extras
            .as_ref()
            .and_then(|extras| extras.fields.as_ref())
            .is_some_and(|fields| fields.has_former);
        drop(extras);
        if self.state().has_outcome() || had_former {
            // SAFETY: the collector clears only what has no other reference, one object after another.
            let outcome = unsafe { (*self.outcome.get()).take() };
            drop(outcome);
        }
    }
}
