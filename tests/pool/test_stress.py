"""Eight threads submit while another tunes, releases and reboots at random; every task runs exactly once.

`PYANTS_STRESS=1000000` sets the number of tasks for each pool, `PYANTS_STRESS_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support import Background, wait_equal, wait_gone, wait_until

from pyants import Pool, PoolClosedError, PoolError, PoolStats, PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = int(os.environ.get("PYANTS_STRESS", "60000"))
SUBMITTERS = 8
LEAST_DISTURBANCES = 100


class Stress:
    """One pool under stress, with the invariants that it must keep."""

    def __init__(self, capacity: int, queue_size: int | None, tasks: int, seed: int) -> None:
        self.capacity = capacity
        # The highest capacity to which it is tuned: there may never be more workers, nor more active tasks.
        self.most = capacity + max(2, capacity // 2)
        self.queue_size = queue_size
        self.tasks = tasks
        self.seed = seed
        self.runs = bytearray(tasks)
        self.active: list[None] = []
        self.wrong: list[str] = []
        self.failures: list[BaseException] = []
        self.ids: set[int] = set()
        self.done = threading.Event()
        self.disturbances = 0
        self.pool = Pool(
            capacity,
            queue_size=queue_size,
            expiry_duration=0.01,
            panic_handler=self.failures.append,
            initializer=self.arrive,
        )

    def arrive(self) -> None:
        self.ids.add(threading.get_native_id())

    def run(self, index: int) -> None:
        self.active.append(None)
        if len(self.active) > self.most:
            self.wrong.append(f"{len(self.active)} tasks were active at once")
        self.runs[index] += 1
        self.active.pop()
        if index % 1000 == 0:
            raise ValueError(index)

    def submit(self, number: int) -> int:
        """Submits every eighth task, each until it is accepted; returns how often one was refused."""
        generator = random.Random(self.seed * 100 + number)
        indices = iter(range(number, self.tasks, SUBMITTERS))
        refused = 0
        for index in indices:
            # A fast machine must not finish before the pool was disturbed often.
            wait_until(lambda: self.disturbances >= LEAST_DISTURBANCES * index // self.tasks)  # noqa: B023
            ways = generator.random()
            if ways < 0.02:
                refused += self.submit_batch([index, *(index for _, index in zip(range(20), indices, strict=False))])
                continue
            while True:
                try:
                    if ways < 0.9:
                        self.pool.submit(self.run, index)
                    elif ways < 0.97:
                        self.pool.submit_within(generator.choice((0.001, 10)), self.run, index)
                    elif not self.pool.try_submit(self.run, index):
                        ways = 0.5
                        continue
                    break
                except PoolTimeoutError:
                    continue
                except PoolClosedError:
                    refused += 1
                    wait_until(self.is_open)
        return refused

    def submit_batch(self, batch: list[int]) -> int:
        refused = 0
        while batch:
            try:
                assert self.pool.submit_many(self.run, batch) == len(batch)
                break
            except PoolClosedError as error:
                refused += 1
                batch = batch[submitted(error) :]
                wait_until(self.is_open)
        return refused

    def is_open(self) -> bool:
        return not self.pool.is_closed()

    def disturb(self) -> None:
        """Tunes, releases and reboots until all tasks are submitted."""
        generator = random.Random(self.seed)
        while not self.done.wait(generator.uniform(0, 0.002)):
            self.disturbances += 1
            match generator.randrange(10):
                case 0:
                    self.pool.release()
                    self.pool.reboot()
                case 1:
                    with suppress(PoolTimeoutError):
                        self.pool.release_timeout(generator.choice((0, 0.001, 10)))
                    self.pool.reboot()
                case 2:
                    self.pool.wait_idle(0.001)
                case _:
                    self.pool.tune(generator.randint(1, self.most))
        self.pool.reboot()
        self.pool.tune(self.capacity)

    def sample(self) -> int:
        """Reads the counters all the time; returns how often."""
        samples = 0
        before = self.pool.stats()
        while not self.done.wait(0.0005):
            samples += 1
            stats = self.pool.stats()
            self.wrong.extend(self.faults(before, stats))
            before = stats
        return samples

    def faults(self, before: PoolStats, stats: PoolStats) -> Iterator[str]:
        if stats.submitted != stats.completed + stats.failed + stats.cancelled + stats.queued + stats.busy:
            yield f"does not add up: {stats}"
        if not 0 <= stats.running <= self.most or stats.peak_running > self.most:
            yield f"too many workers: {stats}"
        if not 0 <= stats.waiting <= SUBMITTERS:
            yield f"too many wait: {stats}"
        if stats.busy > self.most or stats.cancelled:
            yield f"too many tasks: {stats}"
        if self.queue_size is not None and stats.busy + stats.queued > self.most + self.queue_size:
            yield f"too many in flight: {stats}"
        for name in ("submitted", "completed", "failed", "rejected", "spawned", "expired", "peak_running"):
            if getattr(stats, name) < getattr(before, name):
                yield f"{name} went down: {before}, {stats}"

    def go(self) -> None:
        submitters = [Background(partial(self.submit, number)) for number in range(SUBMITTERS)]
        disturber, sampler = Background(self.disturb), Background(self.sample)
        try:
            wait_until(lambda: not any(each.is_alive() for each in submitters), "the end of the submitters", 1500)
        finally:
            self.done.set()
        refused = sum(each.result() for each in submitters)
        disturber.result()
        samples = sampler.result()
        print(f"{self.tasks} tasks, {refused} refusals, {self.disturbances} disturbances, {samples} samples")
        assert self.pool.wait_idle(60)
        self.check()

    def check(self) -> None:
        assert self.wrong == []
        failing = len(range(0, self.tasks, 1000))
        lost = [index for index, runs in enumerate(self.runs) if runs == 0]
        doubled = [index for index, runs in enumerate(self.runs) if runs > 1]
        assert (lost[:10], doubled[:10]) == ([], [])
        assert len(self.failures) == failing
        assert {error.args[0] for error in self.failures} == set(range(0, self.tasks, 1000))
        stats = self.pool.stats()
        assert (stats.submitted, stats.completed, stats.failed) == (self.tasks, self.tasks - failing, failing)
        assert (stats.busy, stats.queued, stats.waiting, stats.cancelled) == (0, 0, 0, 0)
        assert stats.capacity == self.capacity
        assert self.active == []
        # The pool works like a new one.
        assert self.pool.running() <= self.most
        self.pool.submit(int)
        self.pool.release_timeout(60)
        wait_equal(self.pool.running, 0)
        wait_gone(self.ids)


def submitted(error: PoolError) -> int:
    count: object = vars(error)["submitted"]
    assert isinstance(count, int)
    return count


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.thread_unsafe(reason="takes the whole machine")
@pytest.mark.ants("B22", "B25", "B34", "B66", "D13")
@pytest.mark.parametrize("queue_size", [0, 100, None], ids=["hand-off", "queue", "unbounded"])
@pytest.mark.parametrize("capacity", [1, 4, 64])
def test_stress(capacity: int, queue_size: int | None) -> None:
    seed = int(os.environ.get("PYANTS_STRESS_SEED") or random.randrange(2**32))
    print(f"PYANTS_STRESS_SEED={seed}")
    Stress(capacity, queue_size, TASKS, seed).go()
