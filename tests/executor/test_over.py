"""PoolExecutor.over(pool): an executor on the workers of a pool that others share; and an executor's own pool."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import REFUSED, PoolExecutor, attribute, wait_freed
from support import DEADLINE, Background, Gate, Sum, wait_equal, wait_until

from pyants import MultiPool, Pool, PoolClosedError, PoolDeadlockError, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POOLS = [
    pytest.param(lambda: Pool(2, queue_size=None), id="Pool"),
    pytest.param(lambda: MultiPool(2, 1, queue_size=None), id="MultiPool"),
]
each_pool = pytest.mark.parametrize("make", POOLS)


@each_pool
def test_it_is_an_executor_like_others(make: Any) -> None:
    with make() as pool, PoolExecutor.over(pool) as executor:
        assert type(executor) is PoolExecutor
        assert executor.pool is pool
        assert executor.submit(pow, 2, 5).result(DEADLINE) == 32
        assert isinstance(executor.submit(int, "no number").exception(DEADLINE), ValueError)
        assert list(executor.map(int, "123")) == [1, 2, 3]
        assert sorted(executor.map_unordered(int, "123")) == [1, 2, 3]
        assert [future.result(DEADLINE) for future in executor.submit_many(int, "123")] == [1, 2, 3]
        assert attribute(executor, "_max_workers") == 2
        threads = attribute(executor, "_threads")
        wait_until(lambda: len(list(threads)) == len(threads) == pool.running(), "the threads")


@each_pool
def test_its_shutdown_leaves_the_pool_open(make: Any) -> None:
    done = Sum()
    with make() as pool:
        executor = PoolExecutor.over(pool)
        executor.submit(done.add)
        executor.shutdown()
        assert done.value == 1
        with pytest.raises(RuntimeError, match=REFUSED):
            executor.submit(done.add)
        assert not pool.is_closed()
        pool.submit(done.add)
        assert PoolExecutor.over(pool).submit(int, "7").result(DEADLINE) == 7
        assert pool.wait_idle(DEADLINE)
    assert done.value == 2


@each_pool
def test_its_shutdown_waits_for_its_own_tasks_only(make: Any) -> None:
    with make() as pool, Gate() as foreign, Gate() as own:
        pool.submit(foreign.hold)
        foreign.wait_entered(1)
        with PoolExecutor.over(pool) as executor, PoolExecutor.over(pool) as other:
            held = executor.submit(own.hold)
            own.wait_entered(1)
            shutdown = Background(executor.shutdown)
            wait_until(lambda: attribute(executor, "_shutdown"), "the shutdown")
            assert shutdown.is_alive()
            later = other.submit(foreign.hold)
            own.open()
            shutdown.result()
            # The pool's own task is still there, and so is that of the other executor.
            assert held.done()
            assert foreign.inside >= 1
            assert not later.done()
            foreign.open()


@each_pool
def test_its_shutdown_cancels_its_own_tasks_only(make: Any) -> None:
    done = Sum()
    with make() as pool, Gate() as gate:
        for _ in range(2):
            pool.submit(gate.hold)
        gate.wait_entered(2)
        executor, other = PoolExecutor.over(pool), PoolExecutor.over(pool)
        pool.submit(done.add)
        own = [executor.submit(done.add, 100) for _ in range(5)]
        others = [other.submit(done.add) for _ in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in own)
        assert not any(future.cancelled() for future in others)
        gate.open()
        other.shutdown()
        assert pool.wait_idle(DEADLINE)
    assert done.value == 6


@each_pool
def test_cancelling_and_waiting_returns_though_others_are_busy(make: Any) -> None:
    with make() as pool, Gate() as gate:
        for _ in range(2):
            pool.submit(gate.hold)
        gate.wait_entered(2)
        executor = PoolExecutor.over(pool)
        own = [executor.submit(int) for _ in range(5)]
        Background(lambda: executor.shutdown(cancel_futures=True)).result()
        assert all(future.cancelled() for future in own)
        gate.open()


@each_pool
def test_the_workers_are_those_of_the_pool(make: Any) -> None:
    names: list[str] = []
    with make() as pool, PoolExecutor.over(pool) as executor, Gate() as gate:

        def task() -> None:
            names.append(threading.current_thread().name)
            gate.hold()

        for submit in (executor.submit, pool.submit):
            submit(task)
        gate.wait_entered(2)
        assert pool.running() == 2
        behind = executor.submit(int)
        # Both share one capacity.
        assert pool.queued() == 1
        assert not behind.done()
        gate.open()
    assert len(set(names)) == 2


def test_the_limits_are_those_of_the_pool() -> None:
    with Pool(1, nonblocking=True) as pool, PoolExecutor.over(pool) as executor, Gate() as gate:
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            executor.submit(int)
        assert executor.try_submit(int) is None
        gate.open()
        assert pool.wait_idle(DEADLINE)
        assert executor.submit(int, "7").result(DEADLINE) == 7
    with Pool(1) as pool, PoolExecutor.over(pool) as executor, Gate() as gate:
        pool.submit(gate.hold)
        waiting = Background(lambda: executor.submit(int, "7"))
        wait_equal(pool.waiting, 1)
        gate.open()
        assert waiting.result().result(DEADLINE) == 7


@each_pool
def test_a_pool_that_is_released(make: Any) -> None:
    pool = make()
    executor = PoolExecutor.over(pool)
    with Gate() as gate:
        held = executor.submit(gate.hold)
        gate.wait_entered(1)
        queued = executor.submit(int, "7")
        pool.release()
        with pytest.raises(RuntimeError):
            executor.submit(int)
        with pytest.raises(PoolClosedError):
            pool.submit(int)
        gate.open()
        # The accepted calls are done.
        assert queued.result(DEADLINE) == 7
        assert held.result(DEADLINE) is None
    executor.shutdown()
    pool.reboot()
    assert PoolExecutor.over(pool).submit(int, "8").result(DEADLINE) == 8
    pool.release_timeout(DEADLINE)


def test_a_failure_is_told_by_the_future_and_not_by_the_panic_handler() -> None:
    told: list[BaseException] = []
    with Pool(1, panic_handler=told.append) as pool, PoolExecutor.over(pool) as executor:
        assert isinstance(executor.submit(int, "no number").exception(DEADLINE), ValueError)
        pool.submit(int, "no number either")
        assert pool.wait_idle(DEADLINE)
    assert [str(error) for error in told] == ["invalid literal for int() with base 10: 'no number either'"]


def test_a_task_of_the_pool_that_waits_for_a_future_in_vain_is_told() -> None:
    told: list[BaseException] = []
    with Pool(1, queue_size=None, panic_handler=told.append) as pool, PoolExecutor.over(pool) as executor:
        pool.submit(lambda: executor.submit(int).result())
        assert pool.wait_idle(DEADLINE)
    assert [type(error) for error in told] == [PoolDeadlockError]


@pytest.mark.parametrize("nonsense", [None, 3, "pool", Pool, concurrent.futures.ThreadPoolExecutor], ids=repr)
def test_it_is_over_a_pool(nonsense: Any) -> None:
    with pytest.raises(TypeError):
        PoolExecutor.over(nonsense)


def test_it_keeps_its_pool_and_the_pool_keeps_no_executor() -> None:
    pool = Pool(2)
    executor = PoolExecutor.over(pool)
    reference = weakref.ref(executor)
    assert executor.submit(int).result(DEADLINE) == 0
    del pool
    gc.collect()
    assert executor.submit(int, "7").result(DEADLINE) == 7
    pool = executor.pool
    del executor
    wait_freed(reference)
    assert not pool.is_closed()
    pool.release_timeout(DEADLINE)


def test_an_executor_over_a_pool_that_nobody_keeps_finishes_its_work() -> None:
    done = Sum()
    with Pool(1, queue_size=None) as pool, Gate() as gate:
        executor = PoolExecutor.over(pool)
        executor.submit(gate.hold)
        for _ in range(10):
            executor.submit(done.add)
        del executor
        gc.collect()
        assert not pool.is_closed()
        gate.open()
    assert done.value == 10


def test_a_subclass() -> None:
    class Mine(PoolExecutor):  # type: ignore[misc]
        pass

    with Pool(1) as pool, Mine.over(pool) as executor:
        assert type(executor) is Mine
        assert executor.submit(int, "7").result(DEADLINE) == 7


# --- the pool of an executor ---


def test_an_executor_has_a_pool_of_its_own() -> None:
    with PoolExecutor(3, "mine", queue_size=5) as executor, PoolExecutor(3) as other:
        assert isinstance(executor.pool, Pool)
        assert executor.pool is executor.pool
        assert executor.pool is not other.pool
        assert executor.pool.cap() == 3
        with pytest.raises(AttributeError):
            executor.pool = other.pool
        assert executor.submit(int).result(DEADLINE) == 0
        # Tasks without a future may be submitted, too.
        done = Sum()
        executor.pool.submit(done.add)
        assert executor.pool.wait_idle(DEADLINE)
        assert done.value == 1
    assert executor.pool.is_closed()


def test_stats_tell_of_its_tasks() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        for _ in range(3):
            executor.submit(int)
        stats = executor.pool.stats()
        assert (stats.capacity, stats.running, stats.busy, stats.queued, stats.submitted) == (1, 1, 1, 3, 4)
        gate.open()
        assert executor.pool.wait_idle(DEADLINE)
        stats = executor.pool.stats()
        assert (stats.busy, stats.queued, stats.submitted, stats.completed) == (0, 0, 4, 4)


def test_the_number_of_workers_can_be_tuned() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        held = [executor.submit(gate.hold) for _ in range(3)]
        gate.wait_entered(1)
        executor.pool.tune(3)
        gate.wait_entered(3)
        gate.open()
        assert concurrent.futures.wait(held, DEADLINE).not_done == set()


def test_wait_idle_waits_for_what_has_futures() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        future = executor.submit(gate.hold)
        assert not executor.pool.wait_idle(0.001)
        gate.open()
        assert executor.pool.wait_idle(DEADLINE)
        assert future.done()


# --- the map tasks of a job ---


def feed_with_a_foreign_task_between(pool: Pool, own: Gate, foreign: Gate) -> Iterator[Callable[[], None]]:
    """A map whose second map task comes behind another task: in the queue, or among the waiters."""
    yield own.hold
    own.wait_entered(1)
    others = Background(lambda: pool.submit(foreign.hold))
    wait_until(lambda: pool.queued() + pool.waiting() == 1, "the foreign task")
    yield from [lambda: None] * 3
    del others


def call_it(item: Callable[[], None]) -> None:
    item()


@pytest.mark.parametrize("queue_size", [None, 0])
@pytest.mark.parametrize("cancel_futures", [False, True])
def test_its_shutdown_does_not_wait_for_map_tasks_without_items(queue_size: int | None, cancel_futures: bool) -> None:
    # One map task is enough: the other one is queued behind a task that goes on.
    with Pool(2, queue_size=queue_size) as pool, Gate() as foreign, Gate() as own:
        pool.submit(foreign.hold)
        foreign.wait_entered(1)
        executor = PoolExecutor.over(pool)
        results = executor.map(call_it, feed_with_a_foreign_task_between(pool, own, foreign))
        if cancel_futures:
            executor.shutdown(wait=False, cancel_futures=True)
            own.open()
            with pytest.raises(concurrent.futures.CancelledError):
                list(results)
        else:
            own.open()
            assert list(results) == [None] * 4
        foreign.wait_entered(2)
        Background(executor.shutdown).result()
        assert foreign.inside == 2


@pytest.mark.parametrize("queue_size", [None, 0])
def test_its_shutdown_waits_for_map_tasks_with_items(queue_size: int | None) -> None:
    done = Sum()
    with Pool(2, queue_size=queue_size) as pool, Gate() as foreign, Gate() as own:
        pool.submit(foreign.hold)
        foreign.wait_entered(1)
        executor = PoolExecutor.over(pool)
        items = [own.hold, *[done.add] * 100]
        executor.map(call_it, items)
        shutdown = Background(executor.shutdown)
        wait_until(lambda: attribute(executor, "_shutdown"), "the shutdown")
        assert shutdown.is_alive()
        own.open()
        shutdown.result()
        assert done.value == 100
        assert foreign.inside == 1


def test_a_map_takes_no_place_of_those_that_wait() -> None:
    with Pool(4, queue_size=0, max_blocking_tasks=1) as pool, Gate() as foreign, Gate() as own:
        for _ in range(3):
            pool.submit(foreign.hold)
        foreign.wait_entered(3)
        with PoolExecutor.over(pool) as executor:
            # One worker is left for the four items, for which more could be used.
            results = executor.map(own.hold, range(4))
            own.wait_entered(1)
            assert pool.waiting() == 0
            other = Background(lambda: pool.submit(foreign.hold))
            wait_equal(pool.waiting, 1)
            with pytest.raises(PoolOverloadError):
                pool.submit(int)
            assert pool.stats().rejected == 1
            foreign.open()
            # As soon as there are more workers, they join in.
            own.wait_entered(4)
            own.open()
            other.result()
            assert list(results) == [None] * 4
        assert pool.wait_idle(DEADLINE)
        assert pool.waiting() == 0


def test_a_map_task_that_is_refused_is_not_counted_as_rejected() -> None:
    with Pool(2, queue_size=0, nonblocking=True) as pool, Gate() as gate, PoolExecutor.over(pool) as executor:
        pool.submit(gate.hold)
        gate.wait_entered(1)
        assert list(executor.map(int, ["1"] * 100)) == [1] * 100
        assert pool.stats().rejected == 0


def test_a_map_on_a_huge_pool_takes_few_tasks() -> None:
    count = 100_000
    with PoolExecutor(2**31) as executor:
        assert sum(executor.map(int, ["1"] * count)) == count
        assert executor.pool.stats().submitted < 50_000
