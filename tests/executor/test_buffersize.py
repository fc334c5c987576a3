"""Executors: map() with a buffersize (in CPython since 3.14) reads its input only so far ahead."""

from __future__ import annotations

import itertools
import operator
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import BUFFERING_TYPES, NO_INTEGER, NOT_POSITIVE, REFUSED, Thing, double, new_thing, wait_freed
from support import DEADLINE, Gate, Sum, wait_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.parametrize("executor_type", BUFFERING_TYPES)


class Counting:
    """Yields 0, 1, 2 and so on, and counts how many were taken."""

    def __init__(self, stop: int | None = None) -> None:
        self.taken = 0
        self._stop = stop

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.taken == self._stop:
            raise StopIteration
        self.taken += 1
        return self.taken - 1


@pytest.mark.parametrize("buffersize", [1, 2, 3, 10, 11, 1000, None, True])
def test_the_results_are_the_same(executor_type: Any, buffersize: int | None) -> None:
    with executor_type(3) as executor:
        assert list(executor.map(str, range(10), buffersize=buffersize)) == [str(number) for number in range(10)]
        assert list(executor.map(pow, range(5), itertools.count(), buffersize=buffersize)) == [1, 1, 4, 27, 256]
        assert list(executor.map(int, [], buffersize=buffersize)) == []
        assert list(executor.map(int, buffersize=buffersize)) == []


@pytest.mark.parametrize("buffersize", ["4", 2.0, [1], object], ids=repr)
def test_it_is_an_integer(executor_type: Any, buffersize: object) -> None:
    items = Counting()
    with executor_type(1) as executor, pytest.raises(TypeError, match=NO_INTEGER):
        executor.map(str, items, buffersize=buffersize)
    assert items.taken == 0


@pytest.mark.parametrize("buffersize", [0, -1, False])
def test_it_is_positive(executor_type: Any, buffersize: int) -> None:
    items = Counting()
    with executor_type(1) as executor, pytest.raises(ValueError, match=NOT_POSITIVE):
        executor.map(str, items, buffersize=buffersize)
    assert items.taken == 0


@pytest.mark.parametrize("buffersize", [1, 2, 7])
def test_so_many_are_read_at_once_and_one_more_for_each_result(executor_type: Any, buffersize: int) -> None:
    items = Counting()
    with executor_type(2) as executor:
        results = executor.map(str, items, buffersize=buffersize)
        # The items are submitted before a result is asked for.
        assert items.taken == buffersize
        for number in range(20):
            assert next(results) == str(number)
            assert number + 1 <= items.taken <= buffersize + number + 1
    # After the executor's shutdown map() reads no further.
    assert items.taken <= buffersize + 20


def test_what_is_in_the_buffer_runs_though_nobody_asks(executor_type: Any) -> None:
    items, done = Counting(), Sum()
    with executor_type(2) as executor:
        results = executor.map(done.add, items, buffersize=4)
        wait_equal(lambda: done.value, 0 + 1 + 2 + 3)
        assert items.taken == 4
        del results


def test_never_more_tasks_at_once_than_the_buffer_holds(executor_type: Any) -> None:
    with executor_type(8) as executor, Gate() as gate:
        results = executor.map(gate.hold, range(5), buffersize=2)
        gate.wait_entered(2)
        assert gate.entered == 2
        gate.open()
        assert list(results) == [None] * 5


def test_an_endless_input(executor_type: Any) -> None:
    with executor_type(3) as executor:
        doubled: Iterator[int] = executor.map(double, itertools.count(), buffersize=5)
        assert list(itertools.islice(doubled, 100)) == list(range(0, 200, 2))
        sums: Iterator[int] = executor.map(operator.add, itertools.count(), itertools.count(1), buffersize=2)
        assert list(itertools.islice(sums, 50)) == list(range(1, 101, 2))


def inverse_to_three(number: int) -> int:
    return 6 // (3 - number)


def test_an_exception_comes_at_its_place_and_reads_no_further(executor_type: Any) -> None:
    items = Counting()
    with executor_type(2) as executor:
        results = executor.map(inverse_to_three, items, buffersize=2)
        assert [next(results) for _ in range(3)] == [2, 3, 6]
        with pytest.raises(ZeroDivisionError):
            next(results)
        taken = items.taken
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)
        assert items.taken == taken <= 6


def test_closing_cancels_what_is_in_the_buffer(executor_type: Any) -> None:
    items = Counting()
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:

        def task(number: int) -> int:
            if number:
                gate.hold()
            ran.append(number)
            return number

        results = executor.map(task, items, buffersize=5)
        assert next(results) == 0
        gate.wait_entered(1)
        results.close()
        gate.open()
        assert executor.submit(int).result(DEADLINE) == 0
    assert ran == [0, 1]
    assert items.taken <= 6


def test_an_input_that_raises_at_the_start(executor_type: Any) -> None:
    def items() -> Iterator[int]:
        yield 1 // 0

    with executor_type(1) as executor, pytest.raises(ZeroDivisionError):
        executor.map(int, items(), buffersize=2)


def test_an_input_that_raises_later_tells_who_asks(executor_type: Any) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise LookupError("of the input")

    with executor_type(1) as executor:
        results = executor.map(int, items(), buffersize=2)
        seen: list[int] = []
        with pytest.raises(LookupError, match="of the input"):
            seen.extend(iter(lambda: next(results), None))
        assert seen == list(range(len(seen)))
        with pytest.raises(StopIteration):
            next(results)


def test_it_times_out(executor_type: Any) -> None:
    items = Counting()
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        results = executor.map(str, items, timeout=0.01, buffersize=2)
        with pytest.raises(TimeoutError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        gate.open()
    assert items.taken <= 3


def test_after_a_shutdown_it_refuses_to_submit_more(executor_type: Any) -> None:
    items = Counting()
    executor = executor_type(1)
    results = executor.map(str, items, buffersize=3)
    executor.shutdown()
    assert items.taken == 3
    with pytest.raises(RuntimeError, match=REFUSED):
        list(results)
    assert items.taken <= 4


def test_the_results_do_not_keep_the_executor(executor_type: Any) -> None:
    executor = executor_type(1)
    results = executor.map(str, Counting(), buffersize=3)
    reference = weakref.ref(executor)
    del executor
    wait_freed(reference)
    # The executor is gone: the buffered results come, then the iteration ends.
    assert list(results) == ["0", "1", "2"]


def test_no_result_and_no_argument_is_kept_once_it_was_given(executor_type: Any) -> None:
    given: list[weakref.ref[Thing]] = []

    def things() -> Iterator[Thing]:
        for _ in range(6):
            thing = Thing()
            given.append(weakref.ref(thing))
            yield thing
            del thing

    with executor_type(2) as executor:
        for result in executor.map(new_thing, things(), buffersize=2):
            reference = weakref.ref(result)
            del result
            wait_freed(reference)
        wait_freed(*given)
        assert len(given) == 6
