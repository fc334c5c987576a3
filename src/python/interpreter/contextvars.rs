//! Contexts of `contextvars`, and whether threads inherit them.

use pyo3::ffi;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A copy of the caller's context.
pub fn current(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: returns a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// A copy, for a thread that is about to begin.
pub fn copy<'py>(context: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object, refused if it is no context; returns a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(context.py(), ffi::PyContext_Copy(context.as_ptr())) }
}

/// Calls `f` in a context of `contextvars`.
pub fn run_in<R>(context: &Bound<'_, PyAny>, f: impl FnOnce() -> R) -> R {
    let py = context.py();
    // SAFETY: a live object; one that is no context, or is entered already, is refused with an exception.
    let entered = unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0;
    let report = || {
        if let Some(failure) = PyErr::take(py) {
            failure.write_unraisable(py, Some(context));
        }
    };
    if !entered {
        report();
    }
    let result = f();
    if entered {
        // SAFETY: it was entered above, by this thread; whatever `f` entered it has left.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
            report();
        }
    }
    result
}

/// A new thread begins in a copy of the starting thread's context: `-X thread_inherit_context`, from Python 3.14 on.
static INHERIT_CONTEXT: AtomicBool = AtomicBool::new(false);

/// Reads the interpreter's flags once, at import: they do not change.
pub fn read_flags(py: Python<'_>) -> PyResult<()> {
    let flags = py.import("sys")?.getattr("flags")?;
    let flag = flags.getattr_opt("thread_inherit_context")?;
    let inherit = flag.map_or(Ok(false), |flag| flag.is_truthy())?;
    // Relaxed: every reader has imported the module.
    INHERIT_CONTEXT.store(inherit, Ordering::Relaxed);
    Ok(())
}

/// Whether threads begin in a copy of the context of the thread that starts them.
pub fn are_inherited() -> bool {
    INHERIT_CONTEXT.load(Ordering::Relaxed)
}
