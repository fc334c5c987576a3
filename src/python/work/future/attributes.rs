//! `_state`, `_condition` and `_waiters`: the attributes that `concurrent.futures.wait` and `as_completed` read of each
//! future, installed by hand for speed.

use super::class::Future;
use super::condition;
use super::state::State;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::impl_::trampoline::get_trampoline_function;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{Borrowed, PyTypeInfo};
use std::ffi::{CStr, c_int, c_void};

impl Future {
    /// `_condition`, which `concurrent.futures.wait` and `as_completed` hold while they inspect the future.
    pub fn condition_now<'py>(py: Python<'py>, this: &Self) -> Option<Bound<'py, PyAny>> {
        this.waiting_now(|waiting| waiting.condition.bind(py).as_any().clone())
    }

    pub fn make_condition<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::make_waiting(slf, |waiting| {
            waiting.condition.bind(slf.py()).as_any().clone()
        })
    }

    /// `_waiters`, the list to which they append their waiters.
    pub fn waiters_now<'py>(py: Python<'py>, this: &Self) -> Option<Bound<'py, PyAny>> {
        this.waiting_now(|waiting| waiting.waiters.bind(py).as_any().clone())
    }

    pub fn make_waiters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::make_waiting(slf, |waiting| {
            waiting.waiters.bind(slf.py()).as_any().clone()
        })
    }

    /// `_state`: the interned strings with which CPython's code compares it.
    pub fn state_name<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
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

/// A getter of `_Future` that mostly returns `$now`; otherwise `$make` creates the value.
macro_rules! getter {
    ($now:path, $make:path) => {{
        /// # Safety
        /// Must be called by the interpreter, attached, with a future.
        unsafe fn make(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
            // SAFETY: promised by the caller, who keeps `slf` alive until the call returns.
            let slf = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<Future>() };
            $make(&slf).map(Bound::into_ptr)
        }
        /// # Safety
        /// As that of `make`.
        unsafe extern "C" fn get(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
            // SAFETY: promised by the caller, as in `make`. Only what is behind the trampoline can panic.
            unsafe {
                let py = Python::assume_attached();
                let future = Borrowed::from_ptr(py, slf).cast_unchecked::<Future>();
                match $now(py, future.get()) {
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

/// Installs an attribute in `_Future`.
fn add_attribute(
    py: Python<'_>,
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
    let class = Future::type_object(py);
    // SAFETY: the class is a type object, and the definition is never freed.
    let attribute = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition))?
    };
    class.setattr(name.to_string_lossy().as_ref(), attribute)
}

/// Installs the attributes in the class.
pub fn install(py: Python<'_>) -> PyResult<()> {
    condition::install(py)?;
    add_attribute(py, c"_state", state, Some(set_state))?;
    let condition = getter!(Future::condition_now, Future::make_condition);
    add_attribute(py, c"_condition", condition, None)?;
    let waiters = getter!(Future::waiters_now, Future::make_waiters);
    add_attribute(py, c"_waiters", waiters, None)
}
