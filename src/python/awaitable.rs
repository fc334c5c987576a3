//! What `AsyncPool.run()` returns: a future of asyncio, in all that asyncio asks of one.
//!
//! asyncio knows its futures by an attribute (`asyncio.isfuture`), so that there may be others than its own. This one costs
//! a fraction: it is made without a call into Python, and its callbacks, tasks that wait for it mostly, are called when the
//! loop fetches its mail, without a handle in the loop's books for each.

use super::aio::{Mailbox, in_context};
use super::call;
use super::errors;
use crate::pool::sync::lock;
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

enum State {
    Pending,
    Cancelled,
    Returned(Py<PyAny>),
    Raised(Py<PyAny>),
}

struct Inner {
    state: State,
    /// Each with the context to call it in.
    callbacks: Vec<(Py<PyAny>, Py<PyAny>)>,
    cancel_message: Option<Py<PyAny>>,
    /// Of an exception that nobody has asked for: the callable that raised it.
    unseen: Option<Py<PyAny>>,
}

/// A call that AsyncPool.run() has made: a future to asyncio, though not an instance of its class.
///
/// As with asyncio's own, its methods are for the thread of its loop.
#[pyclass(frozen, weakref, module = "pyants", name = "AsyncCall")]
pub struct Awaitable {
    event_loop: Py<PyAny>,
    mailbox: Arc<Mailbox>,
    inner: Mutex<Inner>,
    /// What asyncio's tasks use to tell that they were yielded a future, and not something else.
    blocking: AtomicBool,
}

static CANCELLED_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static INVALID_STATE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Looks up what will be needed of asyncio.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    CANCELLED_ERROR.import(py, "asyncio.exceptions", "CancelledError")?;
    INVALID_STATE_ERROR
        .import(py, "asyncio.exceptions", "InvalidStateError")
        .map(drop)
}

fn invalid_state(py: Python<'_>, message: &'static str) -> PyErr {
    match INVALID_STATE_ERROR.import(py, "asyncio.exceptions", "InvalidStateError") {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(error) => error,
    }
}

/// The context of the caller.
pub fn current_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: returns a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

impl Awaitable {
    pub fn new(event_loop: Py<PyAny>, mailbox: Arc<Mailbox>) -> Self {
        Awaitable {
            event_loop,
            mailbox,
            inner: Mutex::new(Inner {
                state: State::Pending,
                callbacks: Vec::new(),
                cancel_message: None,
                unseen: None,
            }),
            blocking: AtomicBool::new(false),
        }
    }

    pub fn is_done(&self) -> bool {
        !matches!(lock(&self.inner).state, State::Pending)
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(lock(&self.inner).state, State::Cancelled)
    }

    /// On the loop's thread: sets the outcome and calls the callbacks. What raised comes with its callable. An error is one
    /// that ends the loop, Ctrl-C say.
    pub fn settle(
        slf: &Bound<'_, Self>,
        outcome: Result<Py<PyAny>, (PyErr, Option<Py<PyAny>>)>,
    ) -> PyResult<()> {
        let py = slf.py();
        let (state, unseen) = match outcome {
            Ok(result) => (State::Returned(result), None),
            Err((mut raised, func)) => {
                if raised.is_instance_of::<PyStopIteration>(py) {
                    // It cannot be raised out of an `await`.
                    let wrapped = PyRuntimeError::new_err("a task raised StopIteration");
                    wrapped.set_cause(py, Some(raised));
                    raised = wrapped;
                }
                let value = errors::with_traceback(py, &raised).into_any().unbind();
                (State::Raised(value), func)
            }
        };
        let callbacks = {
            let mut inner = lock(&slf.get().inner);
            debug_assert!(matches!(inner.state, State::Pending));
            inner.state = state;
            inner.unseen = unseen;
            std::mem::take(&mut inner.callbacks)
        };
        callbacks
            .into_iter()
            .map(|(callback, context)| Self::call_back(slf, callback.bind(py), context.bind(py)))
            .fold(Ok(()), PyResult::and)
    }

    /// As a handle of the loop calls it.
    fn call_back(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Err(raised) = in_context(context, || call::call1(callback, (slf,))) else {
            return Ok(());
        };
        if !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        let details = PyDict::new(py);
        details.set_item(
            "message",
            format!("Exception in callback {}", errors::shown(callback)),
        )?;
        details.set_item("exception", errors::with_traceback(py, &raised))?;
        details.set_item("future", slf)?;
        let event_loop = slf.get().event_loop.bind(py);
        errors::handling(py, &raised, || {
            event_loop.call_method1(intern!(py, "call_exception_handler"), (details,))
        })
        .map(drop)
    }

    /// Has the loop call a callback.
    fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), context)?;
        slf.get()
            .event_loop
            .bind(py)
            .call_method(intern!(py, "call_soon"), (callback, slf), Some(&keywords))
            .map(drop)
    }

    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message = lock(&self.inner)
            .cancel_message
            .as_ref()
            .map(|message| message.clone_ref(py));
        let class = match CANCELLED_ERROR.import(py, "asyncio.exceptions", "CancelledError") {
            Ok(class) => class.clone(),
            Err(error) => return error,
        };
        match message {
            Some(message) => PyErr::from_type(class, (message,)),
            None => PyErr::from_type(class, ()),
        }
    }
}

#[pymethods]
impl Awaitable {
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
            State::Pending => "PENDING",
            State::Cancelled => "CANCELLED",
            State::Returned(_) | State::Raised(_) => "FINISHED",
        }
    }

    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.cancelled_error(py).into_value(py).into_any()
    }

    /// The loop that waits for the call.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Whether the call was cancelled, or is at its end.
    fn done(&self) -> bool {
        self.is_done()
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Cancels the call: takes it back if it has not started, lets go of it if it has. False if it is done.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let callbacks = {
            let mut inner = lock(&slf.get().inner);
            if !matches!(inner.state, State::Pending) {
                return Ok(false);
            }
            inner.state = State::Cancelled;
            inner.cancel_message = msg;
            std::mem::take(&mut inner.callbacks)
        };
        for (callback, context) in callbacks {
            Self::call_soon(slf, callback.bind(py), context.bind(py))?;
        }
        Ok(true)
    }

    /// What the call returned.
    ///
    /// Raises what it raised, CancelledError if it was cancelled, and InvalidStateError if it is not done.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (error, unseen) = {
            let mut inner = lock(&self.inner);
            match &inner.state {
                State::Returned(result) => return Ok(result.clone_ref(py)),
                State::Raised(error) => {
                    let error = error.clone_ref(py);
                    (error, inner.unseen.take())
                }
                State::Pending => return Err(invalid_state(py, "Result is not set.")),
                State::Cancelled => {
                    drop(inner);
                    return Err(self.cancelled_error(py));
                }
            }
        };
        drop(unseen);
        Err(PyErr::from_value(error.into_bound(py)))
    }

    /// What the call raised, or None; raises as result() where it is not done or was cancelled.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let (error, unseen) = {
            let mut inner = lock(&self.inner);
            match &inner.state {
                State::Returned(_) => return Ok(None),
                State::Raised(error) => {
                    let error = error.clone_ref(py);
                    (error, inner.unseen.take())
                }
                State::Pending => return Err(invalid_state(py, "Exception is not set.")),
                State::Cancelled => {
                    drop(inner);
                    return Err(self.cancelled_error(py));
                }
            }
        };
        drop(unseen);
        Ok(Some(error))
    }

    /// Has fn(call) called by the loop when the call is done.
    #[pyo3(signature = (r#fn, /, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = context.map_or_else(|| current_context(py), Ok)?;
        {
            let mut inner = lock(&slf.get().inner);
            if matches!(inner.state, State::Pending) {
                let pair = (r#fn.clone().unbind(), context.unbind());
                inner.callbacks.push(pair);
                return Ok(());
            }
        }
        Self::call_soon(slf, r#fn, &context)
    }

    /// Takes a callback back; how many there were of it.
    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, py: Python<'_>, r#fn: &Bound<'_, PyAny>) -> PyResult<usize> {
        // Compared outside of the lock, since that calls Python. What is found is then known by its identity.
        let known: Vec<_> = lock(&self.inner)
            .callbacks
            .iter()
            .map(|(callback, _)| callback.clone_ref(py))
            .collect();
        let mut found = Vec::new();
        for callback in known {
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

    /// A step of `await`: the loop's task is yielded the call itself until that is done.
    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if !slf.get().is_done() {
            slf.get().blocking.store(true, Ordering::Relaxed);
            return Ok(slf.clone().unbind().into_any());
        }
        let result = slf.get().result(py)?;
        // The value by itself: StopIteration would take a tuple apart.
        Err(PyStopIteration::new_err((result,)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match &lock(&self.inner).state {
            State::Pending => "<pyants.AsyncCall pending>".to_owned(),
            State::Cancelled => "<pyants.AsyncCall cancelled>".to_owned(),
            State::Returned(_) => "<pyants.AsyncCall finished>".to_owned(),
            State::Raised(error) => format!(
                "<pyants.AsyncCall raised {}>",
                error
                    .bind(py)
                    .get_type()
                    .name()
                    .map_or_else(|_| String::new(), |name| name.to_string())
            ),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        // This does not wait: who holds the lock is attached, and neither runs Python code nor detaches meanwhile.
        let inner = lock(&self.inner);
        if let State::Returned(value) | State::Raised(value) = &inner.state {
            visit.call(value)?;
        }
        for (callback, context) in &inner.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        visit.call(&inner.cancel_message)?;
        visit.call(&inner.unseen)
    }

    fn __clear__(&self) {
        let callbacks = std::mem::take(&mut lock(&self.inner).callbacks);
        drop(callbacks);
    }
}

impl Drop for Awaitable {
    fn drop(&mut self) {
        let inner = self
            .inner
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // An exception is never lost: nobody will ask for this one any more.
        if let (Some(func), State::Raised(error)) = (inner.unseen.take(), &inner.state) {
            call::aside(|py| {
                let raised = PyErr::from_value(error.bind(py).clone());
                self.mailbox.report(py, raised, Some(func));
            });
        }
    }
}
