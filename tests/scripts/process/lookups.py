"""Uses a bit of everything in pyants, and prints the modules that were imported only then."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pyants
from pyants import _core

if TYPE_CHECKING:
    from collections.abc import Callable

# Code that looked up a class in these only now would get another one than the package has.
del sys.modules["pyants._errors"], sys.modules["pyants._types"]
# Logging imports modules when it formats its first exception, for any program.
import logging  # noqa: E402

try:
    raise ValueError
except ValueError:
    assert logging.lastResort is not None
    logging.lastResort.handle(logging.LogRecord("", logging.ERROR, "", 1, "before", None, sys.exc_info()))
modules = set(sys.modules)


def raises(error: type[Exception], call: Callable[..., object], *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except Exception as raised:
        assert type(raised) is error, (type(raised), raised)  # noqa: PT017
    else:
        raise AssertionError(error)


lock = threading.Lock()
lock.acquire()
pool = pyants.Pool(1, queue_size=1, expiry_duration=0.01)
multi = pyants.MultiPool(1, 1, pyants.LoadBalancingStrategy.LEAST_TASKS, nonblocking=True)
assert type(pool.stats()) is pyants.PoolStats
_ = pyants.PoolWithFunc[[int]]
multi.submit(raises, pyants.PoolDeadlockError, multi.wait_idle)
assert multi.wait_idle(10)
multi.submit(lock.acquire, timeout=30)
raises(pyants.PoolOverloadError, multi.submit, int)
raises(pyants.PoolTimeoutError, multi.release_timeout, 0)
raises(pyants.PoolClosedError, multi.submit, int)
raises(pyants.InvalidPoolIndexError, multi.running_by_index, 1)
raises(pyants.InvalidPoolExpiryError, pyants.Pool, 1, expiry_duration=-1)
raises(pyants.InvalidPreAllocSizeError, pyants.Pool, -1, pre_alloc=True)
raises(pyants.InvalidMultiPoolSizeError, pyants.MultiPool, 0, 1)
raises(pyants.InvalidLoadBalancingStrategyError, pyants.MultiPool, 1, 1, 3)
raises(pyants.LackPoolFuncError, pyants.PoolWithFunc, 1, None)
lock.release()
pool.submit(int, "x")  # The exception is logged.
assert pool.wait_idle(10)
broken = pyants.Pool(1, initializer=int, initargs=("x",))
broken.submit(int)
assert broken.wait_idle(10)
raises(pyants.BrokenPoolError, broken.submit, int)
_core._fail_spawns(-1)
raises(pyants.PoolSpawnError, pyants.Pool(1).submit, int)
_core._fail_spawns(0)
print(sorted(set(sys.modules) - modules))
