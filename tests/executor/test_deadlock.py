"""PoolExecutor: a task that waits for a result that can never come gets a PoolDeadlockError, and no other task does."""

from __future__ import annotations

import concurrent.futures
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from executors import PoolExecutor, PoolFuture, pass_through
from support import DEADLINE, Background, Gate, Sum, wait_equal, wait_until

from pyants import PoolDeadlockError, PoolTimeoutError


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_the_only_worker_cannot_wait_for_what_it_has_submitted(ask: str) -> None:
    with PoolExecutor(1) as executor:
        inner: list[Future[int]] = []

        def outer() -> str:
            inner.append(executor.submit(int, "7"))
            try:
                getattr(inner[0], ask)()
            except PoolDeadlockError as error:
                return str(error)
            return "impossible"

        assert "wait" in executor.submit(outer).result(DEADLINE)
        # The inner task still runs, and the executor still works.
        assert inner[0].result(DEADLINE) == 7
        assert executor.submit(int, "8").result(DEADLINE) == 8


def test_an_uncaught_deadlock_error_is_in_the_future() -> None:
    with PoolExecutor(1) as executor:
        outer = executor.submit(lambda: executor.submit(int).result())
        assert isinstance(outer.exception(DEADLINE), PoolDeadlockError)


@pytest.mark.parametrize("workers", [2, 5])
def test_when_all_workers_wait_the_last_is_told_and_the_others_are_served(workers: int) -> None:
    ready = threading.Barrier(workers, timeout=DEADLINE)
    told, served = Sum(), Sum()
    with PoolExecutor(workers) as executor:

        def outer() -> None:
            ready.wait()
            inner = executor.submit(int, "7")
            try:
                served.add(inner.result() == 7)
            except PoolDeadlockError:
                told.add()

        assert concurrent.futures.wait([executor.submit(outer) for _ in range(workers)], DEADLINE).not_done == set()
    assert told.value + served.value == workers
    assert told.value >= 1
    assert served.value >= 1


def test_a_wait_for_a_task_that_another_worker_runs_is_none() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        held = executor.submit(pass_through, gate, 7)
        gate.wait_entered(1)
        waits = executor.submit(held.result)
        asked = Background(lambda: waits.result(DEADLINE))
        gate.open()
        assert asked.result() == 7


def test_a_wait_while_another_worker_can_still_take_it_is_none() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        # The inner task is queued, since both are busy; the gate's worker will run it.
        outer = executor.submit(lambda: executor.submit(int, "7").result())
        wait_equal(executor.pool.queued, 1)
        gate.open()
        assert outer.result(DEADLINE) == 7


def test_a_wait_for_what_was_submitted_from_outside_is_none() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        queued: list[Future[int]] = []

        def first() -> int:
            gate.hold()
            return queued[0].result()

        waits = executor.submit(first)
        busy = executor.submit(gate.hold)
        gate.wait_entered(2)
        queued.append(executor.submit(int, "7"))
        gate.open()
        assert waits.result(DEADLINE) == 7
        assert busy.result(DEADLINE) is None


def test_a_wait_that_ends_by_itself_is_none() -> None:
    with PoolExecutor(1) as executor:
        outer = executor.submit(lambda: executor.submit(int).result(0.01))
        error = outer.exception(DEADLINE)
        assert isinstance(error, TimeoutError)
        assert not isinstance(error, PoolDeadlockError)


def test_a_result_that_is_there_needs_no_wait() -> None:
    with PoolExecutor(1) as executor:
        done = executor.submit(int, "7")
        assert executor.submit(done.result).result(DEADLINE) == 7
        own: Future[int] = PoolFuture()
        own.set_result(8)
        assert executor.submit(own.result).result(DEADLINE) == 8


def test_a_future_of_no_pool_may_be_set_by_anybody() -> None:
    own: Future[int] = PoolFuture()
    with PoolExecutor(1) as executor:
        waits = executor.submit(own.result)
        behind = executor.submit(int)
        assert not behind.done()
        own.set_result(7)
        assert waits.result(DEADLINE) == 7


@pytest.mark.parametrize("other_type", [PoolExecutor, ThreadPoolExecutor])
def test_a_task_may_wait_for_another_executor(other_type: Any) -> None:
    with PoolExecutor(1) as executor, other_type(1) as other, Gate() as gate:
        other.submit(gate.hold)
        queued = other.submit(int, "7")
        waits = executor.submit(queued.result)
        asked = Background(lambda: waits.result(DEADLINE))
        gate.wait_entered(1)
        gate.open()
        assert asked.result() == 7


def test_threads_that_are_no_workers_may_wait_for_ever() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        queued = executor.submit(int, "7")
        asked = [Background(queued.result) for _ in range(3)]
        gate.wait_entered(1)
        gate.open()
        assert [each.result() for each in asked] == [7] * 3


def test_a_queued_task_that_is_cancelled_frees_who_waits() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        inner: list[Future[int]] = []

        def outer() -> int:
            inner.append(executor.submit(int))
            return inner[0].result()

        waits = executor.submit(outer)
        wait_until(lambda: len(inner) == 1, "the inner task")
        assert inner[0].cancel()
        assert isinstance(waits.exception(DEADLINE), concurrent.futures.CancelledError)
        gate.open()


def test_a_task_that_waits_for_itself() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        own: list[Future[Any]] = []

        def task() -> object:
            gate.hold()
            return own[0].result()

        own.append(executor.submit(task))
        gate.open()
        assert isinstance(own[0].exception(DEADLINE), PoolDeadlockError)


def test_submitting_to_its_own_full_queue() -> None:
    with PoolExecutor(1, queue_size=1) as executor:

        def outer() -> None:
            executor.submit(int)
            executor.submit(int)

        assert isinstance(executor.submit(outer).exception(DEADLINE), PoolDeadlockError)

        def patient() -> None:
            executor.submit(int)
            executor.submit_within(0.01, int)

        assert isinstance(executor.submit(patient).exception(DEADLINE), PoolTimeoutError)


def test_a_map_inside_of_a_task() -> None:
    with PoolExecutor(1) as executor:
        told = executor.submit(lambda: list(executor.map(int, "123")))
        assert isinstance(told.exception(DEADLINE), PoolDeadlockError)
    with PoolExecutor(2) as executor:
        assert executor.submit(lambda: list(executor.map(int, "123"))).result(DEADLINE) == [1, 2, 3]


def test_deep_recursion_through_a_small_executor_ends() -> None:
    told = Sum()
    with PoolExecutor(3) as executor:

        def fib(number: int) -> int:
            if number < 2:
                return number
            parts = [executor.submit(fib, number - 1), executor.submit(fib, number - 2)]
            try:
                return sum(part.result() for part in parts)
            except PoolDeadlockError:
                told.add()
                return 0

        executor.submit(fib, 9).result(DEADLINE)
    assert told.value >= 1
