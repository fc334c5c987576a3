//! The end of a call, on the thread of the loop that waits for it: its outcome is set and its callbacks are called. An
//! exception that nobody asked for is reported.

use super::async_call::{AsyncCall, State};
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::finalizer::Finalize;
use crate::python::interpreter::{contextvars, exc_info};
use crate::python::values::errors;
use crate::python::values::reporter::Source;
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use std::cell::{Cell, RefCell};

impl AsyncCall {
    /// On the loop's thread: sets the outcome and calls the callbacks (`soon`: through handles of the loop). Returns
    /// only an error that ends the loop, such as Ctrl-C.
    pub fn settle(
        slf: &Bound<'_, Self>,
        outcome: Result<Py<PyAny>, (PyErr, Option<Source>)>,
        soon: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_done() || slf.get().is_given_up() {
            if let Err((raised, Some(source))) = outcome {
                slf.get().mailbox.reporter().report(py, raised, source);
            }
            return Self::end(slf, soon);
        }
        let (state, unseen) = match outcome {
            Ok(result) => (State::Returned(result), None),
            Err((mut raised, source)) => {
                if raised.is_instance_of::<PyStopIteration>(py) {
                    // It cannot be raised out of an `await`.
                    let wrapped = PyRuntimeError::new_err("a task raised StopIteration");
                    wrapped.set_cause(py, Some(raised));
                    raised = wrapped;
                }
                let value = exc_info::with_traceback(py, &raised).into_any().unbind();
                (State::Raised(value), source)
            }
        };
        Self::conclude(slf, state, unseen, soon)
    }

    /// On the loop's thread: the call has ended, and its outcome is no longer wanted.
    pub fn end(slf: &Bound<'_, Self>, soon: bool) -> PyResult<()> {
        if slf.get().is_done() {
            return Ok(());
        }
        Self::conclude(slf, State::Cancelled, None, soon)
    }

    /// Cancels the call without callbacks, since the loop is closed and runs no more.
    pub fn give_up(&self) {
        let former = {
            let mut inner = lock(&self.inner);
            if inner.state.is_done() {
                return;
            }
            let state = std::mem::replace(&mut inner.state, State::Cancelled);
            (state, std::mem::take(&mut inner.callbacks))
        };
        drop(former);
    }

    fn conclude(
        slf: &Bound<'_, Self>,
        state: State,
        unseen: Option<Source>,
        soon: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let callbacks = {
            let mut inner = lock(&slf.get().inner);
            debug_assert!(matches!(inner.state, State::Begun | State::Withdrawn));
            inner.state = state;
            inner.unseen = unseen;
            std::mem::take(&mut inner.callbacks)
        };
        callbacks
            .into_iter()
            .map(|(callback, context)| {
                let (callback, context) = (callback.bind(py), context.bind(py));
                if soon {
                    Self::call_soon(slf, callback, context)
                } else {
                    Self::call_back(slf, callback, context)
                }
            })
            .fold(Ok(()), PyResult::and)
    }

    /// Calls a callback in the way a loop's handle does.
    fn call_back(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Err(raised) = contextvars::run_in(context, || callback.guarded_call1((slf,))) else {
            return Ok(());
        };
        if !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        let details = PyDict::new(py);
        let message = format!("Exception in callback {}", errors::shown(callback));
        details.set_item("message", message)?;
        details.set_item("exception", exc_info::with_traceback(py, &raised))?;
        details.set_item("future", slf)?;
        let event_loop = slf.get().event_loop.bind(py);
        exc_info::handling(py, &raised, || {
            event_loop.guarded_method1(intern!(py, "call_exception_handler"), (details,))
        })
        .map(drop)
    }

    /// Schedules a callback on the loop.
    pub(super) fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let keywords = [(intern!(py, "context"), context)].into_py_dict(py)?;
        let event_loop = slf.get().event_loop.bind(py);
        event_loop
            .guarded_method(intern!(py, "call_soon"), (callback, slf), &keywords)
            .map(drop)
    }
}

impl AsyncCall {
    /// Reports an exception that nobody asked for.
    fn report_unseen(&self) {
        if lock(&self.inner).unseen.is_none() {
            return;
        }
        call::aside(|py| {
            let (source, raised) = {
                let mut inner = lock(&self.inner);
                match (inner.unseen.take(), &inner.state) {
                    (Some(source), State::Raised(error)) => (source, error.clone_ref(py)),
                    _ => return,
                }
            };
            let raised = PyErr::from_value(raised.into_bound(py));
            self.mailbox.reporter().report(py, raised, source);
        });
    }
}

impl Finalize for AsyncCall {
    fn finalize(slf: &Bound<'_, Self>) {
        slf.get().report_unseen();
    }
}

impl Drop for AsyncCall {
    fn drop(&mut self) {
        // An exception is never lost: from now on nobody can ask for this one.
        self.report_unseen();
        let state = std::mem::replace(&mut lock(&self.inner).state, State::Cancelled);
        if let State::Returned(value) | State::Raised(value) = state {
            drop_in_turn(value);
        }
    }
}

/// Drops an outcome, which may be another call with an outcome, and so on. To bound the recursion, values that are too
/// deep are dropped after the others, as the interpreter does with its own containers.
fn drop_in_turn(value: Py<PyAny>) {
    const DEEPEST: u32 = 50;
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static LATER: RefCell<Vec<Py<PyAny>>> = const { RefCell::new(Vec::new()) };
    }
    let depth = DEPTH.get();
    if depth >= DEEPEST {
        // A thread that is ending no longer has the list; then this drops the value at once.
        let _ = LATER.try_with(|later| later.borrow_mut().push(value));
        return;
    }
    DEPTH.set(depth + 1);
    drop(value);
    if depth == 0 {
        while let Ok(Some(value)) = LATER.try_with(|later| later.borrow_mut().pop()) {
            drop(value);
        }
    }
    DEPTH.set(depth);
}
