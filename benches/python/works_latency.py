"""How long one has to wait: for a task to start, for its result, and for the interpreter while a pool is busy."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import peers
import tasks as kinds
from meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter import Result

WARM_UP = 50


def asker(peer: str, pool: peers.Peer) -> Callable[[], float]:
    """A function that submits a look at the clock and waits for what it showed, in the way of the pool."""
    submit: Any = pool.submit
    now = time.perf_counter
    if peer in ("ThreadPoolExecutor", "PoolExecutor"):
        return lambda: submit(now).result()
    if peer == "ThreadPool":
        return lambda: submit(now).get()
    results: SimpleQueue[float] = SimpleQueue()

    def put() -> None:
        results.put(now())

    def ask() -> float:
        submit(put)
        return results.get()

    return ask


def latency(
    peer: str, workers: int, tasks: int, *, queue: int | None = 0, pause_ms: float, loops: int = 0, busy_ms: float = 0
) -> Result:
    """One task at a time; with busy_ms another thread submits a task of `loops` every so many milliseconds."""
    pool = peers.make(peer, workers, queue)
    ask = asker(peer, pool)
    load = kinds.task(loops, 0)
    over = threading.Event()

    def keep_busy() -> None:
        while not over.wait(busy_ms / 1000):
            pool.submit(load)

    feeder = threading.Thread(target=keep_busy)
    if busy_ms:
        feeder.start()
    for _ in range(WARM_UP):
        ask()
    starts: list[float] = []
    results: list[float] = []
    meter = Meter()
    for _ in range(tasks):
        time.sleep(pause_ms / 1000)
        begin = time.perf_counter()
        started = ask()
        results.append((time.perf_counter() - begin) * 1e6)
        starts.append((started - begin) * 1e6)
    measured = meter.stop(tasks)
    over.set()
    if busy_ms:
        feeder.join()
    pool.finish()
    pool.close()
    return measured | {"start_us": starts, "result_us": results}


class Watch:
    """Three threads that want to go on while a pool is busy, and the longest that each was kept."""

    def __init__(self, submit: Callable[[Callable[[], object]], object]) -> None:
        self._submit = submit
        self._over = False
        self.tick = self.run = self.submit = 0.0
        self._threads = [threading.Thread(target=work) for work in (self._ticks, self._runs, self._submits)]
        for thread in self._threads:
            thread.start()

    def _ticks(self) -> None:
        while not self._over:
            begin = time.perf_counter()
            time.sleep(0.001)
            self.tick = max(self.tick, time.perf_counter() - begin - 0.001)

    def _runs(self) -> None:
        last = time.perf_counter()
        while not self._over:
            now = time.perf_counter()
            self.run = max(self.run, now - last)
            last = now

    def _submits(self) -> None:
        while not self._over:
            time.sleep(0.001)
            begin = time.perf_counter()
            self._submit(kinds.noop)
            self.submit = max(self.submit, time.perf_counter() - begin)

    def stop(self) -> None:
        """Ends the threads."""
        self._over = True
        for thread in self._threads:
            thread.join()


def fairness(peer: str, workers: int, tasks: int) -> Result:
    """The worst gaps of a timer, of a computing thread and of a second submitter while so many tasks are done."""
    pool = peers.make(peer, workers, None)
    submit = pool.submit
    meter = Meter()
    watch = Watch(submit)
    for _ in range(tasks):
        submit(kinds.noop)
    watch.stop()
    pool.finish()
    result = meter.stop(tasks)
    pool.close()
    return result | {"tick_ms": watch.tick * 1e3, "run_ms": watch.run * 1e3, "submit_ms": watch.submit * 1e3}


TICK = 0.001


async def ticks(late: list[float], busy: Callable[[], bool]) -> None:
    """Sleeps a millisecond at a time; how much later than that the loop went on, in microseconds."""
    while busy():
        begin = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append((time.perf_counter() - begin - TICK) * 1e6)


async def own_calls(
    peer: str, workers: int, tasks: int, load: Callable[[], object], ahead: int, late: list[float]
) -> None:
    """The loop's own calls keep the workers busy: so many at a time."""
    loop = asyncio.get_running_loop()
    pool: Any = peers.AsyncPool(workers) if peer == "AsyncPool" else ThreadPoolExecutor(workers)
    left = iter(range(tasks))

    async def call() -> None:
        for _ in left:
            await (pool.run(load) if peer == "AsyncPool" else loop.run_in_executor(pool, load))

    calls = asyncio.gather(*(call() for _ in range(ahead)))
    await ticks(late, lambda: not calls.done())
    await calls


async def others_calls(peer: str, workers: int, tasks: int, load: Callable[[], object], late: list[float]) -> None:
    """What was submitted before keeps all workers busy."""
    pool = peers.make(peer, workers, None)
    begun = threading.Barrier(workers)
    last = threading.Event()
    for _ in range(workers):
        pool.submit(begun.wait)
    for _ in range(tasks):
        pool.submit(load)
    pool.submit(last.set)
    await ticks(late, lambda: not last.is_set())
    pool.finish()


def loop(peer: str, workers: int, tasks: int, *, loops: int = 0, native: int = 0, ahead: int = 1_000) -> Result:
    """How late an asyncio loop is while workers compute: for so many loops of Python, or sum so many numbers in C."""
    load = partial(sum, range(native)) if native else kinds.task(loops, 0)
    late: list[float] = []
    meter = Meter()
    if peer in ("AsyncPool", "run_in_executor"):
        asyncio.run(own_calls(peer, workers, tasks, load, ahead, late))
    else:
        asyncio.run(others_calls(peer, workers, tasks, load, late))
    return meter.stop(tasks) | {"late_us": late}
