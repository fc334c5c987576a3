//! The attributes of other modules that the bindings use, all looked up at import (those for asyncio: when a
//! pool is made for it). A cell filled on first use could be
//! half filled when another thread forks, and would stay so in the child for ever; so would a module whose import is
//! under way.

use super::call::Guarded;
use pyo3::call::PyCallArgs;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyType};

/// An attribute of a module.
pub struct Lookup(PyOnceLock<Py<PyAny>>);

impl Lookup {
    pub fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.get(py).expect("it was looked up before").bind(py)
    }

    /// Calls it.
    pub fn invoke<'py>(
        &self,
        py: Python<'py>,
        args: impl PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.get(py).guarded_call1(args)
    }

    /// An exception of this class.
    pub fn error<'py>(&self, py: Python<'py>, args: impl PyCallArgs<'py>) -> PyErr {
        self.invoke(py, args)
            .map_or_else(|error| error, PyErr::from_value)
    }
}

macro_rules! lookup {
    ($(#[$doc:meta])* $function:ident $($module:literal { $($cell:ident $name:literal)* })*) => {
        $($(pub static $cell: Lookup = Lookup(PyOnceLock::new());)*)*

        $(#[$doc])*
        pub fn $function(py: Python<'_>) -> PyResult<()> {
            $($($cell.0.import(py, $module, $name)?;)*)*
            Ok(())
        }
    };
}

/// Has PyO3 look up what it uses itself.
pub fn look_up_for_pyo3(py: Python<'_>) -> PyResult<()> {
    // The exception type of a panic, and the types of `datetime`.
    let _ = py.get_type::<PanicException>();
    let _ = PyDelta::new(py, 0, 0, 0, false)?;
    // Imported later, where it is needed; not available on every platform.
    let _ = py.import("resource");
    Ok(())
}

lookup! {
    /// Looks up what calls of asyncio loops need, when the first pool for them is made: most programs do without.
    look_up_for_asyncio
    "asyncio" {
        ASYNCIO_FUTURE "Future"
    }
    "asyncio.exceptions" {
        ASYNCIO_CANCELLED_ERROR "CancelledError"
        ASYNCIO_INVALID_STATE_ERROR "InvalidStateError"
    }
    "functools" {
        PARTIAL "partial"
    }
    "inspect" {
        IS_COROUTINE_FUNCTION "iscoroutinefunction"
    }
    "types" {
        METHOD "MethodType"
    }
}

lookup! {
    /// Looks up what is needed from the import on.
    look_up
    "pyants._errors" {
        POOL_CLOSED_ERROR "PoolClosedError"
        BROKEN_POOL_ERROR "BrokenPoolError"
        POOL_OVERLOAD_ERROR "PoolOverloadError"
        POOL_DEADLOCK_ERROR "PoolDeadlockError"
        POOL_TIMEOUT_ERROR "PoolTimeoutError"
        POOL_SPAWN_ERROR "PoolSpawnError"
        INVALID_POOL_EXPIRY_ERROR "InvalidPoolExpiryError"
        INVALID_PRE_ALLOC_SIZE_ERROR "InvalidPreAllocSizeError"
        INVALID_POOL_INDEX_ERROR "InvalidPoolIndexError"
        INVALID_LOAD_BALANCING_STRATEGY_ERROR "InvalidLoadBalancingStrategyError"
        INVALID_MULTI_POOL_SIZE_ERROR "InvalidMultiPoolSizeError"
        LACK_POOL_FUNC_ERROR "LackPoolFuncError"
    }
    "pyants._types" {
        GIVE_WAY "give_way"
        WAKE_LOOP "wake_loop"
        LOAD_BALANCING_STRATEGY "LoadBalancingStrategy"
        POOL_STATS "PoolStats"
    }
    "collections" {
        DEQUE "deque"
    }
    "concurrent.futures" {
        CANCELLED_ERROR "CancelledError"
        INVALID_STATE_ERROR "InvalidStateError"
    }
    "concurrent.futures.thread" {
        BROKEN_THREAD_POOL "BrokenThreadPool"
        THREAD_POOL_EXECUTOR "ThreadPoolExecutor"
    }
    "logging" {
        GET_LOGGER "getLogger"
    }
    "operator" {
        INDEX "index"
    }
    "sys" {
        GET_OWN_PROFILE "getprofile"
        GET_OWN_TRACE "gettrace"
        GET_SWITCH_INTERVAL "getswitchinterval"
        SET_PROFILE "setprofile"
        SET_TRACE "settrace"
    }
    "pyants._threads" {
        ACTIVE_THREADS "active"
        AT_EXIT "at_exit"
        END_CHILD "end_child"
        MAKE_THREAD "make"
        THREADING "threading"
    }
    "threading" {
        CONDITION "Condition"
        GET_PROFILE "getprofile"
        GET_TRACE "gettrace"
        STACK_SIZE "stack_size"
    }
    "types" {
        GENERIC_ALIAS "GenericAlias"
    }
}

/// `class[item]`, for annotations.
pub fn generic_alias<'py>(
    class: &Bound<'py, PyType>,
    item: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    GENERIC_ALIAS.invoke(class.py(), (class, item))
}
