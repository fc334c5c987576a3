"""Idle workers leave; busy ones never do."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

import pytest
from support import KINDS, Face, Gate, Kind, nap, occupy, run_program, wait_equal, wait_gone, wait_until

from pyants import Pool


@pytest.mark.ants("B35", "B38", "B40")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_left_alone_loses_all_its_workers(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 20, gate.hold, expiry_duration=0.05)
    with face.pool as pool, gate:
        for _ in range(20):
            face.put(None)
        gate.open()
        wait_equal(pool.running, 0)
        assert pool.stats().expired == pool.stats().spawned == 20
        assert pool.free() == pool.cap() == 20


@pytest.mark.ants("B36", "B37", "B39", "D12")
@pytest.mark.parametrize("expiry", [0.05, 0.3])
def test_an_idle_worker_lives_for_an_expiry_at_least(expiry: float) -> None:
    with Pool(3, expiry_duration=expiry) as pool:
        for _ in range(3):
            before = time.monotonic()
            pool.submit(int)
            wait_equal(pool.running, 0)
            assert time.monotonic() - before >= expiry


@pytest.mark.ants("B39", "B40", "D12")
def test_an_idle_worker_lives_for_two_expiries_at_most() -> None:
    # A busy machine adds to the bound, so the test allows a ratio that only a wrong clock or a missed scan exceeds.
    with Pool(4, expiry_duration=1) as pool:
        occupy(pool, 4)
        idle_since = time.monotonic()
        wait_equal(pool.running, 0)
        assert time.monotonic() - idle_since < 20


@pytest.mark.ants("B35", "B40")
def test_the_threads_of_purged_workers_end() -> None:
    with Pool(5, expiry_duration=0.05) as pool:
        ids = occupy(pool, 5)
        assert len(ids) == 5
        wait_gone(ids)
        assert not pool.is_closed()


@pytest.mark.ants("B35")
def test_a_busy_worker_is_never_purged() -> None:
    with Pool(2, expiry_duration=0.02) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        gate.wait_entered(2)
        # One worker becomes idle and is purged, which shows that the pool purges.
        gate.let(1)
        wait_equal(pool.running, 1)
        pool.submit(nap)
        wait_until(lambda: pool.stats().expired == 2)
        assert pool.stats().busy == 1
        gate.open()
        assert pool.wait_idle(10)
        assert pool.stats().completed == 3


@pytest.mark.ants("B38")
def test_a_worker_on_its_way_out_is_given_no_task() -> None:
    # Tasks come just when workers are overdue: each runs, at once or on a new worker.
    done: list[int] = []
    with Pool(2, expiry_duration=0.002) as pool:
        for number in range(300):
            pool.submit(done.append, number)
            nap(0.002 * (number % 3))
        assert pool.wait_idle(10)
        assert pool.stats().completed == 300
    assert sorted(done) == list(range(300))


@pytest.mark.ants("B41")
def test_after_a_purge_workers_are_spawned_anew() -> None:
    with Pool(3, expiry_duration=0.02) as pool:
        for round_ in range(1, 6):
            occupy(pool, 3)
            wait_equal(pool.running, 0)
            assert pool.stats().spawned == pool.stats().expired == 3 * round_
        assert pool.stats().peak_running == 3


@pytest.mark.ants("B42", "B6")
@pytest.mark.parametrize("expiry", [0.01, -1.0, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_with_purge_disabled_idle_workers_stay(kind: Kind, expiry: float) -> None:
    gate = Gate()
    face = Face(kind, 4, gate.hold, disable_purge=True, expiry_duration=expiry)
    # A pool with the same expiry that does purge shows when a scan would have come.
    with face.pool as pool, Pool(1, expiry_duration=abs(expiry) or 0.01) as clock:
        with gate:
            for _ in range(4):
                face.put(None)
        assert pool.wait_idle(10)
        if expiry != -1.0:
            for _ in range(3):
                clock.submit(int)
                wait_equal(clock.running, 0)
        assert pool.running() == 4
        assert pool.stats().expired == 0
        pool.release_timeout(10)
        assert pool.running() == 0


def test_only_overdue_workers_leave() -> None:
    with Pool(4, expiry_duration=timedelta(seconds=0.25)) as pool:
        occupy(pool, 4)

        def use_one() -> bool:
            pool.submit(int)
            assert pool.wait_idle(10)
            return pool.running() == 1 and pool.stats().expired >= 3

        # One worker is in use all the time, and the three others leave.
        wait_until(use_one)


def test_one_purge_leaves_other_pools_alone() -> None:
    with Pool(2, expiry_duration=0.02) as short, Pool(2, expiry_duration=1000) as long:
        occupy(short, 2)
        occupy(long, 2)
        wait_equal(short.running, 0)
        assert long.running() == 2


def test_a_short_expiry_is_kept_beside_a_long_one() -> None:
    # The expiry thread has a late deadline at first, and must be told of an earlier one.
    with Pool(1, expiry_duration=1000) as long, Pool(1, expiry_duration=0.02) as short:
        occupy(long, 1)
        occupy(short, 1)
        wait_equal(short.running, 0)


# --- the thread that keeps the time ---

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's books")


@ON_LINUX
@pytest.mark.thread_unsafe(reason="counts the threads of a process")
def test_pools_that_ran_and_rest_keep_no_thread_each() -> None:
    stdout, _ = run_program("pool/purge.py", "pools_that_ran_and_rest_keep_no_thread_each")
    assert stdout == "2000\n"


@pytest.mark.thread_unsafe(reason="starts processes")
def test_a_handler_is_never_dropped_on_a_small_stack() -> None:
    # Each level takes some hundred bytes of the C stack, at least.
    stdout, _ = run_program("pool/purge.py", "a_handler_is_never_dropped_on_a_small_stack")
    assert stdout == "done\n"
