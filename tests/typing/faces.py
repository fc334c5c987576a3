"""Checked by mypy and pyright, never run: executors, groups and asyncio know the callable's arguments and its result.

Each `type: ignore` marks a mistake that a type checker must find; a comment without one is an error itself.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, assert_type

import pyants
from pyants import (
    AsyncPool,
    AsyncTaskGroup,
    FuncTaskGroup,
    Future,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolExecutor,
    PoolWithFunc,
    TaskGroup,
)


def work(number: int, text: str = "", *, flag: bool = False) -> float:
    return number + len(text) + flag


def print_one(number: int) -> None: ...


def see_ours(future: Future[float]) -> None: ...


def see_any(future: concurrent.futures.Future[float]) -> None: ...


def see_text(future: Future[str]) -> None: ...


def submitting(executor: PoolExecutor) -> None:
    future = executor.submit(work, 1, "two", flag=True)
    assert_type(future, Future[float])
    assert_type(future.result(), float)
    assert_type(future.result(1.5), float)
    assert_type(future.exception(timeout=1), BaseException | None)
    assert_type(executor.submit(print_one, 1), Future[None])
    assert_type(executor.submit(lambda: "text"), Future[str])
    executor.submit(work, "one")  # type: ignore[arg-type]
    executor.submit(work)  # type: ignore[call-arg]
    executor.submit(work, 1, colour="red")  # type: ignore[call-arg]
    executor.submit(None)  # type: ignore[arg-type]

    assert_type(executor.try_submit(work, 1), Future[float] | None)
    executor.try_submit(work, "one")  # type: ignore[arg-type]
    assert_type(executor.submit_within(timedelta(seconds=1), work, 1), Future[float])
    executor.submit_within(1.5, work, "one")  # type: ignore[arg-type]
    executor.submit_within("soon", work, 1)  # type: ignore[arg-type]
    assert_type(executor.submit_many(work, [1, 2]), list[Future[float]])
    executor.submit_many(work, 3)  # type: ignore[arg-type]


def watching(future: Future[float]) -> None:
    future.add_done_callback(see_ours)
    future.add_done_callback(see_any)
    future.add_done_callback(see_text)  # type: ignore[arg-type]
    future.set_result(1.5)
    future.set_result("text")  # type: ignore[arg-type]
    future.set_exception(ValueError())
    future.set_exception("text")  # type: ignore[arg-type]
    theirs: concurrent.futures.Future[float] = future
    see_any(theirs)
    assert_type(concurrent.futures.wait([future]).done, set[concurrent.futures.Future[float]])
    for done in concurrent.futures.as_completed([future]):
        assert_type(done.result(), float)


def mapping(executor: PoolExecutor) -> None:
    assert_type(executor.map(work, [1, 2]), Iterator[float])
    assert_type(executor.map(work, [1, 2], ["one", "two"], timeout=1.5, chunksize=4, buffersize=8), Iterator[float])
    assert_type(executor.map_unordered(str, range(3)), Iterator[str])
    executor.map(work, 3)  # type: ignore[arg-type]
    executor.map(work, [1], timeout="soon")  # type: ignore[arg-type]


def as_others_take_it(pool: Pool, multi: MultiPool, func: PoolWithFunc[[int]]) -> None:
    with PoolExecutor(4, "mine", print, ("hello",), queue_size=10, nonblocking=True) as executor:
        assert_type(executor, PoolExecutor)
        theirs: concurrent.futures.ThreadPoolExecutor = executor
        theirs.shutdown(wait=False, cancel_futures=True)
        assert_type(executor.pool.running(), int)
    assert_type(PoolExecutor.over(pool), PoolExecutor)
    PoolExecutor.over(multi)
    PoolExecutor.over(func)
    PoolExecutor.over(executor)  # type: ignore[arg-type]
    PoolExecutor("four")  # type: ignore[arg-type]
    PoolExecutor(4, panic_handler=print)  # type: ignore[call-arg]


def grouping(pool: Pool, multi: MultiPool, executor: PoolExecutor) -> None:
    with pool.group(fail_fast=True, limit=4, results=True) as group:
        assert_type(group, TaskGroup)
        assert_type(group.try_submit(work, 1), Future[float] | None)
        assert_type(group.submit_within(1, work, 1), Future[float])
        group.try_submit(work, "one")  # type: ignore[arg-type]
        assert_type(group.submit(work, 1), Future[float])
        group.submit(work, "one")  # type: ignore[arg-type]
        assert_type(group.cancel(), int)
    assert_type(group.results(), list[Any])
    assert_type(multi.group(), TaskGroup)
    assert_type(executor.group(limit=None), TaskGroup)
    pool.group(limit="four")  # type: ignore[arg-type]
    pool.group(True)  # type: ignore[call-arg]


def grouping_one_function(pool: PoolWithFunc[[int, str]], multi: MultiPoolWithFunc[[int]]) -> None:
    with pool.group() as group:
        assert_type(group, FuncTaskGroup[[int, str]])
        assert_type(group.invoke(1, "two"), Future[Any])
        group.invoke("one", "two")  # type: ignore[arg-type]
        assert_type(group.try_invoke(1, "two"), Future[Any] | None)
        assert_type(group.invoke_within(0.5, 1, "two"), Future[Any])
        group.try_invoke("one", "two")  # type: ignore[arg-type]
        assert_type(group.submit(work, 1), Future[float])
    assert_type(multi.group(fail_fast=True), FuncTaskGroup[[int]])


async def awaiting(pool: AsyncPool) -> None:
    assert_type(pool.run(work, 1), asyncio.Future[float])
    assert_type(await pool.run(work, 1, "two", flag=True), float)
    await pool.run(work, "one")  # type: ignore[arg-type]
    await pool.run(work)  # type: ignore[call-arg]
    call = await pool.submit(work, 1)
    assert_type(call, asyncio.Future[float])
    assert_type(await call, float)
    await pool.submit(work, "one")  # type: ignore[arg-type]
    assert_type(pool.is_closed(), bool)
    await pool.aclose()


async def numbers() -> AsyncIterator[int]:
    yield 1


async def mapping_with_asyncio(pool: AsyncPool) -> None:
    assert_type(pool.map(work, [1, 2]), AsyncGenerator[float, None])
    assert_type(pool.map_unordered(work, numbers()), AsyncGenerator[float, None])
    pool.map(work, ["one"])  # type: ignore[arg-type]
    async for result in pool.map(work, numbers()):
        assert_type(result, float)


async def grouping_with_asyncio(pool: Pool) -> None:
    async with AsyncPool(4, queue_size=None, name="mine") as own, own.group(fail_fast=True, results=True) as group:
        assert_type(own, AsyncPool)
        assert_type(group, AsyncTaskGroup)
        assert_type(await group.submit(work, 1), asyncio.Future[float])
        assert_type(group.run(work, 1), asyncio.Future[float])
        group.run(work, "one")  # type: ignore[arg-type]
    assert_type(group.results(), list[Any])
    assert_type(AsyncPool.over(pool), AsyncPool)
    AsyncPool.over(own)  # type: ignore[arg-type]
    AsyncPool(4, nonblock=True)  # type: ignore[call-arg]
    assert_type(pyants.AsyncPool(4), AsyncPool)
