"""A worker pool in the manner of Go's ants, on a Rust core.

A pool has a capacity. Worker threads are started on demand up to the capacity, reused, and leave when they have been
idle for too long. Submitting to a full pool blocks, or is refused. The capacity can be tuned while the pool runs.

    import pyants

    with pyants.Pool(10) as pool:
        for name in names:
            pool.submit(handle, name)
"""

import sys
from typing import TYPE_CHECKING, Any

from pyants import _interpreter  # First: it may refuse the import, or find the modules of an earlier one.

# isort: split
from pyants import _methods
from pyants._core import AsyncCall, MultiPool, MultiPoolWithFunc, Pool, PoolWithFunc
from pyants._default import (
    DEFAULT_CAPACITY,
    DEFAULT_EXPIRY_DURATION,
    cap,
    default_pool,
    free,
    reboot,
    release,
    release_timeout,
    running,
    stats,
    submit,
    try_submit,
    tune,
    wait_idle,
    waiting,
)
from pyants._errors import (
    BrokenPoolError,
    InvalidLoadBalancingStrategyError,
    InvalidMultiPoolSizeError,
    InvalidPoolExpiryError,
    InvalidPoolIndexError,
    InvalidPreAllocSizeError,
    LackPoolFuncError,
    PoolClosedError,
    PoolDeadlockError,
    PoolError,
    PoolOverloadError,
    PoolSpawnError,
    PoolTimeoutError,
)
from pyants._executor import PoolExecutor
from pyants._future import Future
from pyants._group import FuncTaskGroup, TaskGroup
from pyants._types import LoadBalancingStrategy, PoolOptions, PoolStats

if TYPE_CHECKING:
    from pyants._aio import AsyncPool, AsyncTaskGroup

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_CAPACITY",
    "DEFAULT_EXPIRY_DURATION",
    "AsyncCall",
    "AsyncPool",
    "AsyncTaskGroup",
    "BrokenPoolError",
    "FuncTaskGroup",
    "Future",
    "InvalidLoadBalancingStrategyError",
    "InvalidMultiPoolSizeError",
    "InvalidPoolExpiryError",
    "InvalidPoolIndexError",
    "InvalidPreAllocSizeError",
    "LackPoolFuncError",
    "LoadBalancingStrategy",
    "MultiPool",
    "MultiPoolWithFunc",
    "Pool",
    "PoolClosedError",
    "PoolDeadlockError",
    "PoolError",
    "PoolExecutor",
    "PoolOptions",
    "PoolOverloadError",
    "PoolSpawnError",
    "PoolStats",
    "PoolTimeoutError",
    "PoolWithFunc",
    "TaskGroup",
    "cap",
    "default_pool",
    "free",
    "reboot",
    "release",
    "release_timeout",
    "running",
    "stats",
    "submit",
    "try_submit",
    "tune",
    "wait_idle",
    "waiting",
]


_LAZY = ("AsyncPool", "AsyncTaskGroup")


def __getattr__(name: str) -> Any:
    """Imports the names that need asyncio on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pyants import _aio

    _interpreter.keep(sys.modules[__name__])
    for lazy in _LAZY:
        globals()[lazy] = _publish(getattr(_aio, lazy))
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _publish(value: Any) -> Any:
    """Gives a public class its public name, for messages, tracebacks and pickles."""
    if isinstance(value, type):
        value.__module__ = __name__
    return value


for _name in __all__:
    if _name not in _LAZY:
        _publish(globals()[_name])
_methods.install()
_interpreter.keep(sys.modules[__name__])
