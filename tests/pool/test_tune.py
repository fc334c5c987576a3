"""tune() changes the capacity of a pool at work."""

from __future__ import annotations

import threading

import pytest
from support import (
    KINDS,
    Background,
    Face,
    Gate,
    Kind,
    Sum,
    background,
    is_thread_alive,
    nap,
    occupy,
    wait_equal,
    wait_gone,
    wait_until,
)

from pyants import Pool, PoolClosedError, PoolExecutor, PoolOverloadError


@pytest.mark.ants("B43")
@pytest.mark.parametrize("size", [0, -1, -100, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_nonsense_and_the_present_capacity_are_ignored(kind: Kind, size: int) -> None:
    with Face(kind, 4, nap).pool as pool:
        pool.tune(size)
        assert pool.cap() == 4


@pytest.mark.ants("B43")
@pytest.mark.parametrize("kind", KINDS)
def test_an_unlimited_pool_stays_so(kind: Kind) -> None:
    with Face(kind, -1, nap).pool as pool:
        pool.tune(10)
        assert (pool.cap(), pool.free()) == (-1, -1)


@pytest.mark.ants("B43")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_with_pre_alloc_keeps_its_size(kind: Kind) -> None:
    with Face(kind, 4, nap, pre_alloc=True).pool as pool:
        pool.tune(10)
        pool.tune(1)
        assert pool.cap() == 4


@pytest.mark.ants("B44")
@pytest.mark.parametrize("kind", KINDS)
def test_the_capacity_changes_at_once_and_no_worker_is_started(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold, nonblocking=True)
    with face.pool as pool, gate:
        face.put(1)
        for size in (7, 1, 2**31 - 1, 3):
            pool.tune(size)
            assert pool.cap() == size
            assert pool.stats().capacity == size
            assert pool.running() == 1
            assert pool.free() == size - 1


@pytest.mark.ants("B44", "B25")
def test_tune_from_a_task_does_not_block() -> None:
    with Pool(2) as pool:
        pool.submit(pool.tune, 1)
        assert pool.wait_idle(10)
        assert pool.cap() == 1
        assert pool.stats().completed == 1


@pytest.mark.ants("B45", "B22")
@pytest.mark.parametrize("kind", KINDS)
def test_up_lets_in_as_many_blocked_submitters_as_fit(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with face.pool as pool, gate:
        face.put(0)
        blocked = background(5, lambda: face.put(1))
        wait_equal(pool.waiting, 5)
        pool.tune(2)
        wait_equal(pool.waiting, 4)
        gate.wait_entered(2)
        assert pool.running() == 2
        pool.tune(4)
        wait_equal(pool.waiting, 2)
        gate.wait_entered(4)
        assert pool.running() == 4
        # All permits are taken, so the other two still wait.
        assert pool.waiting() == 2
        gate.open()
        for submitter in blocked:
            submitter.result()
    assert gate.entered == 6
    assert gate.peak == 4


@pytest.mark.ants("B46")
@pytest.mark.parametrize("kind", KINDS)
def test_up_with_nobody_blocked_gives_permits_to_later_tasks(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold, nonblocking=True)
    with face.pool as pool, gate:
        face.put(0)
        with pytest.raises(PoolOverloadError):
            face.put(0)
        pool.tune(3)
        face.put(0)
        face.put(0)
        with pytest.raises(PoolOverloadError):
            face.put(0)
        assert pool.running() == 3


@pytest.mark.ants("B47")
@pytest.mark.parametrize("kind", KINDS)
def test_down_lets_busy_workers_finish_and_leave(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 5, gate.hold, disable_purge=True)
    with face.pool as pool, gate:
        for _ in range(5):
            face.put(None)
        gate.wait_entered(5)
        pool.tune(2)
        # No task was interrupted.
        assert pool.running() == 5
        assert gate.inside == 5
        for running in (4, 3, 2):
            gate.let(1)
            wait_equal(pool.running, running)
        gate.let(1)
        wait_until(lambda: pool.stats().completed == 4)
        assert pool.running() == 2


@pytest.mark.ants("B48", "B16", "D16")
@pytest.mark.parametrize("kind", KINDS)
def test_down_ends_surplus_idle_workers_at_once(kind: Kind) -> None:
    ids: set[int] = set()

    def task(gate: object) -> None:
        assert isinstance(gate, Gate)
        ids.add(threading.get_native_id())
        gate.hold()

    face = Face(kind, 10, task, disable_purge=True)
    with face.pool as pool:
        with Gate() as gate:
            for _ in range(10):
                face.put(gate)
            gate.wait_entered(10)
        assert pool.wait_idle(10)
        assert pool.running() == 10
        pool.tune(2)
        wait_equal(pool.running, 2)
        wait_until(lambda: sum(map(is_thread_alive, ids)) == 2)
        # From now on no more than two tasks are active, where ants would run ten.
        with Gate() as gate:
            assert face.try_put(gate)
            assert face.try_put(gate)
            assert not face.try_put(gate)
            gate.wait_entered(2)
        assert pool.wait_idle(10)
        assert pool.running() == 2


@pytest.mark.ants("B49", "B22")
@pytest.mark.parametrize("kind", KINDS)
def test_down_keeps_blocked_submitters_waiting_for_a_permit(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 3, gate.hold)
    with face.pool as pool, gate:
        for _ in range(3):
            face.put(None)
        blocked = background(2, lambda: face.put(None))
        wait_equal(pool.waiting, 2)
        pool.tune(1)
        for running in (2, 1):
            gate.let(1)
            wait_equal(pool.running, running)
            # One task is still more than the capacity allows.
            assert pool.waiting() == 2
        gate.let(1)
        wait_equal(pool.waiting, 1)
        gate.open()
        for submitter in blocked:
            submitter.result()
    assert gate.entered == 5


@pytest.mark.ants("B50")
@pytest.mark.parametrize("kind", KINDS)
def test_the_capacity_of_a_closed_pool_can_be_tuned_and_outlives_it(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with face.pool as pool, gate:
        pool.tune(5)
        pool.release_timeout(10)
        assert pool.cap() == 5
        pool.tune(3)
        assert pool.cap() == 3
        with pytest.raises(PoolClosedError):
            face.put(None)
        pool.reboot()
        assert pool.cap() == 3
        for _ in range(3):
            assert face.try_put(None)
        assert not face.try_put(None)


def test_down_then_up_again_before_anybody_finishes() -> None:
    with Pool(3) as pool, Gate() as gate:
        for _ in range(3):
            pool.submit(gate.hold)
        blocked = Background(lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 1)
        pool.tune(1)
        pool.tune(4)
        wait_equal(pool.waiting, 0)
        blocked.result()
        assert pool.running() == 4


def test_workers_tuned_away_end_their_threads() -> None:
    with Pool(6, disable_purge=True) as pool:
        ids = occupy(pool, 6)
        pool.tune(1)
        wait_until(lambda: sum(map(is_thread_alive, ids)) == 1)
        pool.release_timeout(10)
        wait_gone(ids)


@pytest.mark.parametrize("queue_size", [0, 4, None])
def test_tuning_at_random_under_load_loses_no_task(queue_size: int | None) -> None:
    total = Sum()
    done = threading.Event()
    with Pool(4, queue_size=queue_size) as pool:

        def submit() -> None:
            for number in range(250):
                pool.submit(total.add, number)

        def tune() -> None:
            size = 1
            while not done.is_set():
                size = size % 7 + 1
                pool.tune(size)
                assert pool.cap() == size

        tuner = Background(tune)
        for submitter in background(4, submit):
            submitter.result()
        assert pool.wait_idle(30)
        done.set()
        tuner.result()
        assert pool.stats().peak_running <= 7
    assert total.value == 4 * sum(range(250))


@pytest.mark.parametrize("queue_size", [0, None])
def test_a_wait_for_the_last_result_of_a_worker_too_many_ends(queue_size: int | None) -> None:
    with Pool(2, queue_size=queue_size) as pool, PoolExecutor.over(pool) as executor:
        for _ in range(5):
            with Gate() as gate:
                futures = [executor.submit(gate.hold) for _ in range(2)]
                gate.wait_entered(2)
                # Not in the main thread, which wakes now and then for signals. Most of the threads are asleep by then.
                waiting = [Background(future.result) for future in futures]
                nap()
                pool.tune(1)
                gate.open()
                for waiter in waiting:
                    waiter.result()
            pool.tune(2)
