//! The end of a with block of a `TaskGroup`.

use crate::python::interpreter::call::Guarded;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The native half of `pyants.TaskGroup`: the end of its block.
///
/// A signal handler may raise as a function of Python begins, before its first statement: an `__exit__` of Python would
/// then have done nothing.
#[pyclass(frozen, subclass, module = "pyants", name = "_Block")]
pub struct Block;

#[pymethods]
impl Block {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Block
    }

    /// Calls _leave(exc_value); and again, with the exception of a signal handler that kept it from beginning.
    fn __exit__(
        slf: &Bound<'_, Self>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_type, traceback);
        let py = slf.py();
        let leave = intern!(py, "_leave");
        let Err(raised) = slf.as_any().guarded_method1(leave, (exc_value,)) else {
            return Ok(());
        };
        // Set once it has waited for the calls.
        if slf.getattr(intern!(py, "_left"))?.is_truthy()? {
            return Err(raised);
        }
        let again = (exc_value, raised.value(py));
        slf.as_any().guarded_method1(leave, again).map(drop)
    }
}
