"""The types of a pool's options and numbers, and what native code calls in Python."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Callable
    from datetime import timedelta


class LoadBalancingStrategy(enum.IntEnum):
    """The rule by which a MultiPool chooses a pool; the values are those of ants."""

    ROUND_ROBIN = 2
    """One after another."""
    LEAST_TASKS = 4
    """The pool with the fewest tasks, running, queued or waiting for a permit; the first if there are several."""


class PoolStats(NamedTuple):
    """A pool in numbers, taken in one go: submitted == completed + failed + cancelled + queued + busy."""

    capacity: int
    """The largest number of workers allowed; -1 for no limit."""
    running: int
    """Live workers, idle ones included."""
    busy: int
    """Tasks that a worker runs or, with queue_size=0, is on its way to run."""
    idle: int
    """Workers without a task."""
    waiting: int
    """Threads that wait for a permit."""
    queued: int
    """Accepted tasks that wait for a worker."""
    submitted: int
    """Tasks accepted so far."""
    completed: int
    """Tasks that returned."""
    failed: int
    """Tasks that raised."""
    cancelled: int
    """Accepted tasks that were withdrawn, or will never run: their initializer failed, or the interpreter exited."""
    rejected: int
    """Tasks refused because of overload, timeout or deadlock."""
    spawned: int
    """Threads started so far."""
    expired: int
    """Workers that left because they were idle for too long."""
    peak_running: int
    """The largest number of workers at any one time; for a MultiPool the sum over its pools."""


class PoolOptions(TypedDict, total=False):
    """The keyword options of every pool; Pool documents them."""

    expiry_duration: float | timedelta
    pre_alloc: bool
    max_blocking_tasks: int
    nonblocking: bool
    panic_handler: Callable[[BaseException], object] | None
    logger: logging.Logger | None
    disable_purge: bool
    queue_size: int | None
    name: str | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    retry_initializer: bool
    stack_size: int | None
    daemon: bool


def wake_loop(loop: asyncio.AbstractEventLoop, fetch: Callable[[], object]) -> None:
    """Has an event loop call fetch; may be called on any thread."""
    loop.call_soon_threadsafe(fetch)


def give_way() -> None:
    """Does nothing, but in Python, so that the interpreter lets another thread run if one asks for the GIL."""
