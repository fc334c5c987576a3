"""PoolExecutor.map_unordered() yields the results as they come."""

from __future__ import annotations

import itertools
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from executors import (
    NO_INTEGER,
    NOT_POSITIVE,
    REFUSED,
    PoolExecutor,
    double,
    new_thing,
    wait_freed,
)
from support import DEADLINE, Gate, Sum, wait_equal

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_all_results_come() -> None:
    with PoolExecutor(3) as executor:
        assert sorted(executor.map_unordered(double, range(100))) == list(range(0, 200, 2))
        assert sorted(executor.map_unordered(pow, range(5), range(9))) == [1, 1, 4, 27, 256]
        assert list(executor.map_unordered(int, [])) == []
        assert list(executor.map_unordered(int)) == []


@pytest.mark.parametrize("buffersize", [None, 4])
def test_they_come_in_the_order_of_their_end(buffersize: int | None) -> None:
    gates = [Gate() for _ in range(4)]

    def task(number: int) -> int:
        gates[number].hold()
        return number

    with PoolExecutor(4) as executor:
        results: Iterator[int] = executor.map_unordered(task, range(4), buffersize=buffersize)
        for number in (2, 0, 3, 1):
            gates[number].open()
            assert next(results) == number
        with pytest.raises(StopIteration):
            next(results)


def pass_if_zero(gate: Gate, number: int) -> int:
    if number == 0:
        gate.hold()
    return number


def test_a_slow_one_holds_up_nobody() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        results: Iterator[int] = executor.map_unordered(partial(pass_if_zero, gate), range(50))
        assert sorted(itertools.islice(results, 49)) == list(range(1, 50))
        gate.open()
        assert list(results) == [0]


def test_it_is_an_iterator_that_ends() -> None:
    with PoolExecutor(2) as executor:
        results = executor.map_unordered(str, [1])
        assert iter(results) is results
        assert next(results) == "1"
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)


def test_everything_runs_though_nobody_asks() -> None:
    done = Sum()
    with PoolExecutor(2) as executor:
        results = executor.map_unordered(done.add, range(100))
    assert done.value == 4950
    assert list(results) == [None] * 100


@pytest.mark.parametrize("buffersize", [None, 3])
def test_an_exception_comes_at_its_place_and_cancels_the_rest(buffersize: int | None) -> None:
    ran: list[int] = []
    with PoolExecutor(1) as executor, Gate() as gate:

        def task(number: int) -> int:
            if number == 2:
                raise LookupError("of the task")
            if number == 3:
                gate.hold()
            ran.append(number)
            return number

        results = executor.map_unordered(task, range(10), buffersize=buffersize)
        # With one worker they end in the order of the input.
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(LookupError, match="of the task"):
            next(results)
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)
        gate.open()
    assert set(ran) <= {0, 1, 3}


@pytest.mark.parametrize("how", ["close", "del"])
@pytest.mark.parametrize("buffersize", [None, 5])
def test_results_that_are_closed_early_cancel_the_rest(how: str, buffersize: int | None) -> None:
    ran: list[int] = []
    with PoolExecutor(1) as executor, Gate() as gate:

        def task(number: int) -> int:
            if number:
                gate.hold()
            ran.append(number)
            return number

        results: Any = executor.map_unordered(task, range(10), buffersize=buffersize)
        assert next(results) == 0
        gate.wait_entered(1)
        if how == "close":
            results.close()
            results.close()
            with pytest.raises(StopIteration):
                next(results)
        else:
            reference = weakref.ref(results)
            del results
            wait_freed(reference)
        gate.open()
    assert ran == [0, 1]


def test_so_many_are_read_at_once_and_one_more_for_each_result() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    with PoolExecutor(2) as executor:
        results = executor.map_unordered(str, numbers(), buffersize=3)
        assert taken == [0, 1, 2]
        for count in range(1, 30):
            next(results)
            assert count <= len(taken) <= 3 + count
        results.close()
        assert len(taken) <= 3 + 29


def test_without_a_buffersize_the_input_is_read_at_once() -> None:
    numbers = iter(range(10))
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        results = executor.map_unordered(str, numbers)
        assert list(numbers) == []
        gate.open()
        assert len(list(results)) == 10


@pytest.mark.parametrize(
    ("buffersize", "error", "message"),
    [
        ("4", TypeError, NO_INTEGER),
        (2.0, TypeError, NO_INTEGER),
        (0, ValueError, NOT_POSITIVE),
        (-1, ValueError, NOT_POSITIVE),
    ],
)
def test_the_buffersize_is_checked_as_by_map(buffersize: Any, error: type[Exception], message: str) -> None:
    with PoolExecutor(1) as executor, pytest.raises(error, match=message):
        executor.map_unordered(str, range(4), buffersize=buffersize)


def test_an_input_that_raises_later() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise LookupError("of the input")

    with PoolExecutor(2) as executor:
        results = executor.map_unordered(int, numbers(), buffersize=2)
        with pytest.raises(LookupError, match="of the input"):
            list(results)
        with pytest.raises(StopIteration):
            next(results)


def test_it_times_out() -> None:
    with PoolExecutor(2) as executor, Gate() as gate:
        results = executor.map_unordered(partial(pass_if_zero, gate), [0, 1], timeout=0.1)
        seen: list[int] = []
        with pytest.raises(TimeoutError):
            seen.extend(iter(lambda: next(results), "never"))
        assert seen in ([1], [])
        with pytest.raises(StopIteration):
            next(results)
        gate.open()
    with PoolExecutor(2) as executor:
        assert sorted(executor.map_unordered(int, "123", timeout=DEADLINE)) == [1, 2, 3]


def test_after_a_shutdown() -> None:
    executor = PoolExecutor(1)
    results = executor.map_unordered(str, range(3))
    executor.shutdown()
    assert sorted(results) == ["0", "1", "2"]
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.map_unordered(str, range(3))


def test_no_result_is_kept_once_it_was_given() -> None:
    with PoolExecutor(2) as executor:
        for thing in executor.map_unordered(new_thing, range(5)):
            reference = weakref.ref(thing)
            del thing
            wait_freed(reference)


def test_it_runs_beside_others() -> None:
    with PoolExecutor(4) as executor:
        first, second = executor.map_unordered(int, range(100)), executor.map_unordered(int, range(100, 200))
        both = [number for pair in zip(first, second, strict=True) for number in pair]
        assert sorted(both) == list(range(200))
        wait_equal(lambda: executor.pool.stats().busy, 0)
