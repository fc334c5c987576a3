//! `MultiPool` and `MultiPoolWithFunc`: several pools behind one front.

use super::base::Base;
use super::pool::Submitter;
use super::with_func::{Invoker, read_func};
use crate::pool::Pool;
use crate::python::values::{errors, options};
use crate::python::work::host::PyHost;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyTuple};

/// The pool with this index (B88: negative ones do not count from the end).
fn at<'a>(base: &'a Bound<'_, Base>, index: &Bound<'_, PyAny>) -> PyResult<&'a Pool<PyHost>> {
    let pools = base.get().front(base.py())?.pools();
    let number = index.extract::<i128>();
    if number.is_err() && !index.is_instance_of::<PyInt>() {
        return Err(errors::wrong_type("index", "an int", index));
    }
    let number = number.ok().and_then(|number| usize::try_from(number).ok());
    let pool = number.and_then(|number| pools.get(number));
    pool.ok_or_else(|| {
        let allowed = format!("between 0 and {}", pools.len() - 1);
        errors::invalid_index(index.py(), errors::must_be("index", &allowed, index))
    })
}

/// Several pools behind one front: less contention between submitters.
///
/// A task goes to the pool that the strategy chooses or, if that one is full, to another with a permit. If all are
/// full, submit() blocks until one of them has a permit.
///
/// Args:
///     size: The number of pools.
///     capacity_per_pool: The largest number of workers of each pool; 0 or less for no limit.
///     strategy: A LoadBalancingStrategy.
///     **options: Those of Pool, for each of the pools.
#[pyclass(frozen, subclass, extends = Submitter, module = "pyants")]
pub struct MultiPool;

#[pymethods]
impl MultiPool {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(size, capacity_per_pool, strategy=LoadBalancingStrategy.ROUND_ROBIN, **options)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        Submitter::new().add_subclass(MultiPool)
    }

    #[pyo3(signature = (size, capacity_per_pool = options::Argument::MISSING, strategy = None, **options))]
    fn __init__(
        slf: &Bound<'_, Self>,
        size: &Bound<'_, PyAny>,
        capacity_per_pool: options::Argument<'_>,
        strategy: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let strategy = (options::read_size(size)?, options::read_strategy(strategy)?);
        let given = options::read(py, &capacity_per_pool, options)?;
        slf.as_super()
            .as_super()
            .get()
            .init(py, given, Some(strategy), None)
    }

    /// running() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn running_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<u32> {
        Ok(at(slf.as_super().as_super(), index)?.running())
    }

    /// free() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn free_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<i64> {
        Ok(at(slf.as_super().as_super(), index)?.free().unwrap_or(-1))
    }

    /// waiting() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn waiting_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(at(slf.as_super().as_super(), index)?.waiting())
    }

    /// queued() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn queued_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(at(slf.as_super().as_super(), index)?.queued())
    }
}

/// Several pools behind one front, whose workers all call the same function.
///
/// Args:
///     size: The number of pools.
///     capacity_per_pool: The largest number of workers of each pool; 0 or less for no limit.
///     func: The function that every task calls.
///     strategy: A LoadBalancingStrategy.
///     **options: Those of Pool, for each of the pools.
#[pyclass(frozen, subclass, extends = Invoker, module = "pyants")]
pub struct MultiPoolWithFunc;

#[pymethods]
impl MultiPoolWithFunc {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(size, capacity_per_pool, func, strategy=LoadBalancingStrategy.ROUND_ROBIN, **options)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        Invoker::new().add_subclass(MultiPoolWithFunc)
    }

    #[pyo3(signature = (size, capacity_per_pool = options::Argument::MISSING, func = None, strategy = None, **options))]
    fn __init__(
        slf: &Bound<'_, Self>,
        size: &Bound<'_, PyAny>,
        capacity_per_pool: options::Argument<'_>,
        func: Option<&Bound<'_, PyAny>>,
        strategy: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let strategy = (options::read_size(size)?, options::read_strategy(strategy)?);
        let func = read_func(py, func)?;
        let given = options::read(py, &capacity_per_pool, options)?;
        slf.as_super()
            .as_super()
            .get()
            .init(py, given, Some(strategy), Some(func))
    }

    /// running() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn running_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<u32> {
        Ok(at(slf.as_super().as_super(), index)?.running())
    }

    /// free() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn free_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<i64> {
        Ok(at(slf.as_super().as_super(), index)?.free().unwrap_or(-1))
    }

    /// waiting() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn waiting_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(at(slf.as_super().as_super(), index)?.waiting())
    }

    /// queued() of the pool with this index; raises InvalidPoolIndexError if there is none.
    fn queued_by_index(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(at(slf.as_super().as_super(), index)?.queued())
    }
}
