"""Helpers for the tests of AsyncPool: loops that must report no errors, and an AsyncPool over each kind of pool."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from support import DEADLINE, TICK, Gate

from pyants import AsyncPool, MultiPool, Pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable

T = TypeVar("T")

# Under another name, since pytest-run-parallel runs a test that calls gc.collect() in one thread only.
collect: Callable[[], int] = gc.collect


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Runs the coroutine in a new loop; fails if it hangs, or if the loop's exception handler is called."""
    complaints: list[str] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
        async with asyncio.timeout(DEADLINE):
            return await main

    try:
        return asyncio.run(watched(), debug=debug)
    finally:
        # A future whose exception nobody retrieved reports it when it is freed.
        collect()
        assert not complaints, complaints


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Waits until the condition holds, without blocking the loop."""
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, f"{what} did not come true within {DEADLINE} s"
        await asyncio.sleep(TICK)


async def entered(gate: Gate, count: int) -> None:
    """Waits until so many tasks have come to the gate."""
    await until(lambda: gate.entered >= count, f"{count} at the gate")


@asynccontextmanager
async def own(capacity: int, **options: Any) -> AsyncGenerator[AsyncPool]:
    async with AsyncPool(capacity, **options) as pool:
        yield pool


@asynccontextmanager
async def over_pool(capacity: int, *, abandon_on_cancel: bool = False, **options: Any) -> AsyncGenerator[AsyncPool]:
    with Pool(capacity, **options) as shared:
        async with AsyncPool.over(shared, abandon_on_cancel=abandon_on_cancel) as pool:
            yield pool


@asynccontextmanager
async def over_multi_pool(
    capacity: int, *, abandon_on_cancel: bool = False, **options: Any
) -> AsyncGenerator[AsyncPool]:
    with MultiPool(1, capacity, **options) as shared:
        async with AsyncPool.over(shared, abandon_on_cancel=abandon_on_cancel) as pool:
            yield pool


each_kind = pytest.mark.parametrize(
    "make",
    [
        pytest.param(own, id="AsyncPool"),
        pytest.param(over_pool, id="over a Pool"),
        pytest.param(over_multi_pool, id="over a MultiPool"),
    ],
)


async def as_async(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a turn of the loop before each."""
    for item in items:
        await asyncio.sleep(0)
        yield item


class Ticks:
    """Counts the turns of the loop in the background. While the count rises, the loop is not blocked."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def some(self, count: int = 3) -> None:
        """Waits for so many more turns."""
        until_then = self.count + count
        await until(lambda: self.count >= until_then, "turns of the loop")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def fail(error: BaseException) -> None:
    """A task that raises."""
    raise error


async def everything(pool: AsyncPool) -> None:
    """Uses each method of the pool once."""
    assert await pool.run(int, "7") == 7
    assert await (await pool.submit(int, "8")) == 8
    assert [item async for item in pool.map(int, "123")] == [1, 2, 3]
    assert sorted([item async for item in pool.map_unordered(int, as_async("123"))]) == [1, 2, 3]
    async with pool.group(results=True) as group:
        for text in "123":
            group.run(int, text)
            await group.submit(int, text)
    assert group.results() == [1, 1, 2, 2, 3, 3]
    assert await asyncio.gather(*(pool.run(int, str(number)) for number in range(50))) == list(range(50))
    with pytest.raises(ValueError, match="mine"):
        await pool.run(fail, ValueError("mine"))
