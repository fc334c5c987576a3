//! The interpreter's exit, and forks of the process.

use super::border::{Arrival, Border, Departure};
use super::call::{self, Guarded};
use super::host::PyHost;
use super::known;
use super::threads;
use crate::pool::{Pool, Remains};
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the pools of a process share. A forked child gets another one: its parent's locks may be held by threads that
/// do not exist in the child.
#[derive(Default)]
pub struct Shared {
    /// What there is of the pools that were made, to be done before the interpreter goes.
    pools: Mutex<Vec<Remains<PyHost>>>,
    #[cfg(not(Py_GIL_DISABLED))]
    pub crowd: super::gil::Crowd,
    border: Border,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());
/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The interpreter is on its way out: no pool is opened any more.
static EXITING: AtomicBool = AtomicBool::new(false);
/// The identity of the thread that handles signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

pub fn shared() -> &'static Shared {
    let shared = SHARED.load(Ordering::Acquire);
    assert!(
        !shared.is_null(),
        "the module is initialised before anything in it is used"
    );
    // SAFETY: the pointer comes from `renew_shared`, which leaks what it points to.
    unsafe { &*shared }
}

fn renew_shared() {
    SHARED.store(Box::into_raw(Box::default()), Ordering::Release);
}

/// Which process this is, counted by forks.
#[inline]
pub fn generation() -> u64 {
    // Relaxed: it changes only in a child that has a single thread.
    GENERATION.load(Ordering::Relaxed)
}

pub fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

pub fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == this_thread()
}

unsafe extern "C" {
    /// CPython's own; PyO3 does not declare it.
    fn PyThread_get_thread_ident() -> std::ffi::c_ulong;
}

/// The thread's identity, as `threading.get_ident` has it; never 0.
pub fn this_thread() -> u64 {
    // SAFETY: needs neither the GIL nor a thread state.
    #[allow(clippy::useless_conversion)]
    u64::from(unsafe { PyThread_get_thread_ident() })
}

fn pools() -> MutexGuard<'static, Vec<Remains<PyHost>>> {
    shared()
        .pools
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// These pools are to be done before the interpreter goes; `false`: it is going already.
pub fn register(new: &[Pool<PyHost>]) -> bool {
    let mut pools = pools();
    if is_exiting() {
        return false;
    }
    // Forget those that are gone whenever the list would grow.
    if pools.len() + new.len() > pools.capacity() {
        pools.retain(|pool| !pool.are_gone());
    }
    pools.extend(new.iter().map(Pool::remains));
    true
}

/// Begins to cross into Python: no fork happens until the guard is dropped. The caller is detached.
pub fn arrive() -> Arrival<'static> {
    shared().border.arrive()
}

/// Begins to leave Python: no fork happens until the guard is dropped, when the thread has left. Detaches only where it
/// has to wait.
pub fn leave(py: Python<'_>) -> Departure<'static> {
    let border = &shared().border;
    border
        .try_leave()
        .unwrap_or_else(|| call::detach(py, || border.leave()))
}

/// Runs `open`, which opens pools, unless the interpreter is on its way out and would not close them; whether it did.
pub fn unless_exiting(open: impl FnOnce()) -> bool {
    let _pools = pools();
    let open_again = !is_exiting();
    if open_again {
        open();
    }
    open_again
}

/// Before the interpreter joins its threads and goes: stops intake, and waits until the accepted tasks of all pools but the
/// daemon ones are done and their workers have left. What is in a queue then will not run any more: tasks of daemon pools,
/// and of the others where an exception, from Ctrl-C say, has ended the wait. It is cancelled, and its number logged.
#[pyfunction]
fn at_exit(py: Python<'_>) -> PyResult<()> {
    let remains = {
        let mut pools = pools();
        EXITING.store(true, Ordering::SeqCst);
        std::mem::take(&mut *pools)
    };
    let pools: Vec<_> = remains.iter().filter_map(Remains::reopen).collect();
    let (_, raised) = super::wait::detached(py, None, |patience| {
        for pool in &pools {
            pool.release();
        }
        pools
            .iter()
            .filter(|pool| !pool.host().is_daemon)
            .all(|pool| pool.watch_gone(patience).is_ok())
    });
    for pool in &pools {
        let tasks = call::detach(py, || pool.sift(|_| true));
        pool.host().dropped_at_exit(py, tasks);
        pool.host().log_reports(py);
    }
    raised.map_or(Ok(()), Err)
}

/// Before the process is forked, on the thread that forks it: no worker is to be half in the interpreter's books.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    call::detach(py, || shared().border.close());
}

#[pyfunction]
fn after_fork_in_parent() {
    shared().border.open();
}

/// In a forked child: the parent's threads are not there, and its locks are not to be touched.
#[pyfunction]
fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    MAIN_THREAD.store(this_thread(), Ordering::Relaxed);
    crate::pool::forget_process();
    renew_shared();
}

/// What is static in this module is the main interpreter's. `pyants._interpreter` says so first, where it can.
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

/// Registers the hooks with the interpreter, once: a module that is imported again, after somebody has taken it out of
/// `sys.modules`, is the same to the pools that there are.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    if !SHARED.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    known::look_up(py)?;
    threads::read_flags(py)?;
    renew_shared();
    let threading = py.import("threading")?;
    let main_thread = threading.guarded_method0("main_thread")?;
    MAIN_THREAD.store(main_thread.getattr("ident")?.extract()?, Ordering::Relaxed);
    let exit = wrap_pyfunction!(at_exit, module)?;
    let in_time = known::AT_EXIT.get(py).guarded_call1((exit,))?;
    if !in_time.is_truthy()? {
        // Imported while the interpreter is on its way out already.
        EXITING.store(true, Ordering::SeqCst);
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
