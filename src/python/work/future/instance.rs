//! Instances of `pyants.Future`, which are small, many and short-lived: how they are allocated, and when the garbage
//! collector sees them.

use super::class::Future;
use crate::python::values::errors;
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::c_int;
use std::sync::OnceLock;

/// The offset in bytes of the native part, a `Future`, in an instance.
static OFFSET: OnceLock<usize> = OnceLock::new();

/// Learns the layout that PyO3 gives the native part: it alone follows the object's header. Must be called before the
/// first future is made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let sample = Bound::new(py, Future::default())?;
    let offset = std::ptr::from_ref(sample.get()).addr() - sample.as_ptr().addr();
    // SAFETY: the type of a live object.
    let size = unsafe { (*ffi::Py_TYPE(sample.as_ptr())).tp_basicsize };
    if usize::try_from(size).ok() != Some(offset + size_of::<Future>()) {
        let message = "the layout of _Future is not as expected";
        return Err(PySystemError::new_err(message));
    }
    let _ = OFFSET.set(offset);
    Ok(())
}

/// A Python class of futures that derives from the native one.
pub struct FutureClass(Py<PyType>);

impl FutureClass {
    pub fn new(class: Bound<'_, PyType>) -> PyResult<Self> {
        if class.is_subclass_of::<Future>()? {
            Ok(FutureClass(class.unbind()))
        } else {
            let allowed = "a subclass of pyants.Future";
            Err(errors::wrong_type("future_class", allowed, &class))
        }
    }

    pub fn class(&self) -> &Py<PyType> {
        &self.0
    }

    /// A pending future for a task of that deadlock group.
    ///
    /// It is made without a call of `__new__` and `__init__`: a new one is nothing but its native part.
    /// `object.__new__` would also make a dict, which hardly any instance needs, and which CPython makes by itself when
    /// one does.
    ///
    /// With the GIL the new instance is not tracked by the garbage collector until `track` says that it may become part
    /// of a cycle: a program may have a great many, and the collector would visit all of them again and again.
    pub fn task_future<'py>(
        &self,
        py: Python<'py>,
        deadlock_group: usize,
    ) -> PyResult<Bound<'py, Future>> {
        let future = Future {
            deadlock_group,
            ..Future::default()
        };
        let offset = *OFFSET.get().expect("`prepare` was called");
        let class = self.0.bind(py).as_type_ptr();
        // SAFETY: `tp_alloc` of a live, ready type returns a new, zeroed instance of it, or null with an exception set.
        // The class derives from that of `Future` (`new`), so at the offset is the place of the native part, which is
        // all that PyO3 keeps there (`prepare`). It is written before any other code, including this thread's garbage
        // collector, can see the object.
        unsafe {
            let alloc = (*class).tp_alloc.expect("a ready type has an allocator");
            let instance = alloc(class, 0);
            if instance.is_null() {
                return Err(PyErr::fetch(py));
            }
            instance.byte_add(offset).cast::<Future>().write(future);
            #[cfg(not(Py_GIL_DISABLED))]
            ffi::PyObject_GC_UnTrack(instance.cast());
            Ok(Bound::from_owned_ptr(py, instance).cast_into_unchecked())
        }
    }
}

/// A reference that another thread will drop.
///
/// Free-threaded builds count the references of the thread that created an object apart from all others. If this thread
/// takes one and another drops it, the object goes on a list, under a lock, for this thread to merge the two counts; a
/// reference that is counted with the others' from the start avoids this.
pub fn share<T>(object: &Bound<'_, T>) -> Py<T> {
    #[cfg(Py_GIL_DISABLED)]
    {
        const ONE: isize = 1 << 2; // The count is above two bits of flags: _Py_REF_SHARED_SHIFT of CPython's object.h.
        let pointer = object.as_ptr();
        // SAFETY: a live object that is not immortal. Py_INCREF does this on every thread but the one that created the
        // object, and that thread may do it as well; the new reference is owned by the result.
        unsafe {
            (*pointer)
                .ob_ref_shared
                .fetch_add(ONE, std::sync::atomic::Ordering::Relaxed);
            Bound::from_owned_ptr(object.py(), pointer)
                .cast_into_unchecked()
                .unbind()
        }
    }
    #[cfg(not(Py_GIL_DISABLED))]
    object.clone().unbind()
}

/// Has the collector track the instance, which may become part of a cycle from here on.
pub(super) fn track(object: &Bound<'_, PyAny>) {
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: a live object of a type with garbage collection, whose native part was written on creation; with the GIL
    // no other thread does the same meanwhile.
    unsafe {
        if ffi::PyObject_GC_IsTracked(object.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(object.as_ptr().cast());
        }
    }
    #[cfg(Py_GIL_DISABLED)]
    let _ = object;
}

/// Whether the object is of a type that the garbage collector visits.
pub(super) fn may_hold_others(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyObject_IS_GC(object.as_ptr()) != 0 }
}

/// The instance's dict, created on first use.
pub(super) fn dict<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object; returns a new reference, or null with an exception set, as when the class has no dict.
    unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), dict)
    }
}

/// Replaces the instance's dict.
pub(super) fn set_dict(object: &Bound<'_, PyAny>, dict: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: live objects; anything but a dict is refused.
    let result = unsafe {
        ffi::PyObject_GenericSetDict(object.as_ptr(), dict.as_ptr(), std::ptr::null_mut())
    };
    check(object.py(), result)
}

/// `object.__setattr__`, or without a value `object.__delattr__`.
pub(super) fn set_attribute(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: live objects, or null for the value, which deletes.
    let result = unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value) };
    check(object.py(), result)
}

/// The result of a function that returns 0, or -1 with an exception set.
fn check(py: Python<'_>, result: c_int) -> PyResult<()> {
    match result {
        0 => Ok(()),
        _ => Err(PyErr::fetch(py)),
    }
}
