//! The Python face of the pool: what the package `pyants` is built on. It translates, and schedules nothing.

mod faces;
mod interpreter;
mod values;
mod work;

use interpreter::call::Guarded;
use interpreter::finalizer::Finalize;
use interpreter::fork_count;
use interpreter::threading;
use pyo3::exceptions::PyImportError;
use pyo3::ffi;
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

/// Refuses other interpreters than the main one, which owns this crate's statics. `pyants._interpreter` does so first.
fn refuse_other_interpreters() -> PyResult<()> {
    // SAFETY: this thread is attached, as it runs the module's initialisation.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if is_main {
        Ok(())
    } else {
        Err(PyImportError::new_err(
            "pyants works in the main interpreter only",
        ))
    }
}

/// Refuses a Python that was finalized and initialised again in this process: the classes and hooks are the first one's.
fn refuse_another_initialisation(py: Python<'_>) -> PyResult<()> {
    static SYS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let sys = py.import("sys")?;
    if SYS.get_or_init(py, || sys.clone().unbind()).is(&sys) {
        Ok(())
    } else {
        Err(PyImportError::new_err(
            "pyants cannot be imported once Python has been finalized and initialized again in the same process",
        ))
    }
}

/// Registers the hooks with the interpreter, once: a module imported again, after it was removed from `sys.modules`,
/// serves the same pools.
fn prepare_interpreter(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    static IS_PREPARED: PyOnceLock<()> = PyOnceLock::new();
    if IS_PREPARED.get(py).is_some() {
        return Ok(());
    }
    interpreter::lookup::look_up(py)?;
    interpreter::lookup::look_up_for_pyo3(py)?;
    interpreter::contextvars::read_flags(py)?;
    let _ = IS_PREPARED.set(py, ());
    let main_thread = py.import("threading")?.guarded_method0("main_thread")?;
    interpreter::thread_id::know_main_thread(&main_thread)?;
    interpreter::exit::install(module)?;
    interpreter::fork_guard::install(module)
}

/// The native half of the package `pyants`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_other_interpreters()?;
    refuse_another_initialisation(module.py())?;
    module.add_class::<faces::base::Base>()?;
    // SAFETY: one thread initialises the module; the first time no pool has been made, and the subclasses come below.
    unsafe { faces::base::Base::install_finalizer(module.py()) };
    module.add_class::<faces::pool::Submitter>()?;
    module.add_class::<faces::with_func::Invoker>()?;
    faces::patched_submit::install(module.py())?;
    faces::fastcall::install(module.py())?;
    work::future::install(module.py())?;
    module.add_class::<faces::pool::Pool>()?;
    module.add_class::<faces::with_func::PoolWithFunc>()?;
    module.add_class::<faces::multi::MultiPool>()?;
    module.add_class::<faces::multi::MultiPoolWithFunc>()?;
    module.add_class::<work::future::Future>()?;
    module.add_class::<faces::block::Block>()?;
    module.add_class::<faces::executor::Executor>()?;
    module.add_class::<faces::map_feed::Feed>()?;
    module.add_class::<work::map::Results>()?;
    module.add_class::<faces::async_pool::AsyncPool>()?;
    module.add_class::<work::asyncio::AsyncCall>()?;
    module.add_class::<faces::async_pool::Ticket>()?;
    module.add_class::<threading::Exit>()?;
    module.add_function(wrap_pyfunction!(_fail_spawns, module)?)?;
    let modules = MODULES.get_or_init(module.py(), || PyDict::new(module.py()).unbind());
    module.add("_modules", modules)?;
    module.add_function(wrap_pyfunction!(threading::_wait_ended, module)?)?;
    module.add_function(wrap_pyfunction!(fork_count::_fork_count, module)?)?;
    work::future::prepare(module.py())?;
    prepare_interpreter(module)
}
