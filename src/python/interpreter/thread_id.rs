//! The identities of this thread and of the main thread.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// The identity of the thread that handles signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

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

/// Called by the only thread of a child that was just forked, which handles signals there.
pub fn begin_child() {
    MAIN_THREAD.store(this_thread(), Ordering::Relaxed);
}
