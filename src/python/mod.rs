//! The face that the Python package `pyants` shows of the pool. It translates, and schedules nothing.

mod arguments;
mod async_pool;
mod awaitable;
mod base;
mod bells;
mod border;
mod call;
mod condition;
mod context;
mod errors;
mod executor;
mod exit;
mod fast;
mod feed;
mod func;
mod future;
mod gil;
mod hooks;
mod host;
mod instance;
mod job;
mod known;
mod mailbox;
mod multi;
mod options;
mod patch;
mod pool;
mod process;
mod reporter;
mod scope;
mod switch;
mod task;
mod threads;
mod wait;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// For tests: the next `count` thread starts of the process fail; if negative all of them, until called with 0.
#[pyfunction]
fn _fail_spawns(count: i64) {
    crate::pool::faults::fail_spawns(count);
}

/// The modules of the package, for whoever imports it again: see `pyants._interpreter`.
static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The native half of the package `pyants`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    exit::refuse_other_interpreters()?;
    module.add_class::<base::Base>()?;
    base::install(module.py());
    module.add_class::<pool::Submitter>()?;
    module.add_class::<func::Invoker>()?;
    patch::install(module.py())?;
    fast::install(module.py())?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<func::PoolWithFunc>()?;
    module.add_class::<multi::MultiPool>()?;
    module.add_class::<multi::MultiPoolWithFunc>()?;
    module.add_class::<future::Future>()?;
    module.add_class::<executor::Executor>()?;
    module.add_class::<feed::Feed>()?;
    module.add_class::<job::Results>()?;
    module.add_class::<async_pool::AsyncPool>()?;
    module.add_class::<awaitable::Awaitable>()?;
    module.add_class::<async_pool::Ticket>()?;
    module.add_class::<threads::Exit>()?;
    module.add_function(wrap_pyfunction!(_fail_spawns, module)?)?;
    let modules = MODULES.get_or_init(module.py(), || PyDict::new(module.py()).unbind());
    module.add("_modules", modules)?;
    module.add_function(wrap_pyfunction!(threads::_wait_ended, module)?)?;
    future::prepare(module.py())?;
    exit::install(module)
}
