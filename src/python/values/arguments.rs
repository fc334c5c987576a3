//! A callable with the arguments of a call that is yet to be made, and what kind of callable it is.

use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::lookup;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyFunction, PyTuple, PyType};
use pyo3::{Borrowed, PyTraverseError, PyVisit, ffi, intern};

/// A callable and the arguments to call it with.
pub struct Call {
    pub func: Py<PyAny>,
    arguments: Arguments,
}

enum Arguments {
    None,
    One(Py<PyAny>),
    Positional(Py<PyTuple>),
    All(Py<PyTuple>, Py<PyDict>),
}

impl Call {
    /// `func(*args, **kwargs)`.
    pub fn new(
        func: Py<PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> Self {
        let arguments = match kwargs {
            Some(kwargs) => Arguments::All(args.unbind(), kwargs.unbind()),
            None if args.is_empty() => Arguments::None,
            None => Arguments::Positional(args.unbind()),
        };
        Call { func, arguments }
    }

    /// `func()`.
    pub fn none(func: Py<PyAny>) -> Self {
        let arguments = Arguments::None;
        Call { func, arguments }
    }

    /// `func(argument)`.
    pub fn one(func: Py<PyAny>, argument: Py<PyAny>) -> Self {
        Call {
            func,
            arguments: Arguments::One(argument),
        }
    }

    /// The callable, with the arguments as Python objects.
    pub fn into_parts(
        self,
        py: Python<'_>,
    ) -> PyResult<(Py<PyAny>, Bound<'_, PyTuple>, Bound<'_, PyDict>)> {
        let none = PyDict::new(py);
        let (args, kwargs) = match self.arguments {
            Arguments::None => (PyTuple::empty(py), none),
            Arguments::One(argument) => (PyTuple::new(py, [argument])?, none),
            Arguments::Positional(args) => (args.into_bound(py), none),
            Arguments::All(args, kwargs) => (args.into_bound(py), kwargs.into_bound(py)),
        };
        Ok((self.func, args, kwargs))
    }

    /// Shows the collector all that the call holds.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.func)?;
        match &self.arguments {
            Arguments::None => Ok(()),
            Arguments::One(argument) => visit.call(argument),
            Arguments::Positional(args) => visit.call(args),
            Arguments::All(args, kwargs) => {
                visit.call(args)?;
                visit.call(kwargs)
            }
        }
    }

    /// Calls the callable and drops everything but it.
    pub fn call<'py>(self, py: Python<'py>) -> (Bound<'py, PyAny>, PyResult<Bound<'py, PyAny>>) {
        let func = self.func.into_bound(py);
        let result = match self.arguments {
            Arguments::None => func.guarded_call0(),
            Arguments::One(argument) => func.guarded_call1((argument,)),
            Arguments::Positional(args) => func.guarded_call1(args.bind(py)),
            Arguments::All(args, kwargs) => func.guarded_call(args.bind(py), Some(kwargs.bind(py))),
        };
        (func, result)
    }
}

/// Whether calls of it go through the interpreter's loop, which lets other threads run by itself.
pub fn is_python_function(func: &Bound<'_, PyAny>) -> bool {
    func.is_exact_instance_of::<PyFunction>()
}

/// Whether calling `func` only creates a coroutine or an asynchronous generator, and runs nothing.
pub fn is_async(func: &Bound<'_, PyAny>) -> PyResult<bool> {
    const ASYNC: u32 = 0x80 | 0x200; // CO_COROUTINE and CO_ASYNC_GENERATOR of CPython's code.h.
    let py = func.py();
    if is_python_function(func) {
        // SAFETY: it is a function, so it has a code object, borrowed from it, which lives as long as `func` does.
        let code = unsafe { Borrowed::from_ptr(py, ffi::PyFunction_GetCode(func.as_ptr())) };
        let flags: u32 = code.getattr(intern!(py, "co_flags"))?.extract()?;
        return Ok(flags & ASYNC != 0);
    }
    if func.is_instance_of::<PyCFunction>() || func.is_instance_of::<PyType>() {
        return Ok(false);
    }
    if func.is_instance(lookup::METHOD.get(py))? {
        return is_async(&func.getattr(intern!(py, "__func__"))?);
    }
    if func.is_instance(lookup::PARTIAL.get(py))? {
        return is_async(&func.getattr(intern!(py, "func"))?);
    }
    // Any other object that claims to be one, as mocks do, and instances of a class with an async `__call__`.
    let is_one = lookup::IS_COROUTINE_FUNCTION.get(py);
    if is_one.guarded_call1((func,))?.is_truthy()? {
        return Ok(true);
    }
    let called = func.get_type().getattr(intern!(py, "__call__"))?;
    Ok(is_python_function(&called) && is_async(&called)?)
}
