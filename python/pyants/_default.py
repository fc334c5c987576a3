"""The default pool of the process, and ants' package-level functions that act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, ParamSpec

from pyants._core import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from pyants._types import PoolStats

_P = ParamSpec("_P")

DEFAULT_CAPACITY: Final = 1024
"""The capacity of the default pool until tune() changes it."""
DEFAULT_EXPIRY_DURATION: Final = 1.0
"""The default of expiry_duration: seconds after which an idle worker leaves."""

_pools: dict[int, Pool] = {}


def default_pool() -> Pool:
    """Returns the pool behind the module-level functions, which is created on first use."""
    try:
        return _pools[0]
    except KeyError:
        # Without a lock, which a forked child could find locked: of several threads the first one's pool stays.
        return _pools.setdefault(0, Pool(DEFAULT_CAPACITY, name="pyants"))


def submit(fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
    """Pool.submit() of the default pool."""
    default_pool().submit(fn, *args, **kwargs)


def try_submit(fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
    """Pool.try_submit() of the default pool."""
    return default_pool().try_submit(fn, *args, **kwargs)


def running() -> int:
    """Pool.running() of the default pool."""
    return default_pool().running()


def free() -> int:
    """Pool.free() of the default pool."""
    return default_pool().free()


def waiting() -> int:
    """Pool.waiting() of the default pool."""
    return default_pool().waiting()


def cap() -> int:
    """Pool.cap() of the default pool: DEFAULT_CAPACITY until tune() changes it."""
    return default_pool().cap()


def tune(capacity: int) -> None:
    """Pool.tune() of the default pool."""
    default_pool().tune(capacity)


def release() -> None:
    """Pool.release() of the default pool, which stays closed, for the whole process, until reboot()."""
    default_pool().release()


def release_timeout(timeout: float | timedelta) -> None:
    """Pool.release_timeout() of the default pool, which stays closed, for the whole process, until reboot()."""
    default_pool().release_timeout(timeout)


def reboot() -> None:
    """Pool.reboot() of the default pool."""
    default_pool().reboot()


def wait_idle(timeout: float | timedelta | None = None) -> bool:
    """Pool.wait_idle() of the default pool."""
    return default_pool().wait_idle(timeout)


def stats() -> PoolStats:
    """Pool.stats() of the default pool."""
    return default_pool().stats()
