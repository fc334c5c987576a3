//! `Pool`: fire and forget, ants' own semantics; and what it shares with `MultiPool`.

use super::base::{Base, Wait};
use crate::python::values::errors::accepted;
use crate::python::values::options;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The methods of the pools to which callables are submitted.
#[pyclass(frozen, subclass, extends = Base, module = "pyants", name = "_Submitter")]
pub struct Submitter;

impl Submitter {
    pub fn new() -> PyClassInitializer<Self> {
        PyClassInitializer::from(Base::default()).add_subclass(Submitter)
    }
}

#[pymethods]
impl Submitter {
    // `submit` is in fastcall.rs.

    /// As submit(), but never blocks; returns False if the pool is overloaded.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn try_submit(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let base = slf.as_super().get();
        accepted(slf.py(), base.submit(r#fn, args, kwargs, Wait::No))
    }

    /// As submit(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError.
    #[pyo3(signature = (timeout, r#fn, /, *args, **kwargs))]
    fn submit_within(
        slf: &Bound<'_, Self>,
        timeout: &Bound<'_, PyAny>,
        r#fn: &Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let wait = Wait::Up(Some(options::read_timeout(timeout)?));
        let result = slf.as_super().get().submit(r#fn, args, kwargs, wait);
        result.map_err(|refusal| refusal.into_exception(slf.py()))
    }

    /// Submits fn(item) for each item of iterable; blocks as submit() does.
    ///
    /// The iterable is read lazily: each item only when the one before was accepted.
    ///
    /// Returns:
    ///     The number of tasks.
    ///
    /// Raises:
    ///     PoolError: As from submit(); its attribute submitted is the number of tasks accepted before.
    #[pyo3(signature = (r#fn, iterable, /))]
    fn submit_many(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        iterable: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        slf.as_super().get().submit_many(slf.py(), r#fn, iterable)
    }
}

/// A pool of worker threads in the manner of Go's ants.
///
/// No thread is started before the first task. As a context manager the pool is closed at the end of the block, which
/// then blocks until every accepted task is done and every worker has left.
///
/// Args:
///     capacity: The largest number of workers; 0 or less for no limit.
///     expiry_duration: Seconds (or a timedelta) after which an idle worker leaves; 0 means 1.0.
///     pre_alloc: Reserve the slots of all workers now; the capacity cannot be tuned then.
///     max_blocking_tasks: How many threads may block in submit() at once; 0 for no limit.
///     nonblocking: Whether submit() raises PoolOverloadError instead of blocking.
///     panic_handler: Called with the exception of a task, on the worker's thread.
///     logger: Gets a task's exception if there is no panic_handler; None for logging.getLogger("pyants").
///     disable_purge: Keep idle workers until the pool is released.
///     queue_size: How many accepted tasks may wait for a worker; None for no limit.
///     name: Threads are named "{name}_{n}".
///     initializer: Called in each worker thread before its first task. If it fails the pool breaks: it closes itself,
///         and tasks that have not started are cancelled.
///     initargs: The arguments for initializer.
///     retry_initializer: If initializer fails only that worker is lost, and the next start tries again. Its task is
///         left to another worker, or cancelled if there is none.
///     stack_size: The stack of a worker thread, in bytes.
///     daemon: Whether the interpreter exits without waiting for the pool: it cancels queued tasks, not running ones.
#[pyclass(frozen, subclass, extends = Submitter, module = "pyants")]
pub struct Pool;

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(capacity=-1, *, expiry_duration=1.0, pre_alloc=False, max_blocking_tasks=0, nonblocking=False, panic_handler=None, logger=None, disable_purge=False, queue_size=0, name=None, initializer=None, initargs=(), retry_initializer=False, stack_size=None, daemon=False)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        Submitter::new().add_subclass(Pool)
    }

    #[pyo3(signature = (capacity = options::Argument::MISSING, **options))]
    fn __init__(
        slf: &Bound<'_, Self>,
        capacity: options::Argument<'_>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        slf.as_super()
            .as_super()
            .get()
            .init(py, options::read(py, &capacity, options)?, None, None)
    }
}
