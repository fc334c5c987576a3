//! This process: its forks, its main thread, and whether its interpreter is exiting.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The number of forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The interpreter is exiting: no more pools are opened.
static EXITING: AtomicBool = AtomicBool::new(false);
/// The identity of the thread that handles signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// The process, counted by forks.
#[inline]
pub fn generation() -> u64 {
    // Relaxed: it changes only in a child with a single thread.
    GENERATION.load(Ordering::Relaxed)
}

/// Called by the only thread of a child that was just forked.
pub fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    MAIN_THREAD.store(this_thread(), Ordering::Relaxed);
}

pub fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

pub fn begin_exit() {
    EXITING.store(true, Ordering::SeqCst);
}

pub fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == this_thread()
}

unsafe extern "C" {
    /// CPython's own function; PyO3 does not declare it.
    fn PyThread_get_thread_ident() -> std::ffi::c_ulong;
}

/// The thread's identity, as `threading.get_ident` has it; never 0.
pub fn this_thread() -> u64 {
    // SAFETY: needs neither the GIL nor a thread state.
    #[allow(clippy::useless_conversion)]
    u64::from(unsafe { PyThread_get_thread_ident() })
}

/// Stores which thread handles signals: `threading.main_thread()`.
pub fn know_main_thread(main_thread: &Bound<'_, PyAny>) -> PyResult<()> {
    MAIN_THREAD.store(main_thread.getattr("ident")?.extract()?, Ordering::Relaxed);
    Ok(())
}
