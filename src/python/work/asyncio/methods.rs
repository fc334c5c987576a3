//! The Python methods of the future that `AsyncPool.run()` returns: it does everything that asyncio asks of one.
//!
//! asyncio recognises a future by an attribute (`asyncio.isfuture`), so other classes than its own may serve. This one
//! costs a fraction: it is created without a call into Python, and its callbacks, mostly those of tasks that await it,
//! are called when the loop fetches its mail, without a loop handle for each.

use super::async_call::{AsyncCall, State};
use crate::pool::internal::sync::lock;
use crate::python::interpreter::finalizer::Finalize;
use crate::python::interpreter::{contextvars, lookup};
use crate::python::values::errors;
use crate::python::values::reporter::Source;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::sync::atomic::Ordering;

/// Must be called before the first call is made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    static FINALIZER: std::sync::Once = std::sync::Once::new();
    // SAFETY: no call has been made, the class can have no subclasses, and only this closure writes its slots, once.
    FINALIZER.call_once(|| unsafe { AsyncCall::install_finalizer(py) });
    lookup::look_up_for_asyncio(py)
}

impl AsyncCall {
    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message = lock(&self.inner)
            .cancel_message
            .as_ref()
            .map(|message| message.clone_ref(py));
        match message {
            Some(message) => lookup::ASYNCIO_CANCELLED_ERROR.error(py, (message,)),
            None => lookup::ASYNCIO_CANCELLED_ERROR.error(py, ()),
        }
    }

    /// What the call returned or raised, which somebody has asked for now; `missing`: the error while there is none.
    fn outcome(&self, py: Python<'_>, missing: &str) -> PyResult<Result<Py<PyAny>, Py<PyAny>>> {
        let mut inner = lock(&self.inner);
        match &inner.state {
            State::Returned(result) => Ok(Ok(result.clone_ref(py))),
            State::Raised(error) => {
                let error = error.clone_ref(py);
                let unseen = inner.unseen.take();
                drop(inner);
                drop(unseen);
                Ok(Err(error))
            }
            State::Waiting(_) | State::Begun | State::Withdrawn => {
                drop(inner);
                Err(errors::asyncio_invalid_state(py, missing))
            }
            State::Cancelled => {
                drop(inner);
                Err(self.cancelled_error(py))
            }
        }
    }
}

#[pymethods]
impl AsyncCall {
    #[getter(_asyncio_future_blocking)]
    fn get_blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[getter]
    fn _state(&self) -> &'static str {
        match lock(&self.inner).state {
            State::Waiting(_) | State::Begun | State::Withdrawn => "PENDING",
            State::Cancelled => "CANCELLED",
            State::Returned(_) | State::Raised(_) => "FINISHED",
        }
    }

    /// The message that gather() passes on when a call was cancelled.
    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.inner)
            .cancel_message
            .as_ref()
            .map(|message| message.clone_ref(py))
    }

    /// For isinstance(call, asyncio.Future), which looks here if the type itself is no subclass.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> Py<PyAny> {
        lookup::ASYNCIO_FUTURE.get(py).clone().unbind()
    }

    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.cancelled_error(py).into_value(py).into_any()
    }

    /// The loop that waits for the call.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Whether the call was cancelled, has returned or has raised.
    fn done(&self) -> bool {
        self.is_done()
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        matches!(lock(&self.inner).state, State::Cancelled)
    }

    /// Cancels the call: takes it back if it has not started. Returns False if it is done.
    ///
    /// A call that has started goes on, since a thread cannot be stopped. Like an asyncio task that takes its time to
    /// be cancelled, it is pending until it ends, and then cancelled; with abandon_on_cancel it is cancelled now.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        this.withdraw(py);
        let former = {
            let mut inner = lock(&this.inner);
            if inner.state.is_done() {
                return Ok(false);
            }
            inner.is_cancelling = true;
            std::mem::replace(&mut inner.cancel_message, msg)
        };
        drop(former);
        let goes_on = matches!(lock(&this.inner).state, State::Begun);
        if !goes_on || this.abandon_on_cancel {
            Self::end(slf, true)?;
        }
        Ok(true)
    }

    /// Returns what the call returned, or raises its exception; never blocks.
    ///
    /// Raises:
    ///     CancelledError: The call was cancelled.
    ///     InvalidStateError: The call is not done.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.outcome(py, "Result is not set.")?
            .map_err(|error| PyErr::from_value(error.into_bound(py)))
    }

    /// Returns the call's exception, or None; raises as result() does if the call is not done or was cancelled.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.outcome(py, "Exception is not set.").map(Result::err)
    }

    /// Has the loop call fn(call) when the call is done.
    #[pyo3(signature = (r#fn, /, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = context.map_or_else(|| contextvars::current(py), Ok)?;
        {
            let mut inner = lock(&slf.get().inner);
            if !inner.state.is_done() {
                let pair = (r#fn.clone().unbind(), context.unbind());
                inner.callbacks.push(pair);
                return Ok(());
            }
        }
        Self::call_soon(slf, r#fn, &context)
    }

    /// Removes a callback; returns how many times it had been added.
    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, py: Python<'_>, r#fn: &Bound<'_, PyAny>) -> PyResult<usize> {
        // Compared outside the lock, since that calls Python. What is found is then recognised by identity.
        let added: Vec<_> = lock(&self.inner)
            .callbacks
            .iter()
            .map(|(callback, _)| callback.clone_ref(py))
            .collect();
        let mut found = Vec::new();
        for callback in added {
            if r#fn.eq(callback.bind(py))? {
                found.push(callback);
            }
        }
        let mut inner = lock(&self.inner);
        let (removed, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut inner.callbacks)
            .into_iter()
            .partition(|(callback, _)| found.iter().any(|other| other.is(callback)));
        inner.callbacks = kept;
        drop(inner);
        Ok(removed.len())
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// A step of `await`: yields the call itself to the loop's task until the call is done.
    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if !slf.get().is_done() {
            slf.get().blocking.store(true, Ordering::Relaxed);
            return Ok(slf.clone().unbind().into_any());
        }
        let result = slf.get().result(py)?;
        // Wrapped here, since StopIteration would unpack a tuple.
        Err(PyStopIteration::new_err((result,)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let raised = match &lock(&self.inner).state {
            State::Waiting(_) | State::Withdrawn => return "<pyants.AsyncCall pending>".to_owned(),
            State::Begun => return "<pyants.AsyncCall running>".to_owned(),
            State::Cancelled => return "<pyants.AsyncCall cancelled>".to_owned(),
            State::Returned(_) => return "<pyants.AsyncCall finished>".to_owned(),
            State::Raised(error) => error.clone_ref(py),
        };
        let class = raised.bind(py).get_type();
        let name = class
            .name()
            .map_or_else(|_| String::new(), |name| name.to_string());
        format!("<pyants.AsyncCall raised {name}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile.
        let inner = lock(&self.inner);
        match &inner.state {
            State::Returned(value) | State::Raised(value) => visit.call(value)?,
            State::Waiting(prospect) => {
                prospect.call.traverse(&visit)?;
                visit.call(&prospect.pool)?;
                visit.call(&prospect.context)?;
                visit.call(&prospect.admission)?;
            }
            State::Begun | State::Withdrawn | State::Cancelled => {}
        }
        for (callback, context) in &inner.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        visit.call(&inner.cancel_message)?;
        visit.call(inner.unseen.as_ref().map(Source::func))
    }

    fn __clear__(&self) {
        let (state, callbacks, message, unseen) = {
            let mut inner = lock(&self.inner);
            let state = std::mem::replace(&mut inner.state, State::Cancelled);
            let callbacks = std::mem::take(&mut inner.callbacks);
            let message = inner.cancel_message.take();
            (state, callbacks, message, inner.unseen.take())
        };
        drop((state, callbacks, message, unseen));
    }
}
