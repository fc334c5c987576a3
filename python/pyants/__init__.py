"""A worker pool in the manner of Go's ants, on a Rust core.

A pool has a capacity. Worker threads are started on demand up to it, used again, and leave when they have been idle for
too long; who submits to a full pool waits, or is refused. The capacity can be tuned while the pool runs.

    import pyants

    with pyants.Pool(10) as pool:
        for name in names:
            pool.submit(handle, name)
"""

from pyants import _many
from pyants._core import MultiPool, MultiPoolWithFunc, Pool, PoolWithFunc
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
from pyants._types import LoadBalancingStrategy, PoolOptions, PoolStats

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_CAPACITY",
    "DEFAULT_EXPIRY_DURATION",
    "BrokenPoolError",
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
    "PoolOptions",
    "PoolOverloadError",
    "PoolSpawnError",
    "PoolStats",
    "PoolTimeoutError",
    "PoolWithFunc",
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


def _name_publicly() -> None:
    """What is public is known by its public name: in messages, in tracebacks, and when pickled."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type):
            value.__module__ = __name__


_name_publicly()
_many.install()
