"""Ctrl-C and other signals while the main thread waits for a future or for an executor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from executors import BUFFERING_TYPES, EXECUTOR_TYPES
from support import run_program

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D5")]

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


def script(name: str, executor_type: Executors, *arguments: object) -> str:
    """Runs a program on the class; returns its stdout, and fails if it wrote to stderr."""
    stdout, stderr = run_program("executor/signals.py", name, executor_type.__name__, *arguments)
    assert stderr == ""
    return stdout


@each_executor_type
@pytest.mark.parametrize(
    "call",
    [
        "held.result()",
        "held.result(1e6)",
        "held.exception()",
        "queued.result()",
        "concurrent.futures.wait([held, queued])",
        "list(concurrent.futures.as_completed([held, queued], 1e6))",
        "next(results)",
    ],
)
def test_a_wait_is_interrupted_and_the_task_is_not(executor_type: Executors, call: str) -> None:
    assert script("a_wait_is_interrupted_and_the_task_is_not", executor_type, call) == "interrupted\n[1]\n"


@pytest.mark.parametrize(
    ("executor_type", "buffersize"),
    [
        *(pytest.param(*param.values, "", id=f"{param.id}", marks=param.marks) for param in EXECUTOR_TYPES),
        *(
            pytest.param(*param.values, ", buffersize=2", id=f"{param.id}, buffersize", marks=param.marks)
            for param in BUFFERING_TYPES
        ),
    ],
)
def test_an_interrupted_map_cancels_what_has_not_started(executor_type: Executors, buffersize: str) -> None:
    assert (
        script("an_interrupted_map_cancels_what_has_not_started", executor_type, buffersize)
        == "interrupted\nover\n[]\n"
    )


@each_executor_type
def test_a_shutdown_that_waits_is_interrupted(executor_type: Executors) -> None:
    assert (
        script("a_shutdown_that_waits_is_interrupted", executor_type)
        == "interrupted\ncannot schedule new futures after shutdown\nNone [1]\n"
    )


@each_executor_type
def test_a_handler_that_returns_does_not_end_the_wait(executor_type: Executors) -> None:
    assert script("a_handler_that_returns_does_not_end_the_wait", executor_type) == "handled\n5\n"


@each_executor_type
def test_the_exception_of_a_handler_is_the_one_raised(executor_type: Executors) -> None:
    assert script("the_exception_of_a_handler_is_the_one_raised", executor_type) == "stopped now\n"


@each_executor_type
def test_other_threads_that_wait_are_not_disturbed(executor_type: Executors) -> None:
    assert script("other_threads_that_wait_are_not_disturbed", executor_type) == "interrupted\n[5, 5, 5]\n"


@each_executor_type
def test_ctrl_c_ends_a_program_once_its_tasks_are_done(executor_type: Executors) -> None:
    # As in any program whose main thread waits.
    stdout = script("ctrl_c_ends_a_program_once_its_tasks_are_done", executor_type)
    assert sorted(stdout.split()) == ["done", "interrupted", "queued"]


@pytest.mark.parametrize("call", ["submit(ran.append, 1)", "submit_within(1e6, ran.append, 1)"])
def test_an_interrupted_submit_did_not_submit(call: str) -> None:
    stdout, stderr = run_program("executor/signals.py", "an_interrupted_submit_did_not_submit", call)
    assert stdout == "interrupted\n[0]\n"
    assert stderr == ""


@pytest.mark.parametrize("call", ["next(results)", "list(results)"])
def test_map_unordered_is_interrupted(call: str) -> None:
    stdout, stderr = run_program("executor/signals.py", "map_unordered_is_interrupted", call)
    assert stdout == "interrupted\n"
    assert stderr == ""


@pytest.mark.parametrize(
    "results",
    [
        "iter(held.result, None)",
        "executor.map(gate.hold, range(3))",
        "executor.map(gate.hold, range(3), buffersize=2)",
        "executor.map_unordered(gate.hold, range(3))",
        "executor.map_unordered(gate.hold, range(3), buffersize=2)",
    ],
)
def test_a_signal_that_does_not_wake_the_main_thread_interrupts_it(results: str) -> None:
    stdout, stderr = run_program("executor/signals.py", "a_signal_that_does_not_wake_the_main_thread", results)
    assert stdout == "interrupted\n"
    assert stderr == ""
