"""Types of what goes into a pool and comes out of it."""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta


class LoadBalancingStrategy(enum.IntEnum):
    """How a MultiPool chooses a pool; the values are those of ants."""

    ROUND_ROBIN = 2
    """One after another."""
    LEAST_TASKS = 4
    """The one with the fewest tasks: running, queued, or waiting to come in; of several the first."""


class PoolStats(NamedTuple):
    """A pool in numbers, taken in one go: submitted == completed + failed + cancelled + queued + busy."""

    capacity: int
    """How many workers there may be; -1 without a limit."""
    running: int
    """Live workers, idle ones included."""
    busy: int
    """Tasks that a worker runs or, with queue_size=0, is on its way to run."""
    idle: int
    """Workers without a task."""
    waiting: int
    """Threads that wait for room."""
    queued: int
    """Accepted tasks that wait for a worker."""
    submitted: int
    """Tasks accepted so far."""
    completed: int
    """Tasks that returned."""
    failed: int
    """Tasks that raised."""
    cancelled: int
    """Accepted tasks that will never run, because a worker's initializer failed."""
    rejected: int
    """Tasks refused by overload, time-out or deadlock."""
    spawned: int
    """Threads started so far."""
    expired: int
    """Workers that left because they were idle for too long."""
    peak_running: int
    """The most workers there ever were at once; of a MultiPool the sum over its pools."""


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
    stack_size: int | None


def report_failures(failures: Iterable[BaseException]) -> None:
    """Logs exceptions that there is nobody to raise to."""
    for error in failures:
        logging.getLogger("pyants").error("exception in a task of a group", exc_info=error)


def give_way() -> None:
    """Does nothing, but as Python: where another thread asks for the interpreter it gets it meanwhile."""
