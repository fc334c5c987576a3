"""queue_size: accepted tasks that may wait for a worker."""

from __future__ import annotations

from functools import partial

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, background, ignore, wait_equal

from pyants import Pool, PoolOverloadError, PoolTimeoutError


@pytest.mark.ants("D21", "B19")
@pytest.mark.parametrize("kind", KINDS)
def test_overload_means_that_the_queue_is_full_too(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold, queue_size=3, nonblocking=True)
    with face.pool as pool, gate:
        for _ in range(5):
            face.put(None)
        gate.wait_entered(2)
        assert (pool.queued(), pool.running(), pool.waiting()) == (3, 2, 0)
        assert (pool.stats().queued, pool.stats().busy) == (3, 2)
        with pytest.raises(PoolOverloadError):
            face.put(None)
        assert not face.try_put(None)
        gate.let(1)
        wait_equal(pool.queued, 2)
        face.put(None)
        assert not face.try_put(None)
    assert gate.entered == 6


@pytest.mark.ants("D21")
@pytest.mark.parametrize("kind", KINDS)
def test_submitters_block_when_the_queue_is_full(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold, queue_size=2)
    with face.pool as pool, gate:
        for _ in range(3):
            face.put(None)
        gate.wait_entered(1)
        blocked = background(2, lambda: face.put(None))
        wait_equal(pool.waiting, 2)
        with pytest.raises(PoolTimeoutError):
            face.put_within(0.01, None)
        assert pool.queued() == 2
        gate.let(1)
        wait_equal(pool.waiting, 1)
        gate.open()
        for submitter in blocked:
            submitter.result()
    assert gate.entered == 5
    assert gate.peak == 1


@pytest.mark.ants("D21")
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_limit_submit_never_blocks(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold, queue_size=None)
    with face.pool as pool:
        with gate:
            for _ in range(1000):
                face.put(None)
            gate.wait_entered(2)
            assert pool.waiting() == 0
            assert pool.queued() == 998
            assert face.try_put(None)
            face.put_within(0, None)
        assert pool.wait_idle(30)
        assert pool.stats().completed == 1002
        assert pool.queued() == 0
    assert gate.peak <= 2


@pytest.mark.ants("D21")
def test_without_a_queue_nothing_is_ever_queued() -> None:
    with Pool(2) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        assert pool.queued() == pool.stats().queued == 0


@pytest.mark.parametrize("queue_size", [50, None])
def test_one_worker_takes_queued_tasks_in_order(queue_size: int | None) -> None:
    order: list[int] = []
    with Pool(1, queue_size=queue_size) as pool:
        for number in range(200):
            pool.submit(order.append, number)
    assert order == list(range(200))


@pytest.mark.parametrize("queue_size", [100, None])
def test_tasks_that_block_raise_the_number_of_workers(queue_size: int | None) -> None:
    with Pool(5, queue_size=queue_size) as pool, Gate() as gate:
        for _ in range(20):
            pool.submit(gate.hold)
        # If the pool took one worker to be enough for the queue, the other tasks would never begin.
        gate.wait_entered(5)
        assert pool.running() == 5
        assert gate.inside == 5


@pytest.mark.ants("D21")
def test_an_unlimited_pool_queues_nothing() -> None:
    for queue_size in (0, 10, None):
        with Pool(queue_size=queue_size) as pool, Gate() as gate:
            for _ in range(20):
                pool.submit(gate.hold)
            gate.wait_entered(20)
            assert pool.running() == 20
            wait_equal(pool.queued, 0)


@pytest.mark.ants("D21", "B51")
@pytest.mark.parametrize("queue_size", [100, None])
def test_queued_tasks_run_after_release(queue_size: int | None) -> None:
    done = Sum()
    pool = Pool(2, queue_size=queue_size)
    with Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        for _ in range(50):
            pool.submit(done.add)
        pool.release()
    assert pool.wait_idle(30)
    assert done.value == 50
    wait_equal(pool.running, 0)
    assert pool.stats().cancelled == 0


def test_tune_up_lets_queued_tasks_run_at_once() -> None:
    with Pool(1, queue_size=10) as pool, Gate() as gate:
        for _ in range(4):
            pool.submit(gate.hold)
        gate.wait_entered(1)
        pool.tune(3)
        gate.wait_entered(3)
        assert pool.running() == 3
        assert pool.queued() == 1


def test_tune_down_keeps_queued_tasks() -> None:
    with Pool(3, queue_size=10) as pool:
        with Gate() as gate:
            for _ in range(9):
                pool.submit(gate.hold)
            gate.wait_entered(3)
            pool.tune(1)
            gate.let(2)
            wait_equal(pool.running, 1)
        assert pool.wait_idle(30)
        assert pool.stats().completed == 9


def test_release_and_reboot_with_a_full_queue() -> None:
    with Pool(1, queue_size=5) as pool:
        with Gate() as gate:
            for _ in range(6):
                pool.submit(gate.hold)
            pool.release()
            pool.reboot()
            assert not pool.try_submit(gate.hold)
            assert pool.queued() == 5
        assert pool.wait_idle(30)
        assert gate.entered == 6


@pytest.mark.parametrize("queue_size", [0, 7, None])
def test_many_tasks_through_a_queue_run_once_each(queue_size: int | None) -> None:
    runs = [0] * 4000
    with Pool(3, queue_size=queue_size, panic_handler=ignore) as pool:

        def run(index: int) -> None:
            runs[index] += 1
            if index % 10 == 0:
                raise ValueError(index)

        def submit(first: int) -> None:
            for index in range(first, 4000, 4):
                pool.submit(run, index)

        submitters = [Background(partial(submit, first)) for first in range(4)]
        for submitter in submitters:
            submitter.result()
        assert pool.wait_idle(30)
        assert (pool.stats().completed, pool.stats().failed) == (3600, 400)
    assert runs == [1] * 4000
