//! `PoolWithFunc`: one function, many arguments; and what it shares with `MultiPoolWithFunc`.

use super::base::{Base, Wait};
use crate::python::interpreter::lookup;
use crate::python::values::errors::{self, accepted};
use crate::python::values::options;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

/// The methods of the pools with one function for all tasks.
#[pyclass(frozen, subclass, extends = Base, module = "pyants", name = "_Invoker")]
pub struct Invoker;

impl Invoker {
    pub fn new() -> PyClassInitializer<Self> {
        PyClassInitializer::from(Base::default()).add_subclass(Invoker)
    }
}

#[pymethods]
impl Invoker {
    // `invoke` is in fastcall.rs.

    /// As invoke(), but never blocks; returns False if the pool is overloaded.
    #[pyo3(signature = (*args, **kwargs))]
    fn try_invoke(
        slf: &Bound<'_, Self>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let (py, base) = (slf.py(), slf.as_super().get());
        accepted(py, base.invoke(py, args, kwargs, Wait::No))
    }

    /// As invoke(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError.
    #[pyo3(signature = (timeout, /, *args, **kwargs))]
    fn invoke_within(
        slf: &Bound<'_, Self>,
        timeout: &Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let (py, wait) = (slf.py(), Wait::Up(Some(options::read_timeout(timeout)?)));
        let result = slf.as_super().get().invoke(py, args, kwargs, wait);
        result.map_err(|refusal| refusal.into_exception(py))
    }

    /// Submits func(item) for each item of iterable; blocks as invoke() does.
    ///
    /// The iterable is read lazily: each item only when the one before was accepted.
    ///
    /// Returns:
    ///     The number of tasks.
    ///
    /// Raises:
    ///     PoolError: As from invoke(); its attribute submitted is the number of tasks accepted before.
    #[pyo3(signature = (iterable, /))]
    fn invoke_many(slf: &Bound<'_, Self>, iterable: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = slf.py();
        let base = slf.as_super().get();
        base.submit_many(py, &base.func(py)?, iterable)
    }

    /// The function that every task calls.
    #[getter]
    fn func(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        Ok(slf.as_super().get().func(py)?.unbind())
    }

    /// For annotations: PoolWithFunc[P] and MultiPoolWithFunc[P] know the parameters of their function.
    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lookup::generic_alias(class, item)
    }
}

/// The function of a pool, which is checked before its options (B8).
pub fn read_func(py: Python<'_>, func: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    match func.filter(|func| !func.is_none()) {
        None => Err(errors::lack_func(
            py,
            "func must be callable: a pool with a function needs one, not None",
        )),
        Some(func) if !func.is_callable() => Err(errors::wrong_type("func", "callable", func)),
        Some(func) => Ok(func.clone().unbind()),
    }
}

/// A pool of worker threads that all call the same function.
///
/// Args:
///     capacity: The largest number of workers; 0 or less for no limit.
///     func: The function that every task calls.
///     **options: Those of Pool.
#[pyclass(frozen, subclass, extends = Invoker, module = "pyants")]
pub struct PoolWithFunc;

#[pymethods]
impl PoolWithFunc {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(capacity, func, **options)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        Invoker::new().add_subclass(PoolWithFunc)
    }

    #[pyo3(signature = (capacity = options::Argument::MISSING, func = None, **options))]
    fn __init__(
        slf: &Bound<'_, Self>,
        capacity: options::Argument<'_>,
        func: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let func = read_func(py, func)?;
        slf.as_super().as_super().get().init(
            py,
            options::read(py, &capacity, options)?,
            None,
            Some(func),
        )
    }
}
