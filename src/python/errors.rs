//! Where errors cross from the core to Python. The exceptions themselves are defined in `pyants._errors`.

use crate::pool::Error;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

macro_rules! exceptions {
    ($module:literal: $($function:ident $name:literal)*) => {$(
        pub fn $function(py: Python<'_>, message: impl Into<String>) -> PyErr {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            match CLASS.import(py, $module, $name) {
                Ok(class) => PyErr::from_type(class.clone(), (message.into(),)),
                Err(error) => error,
            }
        }
    )*};
}

exceptions! { "pyants._errors":
    closed "PoolClosedError"
    broken "BrokenPoolError"
    overload "PoolOverloadError"
    deadlock "PoolDeadlockError"
    timeout "PoolTimeoutError"
    spawn "PoolSpawnError"
    invalid_expiry "InvalidPoolExpiryError"
    invalid_pre_alloc "InvalidPreAllocSizeError"
    invalid_index "InvalidPoolIndexError"
    invalid_strategy "InvalidLoadBalancingStrategyError"
    invalid_size "InvalidMultiPoolSizeError"
    lack_func "LackPoolFuncError"
}

exceptions! { "concurrent.futures._base":
    cancelled_with "CancelledError"
    invalid_state "InvalidStateError"
}

exceptions! { "concurrent.futures.thread":
    broken_thread_pool "BrokenThreadPool"
}

/// A call was cancelled before it could start.
pub fn cancelled(py: Python<'_>) -> PyErr {
    let error = cancelled_with(py, "");
    // As CPython's, which has no arguments.
    let _ = error.value(py).setattr("args", ());
    error
}

/// An executor whose initializer failed.
pub fn broken_executor(py: Python<'_>) -> PyErr {
    broken_thread_pool(
        py,
        "A thread initializer failed, the thread pool is not usable anymore",
    )
}

/// The exception itself, which before 3.12 does not bring its traceback along.
pub fn with_traceback<'py>(py: Python<'py>, raised: &PyErr) -> Bound<'py, PyBaseException> {
    raised.clone_ref(py).into_value(py).into_bound(py)
}

/// Logs an exception with its traceback; `message` has one place, for `what`. Nothing is swallowed: where the logger
/// fails, both its failure and what it was to log are reported as unraisable.
pub fn log<'py>(
    py: Python<'py>,
    raised: &PyErr,
    message: &str,
    what: impl IntoPyObject<'py>,
    logger: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) {
    let logged = logger().and_then(|logger| {
        let keywords = PyDict::new(py);
        keywords.set_item("exc_info", with_traceback(py, raised))?;
        let what = what.into_bound_py_any(py)?;
        logger.call_method("error", (message, what), Some(&keywords))
    });
    if let Err(failure) = logged {
        failure.write_unraisable(py, None);
        raised.clone_ref(py).write_unraisable(py, None);
    }
}

/// The exception for an error of the core, of which `doing` tells what was asked for.
pub fn raise(py: Python<'_>, error: Error, doing: &str) -> PyErr {
    match error {
        Error::Closed => closed(py, "the pool is closed; reboot() opens it again"),
        Error::Broken => broken(
            py,
            "the pool is broken, a worker's initializer failed; reboot() opens it again",
        ),
        Error::Overload { in_flight } => overload(
            py,
            format!(
                "the pool is overloaded: {in_flight} tasks are in flight, and this call may not wait for room"
            ),
        ),
        Error::Deadlock => deadlock(
            py,
            format!(
                "deadlock: {doing} would wait for ever: the pool's own workers wait for the pool, and none is left to serve them"
            ),
        ),
        Error::Timeout => timeout(py, format!("{doing} ran out of time")),
        Error::Interrupted => PyRuntimeError::new_err("the wait was interrupted"),
        Error::Spawn(error) => spawn(
            py,
            format!("can't start a worker thread, and the pool has none alive: {error}"),
        ),
    }
}

pub fn wrong_type(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{name} must be {allowed}, not {}", shown(value)))
}

pub fn wrong_value(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyValueError::new_err(format!("{name} must be {allowed}, not {}", shown(value)))
}

/// A value as a message shows it.
pub fn shown(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(
        |_| format!("<{}>", value.get_type()),
        |repr| repr.to_string(),
    )
}

/// Why a task was not submitted.
pub enum Refusal {
    /// The pool did not take it.
    Pool(Error),
    /// Python raised.
    Python(PyErr),
}

impl Refusal {
    pub fn into_exception(self, py: Python<'_>) -> PyErr {
        match self {
            Refusal::Pool(error) => raise(py, error, "submit"),
            Refusal::Python(error) => error,
        }
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Refusal::Python(error)
    }
}
