//! Handles replacements of `submit`: on an executor, in a subclass, or in `concurrent.futures.ThreadPoolExecutor`, as
//! tracing libraries make them.
//!
//! A replacement that Python's own lookup finds before the native `submit` needs nothing here, but the executor's other
//! methods must call it (`is_replaced`). A patch of CPython's class is behind the native `submit`, which therefore
//! looks for it: mostly it only compares a number, since the interpreter gives a class a new version whenever it or a
//! base changes.

use super::base::Wait;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::lookup;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PySuper, PyTuple, PyType};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// `ThreadPoolExecutor`.
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());
/// The class's version when it was last found unpatched. No class has this initial one, and 0 stands for no version.
static PLAIN: AtomicU32 = AtomicU32::new(u32::MAX);
/// The native `submit`, as the interpreter calls it.
static NATIVE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// How many threads are calling a replaced `submit` through `ask`.
static ASKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The wait allowed to the `submit` of this executor (by its address) while `ask` calls it.
    static ASKED: Cell<Option<(usize, Wait)>> = const { Cell::new(None) };
}

fn version() -> u32 {
    let class = CLASS.load(Ordering::Relaxed);
    // SAFETY: `install` has set the pointer to a class that lives as long as the module, and a class's version is an
    // aligned `unsigned int` that the interpreter writes as a whole, with atomic stores on builds without the GIL.
    unsafe { AtomicU32::from_ptr(&raw mut (*class).tp_version_tag).load(Ordering::Relaxed) }
}

/// `true`: `submit` is replaced at most where Python's own lookup finds it; `false`: look for other replacements.
#[inline]
pub fn is_plain() -> bool {
    // Relaxed: a thread sees its own changes, and those that another thread has told it of.
    version() == PLAIN.load(Ordering::Relaxed) && ASKING.load(Ordering::Relaxed) == 0
}

/// Whether CPython's class has a `submit` that is not CPython's own.
#[cold]
fn is_patched(py: Python<'_>) -> PyResult<bool> {
    // Reads the version, then the class: if it is patched in between it has another version by then.
    let version = version();
    let submit = lookup::THREAD_POOL_EXECUTOR
        .get(py)
        .getattr(intern!(py, "submit"))?;
    // A wrapper copies a function's name and module, but not its globals.
    let is_plain = submit.is_exact_instance_of::<PyFunction>()
        && submit
            .getattr(intern!(py, "__globals__"))?
            .get_item(intern!(py, "__name__"))?
            .eq(intern!(py, "concurrent.futures.thread"))?;
    if is_plain && version != 0 {
        PLAIN.store(version, Ordering::Relaxed);
    }
    Ok(!is_plain)
}

/// Whether `submit` of this executor is anything but the native one.
pub fn is_replaced(executor: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = executor.py();
    let submit = executor.getattr(intern!(py, "submit"))?;
    // SAFETY: a live object, which is inspected only if it is a method of the interpreter's own kind.
    let is_native = unsafe {
        ffi::PyCFunction_Check(submit.as_ptr()) != 0
            && ffi::PyCFunction_GetSelf(submit.as_ptr()) == executor.as_ptr()
            && ffi::PyCFunction_GetFunction(submit.as_ptr())
                .is_some_and(|function| function as *mut c_void == NATIVE.load(Ordering::Relaxed))
    };
    Ok(!is_native || (!is_plain() && is_patched(py)?))
}

/// Calls the replaced `submit`, which may wait no longer than `wait`.
pub fn ask<'py>(
    executor: &Bound<'py, PyAny>,
    wait: Wait,
    func: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    struct Asking(Option<(usize, Wait)>);
    impl Drop for Asking {
        fn drop(&mut self) {
            ASKED.set(self.0);
            ASKING.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let py = executor.py();
    ASKING.fetch_add(1, Ordering::Relaxed);
    let _asking = Asking(ASKED.replace(Some((executor.as_ptr().addr(), wait))));
    let mut all = vec![func.clone()];
    all.extend(args.iter());
    let submit = executor.getattr(intern!(py, "submit"))?;
    submit.guarded_call(PyTuple::new(py, all)?, kwargs)
}

/// The wait allowed to a `submit` of this executor.
pub fn wait(executor: &Bound<'_, PyAny>) -> Wait {
    match ASKED.get() {
        Some((asked, wait)) if asked == executor.as_ptr().addr() => wait,
        _ => Wait::Up(None),
    }
}

/// The patch of `submit` in CPython's class, bound to the executor; `None`: there is none.
pub fn patch<'py>(
    executor: &Bound<'py, PyAny>,
    native: &Bound<'py, PyType>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = executor.py();
    if !is_patched(py)? {
        return Ok(None);
    }
    PySuper::new(native, executor)?
        .getattr(intern!(py, "submit"))
        .map(Some)
}

/// The result of a patched `submit`; if CPython's own returned it, the future that it stands for (`_executor.py`).
pub fn own_future(given: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let own = given.getattr_opt(intern!(given.py(), "_pyants_future"))?;
    Ok(own.unwrap_or(given))
}

/// Stores the native `submit`.
pub fn set_native(function: *mut c_void) {
    NATIVE.store(function, Ordering::Relaxed);
}

/// Stores CPython's class.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let class = py
        .import("concurrent.futures.thread")?
        .getattr("ThreadPoolExecutor")?
        .cast_into::<pyo3::types::PyType>()?;
    CLASS.store(class.as_type_ptr(), Ordering::Relaxed);
    // Never freed: there is one, and other classes derive from it.
    std::mem::forget(class);
    Ok(())
}
