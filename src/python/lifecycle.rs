//! The interpreter's exit, and forks of the process.

use super::border::{Arrival, Border, Departure};
use super::gil;
use super::host::PyHost;
use super::known;
use crate::pool::{Pool, Remains};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the pools of a process share. A forked child gets another one: its parent's locks may be held by threads that
/// do not exist in the child.
#[derive(Default)]
pub struct Shared {
    /// What there is of the pools that were made, to be done before the interpreter goes.
    pools: Mutex<Vec<Remains<PyHost>>>,
    #[cfg(not(Py_GIL_DISABLED))]
    pub crowd: gil::Crowd,
    /// Threads that are outside of Python, in this module, and about to enter it.
    outside: AtomicUsize,
    border: Border,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());
/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The interpreter is on its way out: no pool is opened any more.
static EXITING: AtomicBool = AtomicBool::new(false);
/// All pools are done and their workers out of Python: no thread may leave or enter Python through this module any more.
static GONE: AtomicBool = AtomicBool::new(false);
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
        .unwrap_or_else(|| py.detach(|| border.leave()))
}

/// Runs `f` detached, as `Python::detach` does. A daemon thread that attaches again while the interpreter goes would be
/// ended by it in the middle of native code, which aborts the process: so once the pools are gone, when `f` finds all it
/// could wait for settled, it is run attached.
pub fn detach<R: Send>(py: Python<'_>, f: impl FnOnce() -> R + Send) -> R {
    let _outside = Outside::enter();
    if GONE.load(Ordering::SeqCst) {
        f()
    } else {
        let result = py.detach(|| {
            gil::given_up();
            f()
        });
        gil::taken();
        result
    }
}

/// As `detach`, where `f` may take longer than the pools and the interpreter live, which do not wait for it: a thread that
/// would come back too late sleeps on for ever, as the interpreter's own threads do from 3.14 on.
pub fn detach_daemon<R: Send>(py: Python<'_>, f: impl FnOnce() -> R + Send) -> R {
    let (result, outside) = py.detach(|| {
        let result = f();
        // Counted first, then the look at `GONE`, as in `detach`; and counted until it is attached.
        let outside = Outside::enter();
        while GONE.load(Ordering::SeqCst) {
            std::thread::park();
        }
        (result, outside)
    });
    drop(outside);
    result
}

/// Drops Python objects, attached; they are leaked where the interpreter is on its way out.
pub fn drop_attached<T>(objects: T) {
    let mut objects = Some(objects);
    let _outside = Outside::enter();
    if !GONE.load(Ordering::SeqCst) {
        Python::try_attach(|_| drop(objects.take()));
    }
    std::mem::forget(objects);
}

/// Counts a thread as outside. It is counted first and looks at `GONE` then; the exit does the opposite, and waits for
/// whoever it finds counted.
struct Outside(&'static Shared);

impl Outside {
    fn enter() -> Self {
        let shared = shared();
        shared.outside.fetch_add(1, Ordering::SeqCst);
        Outside(shared)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The count that was raised: should the process have been forked meanwhile, this is not the child's.
        self.0.outside.fetch_sub(1, Ordering::SeqCst);
    }
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

/// Before the interpreter joins its threads and goes: stops intake, lets accepted tasks finish, and waits until every
/// worker is out of Python, since a native thread that enters it later would bring the process down.
#[pyfunction]
fn at_exit(py: Python<'_>) -> PyResult<()> {
    let remains = {
        let mut pools = pools();
        EXITING.store(true, Ordering::SeqCst);
        std::mem::take(&mut *pools)
    };
    let pools: Vec<_> = remains.iter().filter_map(Remains::reopen).collect();
    let (gone, raised) = super::wait::detached(py, None, |patience| {
        for pool in &pools {
            pool.release();
        }
        pools.iter().all(|pool| pool.watch_gone(patience).is_ok())
    });
    if gone {
        GONE.store(true, Ordering::SeqCst);
        // Those who waited for the pools find them closed, and are on their way back into Python.
        py.detach(|| {
            while shared().outside.load(Ordering::SeqCst) > 0 {
                std::thread::yield_now();
            }
        });
    }
    raised.map_or(Ok(()), Err)
}

/// Before the process is forked, on the thread that forks it: no worker is to be half in the interpreter's books.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    detach(py, || shared().border.close());
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
    renew_shared();
}

/// Registers the hooks with the interpreter.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    renew_shared();
    known::look_up(py)?;
    let threading = py.import("threading")?;
    let main_thread = threading.call_method0("main_thread")?;
    MAIN_THREAD.store(main_thread.getattr("ident")?.extract()?, Ordering::Relaxed);
    let exit = wrap_pyfunction!(at_exit, module)?;
    if threading.call_method1("_register_atexit", (exit,)).is_err() {
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
        os.call_method("register_at_fork", (), Some(&keywords))?;
    }
    Ok(())
}
