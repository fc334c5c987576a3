//! A worker's thread as the module `threading` sees it; `pyants._threads` is the Python half.

use super::call::{self, Guarded};
use super::wait::detached;
use super::{fork_count, lookup, thread_id};
use crate::pool::Worker;
use crate::pool::internal::sync::{self, lock, thread::kernel};
use crate::pool::internal::{self, home_id};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The end of a worker's thread, for its thread object.
#[pyclass(frozen, module = "pyants._core", name = "_Exit")]
pub struct Exit {
    exit: ManuallyDrop<internal::Exit>,
    /// The process, counted by forks, that the thread belongs to.
    generation: u64,
}

impl Exit {
    /// Whether the thread belongs to this process, rather than to one from which it was forked.
    fn is_ours(&self) -> bool {
        self.generation == fork_count::generation()
    }
}

#[pymethods]
impl Exit {
    /// Whether the worker has left, or belongs to a process from which this one was forked.
    fn has_left(&self) -> bool {
        !self.is_ours() || self.exit.has_left()
    }

    /// Blocks until the thread has ended, but for at most timeout seconds.
    #[pyo3(signature = (timeout, /))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let timeout = timeout
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(|_| PyOverflowError::new_err("timeout value is too large"))?;
        // A thread that has left ends soon: it is waited for all the same, whatever the timeout.
        let (_, raised) = detached(py, timeout, |wait_limit| self.exit.wait(wait_limit));
        raised.map_or(Ok(()), Err)
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        // In a forked child the parent's threads must not be touched.
        if self.is_ours() {
            // SAFETY: no reference is left, and it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.exit) };
        }
    }
}

/// Blocks until the kernel has ended a joined thread of this process.
#[pyfunction]
#[pyo3(signature = (native_id, /))]
pub fn _wait_ended(py: Python<'_>, native_id: i32) {
    call::detach(py, || kernel::wait_ended(Some(native_id)));
}

/// Does what `threading.Thread` does before `run`.
pub fn set_up(py: Python<'_>, worker: &Worker, is_daemon: bool) -> PyResult<()> {
    enter(py, worker, is_daemon)?;
    for (get, set) in [
        (&lookup::GET_TRACE, &lookup::SET_TRACE),
        (&lookup::GET_PROFILE, &lookup::SET_PROFILE),
    ] {
        let function = get.invoke(py, ())?;
        if !function.is_none() {
            set.invoke(py, (function,))?;
        }
    }
    Ok(())
}

/// Does what `threading.Thread` does after `run`.
pub fn tear_down(py: Python<'_>) -> PyResult<()> {
    // Python code that still runs on this thread belongs to no task. And a trace function may ask for the current
    // thread, which `threading` no longer knows by then, and would be given a dummy.
    for (get, set) in [
        (&lookup::GET_OWN_TRACE, &lookup::SET_TRACE),
        (&lookup::GET_OWN_PROFILE, &lookup::SET_PROFILE),
    ] {
        if !get.invoke(py, ())?.is_none() {
            set.invoke(py, (py.None(),))?;
        }
    }
    leave(py)
}

/// Ends the process: a child that a worker has forked, whose main thread has nothing more to do. Does not return.
pub fn end_child(py: Python<'_>) -> PyResult<()> {
    lookup::END_CHILD.invoke(py, ()).map(drop)
}

/// Registers the calling thread with `threading`. The caller has arrived at the fork guard, so no fork interferes.
fn enter(py: Python<'_>, worker: &Worker, is_daemon: bool) -> PyResult<()> {
    let exit = Exit {
        exit: ManuallyDrop::new(worker.exit.clone()),
        generation: fork_count::generation(),
    };
    let thread = lookup::MAKE_THREAD.invoke(py, (&worker.name, home_id(), exit, is_daemon))?;
    if thread.is_none() {
        return Ok(());
    }
    let active = lookup::ACTIVE_THREADS.get(py);
    let ident = thread_id::this_thread();
    // A former thread with the same identity that `threading` still lists. Dropped after the lock is released.
    let _former = active.guarded_method1("get", (ident,))?;
    locked(py, || active.set_item(ident, &thread))
}

/// Has `threading` forget the calling thread, as it must: up to 3.12 a dummy would be kept for ever.
fn leave(py: Python<'_>) -> PyResult<()> {
    let active = lookup::ACTIVE_THREADS.get(py);
    if active.is_none() {
        return Ok(());
    }
    let pop = || active.guarded_method1("pop", (thread_id::this_thread(), py.None()));
    // Dropped after the lock is released.
    let _thread = locked(py, pop)?;
    Ok(())
}

/// Changes `threading`'s records under its lock, which is looked up each time, since a fork replaces it. No Python code
/// runs under it here, not even a trace function, which might ask for the current thread.
fn locked<R>(py: Python<'_>, change: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    let lock = lookup::THREADING.get(py).getattr("_active_limbo_lock")?;
    lock.guarded_method0("acquire")?;
    let changed = change();
    lock.guarded_method0("release")?;
    changed
}

/// How many workers of a pool are registered with Python. No Python is called under its lock.
#[derive(Default)]
pub struct Roll {
    present: Mutex<u32>,
    condvar: Condvar,
}

impl Roll {
    pub fn arrive(&self) {
        *lock(&self.present) += 1;
        self.condvar.notify_all();
    }

    pub fn depart(&self) {
        *lock(&self.present) -= 1;
    }

    /// Waits until there are as many as `running` says, which may change, but not for long. The caller is detached.
    pub fn await_all(&self, running: impl Fn() -> u32) {
        const WAIT_LIMIT: Duration = Duration::from_secs(1);
        // Workers that leave do not notify: they are seen at the next look.
        const LOOK: Duration = Duration::from_millis(5);
        let start = Instant::now();
        let mut present = lock(&self.present);
        while *present < running() && start.elapsed() < WAIT_LIMIT {
            present = sync::wait(&self.condvar, present, Some(LOOK));
        }
    }
}
