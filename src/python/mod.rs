//! The face that the Python package `pyants` shows of the pool. It translates, and schedules nothing.

mod aio;
mod awaitable;
mod base;
mod border;
mod condition;
mod errors;
mod executor;
mod fast;
mod func;
mod future;
mod gil;
mod host;
mod instance;
mod job;
mod known;
mod lifecycle;
mod multi;
mod options;
mod pool;
mod switch;
mod task;
mod wait;

use pyo3::prelude::*;

/// For tests: the next `count` thread starts of the process fail; if negative all of them, until called with 0.
#[pyfunction]
fn _fail_spawns(count: i64) {
    crate::pool::faults::fail_spawns(count);
}

/// The native half of the package `pyants`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<base::Base>()?;
    module.add_class::<pool::Submitter>()?;
    module.add_class::<func::Invoker>()?;
    fast::install(module.py())?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<func::PoolWithFunc>()?;
    module.add_class::<multi::MultiPool>()?;
    module.add_class::<multi::MultiPoolWithFunc>()?;
    module.add_class::<future::Future>()?;
    module.add_class::<executor::Executor>()?;
    module.add_class::<job::Results>()?;
    module.add_class::<aio::AsyncPool>()?;
    module.add_class::<awaitable::Awaitable>()?;
    module.add_class::<aio::Ticket>()?;
    module.add_function(wrap_pyfunction!(_fail_spawns, module)?)?;
    instance::prepare(module.py())?;
    lifecycle::install(module)
}
