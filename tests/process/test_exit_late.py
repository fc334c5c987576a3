"""The interpreter's exit: pools that are used, made or dropped while it is under way."""

from __future__ import annotations

import pytest
from support import run_program

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]


def test_a_task_that_submits_more_at_exit_is_refused() -> None:
    stdout, stderr = run_program("process/exit_late.py", "a_task_that_submits_more_at_exit_is_refused")
    assert stdout == "refused\n"
    assert stderr == ""


def test_an_exception_at_exit_is_reported() -> None:
    stdout, stderr = run_program("process/exit_late.py", "an_exception_at_exit_is_reported")
    assert stdout == "main ends\n"
    assert "ValueError: late" in stderr
    assert "exception in task" in stderr


def test_pools_in_exit_handlers() -> None:
    stdout, stderr = run_program("process/exit_late.py", "pools_in_exit_handlers")
    assert stdout == "True 0 1\nrefused\nclosed\n"
    assert stderr == ""


def test_a_pool_made_by_an_exit_handler() -> None:
    # Its threads could not be waited for any more, so it may refuse tasks; it must neither hang nor crash.
    run_program("process/exit_late.py", "a_pool_made_by_an_exit_handler")


def test_a_reboot_during_exit() -> None:
    run_program("process/exit_late.py", "a_reboot_during_exit")


def test_pools_in_finalizers() -> None:
    run_program("process/exit_late.py", "pools_in_finalizers")


@pytest.mark.parametrize("round_", range(5))
def test_exit_at_any_moment_of_a_busy_pool(round_: int) -> None:
    # Workers start, run, park, expire and block while the main thread ends.
    stdout, stderr = run_program("process/exit_late.py", "exit_at_any_moment_of_a_busy_pool", round_)
    assert stdout == "True\n"
    assert stderr == ""


def test_a_subinterpreter_is_refused_or_served() -> None:
    run_program("process/exit_late.py", "a_subinterpreter_is_refused_or_served")
