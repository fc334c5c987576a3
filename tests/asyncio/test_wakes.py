"""A worker fails to wake a loop for a result: the result is not lost, and nothing leaks."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from executors import Thing
from loops import collect, fail, run
from support import DEADLINE, nap, own_logger, wait_until

from pyants import AsyncPool

if TYPE_CHECKING:
    from collections.abc import Generator

# The failures are reported to the unraisable hook, of which the process has only one.
pytestmark = pytest.mark.thread_unsafe(reason="sets the unraisable hook")


class WakeError(Exception):
    pass


@contextmanager
def told() -> Generator[list[BaseException | None]]:
    """Collects the exceptions that the unraisable hook gets."""
    seen: list[BaseException | None] = []

    def hear(info: sys.UnraisableHookArgs) -> None:
        seen.append(info.exc_value)

    before, sys.unraisablehook = sys.unraisablehook, hear
    try:
        yield seen
    finally:
        sys.unraisablehook = before


class Waker:
    """Replaces the method that wakes a loop: it fails so many times."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failures: int) -> None:
        self._wake = loop.call_soon_threadsafe
        self.failures = failures
        self.calls = 0
        self._loop = loop
        setattr(loop, "call_soon_threadsafe", self)  # noqa: B010 - a method cannot be assigned to

    def repair(self) -> None:
        delattr(self._loop, "call_soon_threadsafe")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise WakeError(self.calls)
        return self._wake(*args, **kwargs)


def after_a_while(number: int) -> int:
    nap()
    return number


@pytest.mark.parametrize("failures", [1, 4])
def test_it_is_tried_again(failures: int) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            waker = Waker(asyncio.get_running_loop(), failures)
            # There is no other call that would wake the loop as well, and the loop does not spin for so long.
            while waker.calls == 0:
                assert await pool.run(after_a_while, 7) == 7
            with pytest.raises(KeyError):
                await pool.run(fail, KeyError())
            assert waker.calls > failures
            waker.repair()

    with told() as seen:
        run(main())
    assert [repr(error) for error in seen] == ["WakeError(1)"]


def test_many_results_while_it_fails() -> None:
    async def main() -> None:
        async with AsyncPool(4) as pool:
            for _ in range(20):
                waker = Waker(asyncio.get_running_loop(), 3)
                calls = [pool.run(after_a_while, number) for number in range(8)]
                assert await asyncio.gather(*calls) == list(range(8))
                waker.repair()

    with told() as seen:
        run(main())
    assert all(isinstance(error, WakeError) for error in seen)


@pytest.mark.parametrize("ended", ["loop", "pool and loop", "last pool and loop"])
def test_what_a_loop_never_fetches_is_cancelled_and_reported(ended: str) -> None:
    logger, records = own_logger()
    error = ValueError("nobody asks for it")
    references: list[weakref.ref[Any]] = []
    pool = AsyncPool(1, logger=logger)

    def give() -> Thing:
        thing = Thing()
        references.append(weakref.ref(thing))
        return thing

    async def main() -> list[asyncio.Future[Any]]:
        Waker(asyncio.get_running_loop(), sys.maxsize)
        calls: list[asyncio.Future[Any]] = [pool.run(give), pool.run(fail, error)]
        wait_until(lambda: pool.pool.stats().completed == pool.pool.stats().failed == 1)
        return calls

    loop = asyncio.new_event_loop()
    with told() as seen:
        calls: list[asyncio.Future[Any]] = loop.run_until_complete(main())
        if ended != "loop":
            asyncio.run(pool.aclose())
        if ended == "last pool and loop":
            del pool
        assert not any(call.done() for call in calls)
        loop.close()
        wait_until(lambda: all(call.cancelled() for call in calls), "the cancellation")
        wait_until(lambda: records.records != [], "the report")
    (record,) = records.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert seen

    def is_freed() -> bool:
        collect()
        return references[0]() is None

    wait_until(is_freed, "the result is let go of", DEADLINE)


class Late:
    """Replaces the method that wakes a loop: it fails, then succeeds, but returns only after another failure."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake = loop.call_soon_threadsafe
        self.begun = 0
        self.has_failed_again = threading.Event()
        setattr(loop, "call_soon_threadsafe", self)  # noqa: B010 - a method cannot be assigned to

    def __call__(self, callback: Any, *args: Any, **kwargs: Any) -> Any:
        if type(callback).__module__ != "pyants":
            return self._wake(callback, *args, **kwargs)  # asyncio's own.
        self.begun += 1
        call = self.begun
        if call == 2 and hasattr(threading.current_thread(), "_pyants_pool"):
            # A worker calls: the loop was busy, and has fetched the first result by itself. Start again.
            self.begun = 0
            return self._wake(callback, *args, **kwargs)
        if call == 3:
            self.has_failed_again.set()
        if call in (1, 3):
            raise WakeError(call)
        woken = self._wake(callback, *args, **kwargs)
        if call == 2:
            assert self.has_failed_again.wait(DEADLINE)
        return woken


def test_it_is_tried_again_although_the_former_try_has_yet_to_end() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            late = Late(asyncio.get_running_loop())
            while not late.has_failed_again.is_set():
                assert await pool.run(after_a_while, 7) == 7
            assert await pool.run(after_a_while, 7) == 7

    with told() as seen:
        run(main())
    assert all(isinstance(error, WakeError) for error in seen)
