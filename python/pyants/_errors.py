"""The exceptions of pyants. Each also derives from the fitting built-in exception, so that either can be caught."""

from __future__ import annotations


class PoolError(Exception):
    """The base class of all errors of pyants."""

    submitted: int
    """How many tasks were accepted before the error; set only by submit_many() and invoke_many()."""


class PoolClosedError(PoolError, RuntimeError):
    """The pool is closed (ants: ErrPoolClosed)."""


class BrokenPoolError(PoolClosedError):
    """A worker's initializer failed: the pool closed itself or, with retry_initializer, had no worker for the task.

    When a task gets it, its __cause__ is the exception of the initializer.
    """


class PoolOverloadError(PoolError, RuntimeError):
    """The pool is full and the caller may not wait (ants: ErrPoolOverload)."""


class PoolDeadlockError(PoolOverloadError):
    """The call would block for ever, since all workers that could end its wait wait for the pool themselves."""


class PoolTimeoutError(PoolError, TimeoutError):
    """The timeout is over (ants: ErrTimeout)."""


class PoolSpawnError(PoolError, RuntimeError):
    """The operating system refuses to start a thread, and the pool has none alive."""


class InvalidPoolExpiryError(PoolError, ValueError):
    """expiry_duration is not a finite duration of at least 0 (ants: ErrInvalidPoolExpiry)."""


class InvalidPreAllocSizeError(PoolError, ValueError):
    """pre_alloc was requested for an unlimited pool (ants: ErrInvalidPreAllocSize)."""


class LackPoolFuncError(PoolError, TypeError):
    """PoolWithFunc or MultiPoolWithFunc was given no function (ants: ErrLackPoolFunc)."""


class InvalidPoolIndexError(PoolError, IndexError):
    """A MultiPool has no pool with this index (ants: ErrInvalidPoolIndex)."""


class InvalidLoadBalancingStrategyError(PoolError, ValueError):
    """There is no such strategy (ants: ErrInvalidLoadBalancingStrategy)."""


class InvalidMultiPoolSizeError(PoolError, ValueError):
    """The size of a MultiPool is less than 1 (ants: ErrInvalidMultiPoolSize)."""
