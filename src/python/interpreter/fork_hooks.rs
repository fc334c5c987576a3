//! The hooks that the interpreter calls when the process forks.

use super::call::Guarded;
use super::fork_count;
use super::fork_guard;
use super::thread_id;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

/// Before a fork, on the thread that forks: waits until no worker is partly registered with the interpreter.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    fork_guard::close(py);
}

#[pyfunction]
fn after_fork_in_parent() {
    fork_guard::open();
}

/// In a forked child: the parent's threads do not exist here, and its locks must not be touched.
#[pyfunction]
fn after_fork_in_child() {
    fork_count::begin_child();
    thread_id::begin_child();
    crate::pool::internal::forget_process();
}

/// Registers the hooks with the interpreter.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let hooks = [
            ("before", wrap_pyfunction!(before_fork, module)?),
            (
                "after_in_parent",
                wrap_pyfunction!(after_fork_in_parent, module)?,
            ),
            (
                "after_in_child",
                wrap_pyfunction!(after_fork_in_child, module)?,
            ),
        ];
        os.guarded_method("register_at_fork", (), &hooks.into_py_dict(py)?)?;
    }
    Ok(())
}
