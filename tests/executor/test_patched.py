"""Executors whose submit() is replaced: on the object, in a subclass, or by a tracing library in CPython's class."""

from __future__ import annotations

import concurrent.futures
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from executors import EXECUTOR_TYPES, REFUSED, PoolExecutor, PoolFuture
from support import DEADLINE, Background, Gate, run_program, wait_equal

import pyants
from pyants import Pool, PoolClosedError, PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

# Each way to call int on the texts "1" and "2" by an executor of pyants, and to get the results.
WAYS: dict[str, Callable[[Any], list[int]]] = {
    "submit": lambda executor: [executor.submit(int, text).result(DEADLINE) for text in "12"],
    "try_submit": lambda executor: [executor.try_submit(int, text).result(DEADLINE) for text in "12"],
    "submit_within": lambda executor: [executor.submit_within(DEADLINE, int, text).result(DEADLINE) for text in "12"],
    "submit_many": lambda executor: [future.result(DEADLINE) for future in executor.submit_many(int, "12")],
    "map": lambda executor: list(executor.map(int, "12")),
    "map, buffersize": lambda executor: list(executor.map(int, "12", buffersize=1)),
    "map_unordered": lambda executor: sorted(executor.map_unordered(int, "12")),
    "map of an iterator": lambda executor: list(executor.map(int, iter("12"))),
    "group": lambda executor: in_a_group(executor),
}
each_way = pytest.mark.parametrize("way", WAYS)


def in_a_group(executor: Any) -> list[int]:
    with executor.group(results=True) as group:
        for text in "12":
            group.submit(int, text)
    results: list[int] = group.results()
    return results


# --- on an executor, and in a subclass ---


class Counting(pyants.PoolExecutor):
    """Counts its submits, like a class that passes a context on."""

    count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return super().submit(fn, *args, **kwargs)


@each_way
def test_every_way_goes_by_the_submit_of_a_subclass(way: str) -> None:
    with Counting(2) as executor:
        assert WAYS[way](executor) == [1, 2]
        assert executor.count == 2


@each_way
def test_every_way_goes_by_a_submit_that_is_set_on_the_executor(way: str) -> None:
    calls: list[object] = []
    with PoolExecutor(2) as executor:
        submit = executor.submit

        def noting(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            calls.append(fn)
            return submit(fn, *args, **kwargs)

        executor.submit = noting
        assert WAYS[way](executor) == [1, 2]
        assert calls == [int, int]
        del executor.submit
        assert WAYS[way](executor) == [1, 2]
        assert calls == [int, int]


@each_way
def test_on_the_workers_of_a_pool(way: str) -> None:
    with Pool(2) as pool, Counting.over(pool) as executor:
        assert WAYS[way](executor) == [1, 2]
        assert executor.count == 2


@each_executor_type
def test_a_submit_that_changes_the_function(executor_type: Executors) -> None:
    class Doubling(executor_type):  # type: ignore[valid-type, misc]
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return super().submit(lambda: fn(*args, **kwargs) * 2)

    with Doubling(2) as executor:
        assert list(executor.map(int, "123")) == [2, 4, 6]


def test_how_long_it_may_take_is_said_to_the_submit_at_the_end() -> None:
    with Counting(1, queue_size=0) as executor, Gate() as gate:
        executor.submit(gate.hold)
        assert executor.try_submit(int) is None
        with pytest.raises(PoolTimeoutError):
            executor.submit_within(0.001, int)
        assert executor.count == 3
        # It says nothing about other executors.
        other = Counting(1, queue_size=0)
        inner: list[Any] = []

        def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            inner.append(other.submit(fn, *args, **kwargs).result(DEADLINE))
            return type(executor).submit(executor, fn, *args, **kwargs)

        setattr(executor, "submit", submit)  # noqa: B010 - no type checker likes it
        other.submit(int).result(DEADLINE)
        assert executor.try_submit(int) is None
        assert inner == [0]
        gate.open()
        other.shutdown()


def test_a_submit_that_gives_a_future_of_its_own() -> None:
    class Foreign(pyants.PoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()

            def call() -> None:
                future.set_result(fn(*args, **kwargs))

            super().submit(call)
            return future

    with Foreign(1) as executor:
        for way in WAYS.values():
            assert way(executor) == [1, 2]


# --- CPython's own submit, called with an executor of ours ---


def test_the_submit_of_cpython_ends_in_ours() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        held = ThreadPoolExecutor.submit(executor, gate.hold)
        gate.wait_entered(1)
        queued = ThreadPoolExecutor.submit(executor, int, "7", base=10)
        taken_back = ThreadPoolExecutor.submit(executor, int)
        failing = ThreadPoolExecutor.submit(executor, int, "no number")
        assert (executor.pool.stats().busy, executor.pool.queued()) == (1, 3)
        assert taken_back.cancel()
        gate.open()
        assert held.result(DEADLINE) is None
        assert queued.result(DEADLINE) == 7
        assert isinstance(failing.exception(DEADLINE), ValueError)
        # There is no thread but the worker.
        assert executor.pool.stats().spawned == 1
    assert executor.pool.stats().completed + executor.pool.stats().cancelled == 3
    with pytest.raises(PoolClosedError, match=REFUSED):
        ThreadPoolExecutor.submit(executor, int)


def test_the_submit_of_cpython_is_cancelled_by_shutdown() -> None:
    executor = PoolExecutor(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        queued = ThreadPoolExecutor.submit(executor, int)
        executor.shutdown(wait=False, cancel_futures=True)
        assert queued.cancelled()
        assert concurrent.futures.wait([queued], DEADLINE).not_done == set()
        gate.open()


def test_while_the_submit_of_cpython_waits_for_a_permit_others_submit() -> None:
    # CPython's submit() holds a lock of the whole process; ours releases it before it waits.
    with PoolExecutor(1, queue_size=0) as executor, Gate() as gate:
        executor.submit(gate.hold)
        waiting = Background(lambda: ThreadPoolExecutor.submit(executor, int, "7"))
        wait_equal(executor.pool.waiting, 1)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(int, "8").result(DEADLINE) == 8
        gate.open()
        assert waiting.result().result(DEADLINE) == 7


# --- CPython's class, patched ---

each_patch = pytest.mark.parametrize("how", ["as wrapt", "as function"])


@pytest.mark.thread_unsafe(reason="starts processes")
@each_patch
@pytest.mark.parametrize("order", ["before the import", "before the executor", "after the executor", "over a pool"])
def test_a_patch_of_cpythons_class_takes_effect(how: str, order: str) -> None:
    stdout, stderr = run_program("executor/patched.py", "a_patch_takes_effect", how, order)
    assert (stdout, stderr) == ("cannot schedule new futures after shutdown\n", "")


@pytest.mark.thread_unsafe(reason="starts processes")
@each_patch
def test_a_patch_that_is_made_twice_and_taken_back(how: str) -> None:
    stdout, stderr = run_program("executor/patched.py", "a_patch_that_is_made_twice_and_taken_back", how)
    assert (stdout, stderr) == ("cannot schedule new futures after shutdown\n", "")


@pytest.mark.thread_unsafe(reason="starts processes")
def test_patched_calls_are_waited_for_and_refused_as_others() -> None:
    stdout, stderr = run_program("executor/patched.py", "patched_calls_are_waited_for_and_refused_as_others")
    assert (stdout, stderr) == ("None\nPoolTimeoutError\nPoolDeadlockError\n", "")


def test_the_class_of_the_futures() -> None:
    with PoolExecutor(1) as executor:
        assert type(executor.submit(int)) is PoolFuture


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="reference counts free at once with the GIL only"
)
@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_patched_call_keeps_nothing_of_itself() -> None:
    stdout, stderr = run_program("executor/patched.py", "a_patched_call_keeps_nothing_of_itself")
    assert (stdout, stderr) == ("freed\n", "")
