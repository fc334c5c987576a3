"""Under the GIL a thread that is no worker soon gets its turn, however many workers compute."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from executors import HAS_GIL
from support import DEADLINE

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 8
TASKS = 8 * WORKERS
CALLS = 1_000
TICKS = 31
NAP = 0.001
MOST_INTERVALS = 2.5
"""For how many switch intervals workers may compute between two turns of another thread, its nap included. Medians of
24 runs on CPython 3.13: 0.3 to 1.4, mostly 0.5. Where workers never end a turn by themselves: 2 to 10 beside a map or
a loop's own calls, and 1.2 to 2.4 elsewhere, which this does not notice."""

pytestmark = [
    pytest.mark.skipif(not HAS_GIL, reason="without the GIL nobody waits for a turn"),
    pytest.mark.thread_unsafe(reason="measures the processor time of the process"),
]


class Log:
    """Measures in processor time, not by the clock, how long workers compute between two turns of another thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.run = work
        self._ticks: list[float] = []
        self._begun = threading.Barrier(WORKERS)
        self.over = False

    def begin(self) -> None:
        """A task that waits for the others to begin: then every worker runs one, and all request the GIL at once."""
        self._begun.wait(DEADLINE)

    def tick(self) -> None:
        """Records that the other thread has got a turn."""
        self._ticks.append(time.process_time())
        self.over = len(self._ticks) == TICKS

    def check(self) -> None:
        """Checks that mostly the next turn came soon."""
        turns = [end - begin for begin, end in itertools.pairwise(self._ticks)]
        assert statistics.median(turns) <= MOST_INTERVALS * sys.getswitchinterval(), turns


def compute() -> None:
    for _ in range(1_000):
        pass


def compute_in_c() -> None:
    sum(range(1_000))


WORKS = pytest.mark.parametrize("work", [compute, compute_in_c])


def keep_busy(submit: Callable[[Callable[[], None]], object], log: Log) -> None:
    """Keeps a number of tasks running, one after another, for as long as the log needs more."""

    def run() -> None:
        log.run()
        if not log.over:
            submit(run)

    for _ in range(WORKERS):
        submit(log.begin)
    for _ in range(TASKS):
        submit(run)


@WORKS
def test_a_thread_gets_its_turn_while_a_pool_computes(work: Callable[[], None]) -> None:
    log = Log(work)
    with pyants.Pool(WORKERS, queue_size=None) as pool:
        keep_busy(pool.submit, log)
        while not log.over:
            time.sleep(NAP)
            log.tick()
    log.check()


@WORKS
def test_a_loop_gets_its_turn_while_an_executor_computes(work: Callable[[], None]) -> None:
    log = Log(work)

    async def ticks() -> None:
        while not log.over:
            await asyncio.sleep(NAP)
            log.tick()

    with pyants.PoolExecutor(WORKERS) as executor:
        keep_busy(executor.submit, log)
        asyncio.run(ticks())
    log.check()


@WORKS
def test_a_loop_gets_its_turn_while_its_own_calls_compute(work: Callable[[], None]) -> None:
    log = Log(work)

    async def calls(pool: pyants.AsyncPool) -> None:
        while not log.over:
            await pool.run(log.run)

    async def main() -> None:
        async with pyants.AsyncPool(WORKERS) as pool, asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(call(pool.run, log.begin))
            for _ in range(CALLS):
                group.create_task(calls(pool))
            while not log.over:
                await asyncio.sleep(NAP)
                log.tick()

    asyncio.run(main())
    log.check()


async def call(run: Callable[[Callable[[], None]], Any], fn: Callable[[], None]) -> None:
    await run(fn)


@WORKS
def test_a_thread_gets_its_turn_while_a_map_computes(work: Callable[[], None]) -> None:
    log = Log(work)

    def run(number: int) -> None:
        if number < WORKERS:
            log.begin()
        elif not log.over:
            log.run()

    with pyants.PoolExecutor(WORKERS) as executor:
        results = executor.map(run, range(300_000))
        while not log.over:
            time.sleep(NAP)
            log.tick()
        del results
    log.check()
