//! Whether a callable is an async function, which no worker could await.

use super::arguments::is_python_function;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::lookup;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyType};
use pyo3::{Borrowed, intern};

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
