"""Executors: the number of workers, their names and their initializer."""

from __future__ import annotations

import inspect
import logging
import math
import os
import re
import sqlite3
import sys
import threading
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from fractions import Fraction
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, attribute, futures_log, logged, thread_count, wait_idle_worker
from executors import PoolExecutor as AnyPoolExecutor
from support import DEADLINE, Gate, Sum, own_logger, wait_until

Executors = type[ThreadPoolExecutor]

both = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


def names_of(executor: ThreadPoolExecutor, count: int) -> set[str]:
    """The names of the threads that run so many calls at once."""
    with Gate() as gate:

        def task() -> str:
            gate.hold()
            return threading.current_thread().name

        futures = [executor.submit(task) for _ in range(count)]
        gate.wait_entered(count)
        gate.open()
        return {future.result(DEADLINE) for future in futures}


# --- the number of workers ---


@both
def test_the_default_is_the_processors_and_four_but_at_most_32(executor_type: Executors) -> None:
    # Since 3.13 it is the number of processors that this process may use.
    count = getattr(os, "process_cpu_count", os.cpu_count)()
    for executor in (executor_type(), executor_type(None), executor_type(max_workers=None)):
        assert attribute(executor, "_max_workers") == min(32, (count or 1) + 4)


@both
@pytest.mark.thread_unsafe(reason="pretends another number of processors")
@pytest.mark.parametrize(("count", "workers"), [(None, 5), (1, 5), (27, 31), (28, 32), (29, 32), (1000, 32)])
def test_the_default_on_other_machines(
    executor_type: Executors, count: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "process_cpu_count" if hasattr(os, "process_cpu_count") else "cpu_count"
    monkeypatch.setattr(os, name, lambda: count)
    assert attribute(executor_type(), "_max_workers") == workers


@both
@pytest.mark.parametrize("number", [0, -1, -(10**30)])
def test_there_has_to_be_a_worker(executor_type: Executors, number: int) -> None:
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        executor_type(number)
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        executor_type(max_workers=number)


@both
@pytest.mark.parametrize("value", ["4", [4], (), object], ids=repr)
def test_the_number_of_workers_is_a_number(executor_type: Executors, value: Any) -> None:
    with pytest.raises(TypeError):
        executor_type(value)


@both
def test_a_great_number_of_workers_costs_nothing(executor_type: Executors) -> None:
    with executor_type(1_000_000) as executor:
        assert attribute(executor, "_max_workers") == 1_000_000
        assert executor.submit(int, "7").result(DEADLINE) == 7


@both
@pytest.mark.parametrize(
    ("number", "threads"),
    [
        (0.5, 1),
        (1.0, 1),
        (2.5, 3),
        (Fraction(7, 2), 4),
        (True, 1),
        (2**31 - 1, 5),
        (2**31, 5),
        (sys.maxsize, 5),
        (1e300, 5),
    ],
)
def test_odd_numbers_of_workers(executor_type: Executors, number: Any, threads: int) -> None:
    # A thread is started for each call until there are so many.
    with executor_type(number) as executor, Gate() as gate:
        assert attribute(executor, "_max_workers") == number
        held = [executor.submit(gate.hold) for _ in range(5)]
        gate.wait_entered(threads)
        assert thread_count(executor) == threads
        gate.open()
        assert [future.result(DEADLINE) for future in held] == [None] * 5
        assert list(executor.map(int, "123")) == [1, 2, 3]
    assert gate.peak == threads


@both
def test_as_many_workers_as_one_likes(executor_type: Executors) -> None:
    any_number: Any = math.inf
    with executor_type(any_number) as executor:
        assert attribute(executor, "_max_workers") == math.inf
        assert executor.submit(int, "7").result(DEADLINE) == 7


def test_no_number_at_all() -> None:
    # CPython's class accepts the value, and never starts a thread.
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        AnyPoolExecutor(math.nan)


def test_the_number_of_workers_that_was_given_is_told_until_it_is_another() -> None:
    with AnyPoolExecutor(2.5) as executor:
        assert executor._max_workers == 2.5
        executor.pool.tune(5)
        assert executor._max_workers == 5
        executor._max_workers = 3.5
        assert (executor._max_workers, executor.pool.cap()) == (3.5, 4)


@both
def test_the_parameters(executor_type: Executors) -> None:
    parameters = list(inspect.signature(executor_type).parameters.items())[:4]
    assert [(name, parameter.default) for name, parameter in parameters] == [
        ("max_workers", None),
        ("thread_name_prefix", ""),
        ("initializer", None),
        ("initargs", ()),
    ]
    seen: list[object] = []
    # All four options may be positional.
    with executor_type(1, "positional", seen.append, ("initialized",)) as executor:
        assert names_of(executor, 1) == {"positional_0"}
    assert seen == ["initialized"]
    unknown: Any = {"unknown": 1}
    with pytest.raises(TypeError, match="unknown"):
        executor_type(**unknown)


# --- names ---


@both
def test_threads_are_named_by_prefix_and_number(executor_type: Executors) -> None:
    with executor_type(3, thread_name_prefix="Special") as executor:
        assert attribute(executor, "_thread_name_prefix") == "Special"
        assert names_of(executor, 1) == {"Special_0"}
        wait_idle_worker(executor)
        assert names_of(executor, 3) == {"Special_0", "Special_1", "Special_2"}


@both
def test_the_prefix_is_an_attribute_that_can_be_set(executor_type: Executors) -> None:
    with executor_type(1, thread_name_prefix="Special") as executor:
        executor._thread_name_prefix = "other"
        assert attribute(executor, "_thread_name_prefix") == "other"


@both
def test_each_executor_has_a_prefix_of_its_own_by_default(executor_type: Executors) -> None:
    with executor_type(2) as first, executor_type(2) as second:
        prefixes = [str(attribute(executor, "_thread_name_prefix")) for executor in (first, second)]
        for executor, prefix in zip((first, second), prefixes, strict=True):
            assert re.fullmatch(rf"{executor_type.__name__}-\d+", prefix)
            assert names_of(executor, 2) == {f"{prefix}_0", f"{prefix}_1"}
    assert prefixes[0] != prefixes[1]


@both
@pytest.mark.parametrize("prefix", ["", "with space", "größer", "a%sb{}c", "x" * 300])
def test_any_text_is_a_prefix(executor_type: Executors, prefix: str) -> None:
    with executor_type(1, thread_name_prefix=prefix) as executor:
        names = names_of(executor, 1)
        assert names == {f"{prefix or attribute(executor, '_thread_name_prefix')}_0"}


# --- the initializer ---


@both
def test_the_initializer_runs_once_in_each_worker_before_its_tasks(executor_type: Executors) -> None:
    here = threading.local()
    seen: list[int] = []

    def initialize(number: int) -> None:
        assert not hasattr(here, "number")
        here.number = number
        seen.append(threading.get_ident())

    with executor_type(3, initializer=initialize, initargs=(7,)) as executor:
        assert seen == []
        with Gate() as gate:
            held = [executor.submit(gate.hold) for _ in range(3)]
            numbers = [executor.submit(getattr, here, "number") for _ in range(30)]
            gate.wait_entered(3)
            assert len(seen) == len(set(seen)) == 3
        assert {future.result(DEADLINE) for future in numbers} == {7}
        assert {future.result(DEADLINE) for future in held} == {None}
        assert len(seen) == 3


@both
@pytest.mark.parametrize("value", ["text", 3, ()], ids=repr)
def test_the_initializer_has_to_be_callable(executor_type: Executors, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^initializer must be a callable$"):
        executor_type(initializer=value)


def broken(
    executor_type: Executors, error: BaseException, pending: int
) -> tuple[ThreadPoolExecutor, list[Future[object]]]:
    """An executor of one worker whose initializer has raised, and the futures of earlier calls."""
    gate = Gate()

    def initialize() -> None:
        gate.hold()
        raise error

    executor = executor_type(1, initializer=initialize)
    futures: list[Future[object]] = [executor.submit(int) for _ in range(pending)]
    gate.open()
    for future in futures:
        future.exception(DEADLINE)
    wait_until(lambda: bool(attribute(executor, "_broken")), "the end of the initializer")
    return executor, futures


@both
@pytest.mark.parametrize("error", [ValueError("of the initializer"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_failing_initializer_breaks_the_executor(executor_type: Executors, error: BaseException) -> None:
    message = r"^A thread initializer failed, the thread pool is not usable anymore$"
    with futures_log():
        executor, futures = broken(executor_type, error, 5)
    for future in futures:
        with pytest.raises(BrokenThreadPool, match=message):
            future.result(DEADLINE)
        assert isinstance(future.exception(), BrokenExecutor)
        assert future.done()
        assert not future.cancelled()
    for _ in range(2):
        with pytest.raises(BrokenThreadPool, match=message):
            executor.submit(int)
    with pytest.raises(BrokenThreadPool, match=message):
        executor.map(int, "123")
    executor.shutdown()
    executor.shutdown(cancel_futures=True)


@both
def test_a_broken_executor_stays_so_after_shutdown(executor_type: Executors) -> None:
    with futures_log():
        executor, _ = broken(executor_type, ValueError("of the initializer"), 1)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(int)


@both
def test_a_failing_initializer_is_logged(executor_type: Executors) -> None:
    error = ValueError("of the initializer")
    with futures_log() as records:
        broken(executor_type, error, 2)
        wait_until(lambda: bool(logged(records, error)), "the record")
    (record,) = logged(records, error)
    assert record.levelno == logging.CRITICAL
    assert "initializer" in record.getMessage().lower()


@both
def test_callbacks_hear_of_a_broken_executor(executor_type: Executors) -> None:
    heard = Sum()
    gate = Gate()

    def initialize() -> None:
        gate.hold()
        raise ValueError("of the initializer")

    def callback(future: Future[int]) -> None:
        assert isinstance(future.exception(), BrokenThreadPool)
        heard.add()

    with futures_log(), executor_type(1, initializer=initialize) as executor:
        for _ in range(3):
            executor.submit(int).add_done_callback(callback)
        gate.open()
        wait_until(lambda: heard.value == 3)


# --- the options of pyants ---


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue_size": -1}, ValueError),
        ({"queue_size": "4"}, TypeError),
        ({"max_blocking_tasks": -1}, ValueError),
        ({"expiry_duration": -1}, ValueError),
        ({"stack_size": 1}, ValueError),
        ({"logger": 3}, TypeError),
    ],
    ids=repr,
)
def test_nonsense_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        AnyPoolExecutor(1, **options)


def test_the_options_of_pyants_go_by_keyword_only() -> None:
    parameters = inspect.signature(AnyPoolExecutor).parameters
    assert list(parameters)[4:] == [
        "queue_size",
        "nonblocking",
        "max_blocking_tasks",
        "expiry_duration",
        "disable_purge",
        "stack_size",
        "logger",
        "daemon",
    ]
    assert {each.kind for each in list(parameters.values())[4:]} == {inspect.Parameter.KEYWORD_ONLY}
    # As in CPython the queue has no limit unless one is given.
    assert parameters["queue_size"].default is None


def test_idle_workers_leave_and_come_back() -> None:
    with AnyPoolExecutor(3, "leaving", expiry_duration=0.01) as executor:
        assert len(names_of(executor, 3)) == 3
        wait_until(lambda: len(attribute(executor, "_threads")) == 0, "the end of the idle workers")
        assert executor.pool.stats().expired == 3
        assert names_of(executor, 1) <= {f"leaving_{number}" for number in range(4)}


@pytest.mark.parametrize("options", [{}, {"expiry_duration": None}, {"expiry_duration": 0.001, "disable_purge": True}])
def test_idle_workers_stay_unless_they_are_to_leave(options: dict[str, Any]) -> None:
    # As in CPython's executor, threads stay: users keep objects in them that are bound to a thread.
    with AnyPoolExecutor(3, **options) as executor, AnyPoolExecutor(1, expiry_duration=0.001) as clock:
        names_of(executor, 3)
        clock.submit(int).result(DEADLINE)
        wait_until(lambda: clock.pool.stats().expired == 1, "the end of a worker that is to leave")
        assert len(attribute(executor, "_threads")) == 3
        assert executor.pool.stats().expired == 0
    assert inspect.signature(AnyPoolExecutor).parameters["expiry_duration"].default is None


@both
def test_the_one_thread_of_an_executor_stays_the_same(executor_type: Executors) -> None:
    # A connection of SQLite is bound to its thread.
    with executor_type(1) as executor:
        connection = executor.submit(sqlite3.connect, ":memory:").result(DEADLINE)
        executor.submit(connection.execute, "create table numbers (number)").result(DEADLINE)
        for number in range(100):
            executor.submit(connection.execute, "insert into numbers values (?)", (number,)).result(DEADLINE)
        rows = executor.submit(lambda: connection.execute("select sum(number) from numbers").fetchall())
        assert rows.result(DEADLINE) == [(4950,)]
        executor.submit(connection.close).result(DEADLINE)


def test_a_stack_that_is_deep_enough() -> None:
    def depth(left: int) -> int:
        return 1 + depth(left - 1) if left else 0

    with AnyPoolExecutor(1, stack_size=64 * 2**20) as executor:
        assert executor.submit(depth, 500).result(DEADLINE) == 500


def test_no_task_is_logged_since_its_future_has_the_exception() -> None:
    logger, records = own_logger()
    with AnyPoolExecutor(1, logger=logger) as executor:
        assert isinstance(executor.submit(int, "no number").exception(DEADLINE), ValueError)
    assert records.records == []
