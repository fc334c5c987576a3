//! The interpreter's exit, and the pools to be closed before it.

use super::fork_count::generation;
use super::lookup;
use super::wait::detached;
use crate::per_process::PerProcess;
use crate::pool::internal::sync::{WaitLimit, lock};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The interpreter is exiting: no more pools are opened.
static EXITING: AtomicBool = AtomicBool::new(false);

pub fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

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

/// The pools created in this process.
fn closers() -> MutexGuard<'static, Vec<Box<dyn Closer>>> {
    static CLOSERS: PerProcess<Mutex<Vec<Box<dyn Closer>>>> = PerProcess::empty();
    lock(CLOSERS.get_or_init(generation(), |_| Mutex::default()))
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
        EXITING.store(true, Ordering::SeqCst);
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

/// Registers `at_exit` with the interpreter.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let exit = wrap_pyfunction!(at_exit, module)?;
    let in_time = lookup::AT_EXIT.invoke(py, (exit,))?;
    if !in_time.is_truthy()? {
        // The module is being imported while the interpreter exits.
        EXITING.store(true, Ordering::SeqCst);
    }
    Ok(())
}
