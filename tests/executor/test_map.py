"""Executors: map() without a buffersize reads its input at once, and yields the results in order."""

from __future__ import annotations

import concurrent.futures
import itertools
import operator
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from executors import EXECUTOR_TYPES, attribute, new_thing, same, wait_freed
from support import DEADLINE, Background, Gate, Sum, nap, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

Executors = type[ThreadPoolExecutor]


def test_results_come_in_the_order_of_the_input(executor_type: Executors) -> None:
    # The first task ends last.
    with executor_type(3) as executor, Gate() as gate:
        last = threading.Event()

        def task(number: int) -> int:
            if number == 0:
                gate.hold()
            if number == 9:
                last.set()
            return number * 2

        results = executor.map(task, range(10))
        assert last.wait(DEADLINE)
        gate.open()
        assert list(results) == [number * 2 for number in range(10)]


def test_it_is_an_iterator_that_ends(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        results = executor.map(str, range(2))
        assert iter(results) is results
        assert next(results) == "0"
        assert next(results) == "1"
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)


def test_the_shortest_of_several_iterables_ends_it(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        assert list(executor.map(pow, range(5), range(5))) == [1, 1, 4, 27, 256]
        assert list(executor.map(pow, range(3), itertools.count())) == [1, 1, 4]
        assert list(executor.map(pow, itertools.count(), range(2), [None, None, None])) == [1, 1]
        assert list(executor.map(lambda *args: args, "ab", [1], {3: 4})) == [("a", 1, 3)]


def test_no_items_and_no_iterables(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        assert list(executor.map(int, [])) == []
        assert list(executor.map(int, [], [1])) == []
        # Like zip().
        assert list(executor.map(int)) == []


def test_what_is_no_iterable_is_told_at_once(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        number: Any = 3
        with pytest.raises(TypeError):
            executor.map(int, number)
        nothing: Any = executor.map
        with pytest.raises(TypeError):
            nothing()


def test_items_of_any_kind_are_single_arguments(executor_type: Executors) -> None:
    items: list[Any] = [None, (1, 2), {"fn": 1}, [], ValueError()]
    with executor_type(2) as executor:
        assert list(executor.map(same, items)) == items


def test_the_input_is_read_before_map_returns(executor_type: Executors) -> None:
    seen: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            seen.append(number)
            yield number

    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        results = executor.map(str, numbers())
        assert seen == list(range(10))
        # In a pool of pyants a map is one task for each worker.
        assert attribute(executor, "_work_queue").qsize() >= (9 if executor_type is ThreadPoolExecutor else 1)
        gate.open()
        assert list(results) == [str(number) for number in range(10)]


def test_everything_runs_though_nobody_asks_for_results(executor_type: Executors) -> None:
    done = Sum()
    with executor_type(2) as executor:
        results = executor.map(done.add, range(100))
    assert done.value == 4950
    assert list(results) == [None] * 100


def test_dropped_results_that_were_never_begun_still_run(executor_type: Executors) -> None:
    # A generator that was not started runs no cleanup, so CPython cancels nothing here.
    done = Sum()
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        executor.map(done.add, range(100))
        gate.open()
    assert done.value == 4950


def test_an_input_that_raises(executor_type: Executors) -> None:
    done = Sum()

    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("of the input")

    with executor_type(1) as executor, pytest.raises(LookupError, match="of the input"):
        executor.map(done.add, numbers())
    # The items submitted by then have run.
    assert done.value == 3


def test_an_exception_comes_at_its_place_and_ends_it(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
        assert next(results) == (0, 1)
        assert next(results) == (0, 1)
        with pytest.raises(ZeroDivisionError):
            next(results)
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)


@pytest.mark.parametrize("error", [ValueError("task"), KeyboardInterrupt(), SystemExit(2)], ids=repr)
def test_the_exception_is_the_one_of_the_task(executor_type: Executors, error: BaseException) -> None:
    def task(_: int) -> None:
        raise error

    with executor_type(1) as executor, pytest.raises(type(error)) as caught:
        list(executor.map(task, range(3)))
    assert caught.value is error


def held_back(executor: ThreadPoolExecutor, gate: Gate, ran: list[int], first: Callable[[], int]) -> Iterator[int]:
    """The results of a map: one item calls `first`, one is held by the gate, and five cannot start before that."""

    def task(number: int) -> int:
        if number == 0:
            return first()
        if number == 1:
            gate.hold()
        ran.append(number)
        return number

    return executor.map(task, range(7))


def zero() -> int:
    return 0


def test_an_exception_cancels_the_rest(executor_type: Executors) -> None:
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        results = held_back(executor, gate, ran, lambda: 1 // 0)
        gate.wait_entered(1)
        with pytest.raises(ZeroDivisionError):
            next(results)
        gate.open()
    assert ran == [1]


@pytest.mark.parametrize("how", ["close", "del"])
def test_results_that_are_closed_early_cancel_the_rest(executor_type: Executors, how: str) -> None:
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        results = held_back(executor, gate, ran, zero)
        assert next(results) == 0
        gate.wait_entered(1)
        if how == "close":
            close: Callable[[], None] = attribute(results, "close")
            close()
            close()
            with pytest.raises(StopIteration):
                next(results)
        else:
            reference = weakref.ref(results)
            del results
            wait_freed(reference)
        gate.open()
    assert ran == [1]


def test_it_times_out_where_the_result_is_asked_for(executor_type: Executors) -> None:
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        results = executor.map(ran.append, range(3), timeout=0.01)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        gate.open()
    # The one that was waited for was cancelled too.
    assert ran == []


def test_a_task_that_runs_out_of_time_is_not_interrupted(executor_type: Executors) -> None:
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:

        def task(number: int) -> int:
            gate.hold()
            ran.append(number)
            return number

        results = executor.map(task, range(3), timeout=0)
        gate.wait_entered(1)
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()
    assert ran == [0]


def test_the_timeout_counts_from_the_call_of_map(executor_type: Executors) -> None:
    with executor_type(2) as executor, Gate() as gate:

        def task(number: int) -> int:
            if number == 0:
                gate.hold()
            return number

        called = time.monotonic()
        results = executor.map(task, [1, 2, 0], timeout=0.05)
        # The time limit counts from map(), however late the results are asked for.
        wait_until(lambda: time.monotonic() > called + 0.1)
        gate.wait_entered(1)
        executor.submit(int).result()  # It runs on the other worker, whose own task has ended.
        # The results that are there are yielded all the same.
        assert next(results) == 1
        assert next(results) == 2
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()


@pytest.mark.parametrize("timeout", [None, DEADLINE, 10**6, 1e6, True])
def test_timeouts_that_are_not_reached(executor_type: Executors, timeout: float | None) -> None:
    with executor_type(2) as executor:
        assert list(executor.map(int, "123", timeout=timeout)) == [1, 2, 3]


def test_a_timeout_of_nonsense(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        nonsense: Any = "soon"
        with pytest.raises(TypeError):
            executor.map(int, "123", timeout=nonsense)


@pytest.mark.parametrize("chunksize", [1, 2, 3, 1000, 0, -1])
def test_threads_ignore_the_chunksize(executor_type: Executors, chunksize: int) -> None:
    with executor_type(2) as executor:
        assert list(executor.map(pow, range(10), range(10), chunksize=chunksize)) == [n**n for n in range(10)]


def test_no_result_is_kept_once_it_was_given(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        results = executor.map(new_thing, range(5))
        for thing in results:
            reference = weakref.ref(thing)
            del thing
            wait_freed(reference)


def test_the_executor_may_be_shut_down_before_the_results_are_read(executor_type: Executors) -> None:
    executor = executor_type(2)
    results = executor.map(abs, range(-5, 5))
    executor.shutdown()
    assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_results_of_what_shutdown_cancelled(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        results = executor.map(int, "123")
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(concurrent.futures.CancelledError):
            next(results)
        gate.open()


def test_one_worker_takes_everything_in_the_order_of_its_submission(executor_type: Executors) -> None:
    # With one worker even the calls of several maps run in order: the last one may close what the others write to.
    seen: list[object] = []

    def task(item: object) -> None:
        nap(0.001)
        seen.append(item)

    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        executor.submit(task, "first")
        executor.map(task, range(20))
        executor.submit(task, "between")
        executor.map(task, range(20, 40))
        executor.submit(task, "last")
        gate.open()
    assert seen == ["first", *range(20), "between", *range(20, 40), "last"]


def test_a_map_that_follows_a_shutdown_without_a_wait(executor_type: Executors) -> None:
    seen: list[int] = []
    executor = executor_type(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        executor.map(seen.append, range(20))
        executor.shutdown(wait=False)
        gate.open()
    wait_until(lambda: seen == list(range(20)))


def test_maps_inside_of_maps(executor_type: Executors) -> None:
    with executor_type(3) as outer, executor_type(3) as inner:

        def row(number: int) -> int:
            return sum(inner.map(operator.mul, range(5), itertools.repeat(number)))

        assert list(outer.map(row, range(5))) == [0, 10, 20, 30, 40]


def test_several_maps_at_once_and_another_thread_that_reads(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        maps = [executor.map(operator.add, range(50), itertools.repeat(add)) for add in range(4)]
        readers: list[Background[list[int]]] = [Background(partial(list[int], results)) for results in maps]
        assert [reader.result() for reader in readers] == [list(range(add, 50 + add)) for add in range(4)]
