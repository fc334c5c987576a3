//! Where errors cross from the core to Python. The exceptions themselves are defined in `pyants._errors`.

use super::known;
use crate::pool::Error;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

macro_rules! exceptions {
    ($($function:ident $class:ident)*) => {$(
        pub fn $function(py: Python<'_>, message: impl Into<String>) -> PyErr {
            match known::$class.get(py).call1((message.into(),)) {
                Ok(exception) => PyErr::from_value(exception),
                Err(error) => error,
            }
        }
    )*};
}

exceptions! {
    closed POOL_CLOSED_ERROR
    broken BROKEN_POOL_ERROR
    overload POOL_OVERLOAD_ERROR
    deadlock POOL_DEADLOCK_ERROR
    timeout POOL_TIMEOUT_ERROR
    spawn POOL_SPAWN_ERROR
    invalid_expiry INVALID_POOL_EXPIRY_ERROR
    invalid_pre_alloc INVALID_PRE_ALLOC_SIZE_ERROR
    invalid_index INVALID_POOL_INDEX_ERROR
    invalid_strategy INVALID_LOAD_BALANCING_STRATEGY_ERROR
    invalid_size INVALID_MULTI_POOL_SIZE_ERROR
    lack_func LACK_POOL_FUNC_ERROR
}

exceptions! {
    invalid_state INVALID_STATE_ERROR
    broken_thread_pool BROKEN_THREAD_POOL
}

/// A call was cancelled before it could start.
pub fn cancelled(py: Python<'_>) -> PyErr {
    known::CANCELLED_ERROR
        .get(py)
        .call0()
        .map_or_else(|error| error, PyErr::from_value)
}

/// An executor whose initializer failed.
pub fn broken_executor(py: Python<'_>) -> PyErr {
    broken_thread_pool(
        py,
        "A thread initializer failed, the thread pool is not usable anymore",
    )
}

/// Runs `f`, which may call Python, on behalf of a `Drop`: an exception may be on its way through this thread then, which
/// Python code must neither find nor replace.
pub fn keeping_pending<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
    /// Puts the exception back, also where `f` panics.
    struct Pending<'py>(Option<PyErr>, Python<'py>);

    impl Drop for Pending<'_> {
        fn drop(&mut self) {
            if let Some(pending) = self.0.take() {
                if let Some(left) = fetch(self.1) {
                    left.write_unraisable(self.1, None);
                }
                pending.restore(self.1);
            }
        }
    }

    let _pending = Pending(fetch(py), py);
    f()
}

/// Takes the exception that is set on this thread. `PyErr::take` does not do: it goes on with a Rust panic that it finds.
fn fetch(py: Python<'_>) -> Option<PyErr> {
    #[cfg(Py_3_12)]
    // SAFETY: the thread is attached; the result is a new reference to an exception, or null.
    let raised = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyErr_GetRaisedException()) };
    #[cfg(not(Py_3_12))]
    // SAFETY: the thread is attached. Each of the three is a new reference or null; an exception that was set by its class
    // alone becomes an instance of it, and gets its traceback.
    let raised = unsafe {
        let [mut class, mut value, mut traceback] = [std::ptr::null_mut(); 3];
        ffi::PyErr_Fetch(&mut class, &mut value, &mut traceback);
        if class.is_null() {
            return None;
        }
        ffi::PyErr_NormalizeException(&mut class, &mut value, &mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        drop(Bound::from_owned_ptr_or_opt(py, traceback));
        drop(Bound::from_owned_ptr_or_opt(py, class));
        Bound::from_owned_ptr_or_opt(py, value)
    };
    raised.map(PyErr::from_value)
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
