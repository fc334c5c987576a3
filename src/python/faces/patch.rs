//! `submit` in the hands of others: replaced on an executor, in a subclass, or in `concurrent.futures.ThreadPoolExecutor`,
//! as tracing libraries do.
//!
//! What Python's own lookup finds before the native `submit` needs nothing here, but the executor's other methods must go
//! by it (`is_replaced`). A patch of CPython's class lies behind the native `submit`, which therefore looks for it. The
//! interpreter gives a class a new version whenever it, or a base of it, is changed; so mostly the look is at a number.

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
/// The version of the class that was last found as CPython made it. No class has this one, nor 0, which is none.
static PLAIN: AtomicU32 = AtomicU32::new(u32::MAX);
/// The native `submit`, as the interpreter calls it.
static NATIVE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// How many threads call a replaced `submit` by `ask`.
static ASKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How long the `submit` of this executor, by its address, may take where it was called by `ask`.
    static ASKED: Cell<Option<(usize, Wait)>> = const { Cell::new(None) };
}

fn version() -> u32 {
    let class = CLASS.load(Ordering::Relaxed);
    // SAFETY: `install` has set the pointer to a class that lives as long as the module, and a class's version is an
    // aligned `unsigned int` that the interpreter writes whole, by atomic stores where there is no GIL.
    unsafe { AtomicU32::from_ptr(&raw mut (*class).tp_version_tag).load(Ordering::Relaxed) }
}

/// Nobody has put a hand to `submit` but by Python's own lookup: `false` says that it must be looked for.
#[inline]
pub fn is_plain() -> bool {
    // Relaxed: a thread sees what it did itself, and what it was told of by another.
    version() == PLAIN.load(Ordering::Relaxed) && ASKING.load(Ordering::Relaxed) == 0
}

/// CPython's class has a `submit` that is not CPython's.
#[cold]
fn is_patched(py: Python<'_>) -> PyResult<bool> {
    // The version, then the class: one that is patched in between has another version by then.
    let version = version();
    let submit = lookup::THREAD_POOL_EXECUTOR
        .get(py)
        .getattr(intern!(py, "submit"))?;
    // A wrapper takes over a function's name and module, but not its globals.
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

/// The executor's `submit` is not the native one alone.
pub fn is_replaced(executor: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = executor.py();
    let submit = executor.getattr(intern!(py, "submit"))?;
    // SAFETY: a live object, which is looked into only if it is a method of the interpreter's own kind.
    let is_native = unsafe {
        ffi::PyCFunction_Check(submit.as_ptr()) != 0
            && ffi::PyCFunction_GetSelf(submit.as_ptr()) == executor.as_ptr()
            && ffi::PyCFunction_GetFunction(submit.as_ptr())
                .is_some_and(|function| function as *mut c_void == NATIVE.load(Ordering::Relaxed))
    };
    Ok(!is_native || (!is_plain() && is_patched(py)?))
}

/// Calls `submit` as others have it, to take no longer than `wait`.
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
    call_with(&submit, PyTuple::new(py, all)?, kwargs)
}

/// `func(*args, **kwargs)`.
pub fn call_with<'py>(
    func: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    match kwargs {
        Some(kwargs) => func.guarded_call(args, kwargs),
        None => func.guarded_call1(args),
    }
}

/// How long a `submit` of this executor may take.
pub fn wait(executor: &Bound<'_, PyAny>) -> Wait {
    match ASKED.get() {
        Some((asked, wait)) if asked == executor.as_ptr().addr() => wait,
        _ => Wait::Up(None),
    }
}

/// The `submit` that was patched into CPython's class, behind this native one, bound to the executor; `None`: there is none.
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

/// The result of a patched `submit`: where it came from CPython's own, the future that this one stands for (`_executor.py`).
pub fn own_future(given: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let own = given.getattr_opt(intern!(given.py(), "_pyants_future"))?;
    Ok(own.unwrap_or(given))
}

/// The native `submit` is this function.
pub fn set_native(function: *mut c_void) {
    NATIVE.store(function, Ordering::Relaxed);
}

/// Remembers CPython's class.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let class = py
        .import("concurrent.futures.thread")?
        .getattr("ThreadPoolExecutor")?
        .cast_into::<pyo3::types::PyType>()?;
    CLASS.store(class.as_type_ptr(), Ordering::Relaxed);
    // For ever: there is one, which other classes derive from.
    std::mem::forget(class);
    Ok(())
}
