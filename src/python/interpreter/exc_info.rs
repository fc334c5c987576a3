//! An exception as an `except` block has it: with its traceback, and as what `sys.exc_info()` returns.

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;

/// The exception itself; before 3.12 it does not carry its traceback, which is set here.
pub fn with_traceback<'py>(py: Python<'py>, raised: &PyErr) -> Bound<'py, PyBaseException> {
    raised.clone_ref(py).into_value(py).into_bound(py)
}

/// Reports an exception that nobody can be told of.
pub fn unraisable<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result
        .map_err(|failure| failure.write_unraisable(py, None))
        .ok()
}

/// Runs `f` as an `except` block for `raised` would: `sys.exc_info()` returns it there, and exceptions raised there
/// have it as their context.
pub fn handling<R>(py: Python<'_>, raised: &PyErr, f: impl FnOnce() -> R) -> R {
    /// The exception handled before; null if there was none, or only an outer frame's.
    struct Before<'py>(Python<'py>, *mut ffi::PyObject);
    impl Drop for Before<'_> {
        fn drop(&mut self) {
            // SAFETY: the thread is attached, as `self.0` proves; an exception or null, whose reference is owned here.
            unsafe {
                PyErr_SetHandledException(self.1);
                ffi::Py_XDECREF(self.1);
            }
        }
    }
    let value = with_traceback(py, raised);
    // SAFETY: the thread is attached, as `py` proves. The getter returns a new reference or null, and the setter takes
    // a reference of its own to a live exception. A thread has a stack of slots for handled exceptions, one for itself
    // and one for each generator or coroutine that it is in: the getter searches all of them, top down, and the setter
    // writes the top one, which is the same again when `f` has returned. So if the top one is empty, it is left empty.
    let _before = unsafe {
        let mut before = Before(py, PyErr_GetHandledException());
        if !before.1.is_null() {
            PyErr_SetHandledException(std::ptr::null_mut());
            let below = PyErr_GetHandledException();
            ffi::Py_XDECREF(below);
            if below == before.1 {
                ffi::Py_DECREF(std::mem::replace(&mut before.1, std::ptr::null_mut()));
            }
        }
        PyErr_SetHandledException(value.as_ptr());
        before
    };
    f()
}

// In CPython's stable API since 3.11, the oldest version supported.
unsafe extern "C" {
    fn PyErr_GetHandledException() -> *mut ffi::PyObject;
    fn PyErr_SetHandledException(exception: *mut ffi::PyObject);
}
