"""Tasks that submit to their own full pool: those that would wait for ever get a PoolDeadlockError, the others wait."""

from __future__ import annotations

import threading

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, background, ignore, nap, wait_equal

from pyants import MultiPool, Pool, PoolClosedError, PoolDeadlockError, PoolOverloadError, PoolTimeoutError


@pytest.mark.ants("B23", "D20")
@pytest.mark.parametrize("kind", KINDS)
def test_the_only_worker_cannot_wait_for_itself(kind: Kind) -> None:
    seen: list[BaseException] = []
    ran: list[object] = []

    def task(item: object) -> None:
        if item == "inner":
            ran.append(item)
            return
        try:
            face.put("inner")
        except PoolDeadlockError as error:
            seen.append(error)

    face = Face(kind, 1, task)
    with face.pool as pool:
        face.put("outer")
        assert pool.wait_idle(10)
        assert pool.waiting() == 0
        assert (pool.stats().rejected, pool.stats().submitted, pool.stats().completed) == (1, 1, 1)
        # The pool still works.
        face.put("inner")
        assert pool.wait_idle(10)
    assert "wait" in str(seen[0])
    assert isinstance(seen[0], PoolOverloadError)
    assert ran == ["inner"]


@pytest.mark.ants("B23", "D20")
@pytest.mark.parametrize("capacity", [2, 5])
def test_when_all_workers_wait_the_last_is_told_and_the_others_are_served(capacity: int) -> None:
    told, served = Sum(), Sum()
    ready = threading.Barrier(capacity)
    with Pool(capacity) as pool:

        def task() -> None:
            ready.wait()
            try:
                pool.submit(served.add)
            except PoolDeadlockError:
                told.add()

        for _ in range(capacity):
            pool.submit(task)
        assert pool.wait_idle(30)
        assert pool.stats().submitted == capacity + served.value
        assert pool.stats().rejected == told.value
    assert told.value + served.value == capacity
    assert told.value >= 1
    assert served.value >= 1


@pytest.mark.ants("D20")
def test_a_task_waits_while_another_can_still_finish() -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(2, panic_handler=errors.append) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(lambda: pool.submit(done.add))
        wait_equal(pool.waiting, 1)
        gate.open()
        assert pool.wait_idle(10)
    assert errors == []
    assert done.value == 1


@pytest.mark.ants("D20")
def test_other_waiters_do_not_save_it() -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(1, panic_handler=errors.append) as pool, Gate() as gate:

        def task() -> None:
            gate.hold()
            pool.submit(done.add, 100)

        pool.submit(task)
        outside = Background(lambda: pool.submit(done.add, 1))
        wait_equal(pool.waiting, 1)
        gate.open()
        outside.result()
        assert pool.wait_idle(10)
    assert [type(error) for error in errors] == [PoolDeadlockError]
    assert done.value == 1


@pytest.mark.ants("D20", "D16")
def test_a_task_whose_last_hope_is_tuned_away_is_told() -> None:
    errors: list[BaseException] = []
    with Pool(2, panic_handler=errors.append) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        pool.tune(1)
        # The worker that ends its task now leaves, and the one that waits is the only one.
        gate.open()
        assert pool.wait_idle(10)
    assert [type(error) for error in errors] == [PoolDeadlockError]


@pytest.mark.ants("D20")
def test_a_permit_from_tune_serves_it() -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(2, panic_handler=errors.append) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(lambda: pool.submit(done.add))
        wait_equal(pool.waiting, 1)
        pool.tune(3)
        wait_equal(lambda: done.value, 1)
    assert errors == []


@pytest.mark.ants("B23", "B54")
def test_release_frees_a_task_that_waits() -> None:
    errors: list[BaseException] = []
    with Gate() as gate, Pool(2, panic_handler=errors.append) as pool:
        pool.submit(gate.hold)
        pool.submit(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        pool.release()
        wait_equal(pool.running, 1)
        gate.open()
    assert [type(error) for error in errors] == [PoolClosedError]


@pytest.mark.ants("B23")
@pytest.mark.parametrize("capacity", [-1, 1])
def test_unlimited_and_nonblocking_pools_cannot_get_stuck(capacity: int) -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(capacity, nonblocking=True, panic_handler=errors.append) as pool:
        pool.submit(lambda: pool.submit(done.add))
        assert pool.wait_idle(10)
    if capacity == -1:
        assert (errors, done.value) == ([], 1)
    else:
        assert [type(error) for error in errors] == [PoolOverloadError]


def test_a_wait_that_ends_by_itself_is_no_deadlock() -> None:
    errors: list[BaseException] = []
    with Pool(1, panic_handler=errors.append) as pool:
        pool.submit(lambda: pool.submit_within(0.01, nap))
        assert pool.wait_idle(10)
    assert [type(error) for error in errors] == [PoolTimeoutError]


def test_try_submit_in_a_task_of_a_full_pool() -> None:
    seen: list[bool] = []
    with Pool(1) as pool:
        pool.submit(lambda: seen.append(pool.try_submit(nap)))
        assert pool.wait_idle(10)
    assert seen == [False]


@pytest.mark.ants("D20", "D21")
def test_a_queue_puts_it_off() -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(1, queue_size=2, panic_handler=errors.append) as pool:

        def task() -> None:
            for _ in range(3):
                pool.submit(done.add)

        pool.submit(task)
        assert pool.wait_idle(10)
    assert [type(error) for error in errors] == [PoolDeadlockError]
    assert done.value == 2


@pytest.mark.ants("D20")
def test_a_task_may_wait_for_another_pool() -> None:
    errors: list[BaseException] = []
    done = Sum()
    with Pool(1, panic_handler=errors.append) as first, Pool(1, panic_handler=errors.append) as second, Gate() as gate:
        second.submit(gate.hold)
        first.submit(lambda: second.submit(done.add))
        wait_equal(second.waiting, 1)
        gate.open()
        assert first.wait_idle(10)
        assert second.wait_idle(10)
    assert errors == []
    assert done.value == 1


@pytest.mark.ants("D20", "D23")
def test_the_pools_of_a_multi_pool_are_one_deadlock_group() -> None:
    told, served = Sum(), Sum()
    ready = threading.Barrier(3)
    with MultiPool(3, 1, panic_handler=ignore) as pool:

        def task() -> None:
            ready.wait()
            try:
                pool.submit(served.add)
            except PoolDeadlockError:
                told.add()

        for _ in range(3):
            pool.submit(task)
        assert pool.wait_idle(30)
    assert told.value + served.value == 3
    assert told.value >= 1


def test_deep_recursion_through_a_small_pool_ends() -> None:
    done, told = Sum(), Sum()
    with Pool(3) as pool:

        def split(depth: int) -> None:
            done.add()
            if depth:
                for _ in range(2):
                    try:
                        pool.submit(split, depth - 1)
                    except PoolDeadlockError:
                        told.add()

        for submitter in background(3, lambda: pool.submit(split, 7)):
            submitter.result()
        assert pool.wait_idle(60)
        assert pool.stats().completed == done.value
        assert pool.stats().rejected == told.value
