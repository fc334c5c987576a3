//! `submit` and `invoke` of all classes: they are called once for each task, and so must not cost more than the task.
//!
//! For a method with `**kwargs` PyO3 has the interpreter pack all arguments into a tuple and a dictionary, which costs
//! as much as the rest of a submit. These methods take them as the interpreter has them (`METH_FASTCALL`), and are
//! installed into their classes by hand.

use super::base::{Base, Wait};
use super::executor::Executor;
use super::patched_submit;
use super::pool::Submitter;
use super::with_func::Invoker;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::descriptor;
use crate::python::values::arguments::Call;
use crate::python::values::errors::Refusal;
use crate::python::work::task::Task;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::impl_::trampoline::get_trampoline_function;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{Borrowed, PyTypeInfo};

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

/// The result of a method.
type Returned<'py> = PyResult<Bound<'py, PyAny>>;

fn submit<'py>(base: &Bound<'py, Base>, arguments: Arguments<'_, 'py>) -> Returned<'py> {
    let py = arguments.py;
    let front = base.get().front(py)?;
    let func = callable(arguments)?;
    if let Err(refusal) = front.check_call(&func) {
        return Err(refusal.into_exception(py));
    }
    let task = Task::Call(arguments.into_call(func.to_owned().unbind(), 1)?);
    submitted(py, front.submit(py, task, Wait::Up(None)))
}

fn invoke<'py>(base: &Bound<'py, Base>, arguments: Arguments<'_, 'py>) -> Returned<'py> {
    let py = arguments.py;
    let front = base.get().front(py)?;
    let task = Task::Call(arguments.into_call(base.get().func(py)?.unbind(), 0)?);
    submitted(py, front.submit(py, task, Wait::Up(None)))
}

fn submitted(py: Python<'_>, result: Result<(), Refusal>) -> Returned<'_> {
    match result {
        Ok(()) => Ok(py.None().into_bound(py)),
        Err(refusal) => Err(refusal.into_exception(py)),
    }
}

fn schedule<'py>(executor: &Bound<'py, Executor>, arguments: Arguments<'_, 'py>) -> Returned<'py> {
    match patched_submit::is_plain() {
        true => schedule_call(executor, arguments, Wait::Up(None)),
        false => schedule_with_care(executor, arguments),
    }
}

/// As `schedule`, if CPython's class may be patched, or if this is called in place of `try_submit`.
#[cold]
fn schedule_with_care<'py>(
    executor: &Bound<'py, Executor>,
    arguments: Arguments<'_, 'py>,
) -> Returned<'py> {
    let native = Executor::type_object(arguments.py);
    if let Some(submit) = patched_submit::patch(executor.as_any(), &native)? {
        let (args, kwargs) = arguments.pack(0)?;
        return patched_submit::own_future(submit.guarded_call(args, kwargs.as_ref())?);
    }
    schedule_call(executor, arguments, patched_submit::wait(executor.as_any()))
}

#[inline]
fn schedule_call<'py>(
    executor: &Bound<'py, Executor>,
    arguments: Arguments<'_, 'py>,
    wait: Wait,
) -> Returned<'py> {
    let func = callable(arguments)?.to_owned().unbind();
    let call = arguments.into_call(func, 1)?;
    let future = executor.get().schedule(arguments.py, wait, call)?;
    Ok(future.into_any())
}

/// Gives a class a method with the interpreter's own calling convention: `$call`, a function of an instance of its base
/// class `$base` and `Arguments`. Returns the function that the interpreter calls.
macro_rules! add_method {
    ($py:expr, $class:ty, $base:ty, $name:literal, $call:path, $doc:expr) => {{
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
        // The trampoline that PyO3 puts around its own methods: panics become exceptions.
        let function = get_trampoline_function!(fastcall_cfunction_with_keywords, method);
        let pointer = ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        };
        let flags = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
        let class = <$class as PyTypeInfo>::type_object($py);
        // SAFETY: the function is of that kind, for instances of this class.
        unsafe { descriptor::add_method(&class, $name, flags, pointer, $doc)? };
        function as *mut std::ffi::c_void
    }};
}

/// The rest of the docstring of `submit` and `invoke`.
macro_rules! submits {
    () => {
        "(*args, **kwargs) on a worker; blocks while the pool is full.

Returns when a worker has the task or, with a queue, when the task is accepted.

Raises:
    PoolClosedError: The pool is closed, or closes while this blocks.
    PoolOverloadError: The pool is full, and the call may not block.
    PoolDeadlockError: It would block for ever, because every worker is blocked like this.
    PoolSpawnError: No thread can be started, and no worker is alive."
    };
}

/// Installs the methods in their classes.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let doc = concat!(
        "submit($self, fn, /, *args, **kwargs)\n--\n\nRuns fn",
        submits!()
    );
    let _ = add_method!(py, Submitter, Base, c"submit", submit, doc);
    let doc = concat!(
        "invoke($self, /, *args, **kwargs)\n--\n\nRuns func",
        submits!()
    );
    let _ = add_method!(py, Invoker, Base, c"invoke", invoke, doc);
    let doc = "submit($self, fn, /, *args, **kwargs)
--

Schedules fn(*args, **kwargs) and returns the Future of its result.

With a limit on the backlog it blocks while the backlog is full.

Raises:
    RuntimeError: The executor is shut down, or the interpreter exits.
    BrokenThreadPool: An initializer failed.
    PoolError: As from Pool.submit().";
    let submit = add_method!(py, Executor, Executor, c"submit", schedule, doc);
    patched_submit::set_native(submit);
    Ok(())
}
