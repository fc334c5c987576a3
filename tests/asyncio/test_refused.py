"""Refused calls: the pool's state is reported where the call is awaited, a mistake where the call is made."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
from loops import each_kind, entered, run
from support import Gate

from pyants import AsyncPool, PoolClosedError, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@each_kind
@pytest.mark.parametrize("options", [{"nonblocking": True}, {"max_blocking_tasks": 2}])
def test_an_overload_is_a_result_of_gather(make: Any, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with make(1, **options) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                waiting = options.get("max_blocking_tasks", 0)
                calls = [pool.run(int, "7") for _ in range(5)]
                asyncio.get_running_loop().call_soon(gate.open)
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert results[:waiting] == [7] * waiting
                assert [type(result) for result in results[waiting:]] == [PoolOverloadError] * (5 - waiting)
                await held
            assert pool.pool.stats().rejected == 5 - waiting

    run(main())


@each_kind
def test_a_closed_pool_is_told_where_the_call_is_awaited(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            pass
        call = pool.run(int)
        assert call.done()
        assert repr(call) == "<pyants.AsyncCall raised PoolClosedError>"
        called_back: list[object] = []
        call.add_done_callback(called_back.append)
        with pytest.raises(PoolClosedError):
            await call
        await asyncio.sleep(0)
        assert called_back == [call]
        for group in (pool.group(), pool.group(fail_fast=True)):
            with pytest.raises(ExceptionGroup) as raised:
                async with group:
                    group.run(int)
            assert [type(error) for error in raised.value.exceptions] == [PoolClosedError]
            with pytest.raises(ExceptionGroup) as raised:
                async with pool.group() as other:
                    await other.submit(int)
            assert [type(error) for error in raised.value.exceptions] == [PoolClosedError]
        for each in (pool.map, pool.map_unordered):
            with pytest.raises(PoolClosedError):
                async for _ in each(int, "123"):
                    pass
        # A second close does not wait for refused calls.
        await pool.aclose()

    run(main())


async def coroutine(_: object = None) -> None: ...


async def generator(_: object = None) -> AsyncGenerator[None]:
    yield


class Async:
    async def __call__(self, _: object = None) -> None: ...

    async def method(self, _: object = None) -> None: ...

    @classmethod
    async def class_method(cls, _: object = None) -> None: ...


ASYNC: dict[str, Callable[..., Any]] = {
    "a coroutine function": coroutine,
    "an asynchronous generator": generator,
    "partial": functools.partial(coroutine, 1),
    "partial of a partial": functools.partial(functools.partial(Async().method), 1),
    "method": Async().method,
    "class method": Async.class_method,
    "instance": Async(),
    "mock": AsyncMock(),
}
if sys.version_info >= (3, 12):
    ASYNC["marked"] = functools.partial(inspect.markcoroutinefunction(Async()), 1)


@pytest.mark.parametrize("fn", ASYNC.values(), ids=ASYNC.keys())
def test_an_async_function_is_refused_at_the_call(fn: Callable[..., Any]) -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with pytest.raises(TypeError, match=r"async function, .*: await .* directly"):
                pool.run(fn)
            with pytest.raises(TypeError, match="async function"):
                await pool.submit(fn)
            for each in (pool.map, pool.map_unordered):
                with pytest.raises(TypeError, match="async function"):
                    async for _ in each(fn, [1]):
                        pass
            async with pool.group(results=True) as group:
                with pytest.raises(TypeError, match="async function"):
                    group.run(fn)
                with pytest.raises(TypeError, match="async function"):
                    await group.submit(fn)
            assert group.results() == []
            assert pool.pool.stats().submitted == 0

    run(main())


class Sync:
    def __call__(self) -> int:
        return 7

    def method(self) -> int:
        return 7

    @staticmethod
    def static() -> int:
        return 7


SYNC: list[Callable[..., Any]] = [
    lambda: 7,
    functools.partial(int, "7"),
    Sync(),
    Sync().method,
    Sync.static,
    functools.partial(Sync().method),
    functools.lru_cache(Sync.static),
    (7).__int__,
    functools.partialmethod(Sync.method).__get__(Sync()),
]


@pytest.mark.parametrize("fn", SYNC)
def test_all_else_that_can_be_called_is_not(fn: Callable[..., Any]) -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            assert await pool.run(fn) == 7
            # A callable may return a coroutine if it is no coroutine function: the coroutine is the result.
            made = await pool.run(lambda: coroutine())
            await made

    run(main())


@pytest.mark.parametrize("closed", [False, True])
def test_what_cannot_be_called_is_refused_at_the_call(closed: bool) -> None:
    async def main() -> None:
        pool = AsyncPool(1)
        if closed:
            await pool.aclose()
        with pytest.raises(TypeError, match="fn must be callable, not 3"):
            pool.run(3)  # type: ignore[arg-type]
        await pool.aclose()

    run(main())
