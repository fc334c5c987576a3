"""Executors: the items of a map whose results are read only in part, because of an exception or not."""

from __future__ import annotations

import signal
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, PoolExecutor
from support import Background, Gate, run_program, wait_until

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
in_processes = pytest.mark.thread_unsafe(reason="starts processes")


def run(name: str, executor_type: Executors, *arguments: str, code_expected: int = 0) -> str:
    """Runs a program; returns how many of its items were called."""
    arguments = (executor_type.__name__, *arguments)
    return run_program("executor/left.py", name, *arguments, code_expected=code_expected)[0]


@in_processes
@each_executor_type
@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_ctrl_c_while_a_result_is_waited_for_ends_the_program(executor_type: Executors, method: str) -> None:
    if executor_type is ThreadPoolExecutor and method == "map_unordered":
        pytest.skip("CPython has none")
    # A variable holds the iterator, so the rest is not cancelled because the iterator is freed.
    name = "ctrl_c_while_a_result_is_waited_for"
    assert run(name, executor_type, method, code_expected=-signal.SIGINT) == "6\n"


@in_processes
@pytest.mark.parametrize("method", ["map", "map_unordered"])
@pytest.mark.parametrize(("raising", "code_expected"), [("Ctrl-C", -signal.SIGINT), ("ValueError", 1)])
def test_an_exception_in_the_loop_that_ends_the_program(method: str, raising: str, code_expected: int) -> None:
    # With CPython's executor all items are called here.
    called = run("an_exception_in_the_loop", PoolExecutor, method, raising, code_expected=code_expected)
    assert called == "6\n"


@in_processes
@pytest.mark.parametrize("where", ["executor", "over"])
def test_an_exception_in_the_loop_in_a_with_block(where: str) -> None:
    # The executor waits only for the call that is running.
    called = run("an_exception_in_the_loop_in_a_with_block", PoolExecutor, where)
    assert called == "interrupted\n6\n6\n"


@in_processes
@each_executor_type
def test_a_program_that_ends_in_peace_has_everything_called(executor_type: Executors) -> None:
    assert run("ends_in_peace", executor_type) == "100\n"


@in_processes
@each_executor_type
def test_results_that_nobody_has_begun_to_read_are_not_left(executor_type: Executors) -> None:
    assert run("nobody_has_begun_to_read", executor_type, code_expected=1) == "100\n"


@in_processes
@each_executor_type
def test_another_thread_that_reads_on_is_not_disturbed(executor_type: Executors) -> None:
    assert run("another_thread_reads_on", executor_type, code_expected=1) == "all\n100\n"


@in_processes
def test_ctrl_c_arrives_where_results_are_read_though_they_are_there() -> None:
    assert run_program("executor/left.py", "ctrl_c_where_results_are_there")[0] == "over\n"


@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_a_block_that_fails_leaves_the_maps_of_its_thread_only(method: str) -> None:
    called: list[int] = []
    executor: Any = PoolExecutor(1)
    with Gate() as gate:

        def task(number: int) -> int:
            if number:
                gate.hold()
            called.append(number)
            return number

        def body() -> None:
            with executor:
                begun = getattr(executor, method)(task, range(10))
                results.append(begun)
                next(begun)
                gate.wait_entered(1)
                results.append(getattr(executor, method)(called.append, [10, 11]))
                others = getattr(executor, method)(called.append, [12, 13])
                results.append(others)
                reader = Background(lambda: list(others))
                readers.append(reader)
                raise LookupError("of the block")

        results: list[Any] = []
        readers: list[Background[Any]] = []
        block = Background(body)
        wait_until(lambda: executor._shutdown)
        gate.open()
        with pytest.raises(LookupError, match="of the block"):
            block.result()
    # Items are called if nobody has begun to read their results, or if another thread reads them.
    assert called == [0, 1, 10, 11, 12, 13]
    assert readers[0].result() == [None, None]
    begun, unread, _ = results
    assert next(begun) == 1
    with pytest.raises(CancelledError):
        next(begun)
    assert list(unread) == [None, None]


@each_executor_type
def test_a_block_that_ends_in_peace_leaves_nothing(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        results = executor.map(int, "123")
        assert next(results) == 1
    assert list(results) == [2, 3]
