"""The exceptions of pyants. Each also derives from the built-in exception that fits, so that either can be caught."""

from __future__ import annotations


class PoolError(Exception):
    """The root of all errors of pyants."""

    submitted: int
    """How many tasks were accepted before; set by submit_many() and invoke_many() only."""


class PoolClosedError(PoolError, RuntimeError):
    """The pool is closed (ants: ErrPoolClosed)."""


class BrokenPoolError(PoolClosedError):
    """A worker's initializer failed: the pool closed itself or, with retry_initializer, had no other for the task.

    Where it is a task's, its __cause__ is what the initializer raised.
    """


class PoolOverloadError(PoolError, RuntimeError):
    """The pool is full and the caller may not wait (ants: ErrPoolOverload)."""


class PoolDeadlockError(PoolOverloadError):
    """The call would wait for ever, for workers that all wait for the pool themselves."""


class PoolTimeoutError(PoolError, TimeoutError):
    """The time ran out (ants: ErrTimeout)."""


class PoolSpawnError(PoolError, RuntimeError):
    """The operating system gives no thread, and the pool has none alive."""


class InvalidPoolExpiryError(PoolError, ValueError):
    """expiry_duration is no finite duration of at least 0 (ants: ErrInvalidPoolExpiry)."""


class InvalidPreAllocSizeError(PoolError, ValueError):
    """pre_alloc was asked of an unlimited pool (ants: ErrInvalidPreAllocSize)."""


class LackPoolFuncError(PoolError, TypeError):
    """A pool with a function was given none (ants: ErrLackPoolFunc)."""


class InvalidPoolIndexError(PoolError, IndexError):
    """A MultiPool has no pool with this index (ants: ErrInvalidPoolIndex)."""


class InvalidLoadBalancingStrategyError(PoolError, ValueError):
    """There is no such strategy (ants: ErrInvalidLoadBalancingStrategy)."""


class InvalidMultiPoolSizeError(PoolError, ValueError):
    """A MultiPool was to have no pools (ants: ErrInvalidMultiPoolSize)."""
