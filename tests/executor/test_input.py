"""Executors: map() starts each item as it is read, and an exception is told apart from the end of the input."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from concurrent.futures.thread import BrokenThreadPool
from typing import TYPE_CHECKING, Any

import pytest
from executors import (
    BUFFERING_TYPES,
    EXECUTOR_TYPES,
    HAS_GIL,
    REFUSED,
    Executors,
    PoolExecutor,
    Thing,
    each_executor_type,
    futures_log,
    same,
    wait_freed,
)
from support import DEADLINE, Background, Gate, Sum, wait_equal, wait_until

from pyants import MultiPool, Pool, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# map() of both executors, and the variants that only pyants has, as functions of an executor.
MAPS = [
    *(pytest.param(param.values[0], {}, "map", id=f"{param.id}.map") for param in EXECUTOR_TYPES),
    *(
        pytest.param(param.values[0], {"buffersize": 2}, "map", id=f"{param.id}.map, buffersize")
        for param in BUFFERING_TYPES
    ),
    pytest.param(PoolExecutor, {}, "map_unordered", id="PoolExecutor.map_unordered"),
    pytest.param(PoolExecutor, {"buffersize": 2}, "map_unordered", id="PoolExecutor.map_unordered, buffersize"),
]
each_map = pytest.mark.parametrize(("executor_type", "options", "method"), MAPS)
UNBUFFERED = pytest.mark.parametrize(
    ("executor_type", "method"), [param.values[::2] for param in MAPS if not param.values[1]]
)


def nothing(_: object) -> None:
    pass


# --- StopIteration ---


@each_map
def test_a_stop_iteration_of_a_task_is_not_the_end(executor_type: Any, options: dict[str, Any], method: str) -> None:
    with executor_type(1) as executor:
        results = getattr(executor, method)(next, [iter("a"), iter(""), iter("c")], **options)
        assert next(results) == "a"
        with pytest.raises(RuntimeError, match=r"^generator raised StopIteration$") as caught:
            next(results)
        assert type(caught.value.__cause__) is StopIteration
        assert caught.value.__context__ is caught.value.__cause__
        with pytest.raises(StopIteration):
            next(results)


@each_map
def test_of_what_derives_from_stop_iteration(executor_type: Any, options: dict[str, Any], method: str) -> None:
    class Mine(StopIteration):
        pass

    def task(_: object) -> None:
        raise Mine(5)

    with executor_type(1) as executor:
        with pytest.raises(RuntimeError, match=r"^generator raised StopIteration$") as caught:
            list(getattr(executor, method)(task, "ab", **options))
        assert type(caught.value.__cause__) is Mine


@each_map
def test_other_ends_are_exceptions_like_others(executor_type: Any, options: dict[str, Any], method: str) -> None:
    for error in (StopAsyncIteration(), GeneratorExit()):

        def task(_: object, error: BaseException = error) -> None:
            raise error

        with executor_type(1) as executor, pytest.raises(type(error)) as caught:
            list(getattr(executor, method)(task, "ab", **options))
        assert caught.value is error


@each_executor_type
def test_a_stop_iteration_of_a_future(executor_type: Executors) -> None:
    # result() is no generator, so a StopIteration is the task's exception.
    with executor_type(1) as executor:
        future = executor.submit(next, iter(""))
        with pytest.raises(StopIteration):
            future.result(DEADLINE)
        assert type(future.exception()) is StopIteration


@UNBUFFERED
def test_an_input_that_stops_is_at_its_end(executor_type: Any, method: str) -> None:
    with executor_type(1) as executor:
        assert list(getattr(executor, method)(int, map(next, [iter("1"), iter(""), iter("3")]))) == [1]


# --- items are begun as they come ---


@UNBUFFERED
def test_an_input_may_wait_for_the_work_on_an_earlier_item(executor_type: Any, method: str) -> None:
    done: list[threading.Event] = [threading.Event() for _ in range(200)]

    def numbers() -> Iterator[int]:
        for number in range(len(done)):
            yield number
            assert done[number].wait(DEADLINE), f"nobody has begun {number}"

    def task(number: int) -> int:
        done[number].set()
        return number

    with executor_type(2) as executor:
        results = Background(lambda: list(getattr(executor, method)(task, numbers()))).result()
    assert sorted(results) == list(range(len(done)))


@UNBUFFERED
def test_as_many_as_there_are_workers_are_begun_as_they_come(executor_type: Any, method: str) -> None:
    with executor_type(3) as executor, Gate() as gate:

        def items() -> Iterator[int]:
            yield from range(3)
            gate.wait_entered(3)
            yield from range(3, 10)
            gate.open()

        def task(number: int) -> int:
            gate.hold()
            return number

        results: list[int] = Background(lambda: list(getattr(executor, method)(task, items()))).result()
        assert sorted(results) == list(range(10))
        assert gate.peak == 3


@UNBUFFERED
def test_items_of_several_iterables_are_begun_as_they_come(executor_type: Any, method: str) -> None:
    done = Sum()

    def numbers() -> Iterator[int]:
        for number in range(5):
            wait_equal(lambda: done.value, number)
            yield number

    def task(first: int, second: int) -> int:
        done.add()
        return first + second

    with executor_type(2) as executor:
        assert list(getattr(executor, method)(task, numbers(), itertools.count())) == [0, 2, 4, 6, 8]


@UNBUFFERED
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 95, 96, 97, 5000])
def test_inputs_of_any_length(executor_type: Any, method: str, count: int) -> None:
    # The storage of results grows piece by piece: these numbers are around its boundaries.
    with executor_type(3) as executor:
        results = getattr(executor, method)(same, iter(range(count)))
        assert sorted(results) == list(range(count))


@each_executor_type
def test_the_order_is_that_of_the_input(executor_type: Executors) -> None:
    with executor_type(3) as executor:
        assert list(executor.map(str, iter(range(1000)))) == [str(number) for number in range(1000)]


@UNBUFFERED
def test_an_input_that_raises_in_the_middle(executor_type: Any, method: str) -> None:
    done = Sum()

    def one(_: int) -> None:
        done.add()

    def numbers() -> Iterator[int]:
        yield from range(100)
        wait_equal(lambda: done.value, 100)
        raise LookupError("of the input")

    with executor_type(2) as executor, pytest.raises(LookupError, match="of the input"):
        getattr(executor, method)(one, numbers())


@UNBUFFERED
def test_an_input_that_shuts_the_executor_down(executor_type: Any, method: str) -> None:
    done: list[int] = []
    executor = executor_type(1)

    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        executor.shutdown(wait=False)
        yield 3

    with pytest.raises(RuntimeError, match=REFUSED):
        getattr(executor, method)(done.append, numbers())
    executor.shutdown()
    assert done == [1, 2]


@UNBUFFERED
def test_an_input_whose_executor_is_cancelled(executor_type: Any, method: str) -> None:
    done: list[int] = []
    with Gate() as gate:
        executor = executor_type(1)
        executor.submit(gate.hold)
        gate.wait_entered(1)

        def numbers() -> Iterator[int]:
            yield 1
            executor.shutdown(wait=False, cancel_futures=True)
            yield 2

        with pytest.raises(RuntimeError, match=REFUSED):
            getattr(executor, method)(done.append, numbers())
        gate.open()
    executor.shutdown()
    assert done == []


@UNBUFFERED
def test_an_input_that_submits_to_the_same_executor(executor_type: Any, method: str) -> None:
    with executor_type(1) as executor:
        numbers = (executor.submit(int, number).result(DEADLINE) for number in "123")
        assert list(getattr(executor, method)(same, numbers)) == [1, 2, 3]


@UNBUFFERED
def test_no_item_is_kept_once_it_was_worked_on(executor_type: Any, method: str) -> None:
    given: list[weakref.ref[Thing]] = []

    def things() -> Iterator[Thing]:
        for _ in range(40):
            thing = Thing()
            given.append(weakref.ref(thing))
            yield thing
            del thing

    with executor_type(2) as executor:
        results = getattr(executor, method)(nothing, things())
        assert len(list(results)) == len(given) == 40
        wait_freed(*given)


@pytest.mark.parametrize("method", ["map", "map_unordered"])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Pool(2), id="Pool"),
        pytest.param(lambda: Pool(1, queue_size=1), id="Pool with a queue"),
        pytest.param(lambda: MultiPool(2, 1), id="MultiPool"),
        pytest.param(lambda: Pool(), id="Pool without a limit"),
    ],
)
def test_on_the_workers_of_a_pool(make: Callable[[], Any], method: str) -> None:
    with make() as pool:
        done = Sum()

        def one(_: int) -> None:
            done.add()

        def numbers() -> Iterator[int]:
            for number in range(100):
                if number % 10 == 9:
                    # All map tasks end, so that the next item needs another one.
                    wait_equal(lambda number=number: done.value, number)  # type: ignore[misc]
                    assert pool.wait_idle(DEADLINE)
                yield number

        executor = PoolExecutor.over(pool)
        results = getattr(executor, method)(one, numbers())
        assert list(results) == [None] * 100
        executor.shutdown()
        assert pool.wait_idle(DEADLINE)
        stats = pool.stats()
        assert stats.submitted == stats.completed


def test_an_item_that_the_pool_has_no_permit_for() -> None:
    done = Sum()

    def one(_: int) -> None:
        done.add()

    with Pool(1, nonblocking=True) as pool, Gate() as gate:
        executor = PoolExecutor.over(pool)

        def numbers() -> Iterator[int]:
            yield 1
            wait_equal(lambda: done.value, 1)
            assert pool.wait_idle(DEADLINE)
            pool.submit(gate.hold)
            yield 2

        with pytest.raises(PoolOverloadError):
            executor.map(one, numbers())
        gate.open()
        executor.shutdown()
        assert done.value == 1


def test_a_map_task_that_waits_is_not_counted_on() -> None:
    # The pool may still refuse the map task, so an item that only this task would take must wait for a permit.
    done: list[int] = []
    with Gate() as busy, Gate() as first, Gate() as ahead:
        pool = Pool(2)
        executor = PoolExecutor.over(pool)
        pool.submit(busy.hold)
        busy.wait_entered(1)

        def task(number: int) -> None:
            if number == 0:
                first.hold()
            done.append(number)

        def numbers() -> Iterator[int]:
            yield 0
            first.wait_entered(1)
            submitter = Background(lambda: pool.submit(ahead.hold))
            wait_equal(pool.waiting, 1)
            # A second map task waits behind the submitter.
            yield 1
            assert pool.waiting() == 1
            # The first one ends, and its worker goes on with the waiter ahead of it.
            first.open()
            ahead.wait_entered(1)
            submitter.result()
            assert done == [0, 1]
            yield 2

        reader = Background(lambda: executor.map(task, numbers()))
        wait_until(lambda: done == [0, 1], "the first two items")
        wait_equal(pool.waiting, 1)
        pool.release()
        with pytest.raises(RuntimeError, match=REFUSED):
            reader.result()
        busy.open()
        ahead.open()
    executor.shutdown()
    assert done == [0, 1]


@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_an_initializer_that_fails_while_the_input_is_read(method: str) -> None:
    def initialize() -> None:
        raise ValueError("of the initializer")

    with futures_log(), PoolExecutor(1, initializer=initialize) as executor:

        def numbers() -> Iterator[int]:
            yield 1
            wait_until(lambda: bool(executor._broken))
            yield 2

        with pytest.raises(BrokenThreadPool):
            getattr(executor, method)(int, numbers())


@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_many_maps_of_slow_and_fast_inputs_at_once(method: str) -> None:
    # Map tasks end and begin again all the time.
    with PoolExecutor(3) as executor:

        def numbers(pauses: bool) -> Iterator[int]:
            for number in range(2000):
                if pauses and number % 7 == 0:
                    executor.submit(int).result(DEADLINE)
                yield number

        def read(pauses: bool) -> list[int]:
            return sorted(getattr(executor, method)(same, numbers(pauses)))

        readers = [Background(lambda pauses=pauses: read(pauses)) for pauses in (True, False, True, False)]  # type: ignore[misc]
        for reader in readers:
            assert reader.result() == list(range(2000))


@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_an_item_that_comes_just_when_a_worker_gives_up_waiting_for_it(method: str) -> None:
    # With one worker no other can take the item. Some of the many tries hit the moment.
    done = 0
    end = time.monotonic() + 2

    def numbers() -> Iterator[int]:
        for number in range(20_000):
            yield number
            while done <= number:
                if HAS_GIL:
                    time.sleep(0)
                assert time.monotonic() < end + DEADLINE, f"nobody takes item {number}"
            if time.monotonic() > end:
                break
            # Sometimes the next item comes a little later.
            for _ in range(number % 64):
                pass

    def task(number: int) -> None:
        nonlocal done
        done = number + 1

    with PoolExecutor(1) as executor:
        assert len(list(getattr(executor, method)(task, numbers()))) == done


@pytest.mark.thread_unsafe(reason="counts on a collection of its own")
@each_executor_type
def test_an_input_whose_error_is_kept_by_the_function_is_garbage(executor_type: Executors) -> None:
    # The traceback of the error holds the frames of map(), and what they hold.
    class Caller:
        error: BaseException | None = None

        def call(self, _: int) -> None:
            pass

    def numbers() -> Iterator[int]:
        yield 1
        raise LookupError("of the input")

    with executor_type(1) as executor:
        caller = Caller()
        try:
            executor.map(caller.call, numbers())
        except LookupError as error:
            caller.error = error
        reference = weakref.ref(caller)
        del caller

    def is_dead() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_dead, "the end of the caller")
