//! `_state`, `_condition` and `_waiters`: the attributes that `concurrent.futures.wait` and `as_completed` read of each
//! future, installed by hand for speed.

use super::class::Future;
use super::condition;
use super::state::State;
use crate::python::interpreter::descriptor;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::impl_::trampoline::get_trampoline_function;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{Borrowed, PyTypeInfo};
use std::ffi::{c_int, c_void};

impl Future {
    /// `_state`: the interned strings with which CPython's code compares it.
    fn state_name<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match self.state() {
            State::Pending => intern!(py, "PENDING"),
            State::Running | State::Finishing => intern!(py, "RUNNING"),
            State::Cancelled => intern!(py, "CANCELLED"),
            State::Notified => intern!(py, "CANCELLED_AND_NOTIFIED"),
            State::Returned | State::Raised | State::Written => intern!(py, "FINISHED"),
        }
        .clone()
    }
}

/// The getter of a field of `Waiting`, which is mostly there already; otherwise it is created.
macro_rules! getter {
    ($field:ident) => {{
        /// # Safety
        /// Must be called by the interpreter, attached, with a future.
        unsafe fn make(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
            // SAFETY: promised by the caller, who keeps `slf` alive until the call returns.
            let slf = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<Future>() };
            Future::make_waiting(&slf, |waiting| waiting.$field.clone_ref(py)).map(Py::into_ptr)
        }
        /// # Safety
        /// As that of `make`.
        unsafe extern "C" fn get(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
            // SAFETY: promised by the caller, as in `make`. Only what is behind the trampoline can panic.
            unsafe {
                let py = Python::assume_attached();
                let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
                match future.get().waiting_now(|waiting| waiting.$field.clone_ref(py)) {
                    Some(value) => value.into_ptr(),
                    None => get_trampoline_function!(noargs, make)(slf, std::ptr::null_mut()),
                }
            }
        }
        get
    }};
}

/// The getter of `_state`.
///
/// # Safety
/// Must be called by the interpreter, attached, with a future.
unsafe extern "C" fn state(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller, who keeps `slf` alive until the call returns. Nothing here panics.
    unsafe {
        let py = Python::assume_attached();
        let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
        future.get().state_name(py).into_ptr()
    }
}

/// The setter of `_state`.
///
/// # Safety
/// As that of `state`.
unsafe extern "C" fn set_state(
    slf: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    /// # Safety
    /// As that of `state`; `value` is null if the attribute is to be deleted.
    unsafe fn assign(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        _: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
    ) -> PyResult<c_int> {
        // SAFETY: promised by the caller, who keeps both alive until the call returns.
        let (slf, value) = unsafe {
            (
                Borrowed::from_ptr(py, slf).cast_unchecked::<Future>(),
                (!value.is_null()).then(|| Borrowed::from_ptr(py, value)),
            )
        };
        let value = value.ok_or_else(|| PyAttributeError::new_err("can't delete attribute"))?;
        Future::assign_state(&slf, &value).map(|()| 0)
    }
    // SAFETY: promised by the caller. The name, which `assign` ignores, may be any object.
    unsafe { get_trampoline_function!(setattrofunc, assign)(slf, slf, value) }
}

/// Installs the attributes in the class.
pub fn install(py: Python<'_>) -> PyResult<()> {
    condition::install(py)?;
    let class = &Future::type_object(py);
    // SAFETY: the functions take futures.
    unsafe {
        descriptor::add_attribute(class, c"_state", state, Some(set_state))?;
        descriptor::add_attribute(class, c"_condition", getter!(condition), None)?;
        descriptor::add_attribute(class, c"_waiters", getter!(waiters), None)
    }
}
