//! Converts errors of the core to Python exceptions, whose classes are defined in `pyants._errors`.

use crate::pool::{Error, SubmitError};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::exc_info::{handling, with_traceback};
use crate::python::interpreter::{exit, lookup};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

macro_rules! exceptions {
    ($($function:ident $class:ident)*) => {$(
        pub fn $function(py: Python<'_>, message: impl Into<String>) -> PyErr {
            lookup::$class.error(py, (message.into(),))
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
    invalid_state INVALID_STATE_ERROR
    asyncio_invalid_state ASYNCIO_INVALID_STATE_ERROR
    broken_thread_pool BROKEN_THREAD_POOL
}

/// A call was cancelled before it could start.
pub fn cancelled(py: Python<'_>) -> PyErr {
    lookup::CANCELLED_ERROR.error(py, ())
}

/// The error of an executor whose initializer failed.
pub fn broken_executor(py: Python<'_>) -> PyErr {
    broken_thread_pool(
        py,
        "A thread initializer failed, the thread pool is not usable anymore",
    )
}

/// For a task that got no worker, in a pool whose next start runs the initializer again.
pub fn no_worker(py: Python<'_>) -> PyErr {
    broken(
        py,
        "no worker could be set up for this task, since the initializer failed; the next submit tries again",
    )
}

/// Logs an exception with its traceback, by the logger's method `level`; `message` has one placeholder, for `what`.
/// Nothing is swallowed: if the logger fails, its failure and what it was to log are both reported as unraisable.
pub fn log<'py>(
    py: Python<'py>,
    raised: &PyErr,
    level: &str,
    message: &str,
    what: impl IntoPyObject<'py>,
    logger: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) {
    let logged = logger().and_then(|logger| {
        let keywords = [("exc_info", with_traceback(py, raised))].into_py_dict(py)?;
        let what = what.into_bound_py_any(py)?;
        handling(py, raised, || {
            logger.guarded_method(level, (message, what), &keywords)
        })
    });
    if let Err(failure) = logged {
        failure.write_unraisable(py, None);
        raised.clone_ref(py).write_unraisable(py, None);
    }
}

/// The logger of CPython's own futures.
pub fn futures_logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    lookup::GET_LOGGER.invoke(py, ("concurrent.futures",))
}

/// The exception for an error of the core; `doing` names the operation.
pub fn raise(py: Python<'_>, error: Error, doing: &str) -> PyErr {
    match error {
        Error::Closed => closed(py, "the pool is closed; reboot() opens it again"),
        Error::Broken => broken(
            py,
            "the pool is broken, a worker's initializer failed; reboot() opens it again",
        ),
        Error::Overload { .. } => overload(py, error.to_string()),
        Error::Deadlock => {
            let instead = if doing == "submit" {
                "have tasks call try_submit() and do themselves what there is no room for, or submit to another pool, or give this one a queue (queue_size=None)"
            } else {
                "have tasks not wait for other tasks of their own pool, or use another pool for those, or raise the capacity"
            };
            deadlock(
                py,
                format!(
                    "deadlock: {doing} would wait for ever: the pool's own workers wait for the pool, and none is left to serve them; {instead}"
                ),
            )
        }
        Error::Timeout => timeout(py, format!("{doing} ran out of time")),
        Error::Interrupted => PyRuntimeError::new_err("the wait was interrupted"),
        Error::Spawn(error) => spawn(
            py,
            format!("can't start a worker thread, and the pool has none alive: {error}"),
        ),
    }
}

/// The exception for a wait without the GIL (`wait::detached`) that failed: what a signal handler raised, if that ended
/// it, or else for the error of the core.
pub fn interrupted_or(py: Python<'_>, error: Error, raised: Option<PyErr>, doing: &str) -> PyErr {
    match (error, raised) {
        (Error::Interrupted, Some(raised)) => raised,
        (error, _) => raise(py, error, doing),
    }
}

/// The message for an argument with a wrong value.
pub fn must_be(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> String {
    format!("{name} must be {allowed}, not {}", shown(value))
}

pub fn wrong_type(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(must_be(name, allowed, value))
}

pub fn wrong_value(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyValueError::new_err(must_be(name, allowed, value))
}

pub fn cannot_pickle(object: &Bound<'_, PyAny>, why: &str) -> PyErr {
    let class = object.get_type();
    let name = class
        .name()
        .map_or_else(|_| shown(&class), |name| name.to_string());
    PyTypeError::new_err(format!("cannot pickle '{name}' object{why}"))
}

pub fn not_initialised(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!("the {what}'s __init__() was not called"))
}

/// A value as messages show it.
pub fn shown(value: &Bound<'_, PyAny>) -> String {
    call::guard_thread();
    value.repr().map_or_else(
        |_| format!("<{}>", value.get_type()),
        |repr| repr.to_string(),
    )
}

/// The reason why a task was not submitted.
pub enum Refusal {
    /// The pool refused it.
    Pool(Error),
    /// Python code raised.
    Python(PyErr),
    /// The pool accepted it, then a signal handler raised.
    Late(PyErr),
}

impl Refusal {
    pub fn into_exception(self, py: Python<'_>) -> PyErr {
        match self {
            Refusal::Pool(error) => raise(py, error, "submit"),
            Refusal::Python(error) | Refusal::Late(error) => error,
        }
    }

    /// The exception that an executor raises for it.
    pub fn into_executors(self, py: Python<'_>) -> PyErr {
        match self {
            Refusal::Pool(Error::Closed) if exit::is_exiting() => {
                closed(py, "cannot schedule new futures after interpreter shutdown")
            }
            Refusal::Pool(Error::Closed) => {
                closed(py, "cannot schedule new futures after shutdown")
            }
            Refusal::Pool(Error::Broken) => broken_executor(py),
            refusal => refusal.into_exception(py),
        }
    }
}

impl<T> From<SubmitError<T>> for Refusal {
    fn from(SubmitError { error, .. }: SubmitError<T>) -> Self {
        Refusal::Pool(error)
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Refusal::Python(error)
    }
}

/// The result of a `try_` method: whether the task was accepted.
pub fn accepted(py: Python<'_>, result: Result<(), Refusal>) -> PyResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Refusal::Pool(Error::Overload { .. })) => Ok(false),
        Err(refusal) => Err(refusal.into_exception(py)),
    }
}
