"""What holds of a pool after anything that was done to it, for tests/scripts/abuse and the fuzzing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from support import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exception, or those in the group."""
    if isinstance(error, BaseExceptionGroup):
        parts: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        for part in parts:
            yield from leaves(part)
    else:
        yield error


def at_rest(pool: Any) -> bool:
    stats = pool.stats()
    ended = stats.completed + stats.failed + stats.cancelled
    return bool(stats.submitted == ended and (stats.busy, stats.queued, stats.waiting) == (0, 0, 0))


def wait_at_rest(pool: Any) -> None:
    wait_until(lambda: at_rest(pool), f"rest of {pool!r}")


def check_works(pool: Any) -> None:
    """The pool takes tasks, its counters add up, and no worker outlives its release, which waits for all of them."""
    pool.reboot()
    done = threading.Event()
    if hasattr(pool, "invoke"):
        wait_until(lambda: bool(pool.try_invoke(1)), f"a permit of {pool!r}")
    else:
        wait_until(lambda: bool(pool.try_submit(done.set)), f"a permit of {pool!r}")
        assert done.wait(DEADLINE)
    wait_at_rest(pool)
    pool.release_timeout(DEADLINE)
    assert at_rest(pool), pool
    assert pool.running() == 0, pool
