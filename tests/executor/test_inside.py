"""Executors: private attributes of ThreadPoolExecutor that libraries use work, or an error names the replacement."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, PoolExecutor, attribute
from support import DEADLINE, Background, Gate, Sum, wait_equal

import pyants
from pyants import MultiPool, Pool

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


def drain(executor: Any) -> list[Any]:
    """Empties the queue, as google-cloud-pubsub's scheduler does when it shuts down."""
    items: list[Any] = []
    try:
        while True:
            item = executor._work_queue.get(block=False)
            if item is not None:
                items.append(item)
    except queue.Empty:
        return items


def call_of(item: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The callable and arguments of a work item, which are one attribute from Python 3.14 on."""
    return item.task if hasattr(item, "task") else (item.fn, item.args, item.kwargs)


@each_executor_type
def test_calls_that_wait_can_be_taken_out_of_the_queue(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        futures: list[Any] = [
            executor.submit(int),
            executor.submit(int, "1"),
            executor.submit(int, "1", 10),
            executor.submit(int, "1", base=10),
        ]
        items = drain(executor)
        assert [call_of(item) for item in items] == [
            (int, (), {}),
            (int, ("1",), {}),
            (int, ("1", 10), {}),
            (int, ("1",), {"base": 10}),
        ]
        assert [item.future for item in items] == futures
        assert attribute(executor, "_work_queue").empty()
        gate.open()
        # The calls belong to the caller now: no worker makes them.
        assert executor.submit(int).result(DEADLINE) == 0
        assert not any(future.done() for future in futures)
        assert futures[0].cancel()


def test_a_call_that_was_taken_out_can_be_made() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        futures = [executor.submit(int, "7"), executor.submit(int, "no number"), executor.submit(int)]
        futures[2].cancel()
        for item in drain(executor):
            item.run()
        assert futures[0].result(0) == 7
        assert isinstance(futures[1].exception(0), ValueError)
        assert wait([futures[2]], DEADLINE).not_done == set()
        gate.open()


def test_what_is_left_in_the_queue_keeps_its_order() -> None:
    called: list[int] = []
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        # Calls without a future stay in the queue, and run in their turn.
        executor.pool.submit(called.append, 0)
        first = executor.submit(called.append, 1)
        executor.submit(called.append, 2)
        executor.map(called.append, [3])
        executor.submit(called.append, 4)
        assert executor._work_queue.get_nowait().future is first
        gate.open()
    assert called == [0, 2, 3, 4]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Pool(1, queue_size=None), id="Pool"),
        pytest.param(lambda: MultiPool(2, 1, queue_size=None), id="MultiPool"),
    ],
)
def test_only_its_own_calls_are_taken_out_of_a_pool_of_others(make: Any) -> None:
    done = Sum()
    with make() as pool, Gate() as gate:
        held = pool.cap()
        for _ in range(held):
            pool.submit(gate.hold)
        gate.wait_entered(held)
        executor, other = PoolExecutor.over(pool), PoolExecutor.over(pool)
        futures = [executor.submit(done.add, 100) for _ in range(4)]
        others = [other.submit(done.add) for _ in range(4)]
        assert {id(item.future) for item in drain(executor)} == set(map(id, futures))
        # The shutdown does not wait for calls that were taken out.
        Background(executor.shutdown).result()
        gate.open()
        other.shutdown()
        assert all(future.done() for future in others)
    assert done.value == 4


def test_the_numbers_of_the_pool_add_up() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        for _ in range(3):
            executor.submit(int)
        assert len(drain(executor)) == 3
        gate.open()
        assert executor.pool.wait_idle(DEADLINE)
        stats = executor.pool.stats()
        assert (stats.submitted, stats.completed, stats.cancelled, stats.queued) == (4, 1, 3, 0)


def test_the_permits_of_a_bounded_queue_are_given_back() -> None:
    with PoolExecutor(1, queue_size=1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        executor.submit(int)
        assert executor.try_submit(int) is None
        assert len(drain(executor)) == 1
        # A blocked submitter is admitted.
        queued = executor.submit(int, "7")
        waiting = Background(lambda: executor.submit(int, "8"))
        wait_equal(executor.pool.waiting, 1)
        assert executor._work_queue.get_nowait().future is queued
        late = waiting.result()
        gate.open()
        assert late.result(DEADLINE) == 8


def test_nobody_but_the_workers_waits_for_calls() -> None:
    with PoolExecutor(1) as executor:
        for block in ({}, {"timeout": 1}, {"block": True}):
            with pytest.raises(NotImplementedError, match="block=False"):
                executor._work_queue.get(**block)


def test_the_queue_cannot_be_exchanged() -> None:
    with PoolExecutor(1) as executor, pytest.raises(AttributeError, match=r"queue_size=n.*cancel_futures=True"):
        executor._work_queue = queue.Queue(2)


def test_the_start_of_threads_cannot_be_overridden() -> None:
    def start_a_daemon(_: object) -> None:
        threading.Thread(daemon=True).start()

    with pytest.raises(TypeError, match=r"^Daemons overrides _adjust_thread_count\(\).*daemon"):
        type("Daemons", (PoolExecutor,), {"_adjust_thread_count": start_a_daemon})

    class Mixin:
        def _adjust_thread_count(self) -> None:
            pass

    with pytest.raises(TypeError, match="daemon"):
        type("Mixed", (Mixin, PoolExecutor), {})
    with PoolExecutor(1) as executor, pytest.raises(AttributeError, match="daemon"):
        executor._adjust_thread_count = int


def test_a_subclass_may_have_options() -> None:
    class Base(pyants.PoolExecutor):
        label: str

        def __init_subclass__(cls, label: str, **options: Any) -> None:
            super().__init_subclass__(**options)
            cls.label = label

    class Mine(Base, label="mine"):
        pass

    with Mine(1) as executor:
        assert (executor.label, executor.submit(int).result(DEADLINE)) == ("mine", 0)
