//! A pool that is garbage: its finalizer, and what the collector sees of it.

use super::class::Base;
use crate::python::interpreter::call;
use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Installs the finalizer, which PyO3 cannot declare, in the class. Its native subclasses inherit it (Python subclasses
/// find `__del__`), so this must be called before there are any.
pub fn install(py: Python<'_>) {
    let class = Base::type_object(py).as_type_ptr();
    let finalize = call::finalizer!(Base, |pool| {
        call::aside(|_| Base::let_finish(pool));
    });
    // SAFETY: the type lives as long as the interpreter, and has no instances or subclasses yet. Nothing else writes
    // its slots: one thread initialises the module.
    unsafe { (*class).tp_finalize = Some(finalize) };
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

    pub(super) fn func_for_gc(&self) -> Option<&Py<PyList>> {
        // SAFETY: no token is needed to read a cell that is written once; traversal runs while the thread is attached,
        // but PyO3 hands out no token for it.
        self.func.get(unsafe { Python::assume_attached() })
    }
}
