//! `submit` and `invoke`: the methods that are called once for each task, and so must not cost more than the task.
//!
//! For a method with `**kwargs` PyO3 has the interpreter pack all arguments into a tuple and a dictionary, which costs
//! as much as the rest of a submit. These methods take them as the interpreter has them (`METH_FASTCALL`), and are
//! installed into their classes by hand.

use super::base::{Base, Wait};
use super::executor::Executor;
use super::func::Invoker;
use super::patch;
use super::pool::Submitter;
use crate::python::interpreter::condition;
use crate::python::values::arguments::Call;
use crate::python::values::errors::Refusal;
use crate::python::work::future::Future;
use crate::python::work::task::Task;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::impl_::trampoline::get_trampoline_function;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{Borrowed, PyTypeInfo};
use std::ffi::{CStr, c_int, c_void};

/// The arguments that the interpreter passes to a method, borrowed for the duration of the call.
#[derive(Clone, Copy)]
struct Arguments<'a, 'py> {
    py: Python<'py>,
    /// The positional ones, then the values of the keyword arguments.
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    names: *mut ffi::PyObject,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// # Safety
    /// The arguments must be those of a `METH_FASTCALL | METH_KEYWORDS` call that lasts for `'a`.
    unsafe fn new(
        py: Python<'py>,
        values: *const *mut ffi::PyObject,
        positional: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Self {
        let positional = positional as usize;
        let named = if names.is_null() {
            0
        } else {
            // SAFETY: it is a tuple if it is not null.
            unsafe { ffi::PyTuple_GET_SIZE(names) as usize }
        };
        let values = match positional + named {
            0 => &[],
            // SAFETY: the interpreter passes this many to such a method.
            count => unsafe { std::slice::from_raw_parts(values, count) },
        };
        Arguments {
            py,
            values,
            positional,
            names,
        }
    }

    fn get(self, index: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: the arguments are objects that the caller keeps alive.
        unsafe { Borrowed::from_ptr(self.py, self.values[index]) }
    }

    /// All but the first `skip` arguments, as a tuple and a dictionary.
    #[cold]
    fn pack(self, skip: usize) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
        let positional = (skip..self.positional).map(|index| self.get(index));
        let args = PyTuple::new(self.py, positional)?;
        if self.names.is_null() {
            return Ok((args, None));
        }
        // SAFETY: it is a tuple, as above.
        let names = unsafe { Borrowed::from_ptr(self.py, self.names).cast_unchecked::<PyTuple>() };
        let kwargs = PyDict::new(self.py);
        for (index, name) in names.iter().enumerate() {
            kwargs.set_item(name.cast::<PyString>()?, self.get(self.positional + index))?;
        }
        Ok((args, Some(kwargs)))
    }

    /// A call of `func` with all but the first `skip` arguments.
    #[inline]
    fn into_call(self, func: Py<PyAny>, skip: usize) -> PyResult<Call> {
        match self.values.len() - skip {
            0 => Ok(Call::none(func)),
            1 if self.names.is_null() => Ok(Call::one(func, self.get(skip).to_owned().unbind())),
            _ => {
                let (args, kwargs) = self.pack(skip)?;
                Ok(Call::new(func, args, kwargs))
            }
        }
    }
}

/// The callable that is the first argument.
fn callable<'a, 'py>(arguments: Arguments<'a, 'py>) -> PyResult<Borrowed<'a, 'py, PyAny>> {
    if arguments.positional == 0 {
        let message = "submit() missing 1 required positional argument: 'fn'";
        return Err(PyTypeError::new_err(message));
    }
    Ok(arguments.get(0))
}

fn submit<'py>(
    base: &Bound<'py, Base>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = arguments.py;
    let front = base.get().front(py)?;
    let func = callable(arguments)?;
    // A closed pool raises before the arguments are checked (B14).
    Base::check_call(front, &func)?;
    let task = Task::Call(arguments.into_call(func.to_owned().unbind(), 1)?);
    submitted(py, front.submit(py, task, Wait::Up(None)))
}

fn invoke<'py>(
    base: &Bound<'py, Base>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = arguments.py;
    let front = base.get().front(py)?;
    let task = Task::Call(arguments.into_call(base.get().func(py)?.unbind(), 0)?);
    submitted(py, front.submit(py, task, Wait::Up(None)))
}

fn submitted(py: Python<'_>, result: Result<(), Refusal>) -> PyResult<Bound<'_, PyAny>> {
    match result {
        Ok(()) => Ok(py.None().into_bound(py)),
        Err(refusal) => Err(refusal.into_exception(py)),
    }
}

fn schedule<'py>(
    executor: &Bound<'py, Executor>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    if !patch::is_plain() {
        return schedule_with_care(executor, arguments);
    }
    let func = callable(arguments)?.to_owned().unbind();
    let call = arguments.into_call(func, 1)?;
    executor
        .get()
        .schedule(arguments.py, Wait::Up(None), call)
        .map(Bound::into_any)
}

/// As `schedule`, if CPython's class may be patched, or if this is called in place of `try_submit`.
#[cold]
fn schedule_with_care<'py>(
    executor: &Bound<'py, Executor>,
    arguments: Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(submit) = patch::patch(executor.as_any(), &Executor::type_object(arguments.py))? {
        let (args, kwargs) = arguments.pack(0)?;
        return patch::own_future(patch::call_with(&submit, args, kwargs.as_ref())?);
    }
    let func = callable(arguments)?.to_owned().unbind();
    let call = arguments.into_call(func, 1)?;
    executor
        .get()
        .schedule(arguments.py, patch::wait(executor.as_any()), call)
        .map(Bound::into_any)
}

/// Gives a class a method with the interpreter's own calling convention: `$call`, a function of an instance of its base
/// class `$base` and `Arguments`. Returns the function that the interpreter calls.
macro_rules! add_method {
    ($py:expr, $class:ty, $base:ty, $name:literal, $call:path, $doc:literal) => {{
        /// # Safety
        /// Must be called by the interpreter, as a method of the class.
        unsafe fn method(
            py: Python<'_>,
            slf: *mut ffi::PyObject,
            values: *const *mut ffi::PyObject,
            positional: ffi::Py_ssize_t,
            names: *mut ffi::PyObject,
        ) -> PyResult<*mut ffi::PyObject> {
            // SAFETY: the interpreter has checked that `slf` is an instance of the class with the method, which is
            // `$base` or a subclass of it. It keeps `slf` and the arguments alive until the call returns.
            let (slf, arguments) = unsafe {
                (
                    Borrowed::from_ptr(py, slf).cast_unchecked::<$base>(),
                    Arguments::new(py, values, positional, names),
                )
            };
            $call(&slf, arguments).map(Bound::into_ptr)
        }
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                // The trampoline that PyO3 puts around its own methods: panics become exceptions.
                PyCFunctionFastWithKeywords: get_trampoline_function!(
                    fastcall_cfunction_with_keywords,
                    method
                ),
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: $doc.as_ptr(),
        }));
        let class = <$class as PyTypeInfo>::type_object($py);
        // SAFETY: the class is a type object, and the definition is never freed.
        let method = unsafe {
            Bound::from_owned_ptr_or_err(
                $py,
                ffi::PyDescr_NewMethod(class.as_type_ptr(), definition),
            )?
        };
        class.setattr($name.to_string_lossy().as_ref(), method)?;
        // SAFETY: this field was set above.
        unsafe { definition.ml_meth.PyCFunctionFastWithKeywords as *mut std::ffi::c_void }
    }};
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

/// Installs the methods in their classes, and the attributes that `concurrent.futures.wait` and `as_completed` read.
pub fn install(py: Python<'_>) -> PyResult<()> {
    condition::install(py)?;
    add_attribute(py, c"_state", state, Some(set_state))?;
    let condition = getter!(Future::condition_now, Future::make_condition);
    add_attribute(py, c"_condition", condition, None)?;
    let waiters = getter!(Future::waiters_now, Future::make_waiters);
    add_attribute(py, c"_waiters", waiters, None)?;
    let _ = add_method!(
        py,
        Submitter,
        Base,
        c"submit",
        submit,
        c"submit($self, fn, /, *args, **kwargs)
--

Runs fn(*args, **kwargs) on a worker; blocks while the pool is full.

Returns when a worker has the task or, with a queue, when the task is accepted.

Raises:
    PoolClosedError: The pool is closed, or closes while this blocks.
    PoolOverloadError: The pool is full, and the call may not block.
    PoolDeadlockError: It would block for ever, because every worker is blocked like this.
    PoolSpawnError: No thread can be started, and no worker is alive."
    );
    let _ = add_method!(
        py,
        Invoker,
        Base,
        c"invoke",
        invoke,
        c"invoke($self, /, *args, **kwargs)
--

Runs func(*args, **kwargs) on a worker; blocks while the pool is full.

Returns when a worker has the task or, with a queue, when the task is accepted.

Raises:
    PoolClosedError: The pool is closed, or closes while this blocks.
    PoolOverloadError: The pool is full, and the call may not block.
    PoolDeadlockError: It would block for ever, because every worker is blocked like this.
    PoolSpawnError: No thread can be started, and no worker is alive."
    );
    let submit = add_method!(
        py,
        Executor,
        Executor,
        c"submit",
        schedule,
        c"submit($self, fn, /, *args, **kwargs)
--

Schedules fn(*args, **kwargs) and returns the Future of its result.

With a limit on the backlog it blocks while the backlog is full.

Raises:
    RuntimeError: The executor is shut down, or the interpreter exits.
    BrokenThreadPool: An initializer failed.
    PoolError: As from Pool.submit()."
    );
    patch::set_native(submit);
    Ok(())
}
