"""The types of a pool's options and numbers, and helpers that more than one module uses."""

from __future__ import annotations

import enum
import logging
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from datetime import timedelta

# Iterating over these runs no Python code.
BUILT_IN = frozenset({list, tuple, range, str, bytes, bytearray, dict, set, frozenset})


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


def report_failures(failures: Iterable[BaseException]) -> None:
    """Logs exceptions that have no caller to be raised to."""
    for error in failures:
        logging.getLogger("pyants").error("exception in a task of a group", exc_info=error)


def is_base_error(error: BaseException) -> bool:
    """Whether the exception ends programs: a group raises it as it is, as asyncio.TaskGroup does."""
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def is_told_to_end(error: BaseException | None) -> bool:
    """Whether a block that raises this has not failed: its generator is closed, or its asyncio task cancelled."""
    if isinstance(error, GeneratorExit):
        return True
    asyncio = sys.modules.get("asyncio.exceptions")  # Without the module there are no asyncio tasks.
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def raise_group(failures: list[BaseException], count: int, *by_block: BaseException | None) -> None:
    """Raises the failures of count calls and the exceptions of the group's block as one group, if there are any."""
    own = [e for e in by_block if e is not None and not is_told_to_end(e) and not _is_made_of(e, failures)]
    by_calls = f"{len(failures)} of {count} tasks"
    if not own:
        message = f"{by_calls} failed"
    else:
        message = f"{by_calls} and the group's block failed" if failures else "the group's block failed"
    together = [*failures, *own]
    if not together:
        return
    try:
        raise BaseExceptionGroup(message, together) from None
    finally:
        del failures, by_block, own, together  # The group's traceback would keep the group alive.


def _is_made_of(error: BaseException, failures: list[BaseException]) -> bool:
    """Whether the block only passes on the calls' exceptions: one of them, or a group of nothing else."""
    if any(error is failure for failure in failures):
        return True
    if not isinstance(error, BaseExceptionGroup):
        return False
    parts: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return all(_is_made_of(part, failures) for part in parts)


def wake_loop(loop: asyncio.AbstractEventLoop, fetch: Callable[[], object]) -> None:
    """Has an event loop call fetch; may be called on any thread."""
    loop.call_soon_threadsafe(fetch)


def give_way() -> None:
    """Does nothing, but in Python, so that the interpreter lets another thread run if one asks for the GIL."""
