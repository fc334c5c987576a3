//! Methods and attributes that are installed in their classes by hand, with the interpreter's own calling conventions.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::{CStr, CString, c_int};

/// Installs a method.
///
/// # Safety
/// `function` is of the kind that `flags` name, and may be called with instances of the class.
pub unsafe fn add_method(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    flags: c_int,
    function: ffi::PyMethodDefPointer,
    doc: &str,
) -> PyResult<()> {
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: function,
        ml_flags: flags,
        ml_doc: CString::new(doc)?.into_raw(),
    }));
    // SAFETY: the class is a type object, and the definition with all its parts is never freed.
    let method = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), definition) };
    add(class, name, method)
}

/// Installs an attribute.
///
/// # Safety
/// The functions may be called with instances of the class.
pub unsafe fn add_attribute(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    get: ffi::getter,
    set: Option<ffi::setter>,
) -> PyResult<()> {
    let definition = Box::leak(Box::new(ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    }));
    // SAFETY: as above.
    let attribute = unsafe { ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition) };
    add(class, name, attribute)
}

fn add(class: &Bound<'_, PyType>, name: &CStr, descriptor: *mut ffi::PyObject) -> PyResult<()> {
    // SAFETY: a new reference, or null with an exception set.
    let descriptor = unsafe { Bound::from_owned_ptr_or_err(class.py(), descriptor)? };
    class.setattr(name.to_string_lossy().as_ref(), descriptor)
}
