"""Executors at the interpreter's exit: accepted calls are done, later ones are refused, and nothing hangs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from executors import EXECUTOR_TYPES
from support import run_program

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


def script(name: str, executor_type: Executors, *arguments: object, code_expected: int = 0) -> str:
    """Runs a program on the class; returns its stdout, and fails if it wrote to stderr."""
    stdout, stderr = run_program(
        "executor/exit.py", name, executor_type.__name__, *arguments, code_expected=code_expected
    )
    assert stderr == ""
    return stdout


@each_executor_type
def test_everything_is_done_first(executor_type: Executors) -> None:
    stdout = script("everything_is_done_first", executor_type)
    assert sorted(stdout.splitlines()) == sorted(["main ends", *(f"done {number}" for number in range(50))])


@each_executor_type
@pytest.mark.parametrize("shutdown", ["none", "shutdown", "del"])
def test_a_running_task_finishes(executor_type: Executors, shutdown: str) -> None:
    assert script("a_running_task_finishes", executor_type, shutdown) == "done\n" * 2


@each_executor_type
def test_callbacks_are_called_at_exit(executor_type: Executors) -> None:
    assert script("callbacks_are_called_at_exit", executor_type) == "result 5\n"


@each_executor_type
def test_idle_workers_do_not_keep_the_process(executor_type: Executors) -> None:
    assert script("idle_workers_do_not_keep_the_process", executor_type) == "main ends\n"


@each_executor_type
def test_cancelling_at_the_end(executor_type: Executors) -> None:
    assert script("cancelling_at_the_end", executor_type) == "True\n"


@each_executor_type
@pytest.mark.parametrize("used", [True, False])
def test_an_exit_handler_is_refused(executor_type: Executors, used: bool) -> None:
    stdout = script("an_exit_handler_is_refused", executor_type, used)
    # An executor that was never used has no worker that could have noticed the exit.
    said = {
        "cannot schedule new futures after interpreter shutdown",
        *(["cannot schedule new futures after shutdown"] if used else []),
    }
    first, second = stdout.splitlines()
    assert {first, second} <= said


@each_executor_type
def test_an_exit_handler_that_makes_an_executor(executor_type: Executors) -> None:
    # Its threads could not be waited for any more, so the call is refused.
    assert (
        script("an_exit_handler_that_makes_an_executor", executor_type)
        == "cannot schedule new futures after interpreter shutdown\n"
    )


@each_executor_type
def test_a_thread_that_goes_on_is_refused_in_the_end(executor_type: Executors) -> None:
    stdout = script("a_thread_that_goes_on_is_refused_in_the_end", executor_type)
    error, done = stdout.splitlines()
    assert error.startswith("cannot schedule new futures after ")
    assert done == "True True"


@each_executor_type
def test_a_task_that_goes_on_is_refused_in_the_end(executor_type: Executors) -> None:
    stdout = script("a_task_that_goes_on_is_refused_in_the_end", executor_type)
    # CPython's executor may just have been about to start a thread.
    own = ("can't create new thread at interpreter shutdown",) if executor_type is ThreadPoolExecutor else ()
    assert stdout.startswith(("cannot schedule new futures after ", *own))


@each_executor_type
def test_a_task_may_wait_for_another_at_exit(executor_type: Executors) -> None:
    assert script("a_task_may_wait_for_another_at_exit", executor_type) == "5\n"


@each_executor_type
def test_results_may_be_asked_for_by_an_exit_handler(executor_type: Executors) -> None:
    assert script("results_may_be_asked_for_by_an_exit_handler", executor_type) == "[0, 1, 2, 3, 4]\n"


@each_executor_type
def test_a_daemon_that_waits_for_a_result_keeps_nobody(executor_type: Executors) -> None:
    assert script("a_daemon_that_waits_for_a_result_keeps_nobody", executor_type) == "done\n"


@each_executor_type
def test_the_exit_code_and_the_exception_of_the_main_thread(executor_type: Executors) -> None:
    assert script("the_exit_code_and_the_exception_of_the_main_thread", executor_type, code_expected=3) == "done\n"


@each_executor_type
def test_system_exit_in_a_task_ends_no_process(executor_type: Executors) -> None:
    assert script("system_exit_in_a_task_ends_no_process", executor_type) == "SystemExit(3)\n"


@each_executor_type
def test_an_executor_in_a_cycle_and_one_in_a_module(executor_type: Executors) -> None:
    assert script("an_executor_in_a_cycle_and_one_in_a_module", executor_type) == "done\n" * 2


def test_workers_who_wait_for_each_other_and_blocked_submitters() -> None:
    stdout, stderr = run_program("executor/exit.py", "workers_who_wait_for_each_other_and_blocked_submitters")
    # Two threads write, in either order.
    assert sorted(stdout.split()) == ["queued", "refused"]
    assert stderr == ""


def test_an_executor_over_a_pool() -> None:
    stdout, stderr = run_program("executor/exit.py", "an_executor_over_a_pool")
    assert stdout == "done\n" * 20
    assert stderr == ""


@pytest.mark.parametrize("options", ["expiry_duration=1e6", "disable_purge=True", "expiry_duration=0.001"])
def test_idle_workers_that_would_stay_long(options: str) -> None:
    _, stderr = run_program("executor/exit.py", "idle_workers_that_would_stay_long", options)
    assert stderr == ""
