"""Closing a pool: release(), and release_timeout(), which waits."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, background, nap, wait_equal, wait_gone, wait_until

from pyants import Pool, PoolClosedError, PoolTimeoutError


@pytest.mark.ants("B51", "B55", "D19")
@pytest.mark.parametrize("kind", KINDS)
def test_release_closes_the_pool_and_waits_for_nothing(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    pool = face.pool
    with gate:
        face.put(1)
        gate.wait_entered(1)
        assert not pool.is_closed()
        pool.release()
        # The task is still held, so the release did not wait for it.
        assert gate.inside == 1
        assert pool.is_closed()
        pool.release()
        assert pool.is_closed()
        for put in (face.put, face.try_put):
            with pytest.raises(PoolClosedError):
                put(2)
        with pytest.raises(PoolClosedError):
            face.put_within(10, 2)
        with pytest.raises(PoolClosedError):
            face.put_many([2])
        # The counters still work.
        assert (pool.cap(), pool.running(), pool.free(), pool.waiting(), pool.queued()) == (2, 1, 1, 0, 0)
        pool.tune(3)
        assert pool.cap() == 3
        assert pool.stats().submitted == 1
    wait_equal(pool.running, 0)


@pytest.mark.ants("B52")
@pytest.mark.parametrize("disable_purge", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_release_ends_idle_workers_at_once(kind: Kind, disable_purge: bool) -> None:
    gate = Gate()
    face = Face(kind, 10, gate.hold, disable_purge=disable_purge, expiry_duration=1000)
    with gate:
        for _ in range(10):
            face.put(None)
        gate.wait_entered(10)
    assert face.pool.wait_idle(10)
    assert face.pool.running() == 10
    face.pool.release()
    wait_equal(face.pool.running, 0)
    wait_gone(gate.ids)


@pytest.mark.ants("B53")
def test_release_does_not_interrupt_busy_workers() -> None:
    gate = Gate()
    pool = Pool(3)
    with gate:
        for _ in range(3):
            pool.submit(gate.hold)
        gate.wait_entered(3)
        pool.release()
        for left in (2, 1, 0):
            assert pool.running() == left + 1
            gate.let(1)
            wait_equal(pool.running, left)
    assert pool.stats().completed == 3
    wait_gone(gate.ids)


@pytest.mark.ants("B54")
@pytest.mark.parametrize("kind", KINDS)
def test_release_wakes_blocked_submitters_whose_tasks_never_run(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with gate:
        face.put(None)
        gate.wait_entered(1)
        blocked = background(10, lambda: face.put(None))
        wait_equal(face.pool.waiting, 10)
        face.pool.release()
        for submitter in blocked:
            with pytest.raises(PoolClosedError):
                submitter.result()
        assert gate.inside == 1
    wait_equal(face.pool.running, 0)
    assert gate.entered == 1
    assert face.pool.stats().submitted == 1


@pytest.mark.ants("B56", "B25")
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_may_release_its_own_pool(kind: Kind) -> None:
    face = Face(kind, 2, lambda _: face.pool.release())
    face.put(None)
    wait_until(face.pool.is_closed)
    assert face.pool.wait_idle(10)
    wait_equal(face.pool.running, 0)
    assert face.pool.stats().completed == 1


@pytest.mark.parametrize("kind", KINDS)
def test_release_lets_queued_tasks_run(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold, queue_size=20)
    with gate:
        for _ in range(21):
            face.put(None)
        gate.wait_entered(1)
        face.pool.release()
        assert face.pool.queued() == 20
    assert face.pool.wait_idle(10)
    assert gate.entered == 21
    wait_equal(face.pool.running, 0)


@pytest.mark.ants("B57", "B91")
@pytest.mark.parametrize("kind", KINDS)
def test_release_timeout_on_a_closed_pool_is_refused(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    pool = face.pool
    pool.release()
    with pytest.raises(PoolClosedError):
        pool.release_timeout(1)
    pool.reboot()
    pool.release_timeout(10)
    with pytest.raises(PoolClosedError):
        pool.release_timeout(1)
    pool.reboot()
    with gate:
        face.put(None)
        with pytest.raises(PoolTimeoutError):
            pool.release_timeout(0.01)
        with pytest.raises(PoolClosedError):
            pool.release_timeout(10)
    assert pool.wait_idle(10)


@pytest.mark.ants("B58", "B59")
@pytest.mark.parametrize("kind", KINDS)
def test_release_timeout_waits_until_all_is_over_and_no_longer(kind: Kind) -> None:
    done = Sum()

    def task(_: object) -> None:
        nap(0.02)
        done.add()

    face = Face(kind, 3, task, queue_size=5)
    for _ in range(8):
        face.put(None)
    # If it waited until the deadline, the test would hang.
    face.pool.release_timeout(100_000)
    assert done.value == 8
    assert face.pool.running() == 0
    assert face.pool.free() == face.pool.cap() == 3
    assert face.pool.is_closed()


@pytest.mark.ants("B58")
def test_release_timeout_with_idle_workers_needs_no_expiry() -> None:
    pool = Pool(50, expiry_duration=100_000)
    with Gate() as gate:
        for _ in range(50):
            pool.submit(gate.hold)
        gate.wait_entered(50)
    assert pool.wait_idle(10)
    pool.release_timeout(100_000)
    assert pool.running() == 0


@pytest.mark.ants("B58", "B59")
def test_after_release_timeout_the_threads_are_gone() -> None:
    pool = Pool(4)
    with Gate() as gate:
        for _ in range(4):
            pool.submit(gate.hold)
        gate.wait_entered(4)
    pool.release_timeout(timedelta(seconds=30))
    wait_gone(gate.ids)


@pytest.mark.ants("D10")
def test_without_workers_no_time_is_needed() -> None:
    pool = Pool(2, expiry_duration=0.01)
    ids: list[int] = []
    pool.submit(lambda: ids.append(threading.get_native_id()))
    wait_until(lambda: pool.stats().expired == 1)
    wait_gone(ids)
    # The expiry thread, which told the worker to leave, is still there, and is joined whatever the time limit.
    pool.release_timeout(0)


@pytest.mark.ants("B60", "D5")
@pytest.mark.parametrize("kind", KINDS)
def test_at_the_deadline_the_pool_stays_closed_and_tasks_go_on(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    pool = face.pool
    with gate:
        face.put(None)
        gate.wait_entered(1)
        start = time.monotonic()
        with pytest.raises(PoolTimeoutError):
            pool.release_timeout(0.05)
        assert time.monotonic() - start >= 0.05
        assert pool.is_closed()
        assert pool.running() == 1
        assert gate.inside == 1
    wait_equal(pool.running, 0)
    assert pool.stats().completed == 1


@pytest.mark.ants("B61", "D10")
@pytest.mark.parametrize("timeout", [0, 0.0, timedelta(0)], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_with_no_time_at_all_an_empty_pool_can_be_released(kind: Kind, timeout: float | timedelta) -> None:
    pool = Face(kind, 2, nap).pool
    pool.release_timeout(timeout)
    assert pool.is_closed()


@pytest.mark.ants("B61", "D10")
@pytest.mark.parametrize("kind", KINDS)
def test_with_no_time_at_all_a_busy_pool_times_out(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with gate:
        face.put(None)
        with pytest.raises(PoolTimeoutError):
            face.pool.release_timeout(0)
        assert face.pool.is_closed()


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), timedelta(seconds=-1)], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_an_impossible_timeout_is_refused_and_the_pool_stays_open(kind: Kind, timeout: float | timedelta) -> None:
    with Face(kind, 2, nap).pool as pool:
        with pytest.raises(ValueError, match="timeout"):
            pool.release_timeout(timeout)
        assert not pool.is_closed()


@pytest.mark.ants("B62", "B25")
@pytest.mark.parametrize("kind", KINDS)
def test_release_timeout_from_inside_a_task_times_out(kind: Kind) -> None:
    errors: list[BaseException] = []

    def task(_: object) -> None:
        face.pool.release_timeout(0.01)

    face = Face(kind, 2, task, panic_handler=errors.append)
    face.put(None)
    assert face.pool.wait_idle(10)
    assert [type(error) for error in errors] == [PoolTimeoutError]
    wait_equal(face.pool.running, 0)


def test_several_threads_may_release_at_once() -> None:
    for _ in range(30):
        pool = Pool(2)
        pool.submit(nap, 0.001)
        ready = threading.Barrier(4)

        def release(pool: Pool = pool, ready: threading.Barrier = ready) -> bool:
            ready.wait()
            try:
                pool.release_timeout(30)
            except PoolClosedError:
                return False
            return True

        released = [Background(release) for _ in range(4)]
        # Exactly one of the threads closed the pool.
        assert sum(each.result() for each in released) == 1
        wait_equal(pool.running, 0)
