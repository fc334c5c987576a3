"""Futures: result() and exception() wait, in many threads at once, until there is an outcome."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from executors import EXECUTOR_TYPES, FUTURE_TYPES, pass_through
from support import DEADLINE, Background, Gate, background, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

Futures = type[Future[Any]]
Executors = type[ThreadPoolExecutor]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


class Waiting:
    """Threads that wait for a future, or are about to."""

    def __init__(self, count: int, call: Callable[[], object]) -> None:
        self._about_to = threading.Barrier(count + 1, timeout=DEADLINE)

        def wait() -> object:
            self._about_to.wait()
            return call()

        self.threads = background(count, wait)
        self._about_to.wait()

    def results(self) -> list[object]:
        return [thread.result() for thread in self.threads]


@each_future_type
@pytest.mark.parametrize("timeout", [None, DEADLINE])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_result_wakes_everybody(future_type: Futures, timeout: float | None, count: int) -> None:
    future = future_type()
    thing = object()
    waiting = Waiting(count, lambda: future.result(timeout))
    future.set_result(thing)
    assert all(result is thing for result in waiting.results())


@each_future_type
@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_an_exception_wakes_everybody(future_type: Futures, timeout: float | None) -> None:
    future = future_type()
    error = ValueError("of the future")
    asking, raising = Waiting(3, lambda: future.exception(timeout)), Waiting(3, lambda: future.result(timeout))
    future.set_exception(error)
    assert asking.results() == [error] * 3
    for thread in raising.threads:
        with pytest.raises(ValueError, match="of the future") as caught:
            thread.result()
        assert caught.value is error


@each_future_type
def test_a_cancellation_wakes_everybody(future_type: Futures) -> None:
    future = future_type()
    waiting = [Waiting(2, future.result), Waiting(2, future.exception), Waiting(2, lambda: future.result(DEADLINE))]
    # As soon as cancel() returns, before any worker notices.
    assert future.cancel()
    for each in waiting:
        for thread in each.threads:
            with pytest.raises(CancelledError):
                thread.result()


@each_future_type
def test_becoming_running_wakes_nobody(future_type: Futures) -> None:
    future = future_type()
    waiting = Waiting(2, future.result)
    future.set_running_or_notify_cancel()
    assert all(thread.is_alive() for thread in waiting.threads)
    assert not future.done()
    future.set_result(1)
    assert waiting.results() == [1, 1]


@each_future_type
def test_a_wait_that_timed_out_may_be_repeated(future_type: Futures) -> None:
    future = future_type()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            future.result(0.001)
    waiting = Waiting(2, future.result)
    with pytest.raises(TimeoutError):
        future.exception(0.001)
    future.set_result(5)
    assert waiting.results() == [5, 5]
    assert future.result(0) == 5


@each_future_type
def test_waiters_with_and_without_time_do_not_disturb_each_other(future_type: Futures) -> None:
    future = future_type()
    patient = Waiting(3, future.result)
    hasty = Waiting(3, lambda: future.result(0.001))
    for thread in hasty.threads:
        with pytest.raises(TimeoutError):
            thread.result()
    future.set_result("there")
    assert patient.results() == ["there"] * 3


@each_future_type
def test_a_future_that_is_set_while_threads_come_to_wait(future_type: Futures) -> None:
    for number in range(100):
        future = future_type()
        waiting = Waiting(2, future.result)
        future.set_result(number)
        assert waiting.results() == [number] * 2


@each_executor_type
def test_many_threads_wait_for_one_task(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        held = executor.submit(pass_through, gate, "done")
        waiting = Waiting(8, held.result)
        gate.wait_entered(1)
        gate.open()
        assert waiting.results() == ["done"] * 8


@each_executor_type
def test_many_threads_wait_for_tasks_of_their_own(executor_type: Executors) -> None:
    with executor_type(2) as executor:

        def use() -> int:
            return sum(executor.submit(pow, 1, 1).result(DEADLINE) for _ in range(300))

        assert [each.result() for each in background(4, use)] == [300] * 4


@each_executor_type
def test_a_task_that_takes_longer_than_one_waits(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        held = executor.submit(gate.hold)
        behind = executor.submit(int, "7")
        for future in (held, behind):
            for timeout in (0, 0.001):
                with pytest.raises(TimeoutError):
                    future.result(timeout)
                with pytest.raises(TimeoutError):
                    future.exception(timeout)
        # The end of the wait is not the end of the task.
        gate.open()
        assert behind.result(DEADLINE) == 7
        assert not held.cancelled()


@each_executor_type
def test_waiters_for_a_pending_task_are_told_that_it_is_cancelled(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        pending = executor.submit(int)
        waiting = Waiting(3, pending.result)
        # The only worker is busy, and is not needed for it.
        assert pending.cancel()
        for thread in waiting.threads:
            with pytest.raises(CancelledError):
                thread.result()
        gate.open()


@each_executor_type
def test_the_result_is_there_when_the_thread_that_waited_goes_on(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        for number in range(200):
            future = executor.submit(int, str(number))
            asked = Background(lambda future=future: (future.result(DEADLINE), future.done(), future.running()))  # type: ignore[misc]
            assert asked.result() == (number, True, False)


@each_executor_type
def test_a_task_may_ask_for_itself_with_a_timeout(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        own: list[Future[str]] = []

        def task() -> str:
            gate.hold()
            try:
                own[0].result(0.001)
            except TimeoutError:
                return "timed out"
            return "impossible"

        own.append(executor.submit(task))
        gate.open()
        wait_until(own[0].done)
        assert own[0].result() == "timed out"
