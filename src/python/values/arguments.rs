//! A callable with the arguments of a call that is yet to be made.

use crate::python::interpreter::call::Guarded;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

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
