"""Several pools behind one front."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from support import Background, Gate, Sum, background, nap, wait_equal

from pyants import (
    InvalidLoadBalancingStrategyError,
    InvalidMultiPoolSizeError,
    InvalidPoolExpiryError,
    InvalidPoolIndexError,
    InvalidPreAllocSizeError,
    LackPoolFuncError,
    LoadBalancingStrategy,
    MultiPool,
    MultiPoolWithFunc,
    PoolOverloadError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_ROBIN = LoadBalancingStrategy.ROUND_ROBIN
LEAST_TASKS = LoadBalancingStrategy.LEAST_TASKS
BOTH = (ROUND_ROBIN, LEAST_TASKS)


def running(pool: MultiPool, size: int) -> list[int]:
    return [pool.running_by_index(index) for index in range(size)]


def waiting(pool: MultiPool, size: int) -> list[int]:
    return [pool.waiting_by_index(index) for index in range(size)]


@pytest.mark.ants("B78", "B87", "B88")
@pytest.mark.parametrize("strategy", BOTH)
def test_its_counters_are_sums_over_its_pools(strategy: LoadBalancingStrategy) -> None:
    with MultiPool(3, 4, strategy) as pool, Gate() as gate:
        assert (pool.cap(), pool.free(), pool.running(), pool.waiting(), pool.queued()) == (12, 12, 0, 0, 0)
        for _ in range(6):
            pool.submit(gate.hold)
        assert (pool.cap(), pool.free(), pool.running(), pool.waiting()) == (12, 6, 6, 0)
        assert running(pool, 3) == [2, 2, 2]
        assert [pool.free_by_index(index) for index in range(3)] == [2, 2, 2]
        assert [pool.queued_by_index(index) for index in range(3)] == [0, 0, 0]


@pytest.mark.ants("B78")
def test_each_pool_has_all_the_options() -> None:
    names: set[str] = set()
    errors: list[BaseException] = []
    with MultiPool(2, 1, nonblocking=True, name="many", panic_handler=errors.append) as pool, Gate() as gate:

        def task() -> None:
            names.add(threading.current_thread().name)
            gate.hold()
            raise ValueError

        pool.submit(task)
        pool.submit(task)
        with pytest.raises(PoolOverloadError):
            pool.submit(task)
        gate.open()
        assert pool.wait_idle(10)
    assert names == {"many-0_0", "many-1_0"}
    assert len(errors) == 2


@pytest.mark.ants("B79")
def test_the_order_of_the_checks() -> None:
    for size in (0, -1, -(2**31)):
        with pytest.raises(InvalidMultiPoolSizeError, match=str(size)):
            MultiPool(size, 10, 8, expiry_duration=-1)  # type: ignore[arg-type]
    with pytest.raises(InvalidLoadBalancingStrategyError, match="8"):
        MultiPool(2, 10, 8, expiry_duration=-1)  # type: ignore[arg-type]
    with pytest.raises(InvalidLoadBalancingStrategyError):
        MultiPoolWithFunc(2, 10, None, 8, expiry_duration=-1)  # type: ignore[arg-type]
    with pytest.raises(LackPoolFuncError):
        MultiPoolWithFunc(2, -1, None, ROUND_ROBIN, expiry_duration=-1, pre_alloc=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidPoolExpiryError):
        MultiPool(2, -1, ROUND_ROBIN, expiry_duration=-1, pre_alloc=True)
    with pytest.raises(InvalidPreAllocSizeError):
        MultiPool(2, -1, ROUND_ROBIN, pre_alloc=True)


def test_a_strategy_may_be_given_as_its_number() -> None:
    for number in (2, 4):
        with MultiPool(2, 1, number) as pool:  # type: ignore[arg-type]
            pool.submit(nap)
    assert [int(strategy) for strategy in LoadBalancingStrategy] == [2, 4]


@pytest.mark.ants("B80", "B87", "D15")
def test_with_unlimited_pools_there_is_no_sum() -> None:
    for capacity in (-1, 0, -7):
        with MultiPool(5, capacity) as pool, Gate() as gate:
            pool.submit(gate.hold)
            assert (pool.cap(), pool.free(), pool.running()) == (-1, -1, 1)
            assert pool.free_by_index(0) == pool.free_by_index(4) == -1


@pytest.mark.ants("B81", "D15")
def test_round_robin_takes_the_pools_in_turn_from_the_first_on() -> None:
    with MultiPool(3, 5) as pool:
        for _ in range(2):
            with Gate() as gate:
                for expected in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2], [3, 2, 2]):
                    pool.submit(gate.hold)
                    assert running(pool, 3) == expected
            pool.release_timeout(10)
            # After a reboot it begins with the first again.
            pool.reboot()


@pytest.mark.ants("B82", "D22")
def test_least_tasks_takes_the_pool_with_the_fewest_tasks() -> None:
    gates = [Gate() for _ in range(6)]
    with MultiPool(3, 5, LEAST_TASKS) as pool:
        for gate, expected in zip(
            gates, ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]), strict=True
        ):
            pool.submit(gate.hold)
            assert running(pool, 3) == expected
        # The third pool has two tasks less than the others now.
        gates[2].open()
        gates[5].open()
        wait_equal(lambda: pool.stats().completed, 2)
        with Gate() as gate:
            pool.submit(gate.hold)
            pool.submit(gate.hold)
            gate.wait_entered(2)
            assert pool.stats().busy == 6
            # Its idle workers took them, for the others have none.
            assert running(pool, 3) == [2, 2, 2]
            for each in gates:
                each.open()


@pytest.mark.ants("B82", "D22")
def test_least_tasks_counts_tasks_and_not_idle_workers() -> None:
    with MultiPool(3, 5, LEAST_TASKS, disable_purge=True) as pool:
        for _ in range(10):
            pool.submit(nap, 0.001)
            assert pool.wait_idle(10)
        # The first pool is always the lowest of the empty ones; ants would have spawned a worker in each.
        assert running(pool, 3) == [1, 0, 0]


@pytest.mark.ants("D22")
def test_least_tasks_counts_queued_tasks() -> None:
    with MultiPool(2, 1, LEAST_TASKS, queue_size=3) as pool, Gate() as gate:
        for _ in range(8):
            pool.submit(gate.hold)
        gate.wait_entered(2)
        assert [pool.queued_by_index(index) for index in range(2)] == [3, 3]
        assert pool.queued() == 6


@pytest.mark.ants("B83")
def test_round_robin_tries_a_full_pool_once_more_on_the_least_loaded() -> None:
    first, second = Gate(), Gate()
    with MultiPool(2, 1, nonblocking=True) as pool, first, second:
        pool.submit(first.hold)
        pool.submit(second.hold)
        second.let(1)
        wait_equal(lambda: pool.stats().completed, 1)
        # It is the turn of the first pool, which is full.
        pool.submit(second.hold)
        assert running(pool, 2) == [1, 1]
        second.wait_entered(2)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)
        assert not pool.try_submit(nap)


@pytest.mark.ants("B84")
def test_least_tasks_refuses_when_all_pools_are_full() -> None:
    with MultiPool(2, 1, LEAST_TASKS, nonblocking=True) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)
        assert running(pool, 2) == [1, 1]


@pytest.mark.ants("B85", "D23")
@pytest.mark.parametrize("strategy", BOTH)
def test_it_blocks_only_when_no_pool_can_take_the_task(strategy: LoadBalancingStrategy) -> None:
    gates = [Gate() for _ in range(3)]
    with MultiPool(3, 1, strategy) as pool:
        for gate in gates:
            pool.submit(gate.hold)
        # Whichever pool's turn it is, only the third has a permit.
        for count in range(1, 8):
            gates[2].let(1)
            wait_equal(lambda: pool.stats().completed, count)
            pool.submit(gates[2].hold)
            assert pool.waiting() == 0
        gates[2].wait_entered(8)
        blocked = Background(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        for gate in gates:
            gate.open()
        blocked.result()


@pytest.mark.ants("B86")
def test_the_limit_of_blocked_submitters_holds_for_each_pool() -> None:
    with MultiPool(2, 1, max_blocking_tasks=1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        blocked = background(2, lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 2)
        assert waiting(pool, 2) == [1, 1]
        with pytest.raises(PoolOverloadError):
            pool.submit(gate.hold)
        gate.open()
        for submitter in blocked:
            submitter.result()


@pytest.mark.ants("B88")
@pytest.mark.parametrize("index", [-1, -3, 3, 4, 2**31, -(2**70), 2**70])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with MultiPool(3, 1) as pool, MultiPoolWithFunc(3, 1, nap) as fixed:
        calls: list[Callable[[int], int]] = []
        for each in (pool, fixed):
            calls += [each.running_by_index, each.free_by_index, each.waiting_by_index, each.queued_by_index]
        for call in calls:
            with pytest.raises(InvalidPoolIndexError, match=str(index)):
                call(index)


@pytest.mark.ants("B88")
def test_an_index_must_be_an_integer() -> None:
    with MultiPool(3, 1) as pool:
        for junk in (1.0, "1", None):
            with pytest.raises(TypeError):
                pool.running_by_index(junk)  # type: ignore[arg-type]


@pytest.mark.ants("B89")
def test_tune_sets_the_capacity_of_each_pool() -> None:
    with MultiPool(3, 2) as pool:
        pool.tune(5)
        assert (pool.cap(), pool.free_by_index(2)) == (15, 5)
        pool.tune(0)
        assert pool.cap() == 15
    with MultiPool(3, 2, pre_alloc=True) as pool:
        pool.tune(5)
        assert pool.cap() == 6


def test_many_tasks_from_many_threads() -> None:
    for strategy in BOTH:
        total = Sum()
        with MultiPool(4, 2, strategy) as pool:
            for submitter in background(4, lambda: pool.submit_many(total.add, range(300))):  # noqa: B023
                assert submitter.result() == 300
        assert total.value == 4 * 44850


def test_it_has_no_length() -> None:
    with MultiPool(3, 1) as pool, pytest.raises(TypeError):
        len(pool)  # type: ignore[arg-type]
