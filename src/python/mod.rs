//! The Python face of the pool: what the package `pyants` is built on. It translates, and schedules nothing.

mod faces;
mod interpreter;
mod values;
mod work;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// For tests: the next `count` thread starts of the process fail; if negative, all until called with 0.
#[pyfunction]
fn _fail_spawns(count: i64) {
    crate::pool::internal::faults::fail_spawns(count);
}

/// The modules of the package, for a second import: see `pyants._interpreter`.
static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The native half of the package `pyants`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    interpreter::exit::refuse_other_interpreters()?;
    module.add_class::<faces::base::Base>()?;
    faces::base::install(module.py());
    module.add_class::<faces::pool::Submitter>()?;
    module.add_class::<faces::func::Invoker>()?;
    faces::patch::install(module.py())?;
    faces::fastcall::install(module.py())?;
    module.add_class::<faces::pool::Pool>()?;
    module.add_class::<faces::func::PoolWithFunc>()?;
    module.add_class::<faces::multi::MultiPool>()?;
    module.add_class::<faces::multi::MultiPoolWithFunc>()?;
    module.add_class::<work::future::Future>()?;
    module.add_class::<faces::executor::Executor>()?;
    module.add_class::<faces::feed::Feed>()?;
    module.add_class::<work::job::Results>()?;
    module.add_class::<faces::async_pool::AsyncPool>()?;
    module.add_class::<work::awaitable::Awaitable>()?;
    module.add_class::<faces::async_pool::Ticket>()?;
    module.add_class::<interpreter::threads::Exit>()?;
    module.add_function(wrap_pyfunction!(_fail_spawns, module)?)?;
    let modules = MODULES.get_or_init(module.py(), || PyDict::new(module.py()).unbind());
    module.add("_modules", modules)?;
    module.add_function(wrap_pyfunction!(interpreter::threads::_wait_ended, module)?)?;
    work::future::prepare(module.py())?;
    interpreter::exit::install(module)
}
