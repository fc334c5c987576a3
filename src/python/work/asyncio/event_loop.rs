//! A loop, held weakly: a pool would otherwise keep alive the last loop that used it. A call that waits for its result
//! keeps its loop alive.

use crate::python::interpreter::call::Guarded;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

pub(super) struct EventLoop {
    reference: Py<PyWeakrefReference>,
    /// The address of the loop object.
    address: usize,
}

/// What a loop has to do next.
pub(super) enum Ready {
    Nothing,
    Something,
    /// The loop does not show it.
    Unknown,
}

impl EventLoop {
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(EventLoop {
            reference: PyWeakrefReference::new(event_loop)?.unbind(),
            address: event_loop.as_ptr() as usize,
        })
    }

    /// The loop; an error if it is gone.
    pub(super) fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.reference.bind(py).upgrade();
        event_loop.ok_or_else(|| PyRuntimeError::new_err("the loop is gone"))
    }

    /// Whether this loop is, or was, at the address of that one.
    pub(super) fn is_at(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.address == event_loop.as_ptr() as usize
    }

    /// Whether it is that loop, and not a former one at the same address.
    pub(super) fn is(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        let own = self.reference.bind(event_loop.py()).upgrade();
        own.is_some_and(|own| own.is(event_loop))
    }

    /// Whether the loop is closed or gone and runs no more callbacks.
    pub(super) fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        match self.reference.bind(py).upgrade() {
            None => Ok(true),
            Some(event_loop) => event_loop
                .guarded_method0(intern!(py, "is_closed"))?
                .is_truthy(),
        }
    }

    pub(super) fn call_soon<'py>(
        &self,
        py: Python<'py>,
        callback: impl IntoPyObject<'py>,
    ) -> PyResult<()> {
        self.get(py)?
            .guarded_method1(intern!(py, "call_soon"), (callback,))
            .map(drop)
    }

    /// In debug mode a loop reports slow callbacks by their handles, so each callback needs its own.
    pub(super) fn is_debugged(&self, py: Python<'_>) -> bool {
        self.get(py)
            .and_then(|event_loop| event_loop.guarded_method0(intern!(py, "get_debug")))
            .and_then(|debug| debug.is_truthy())
            .unwrap_or(false)
    }

    pub(super) fn ready(&self, py: Python<'_>) -> PyResult<Ready> {
        Ok(match self.get(py)?.getattr_opt(intern!(py, "_ready"))? {
            Some(ready) if ready.is_truthy()? => Ready::Something,
            Some(_) => Ready::Nothing,
            None => Ready::Unknown,
        })
    }

    /// Whether the loop runs its ready callbacks as asyncio's own loops do, so that `ready` says whether there are any.
    pub(super) fn is_asyncios_own(&self, py: Python<'_>) -> PyResult<bool> {
        // These are private names of asyncio: a loop without them is treated as any other.
        let run_once = intern!(py, "_run_once");
        let asyncio = py.import(intern!(py, "asyncio"))?;
        let Some(base) = asyncio.getattr_opt(intern!(py, "BaseEventLoop"))? else {
            return Ok(false);
        };
        let event_loop = self.get(py)?;
        let base = base.getattr_opt(run_once)?;
        let own = event_loop.get_type().getattr_opt(run_once)?;
        let goes_by_it = own.zip(base).is_some_and(|(own, base)| own.is(&base));
        Ok(goes_by_it && event_loop.hasattr(intern!(py, "_ready"))?)
    }
}
