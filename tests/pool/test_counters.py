"""The counters and the statistics of a pool."""

from __future__ import annotations

import threading

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, background, ignore, nap, wait_equal

from pyants import MultiPool, Pool, PoolOverloadError, PoolStats


def consistent(stats: PoolStats) -> bool:
    done = stats.completed + stats.failed + stats.cancelled
    return stats.submitted == done + stats.queued + stats.busy


@pytest.mark.ants("B28", "B29", "B30")
@pytest.mark.parametrize("kind", KINDS)
def test_running_counts_each_worker_before_submit_returns(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 10, gate.hold)
    with face.pool as pool, gate:
        for count in range(1, 11):
            face.put(None)
            assert pool.running() == count
            assert pool.free() == 10 - count
            assert pool.cap() == 10


@pytest.mark.ants("B28", "B30")
def test_idle_workers_run_and_are_not_free() -> None:
    with Pool(10, disable_purge=True) as pool:
        with Gate() as gate:
            for _ in range(10):
                pool.submit(gate.hold)
        assert pool.wait_idle(10)
        assert pool.running() == 10
        assert pool.free() == 0
        assert pool.stats().idle == 10
        assert pool.stats().busy == 0
        # Ten tasks are accepted at once although free() is 0.
        with Gate() as gate:
            for _ in range(10):
                assert pool.try_submit(gate.hold)
            assert pool.stats().busy == 10


@pytest.mark.ants("B29", "B30")
@pytest.mark.parametrize("kind", KINDS)
def test_an_unlimited_pool_has_minus_one_free(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 0, gate.hold)
    with face.pool as pool, gate:
        for _ in range(5):
            face.put(None)
        assert (pool.cap(), pool.free(), pool.running()) == (-1, -1, 5)


@pytest.mark.ants("B31", "B34", "D16")
def test_free_is_negative_while_busy_workers_exceed_a_lowered_capacity() -> None:
    with Pool(3) as pool, Gate() as gate:
        for _ in range(3):
            pool.submit(gate.hold)
        pool.tune(2)
        # Here -1 means one worker too many; cap() tells it apart from an unlimited pool.
        assert (pool.free(), pool.cap()) == (-1, 2)
        pool.tune(1)
        assert (pool.free(), pool.cap()) == (-2, 1)


@pytest.mark.ants("B32")
def test_waiting_counts_blocked_submitters() -> None:
    with Pool(1) as pool, Gate() as gate:
        assert pool.waiting() == 0
        pool.submit(gate.hold)
        assert pool.waiting() == 0
        blocked = background(4, lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 4)
        assert pool.stats().waiting == 4
        gate.open()
        for submitter in blocked:
            submitter.result()
        assert pool.waiting() == 0


@pytest.mark.ants("B33", "B34")
@pytest.mark.parametrize("queue_size", [0, 5, None])
@pytest.mark.parametrize("capacity", [1, 4])
def test_at_no_time_are_there_more_workers_than_the_capacity(capacity: int, queue_size: int | None) -> None:
    active = Gate()
    active.open()
    done = threading.Event()
    wrong: list[object] = []
    with Pool(capacity, queue_size=queue_size, expiry_duration=0.001) as pool:

        def sample() -> int:
            count = 0
            while not done.is_set():
                nap(0)  # Gives other threads the GIL.
                running, stats = pool.running(), pool.stats()
                if not 0 <= running <= capacity or not 0 <= stats.running <= capacity or not consistent(stats):
                    wrong.append((running, stats))
                count += 1
            return count

        def submit() -> None:
            for _ in range(1000):
                pool.submit(active.hold)

        sampler = Background(sample)
        for submitter in background(4, submit):
            submitter.result()
        assert pool.wait_idle(30)
        done.set()
        assert sampler.result() > 0
        assert pool.stats().peak_running <= capacity
    assert not wrong
    assert active.peak <= capacity
    assert active.entered == 4000


@pytest.mark.parametrize("kind", KINDS)
def test_stats_add_up(kind: Kind) -> None:
    gate = Gate()

    def task(item: object) -> None:
        if item == "fail":
            raise ValueError(item)
        if item == "hold":
            gate.hold()

    face = Face(kind, 2, task, nonblocking=True, panic_handler=ignore, disable_purge=True)
    with face.pool as pool:
        for item in ("pass", "fail", "fail", "pass", "pass"):
            face.put(item)
            assert pool.wait_idle(10)
        with gate:
            face.put("hold")
            face.put("hold")
            for _ in range(3):
                with pytest.raises(PoolOverloadError):
                    face.put("pass")
            assert not face.try_put("pass")
            stats = pool.stats()
            assert stats == PoolStats(
                capacity=2,
                running=2,
                busy=2,
                idle=0,
                waiting=0,
                queued=0,
                submitted=7,
                completed=3,
                failed=2,
                cancelled=0,
                rejected=4,
                spawned=2,
                expired=0,
                peak_running=2,
            )
        assert pool.wait_idle(10)
        assert pool.stats()._replace(busy=2, idle=0, completed=3) == stats
        assert (pool.stats().idle, pool.stats().completed) == (2, 5)


def test_stats_are_a_named_tuple() -> None:
    assert PoolStats._fields == (
        "capacity",
        "running",
        "busy",
        "idle",
        "waiting",
        "queued",
        "submitted",
        "completed",
        "failed",
        "cancelled",
        "rejected",
        "spawned",
        "expired",
        "peak_running",
    )
    with Pool(3) as pool:
        stats = pool.stats()
    assert isinstance(stats, PoolStats)
    assert isinstance(stats, tuple)
    assert stats.capacity == stats[0] == 3
    assert stats[1:] == (0,) * 13


def test_peak_running_remembers() -> None:
    with Pool(8, expiry_duration=0.05) as pool:
        with Gate() as gate:
            for _ in range(5):
                pool.submit(gate.hold)
        wait_equal(pool.running, 0)
        pool.submit(nap)
        assert pool.wait_idle(10)
        assert pool.stats().peak_running == 5
        assert pool.stats().spawned == 6


def test_a_multi_pools_stats_are_sums() -> None:
    gate, done = Gate(), Sum()
    with MultiPool(3, 4) as pool, gate:
        for _ in range(6):
            pool.submit(gate.hold)
        stats = pool.stats()
        assert (stats.capacity, stats.running, stats.busy, stats.submitted, stats.spawned) == (12, 6, 6, 6, 6)
        gate.open()
        assert pool.wait_idle(10)
        pool.submit(done.add)
        assert pool.wait_idle(10)
        assert pool.stats().completed == 7
    with MultiPool(3, -1) as pool:
        assert pool.stats().capacity == -1
