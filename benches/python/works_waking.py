"""How soon a task begins while some workers are blocked and others idle, one at a time and many at once."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

import peers
from meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from meter import Result

PAUSE = 0.0005
"""Seconds between two tasks: idle workers have gone to sleep."""

REST = 0.02
"""Seconds before a burst: nobody looks out for a task any more."""


class Gate:
    """Holds tasks until it is opened, and then lets them out one by one."""

    def __init__(self, tasks: int) -> None:
        self._left = tasks
        self._all_in: SimpleQueue[float] = SimpleQueue()
        self._count = threading.Lock()
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        """The task."""
        now = time.perf_counter()
        with self._count:
            self._left -= 1
            last = self._left == 0
        if last:
            self._all_in.put(now)
        with self._lock:
            pass

    def fill(self, submit: Callable[[Callable[[], object]], object], tasks: int) -> float:
        """Submits so many, waits until all have begun, and says when the last one did."""
        for _ in range(tasks):
            submit(self.wait)
        return self._all_in.get()

    def open(self) -> None:
        """Lets them go."""
        self._lock.release()


@contextmanager
def blocked(peer: peers.Peer, tasks: int) -> Generator[None]:
    """So many workers are blocked meanwhile."""
    gate = Gate(tasks)
    if tasks:
        gate.fill(peer.submit, tasks)
    yield
    gate.open()


def warm_up(peer: peers.Peer, workers: int) -> None:
    """Starts all workers."""
    with blocked(peer, workers):
        pass
    time.sleep(REST)


def begins(peer: str, tasks: int, *, queue: int | None, idle: list[int], busy: list[int], cores: int = 0) -> Result:
    """One task at a time, for each number of idle and of blocked workers; on so many processors only (0: on all)."""
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    samples: dict[str, list[float]] = {}
    now, sleep = time.perf_counter, time.sleep
    meter = Meter()
    for at_rest in idle:
        for blocked_ones in busy:
            pool = peers.make(peer, at_rest + blocked_ones, queue)
            submit = pool.submit
            warm_up(pool, at_rest + blocked_ones)
            began: SimpleQueue[float] = SimpleQueue()

            def begin(put: Callable[[float], None] = began.put) -> None:
                put(now())

            times: list[float] = []
            with blocked(pool, blocked_ones):
                for _ in range(tasks):
                    sleep(PAUSE)
                    start = now()
                    submit(begin)
                    times.append((began.get() - start) * 1e6)
            samples[f"{blocked_ones} blocked, {at_rest} idle"] = times[len(times) // 10 :]
            pool.finish()
            pool.close()
    return meter.stop(tasks) | samples


def fills(peer: str, tasks: int, *, queue: int | None, sizes: list[int]) -> Result:
    """Bursts of tasks of which each needs a worker, on pools of idle workers and on new ones: until the last begins."""
    samples: dict[str, list[float]] = {}
    meter = Meter()
    for size in sizes:
        warm = peers.make(peer, size, queue)
        warm_up(warm, size)
        for name in ("idle", "cold"):
            times: list[float] = []
            for _ in range(tasks):
                pool = warm if name == "idle" else peers.make(peer, size, queue)
                gate = Gate(size)
                time.sleep(REST)
                start = time.perf_counter()
                times.append((gate.fill(pool.submit, size) - start) * 1e6)
                gate.open()
                if name == "cold":
                    pool.finish()
                    pool.close()
            samples[f"{size} to {name} workers"] = times
    return meter.stop(tasks) | samples
