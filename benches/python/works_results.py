"""Tasks whose results are asked for: futures, map, asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import peers
from meter import Meter
from tasks import give, noop

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter import Result


def executor(peer: str, workers: int) -> Any:
    """An executor or a ThreadPool: with submit and map, and with the way to a result."""
    if peer == "ThreadPool":
        return ThreadPool(workers)
    return peers.Executor(workers) if peer == "PoolExecutor" else ThreadPoolExecutor(workers)


def ways(pool: Any) -> tuple[Callable[..., Any], str]:
    """The method that submits, and the name of the one that gives a result."""
    return (pool.apply_async, "get") if isinstance(pool, ThreadPool) else (pool.submit, "result")


def futures(peer: str, workers: int, tasks: int) -> Result:
    """Submits all, then asks for all results."""
    with executor(peer, workers) as pool:
        submit, result = ways(pool)
        meter = Meter()
        handles = [submit(noop) for _ in range(tasks)]
        if result == "get":
            for handle in handles:
                handle.get()
        else:
            for handle in handles:
                handle.result()
        return meter.stop(tasks)


def one_by_one(peer: str, workers: int, tasks: int) -> Result:
    """Asks for each result before the next task is submitted."""
    with executor(peer, workers) as pool:
        submit, result = ways(pool)
        meter = Meter()
        if result == "get":
            for _ in range(tasks):
                submit(noop).get()
        else:
            for _ in range(tasks):
                submit(noop).result()
        return meter.stop(tasks)


def mapped(peer: str, workers: int, tasks: int) -> Result:
    """map() over so many items, with no chunk size given."""
    with executor(peer, workers) as pool:
        meter = Meter()
        for _ in pool.map(give, range(tasks)):
            pass
        return meter.stop(tasks)


def awaited(peer: str, workers: int, tasks: int, *, gathered: bool) -> Result:
    """Tasks awaited from asyncio, all together or one after another."""

    async def measure(run: Callable[[], Any]) -> Result:
        meter = Meter()
        if gathered:
            await asyncio.gather(*(run() for _ in range(tasks)))
        else:
            for _ in range(tasks):
                await run()
        return meter.stop(tasks)

    async def main() -> Result:
        loop = asyncio.get_running_loop()
        if peer == "AsyncPool":
            async with peers.AsyncPool(workers) as ants:
                return await measure(lambda: ants.run(noop))
        if peer == "run_in_executor":
            with ThreadPoolExecutor(workers) as threads:
                return await measure(lambda: loop.run_in_executor(threads, noop))
        loop.set_default_executor(executor(peer.removeprefix("to_thread, "), workers))
        return await measure(lambda: asyncio.to_thread(noop))

    return asyncio.run(main())
