//! A submitted call.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyTuple};

/// A callable and what it is to be called with.
pub struct Task {
    pub func: Py<PyAny>,
    arguments: Arguments,
}

enum Arguments {
    None,
    One(Py<PyAny>),
    Positional(Py<PyTuple>),
    All(Py<PyTuple>, Py<PyDict>),
}

impl Task {
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
        Task { func, arguments }
    }

    /// `func()`.
    pub fn none(func: Py<PyAny>) -> Self {
        let arguments = Arguments::None;
        Task { func, arguments }
    }

    /// `func(argument)`.
    pub fn one(func: Py<PyAny>, argument: Py<PyAny>) -> Self {
        Task {
            func,
            arguments: Arguments::One(argument),
        }
    }

    /// Calls the callable and lets go of everything but it.
    pub fn call<'py>(self, py: Python<'py>) -> (Bound<'py, PyAny>, PyResult<()>) {
        let func = self.func.into_bound(py);
        let result = match self.arguments {
            Arguments::None => func.call0(),
            Arguments::One(argument) => func.call1((argument,)),
            Arguments::Positional(args) => func.call1(args.bind(py)),
            Arguments::All(args, kwargs) => func.call(args.bind(py), Some(kwargs.bind(py))),
        };
        (func, result.map(drop))
    }
}

/// Calls of this callable go through the interpreter's loop, which lets other threads in by itself.
pub fn is_python_function(func: &Bound<'_, PyAny>) -> bool {
    func.is_exact_instance_of::<PyFunction>()
}
