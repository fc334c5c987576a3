"""Futures in concurrent.futures.wait() and as_completed(), those of CPython and of pyants together."""

from __future__ import annotations

import concurrent.futures
import gc
import weakref
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, PoolExecutor, PoolFuture, attribute, wait_freed
from support import DEADLINE, Background, Gate, background, wait_until

Futures = type[Future[Any]]
Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
# Two classes that take turns: every second future may be of another class.
each_pair = pytest.mark.parametrize(
    "types",
    [
        pytest.param((Future, Future), id="CPython's"),
        pytest.param((PoolFuture, PoolFuture), id="pyants'"),
        pytest.param((Future, PoolFuture), id="mixed"),
    ],
)
Pair = tuple[Futures, Futures]


def make(types: Pair, count: int) -> list[Future[Any]]:
    return [types[number % 2]() for number in range(count)]


def start(*futures: Future[Any]) -> None:
    for future in futures:
        assert future.set_running_or_notify_cancel()


def cancelled(future: Future[Any]) -> Future[Any]:
    """Cancels the future, and notifies its waiters as a worker does."""
    assert future.cancel()
    assert not future.set_running_or_notify_cancel()
    return future


def waiters(future: Future[Any]) -> int:
    return len(attribute(future, "_waiters"))


def wait_for_all(futures: list[Future[Any]]) -> set[Future[Any]]:
    return concurrent.futures.wait(futures).done


def waits(futures: list[Future[Any]], return_when: str = ALL_COMPLETED) -> Background[set[Future[Any]]]:
    """A thread that waits for these futures, and returns those that are done."""
    before = waiters(futures[-1])
    thread = Background(lambda: concurrent.futures.wait(futures, return_when=return_when).done)
    wait_until(lambda: waiters(futures[-1]) > before or not thread.is_alive(), "the thread to wait")
    return thread


# --- wait ---


@each_pair
def test_waiting_for_all(types: Pair) -> None:
    futures = make(types, 4)
    thread = waits(futures)
    futures[0].set_result(1)
    futures[1].set_exception(ValueError())
    cancelled(futures[2])
    assert thread.is_alive()
    futures[3].set_result(2)
    assert thread.result() == set(futures)
    # No waiter is left behind.
    assert [waiters(future) for future in futures] == [0] * 4


@each_pair
def test_waiting_for_the_first(types: Pair) -> None:
    for finish in ("result", "exception", "cancel"):
        futures = make(types, 3)
        thread = waits(futures, FIRST_COMPLETED)
        start(futures[0])
        match finish:
            case "result":
                futures[1].set_result(1)
            case "exception":
                futures[1].set_exception(ValueError())
            case _:
                cancelled(futures[1])
        assert thread.result() == {futures[1]}
        assert [waiters(future) for future in futures] == [0] * 3


@each_pair
def test_waiting_for_the_first_exception(types: Pair) -> None:
    futures = make(types, 5)
    thread = waits(futures, FIRST_EXCEPTION)
    futures[0].set_result(1)
    cancelled(futures[1])
    assert thread.is_alive()
    futures[2].set_exception(ValueError())
    assert thread.result() == set(futures[:3])
    # Without an exception it waits for the end of all.
    futures = make(types, 2)
    thread = waits(futures, FIRST_EXCEPTION)
    futures[0].set_result(1)
    assert thread.is_alive()
    futures[1].set_result(1)
    assert thread.result() == set(futures)


@each_pair
def test_those_that_are_done_already(types: Pair) -> None:
    first, second, third, pending = make(types, 4)
    first.set_result(1)
    second.set_exception(ValueError())
    cancelled(third)
    every = {first, second, third, pending}
    wait = concurrent.futures.wait
    assert wait(every - {pending}) == ({first, second, third}, set())
    assert wait(every, return_when=FIRST_COMPLETED) == ({first, second, third}, {pending})
    assert wait(every, return_when=FIRST_EXCEPTION) == ({first, second, third}, {pending})
    assert wait([first, pending], 0, FIRST_EXCEPTION) == ({first}, {pending})
    assert wait([third, pending], 0, FIRST_EXCEPTION) == ({third}, {pending})


@each_pair
def test_a_cancelled_future_counts_once_a_worker_has_come_by(types: Pair) -> None:
    future, other = make(types, 2)
    assert future.cancel()
    assert concurrent.futures.wait([future, other], 0) == (set(), {future, other})
    thread = waits([future, other], FIRST_COMPLETED)
    assert thread.is_alive()
    assert not future.set_running_or_notify_cancel()
    assert thread.result() == {future}


@each_pair
def test_a_wait_that_times_out(types: Pair) -> None:
    futures = make(types, 3)
    futures[0].set_result(1)
    for timeout in (0, 0.001):
        for return_when in (ALL_COMPLETED, FIRST_EXCEPTION):
            result = concurrent.futures.wait(futures, timeout, return_when)
            assert (result.done, result.not_done) == ({futures[0]}, {*futures[1:]})
    assert [waiters(future) for future in futures] == [0] * 3


@each_pair
def test_duplicates_count_once(types: Pair) -> None:
    future, other = make(types, 2)
    thread = waits([future, other, future])
    future.set_result(1)
    assert thread.is_alive()
    other.set_result(1)
    assert thread.result() == {future, other}


def test_nothing_to_wait_for() -> None:
    assert concurrent.futures.wait([]) == (set(), set())
    nothing: list[Future[Any]] = []
    assert list(concurrent.futures.as_completed(nothing)) == []


@each_pair
def test_an_unknown_condition(types: Pair) -> None:
    with pytest.raises(ValueError, match="Invalid return condition: 'SOMETIME'"):
        concurrent.futures.wait(make(types, 2), return_when="SOMETIME")


@each_pair
def test_many_threads_wait_for_the_same(types: Pair) -> None:
    for _ in range(10):
        futures = make(types, 6)
        threads = background(3, partial(wait_for_all, futures))
        for future in futures:
            start(future)
            future.set_result(None)
        assert [thread.result() for thread in threads] == [set(futures)] * 3


# --- as_completed ---


@each_pair
def test_they_come_in_the_order_of_their_end(types: Pair) -> None:
    futures = make(types, 5)
    futures[3].set_result(3)
    completed = concurrent.futures.as_completed(futures)
    assert next(completed) is futures[3]
    for number in (4, 0, 2, 1):
        if number % 2:
            futures[number].set_exception(ValueError())
        else:
            futures[number].set_result(number)
        assert next(completed) is futures[number]
    with pytest.raises(StopIteration):
        next(completed)
    assert [waiters(future) for future in futures] == [0] * 5


@each_pair
def test_several_that_ended_between_two_looks(types: Pair) -> None:
    futures = make(types, 4)
    futures[0].set_result(0)
    completed = concurrent.futures.as_completed(futures)
    assert next(completed) is futures[0]
    for number in (2, 1, 3):
        futures[number].set_result(number)
    assert list(completed) == [futures[2], futures[1], futures[3]]


@each_pair
def test_as_completed_waits(types: Pair) -> None:
    futures = make(types, 3)
    thread = Background(lambda: [future.result(0) for future in concurrent.futures.as_completed(futures)])
    for number, future in enumerate(futures):
        wait_until(lambda future=future: waiters(future) == 1)  # type: ignore[misc]
        start(future)
        future.set_result(number)
    assert thread.result() == [0, 1, 2]


@each_pair
def test_as_completed_gives_cancelled_futures(types: Pair) -> None:
    future, other = make(types, 2)
    completed = concurrent.futures.as_completed([future, other])
    other.set_result(1)
    assert next(completed) is other
    cancelled(future)
    assert next(completed) is future


@each_pair
@pytest.mark.parametrize("timeout", [0, 0.001])
def test_as_completed_times_out(types: Pair, timeout: float) -> None:
    futures = make(types, 4)
    futures[1].set_result(1)
    cancelled(futures[2])
    completed = concurrent.futures.as_completed(futures, timeout)
    assert {next(completed), next(completed)} == {futures[1], futures[2]}
    with pytest.raises(TimeoutError, match=r"^2 \(of 4\) futures unfinished$"):
        next(completed)
    assert [waiters(future) for future in futures] == [0] * 4


@each_pair
def test_as_completed_gives_duplicates_once(types: Pair) -> None:
    future, other = make(types, 2)
    future.set_result(1)
    other.set_result(2)
    assert sorted(each.result() for each in concurrent.futures.as_completed([future, other, future, other])) == [1, 2]
    assert len(list(concurrent.futures.as_completed(iter([future] * 5)))) == 1


@each_pair
def test_as_completed_stopped_early_leaves_nothing_behind(types: Pair) -> None:
    futures = make(types, 3)
    futures[0].set_result(1)
    completed = concurrent.futures.as_completed(futures)
    assert next(completed) is futures[0]
    del completed
    gc.collect()
    wait_until(lambda: [waiters(future) for future in futures] == [0] * 3)


@each_pair
def test_as_completed_does_not_keep_what_it_gave(types: Pair) -> None:
    futures = make(types, 8)
    for number in range(4):
        futures[number].set_result(1)
    completed = concurrent.futures.as_completed(futures)
    for left in range(8, 0, -1):
        given = next(completed)
        futures.remove(given)
        reference = weakref.ref(given)
        del given
        wait_freed(reference)
        # The next one after those that were done from the start.
        if 1 < left <= 5:
            futures[0].set_result(1)


# --- with executors ---


@each_executor_type
def test_waiting_for_tasks(executor_type: Executors) -> None:
    with executor_type(3) as executor, Gate() as gate:
        held: Future[Any] = executor.submit(gate.hold)
        quick: Future[Any] = executor.submit(int)
        failing: Future[Any] = executor.submit(int, "no number")
        wait = concurrent.futures.wait
        assert failing in wait([held, failing], DEADLINE, FIRST_EXCEPTION).done
        assert quick in wait([held, quick], DEADLINE, FIRST_COMPLETED).done
        assert wait([held, quick, failing], 0.001) == ({quick, failing}, {held})
        gate.open()
        assert wait([held, quick, failing], DEADLINE) == ({held, quick, failing}, set())


@each_executor_type
def test_as_completed_of_tasks(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        futures = {executor.submit(pow, number, 2): number for number in range(200)}
        seen = {futures[future]: future.result() for future in concurrent.futures.as_completed(futures, DEADLINE)}
    assert seen == {number: number**2 for number in range(200)}


@each_executor_type
def test_waiting_hears_of_cancelled_tasks(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        held: Future[Any] = executor.submit(gate.hold)
        gate.wait_entered(1)
        pending: list[Future[Any]] = [executor.submit(int) for _ in range(3)]
        threads = [waits([*pending, held]), waits(pending, FIRST_COMPLETED)]
        completed = Background(lambda: set(concurrent.futures.as_completed([*pending, held])))
        for future in pending:
            assert future.cancel()
        # At the latest when the gate is open, a worker takes them.
        gate.open()
        assert threads[0].result() == {*pending, held}
        assert threads[1].result() <= {*pending}
        assert completed.result() == {*pending, held}


def test_waiters_are_told_of_a_shutdown_that_cancels() -> None:
    # In CPython it would not: its shutdown() takes the tasks from the workers, but does not notify the waiters.
    executor = PoolExecutor(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        pending = [executor.submit(int) for _ in range(3)]
        thread = waits(pending)
        completed = Background(lambda: set(concurrent.futures.as_completed(pending)))
        executor.shutdown(wait=False, cancel_futures=True)
        gate.open()
        assert thread.result() == completed.result() == {*pending}
    executor.shutdown()


def test_tasks_of_both_executors_together() -> None:
    with ThreadPoolExecutor(2) as first, PoolExecutor(2) as second, Gate() as gate:
        futures: list[Future[Any]] = [executor.submit(int, "7") for executor in (first, second) for _ in range(50)]
        held: list[Future[Any]] = [executor.submit(gate.hold) for executor in (first, second)]
        assert concurrent.futures.wait(futures, DEADLINE).not_done == set()
        thread = waits([*futures, *held])
        assert thread.is_alive()
        completed = concurrent.futures.as_completed([*held, *futures], DEADLINE)
        assert {next(completed) for _ in range(100)} == set(futures)
        gate.open()
        assert set(completed) == set(held)
        assert thread.result() == {*futures, *held}


@each_executor_type
def test_many_wait_while_tasks_end(executor_type: Executors) -> None:
    with executor_type(4) as executor:

        def use() -> int:
            futures = [executor.submit(int) for _ in range(100)]
            done = concurrent.futures.wait(futures, DEADLINE).done
            return len(done) + sum(1 for _ in concurrent.futures.as_completed(futures, DEADLINE))

        assert [each.result() for each in background(4, use)] == [200] * 4
