"""Ctrl-C in the block of a TaskGroup, and while it waits at its end."""

from __future__ import annotations

import signal

import pytest
from support import run_program

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

MAKES = ["Pool(1, queue_size=None)", "MultiPool(1, 1, queue_size=None)", "PoolExecutor(1)"]


def script(name: str, *arguments: object) -> str:
    stdout, stderr = run_program("executor/group_signals.py", name, *arguments)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("wait", ["in the block", "at the end"])
def test_it_leaves_nothing_running_and_nothing_unreported(make: str, wait: str) -> None:
    assert (
        script("it_leaves_nothing_running_and_nothing_unreported", make, wait)
        == "done\ninterrupted 1 True [] [ValueError('mine')]\n"
    )


@pytest.mark.parametrize("submit", ["submit(ran.append, 1)", "submit(int)"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_submit_that_waits(submit: str, limit: int | None) -> None:
    assert (
        script("a_submit_that_waits", submit, limit)
        == "done\ninterrupted True [] [ValueError('mine')]\n[0, 0, 0, 0, 0]\n"
    )


def test_a_place_is_not_lost_to_a_submit_that_was_interrupted() -> None:
    assert script("a_place_is_not_lost_to_a_submit_that_was_interrupted") == "interrupted\n[] [None, 0, 0, 0]\n"


def test_a_second_one_leaves_at_once_and_says_what_is_running() -> None:
    stdout = script("a_second_one_leaves_at_once_and_says_what_is_running")
    assert stdout == ("interrupted 2 ['2 tasks of the group are still running'] KeyboardInterrupt(1)\n[]\n")


def test_without_a_second_one_the_program_ends_when_what_runs_is_done() -> None:
    stdout, stderr = run_program(
        "executor/group_signals.py",
        "without_a_second_one_the_program_ends_when_what_runs_is_done",
        code_expected=-signal.SIGINT,
    )
    assert stdout == "done\n"
    assert stderr.endswith("KeyboardInterrupt: 1\n")


def test_results_are_interrupted() -> None:
    assert script("results_are_interrupted") == "interrupted\n[5]\n"


def test_a_handler_that_returns_does_not_end_the_wait() -> None:
    assert script("a_handler_that_returns_does_not_end_the_wait") == "handled\n[5]\n"


def test_nested_groups() -> None:
    stdout = script("nested_groups")
    assert stdout == "done\ninterrupted 1 [] [ValueError('mine')]\n"
