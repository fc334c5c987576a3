//! The interpreter's exit, and forks of the process.

use super::call::Guarded;
use super::context;
use super::fork_guard;
use super::lookup;
use super::process::{self, begin_exit, generation, is_exiting};
use super::wait::detached;
use crate::per_process::PerProcess;
use crate::pool::internal::sync::WaitLimit;
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A pool that may still have something to do before the interpreter ends.
pub trait Closer: Send {
    /// Whether the pool has nothing left to do.
    fn is_gone(&self) -> bool;

    /// Keeps the pool while it is being finished; `None`: nothing of it is left.
    fn keep(&self) -> Option<Box<dyn Closing>>;
}

/// A pool that is being finished.
pub trait Closing: Send + Sync {
    /// Stops intake.
    fn close(&self);

    /// Waits until all accepted tasks are done, if the exit waits for them; `false`: the wait ended before.
    fn wait(&self, wait_limit: &mut WaitLimit<'_>) -> bool;

    /// Cancels the tasks that are left and tells the threads that wait for them.
    fn tell_the_rest(&self, py: Python<'_>);
}

type Closers = Mutex<Vec<Box<dyn Closer>>>;

/// The pools created in this process.
fn closers() -> MutexGuard<'static, Vec<Box<dyn Closer>>> {
    static CLOSERS: PerProcess<Closers> = PerProcess::empty();
    let own = CLOSERS.get_or_init(generation(), |_| Closers::default());
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers pools to be closed before the interpreter ends; `false`: it is already exiting.
pub fn register(new: Vec<Box<dyn Closer>>) -> bool {
    let mut closers = closers();
    if is_exiting() {
        return false;
    }
    // Forget the pools that are gone whenever the list would grow.
    if closers.len() + new.len() > closers.capacity() {
        closers.retain(|closer| !closer.is_gone());
    }
    closers.extend(new);
    true
}

/// Runs `open`, which opens pools, unless the interpreter is exiting and would not close them; returns whether it did.
pub fn unless_exiting(open: impl FnOnce()) -> bool {
    let _closers = closers();
    let open_again = !is_exiting();
    if open_again {
        open();
    }
    open_again
}

/// Before the interpreter joins its threads: stops intake, and waits until the accepted tasks of all pools but daemon
/// ones are done and their workers have left. Tasks still queued then, of daemon pools and, where an exception such as
/// Ctrl-C has ended the wait, of the others, are cancelled, and their number is logged.
#[pyfunction]
fn at_exit(py: Python<'_>) -> PyResult<()> {
    let closers = {
        let mut closers = closers();
        begin_exit();
        std::mem::take(&mut *closers)
    };
    let pools: Vec<_> = closers.iter().filter_map(|closer| closer.keep()).collect();
    let (_, raised) = detached(py, None, |wait_limit| {
        pools.iter().for_each(|pool| pool.close());
        pools.iter().all(|pool| pool.wait(wait_limit))
    });
    for pool in &pools {
        pool.tell_the_rest(py);
    }
    raised.map_or(Ok(()), Err)
}

/// Before a fork, on the thread that forks: waits until no worker is partly registered with the interpreter.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    fork_guard::close(py);
}

#[pyfunction]
fn after_fork_in_parent() {
    fork_guard::open();
}

/// In a forked child: the parent's threads do not exist here, and its locks must not be touched.
#[pyfunction]
fn after_fork_in_child() {
    process::begin_child();
    crate::pool::internal::forget_process();
}

/// Refuses other interpreters than the main one, which owns this crate's statics. `pyants._interpreter` does so first.
pub fn refuse_other_interpreters() -> PyResult<()> {
    // SAFETY: this thread is attached, as it runs the module's initialisation.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if is_main {
        Ok(())
    } else {
        Err(PyImportError::new_err(
            "pyants works in the main interpreter only",
        ))
    }
}

/// Registers the hooks with the interpreter, once: a module imported again, after it was removed from `sys.modules`,
/// serves the same pools.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    static IS_INSTALLED: PyOnceLock<()> = PyOnceLock::new();
    if IS_INSTALLED.get(py).is_some() {
        return Ok(());
    }
    lookup::look_up(py)?;
    context::read_flags(py)?;
    let _ = IS_INSTALLED.set(py, ());
    let threading = py.import("threading")?;
    let main_thread = threading.guarded_method0("main_thread")?;
    process::know_main_thread(&main_thread)?;
    let exit = wrap_pyfunction!(at_exit, module)?;
    let in_time = lookup::AT_EXIT.get(py).guarded_call1((exit,))?;
    if !in_time.is_truthy()? {
        // The module is being imported while the interpreter exits.
        begin_exit();
    }
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let keywords = PyDict::new(py);
        keywords.set_item("before", wrap_pyfunction!(before_fork, module)?)?;
        keywords.set_item(
            "after_in_parent",
            wrap_pyfunction!(after_fork_in_parent, module)?,
        )?;
        keywords.set_item(
            "after_in_child",
            wrap_pyfunction!(after_fork_in_child, module)?,
        )?;
        os.guarded_method("register_at_fork", (), &keywords)?;
    }
    Ok(())
}
