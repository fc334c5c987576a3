//! Finalizers, which PyO3 cannot declare: the collector calls one before it clears any object of the garbage.

use pyo3::impl_::trampoline::{MethodDef, noargs};
use pyo3::prelude::*;
use pyo3::{Borrowed, PyClass, ffi};
use std::marker::PhantomData;

/// A class with a finalizer.
pub trait Finalize: PyClass {
    /// Called for an object that is garbage: the last moment at which it is whole.
    fn finalize(slf: &Bound<'_, Self>);

    /// Installs the finalizer, unless that was done before.
    ///
    /// # Safety
    /// The first time the class has no instances or subclasses yet; and no other thread writes its slots.
    unsafe fn install_finalizer(py: Python<'_>) {
        let class = py.get_type::<Self>().as_type_ptr();
        // SAFETY: the type lives as long as the interpreter; the rest is the caller's promise.
        unsafe { (*class).tp_finalize.get_or_insert(finalize::<Self>) };
    }
}

struct Finalizer<T>(PhantomData<T>);

impl<T: Finalize> MethodDef<noargs::Func> for Finalizer<T> {
    const METH: noargs::Func = method::<T>;
}

/// # Safety
/// Must be called by the interpreter, as the finalizer of a `T`.
unsafe fn method<T: Finalize>(
    py: Python<'_>,
    object: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: promised by the caller.
    let object = unsafe { Borrowed::from_ptr(py, object).cast_unchecked::<T>() };
    T::finalize(&object);
    Ok(py.None().into_ptr())
}

/// # Safety
/// As that of `method`.
unsafe extern "C" fn finalize<T: Finalize>(object: *mut ffi::PyObject) {
    // SAFETY: a finalizer is called attached, with a live instance of its type; the trampoline's result is owned here.
    // The call goes through the trampoline, as a method does, since PyO3 does not attach anew while the interpreter
    // ends, when the collector runs for the last time.
    unsafe { ffi::Py_XDECREF(noargs::<Finalizer<T>>(object, std::ptr::null_mut())) };
}
