//! The native base class of all pools, and what becomes of one that is garbage. Its Python methods are in methods.rs.

use super::front::Front;
use crate::per_process::PerProcess;
use crate::pool::Strategy;
use crate::python::interpreter::call;
use crate::python::interpreter::finalizer::Finalize;
use crate::python::interpreter::fork_count::generation;
use crate::python::values::errors::not_initialised;
use crate::python::values::options::Given;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::OnceLock;

/// The methods that all pools of pyants have in common.
#[pyclass(frozen, subclass, weakref, module = "pyants", name = "_Base")]
#[derive(Default)]
pub struct Base {
    /// Empty until `__init__`.
    front: PerProcess<Front>,
    /// The function of a pool that has one, in a list of one: a method of a subclass leads back to the pool, and
    /// neither it nor a cell that is written once can break that cycle. A list can, when the collector clears it.
    pub(super) func: OnceLock<Py<PyList>>,
}

impl Base {
    /// The body of `__init__`.
    pub fn init(
        &self,
        py: Python<'_>,
        given: Given,
        strategy: Option<(usize, Strategy)>,
        func: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let once = || PyRuntimeError::new_err("a pool is initialised once");
        if self.own_front().is_some() {
            return Err(once());
        }
        let front = Front::new(py, given, strategy)?;
        if let Some(func) = func {
            let _ = self.func.set(PyList::new(py, [func])?.unbind());
        }
        self.front.set(generation(), front).map_err(|_| once())
    }

    /// The pools. A forked child makes them anew on first use: the old ones belong to the parent's threads, which may
    /// hold their locks for ever.
    #[inline]
    pub fn front(&self, py: Python<'_>) -> PyResult<&Front> {
        self.front.get_or_make(generation(), |former| match former {
            Some(former) => former.renewed(py),
            None => Err(not_initialised("pool")),
        })
    }

    /// The pools, unless they are a parent's, which must not be touched.
    pub(super) fn own_front(&self) -> Option<&Front> {
        self.front.get(generation())
    }

    /// The function of a pool that has one.
    pub fn func<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.func
            .get()
            .and_then(|func| func.bind(py).get_item(0).ok())
            .ok_or_else(|| not_initialised("pool"))
    }
}

/// Its native subclasses inherit the finalizer; Python subclasses find `__del__`.
impl Finalize for Base {
    fn finalize(slf: &Bound<'_, Self>) {
        call::aside(|_| Base::let_finish(slf));
    }
}

impl Base {
    /// Closes a pool that can no longer be used, as dropping it does. Its workers still need its hooks: an initializer
    /// for those yet to be started, a handler. So a reference of its own keeps it, with all it refers to, alive until
    /// the last worker leaves; what is garbage then the collector finds again.
    pub(super) fn let_finish(slf: &Bound<'_, Self>) {
        let Some(front) = slf.get().own_front() else {
            return;
        };
        front.release();
        for pool in front.pools() {
            (pool.host()).keep(slf.clone().unbind().into_any(), pool.remains());
            // Keeps the pool, then reads the workers; a worker counts itself out, then reads `kept`.
            pool.host().let_go_as_the_last();
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.front.give_up(generation());
    }
}
