"""os.fork: the child's executors have no tasks and no threads, and are usable; the parent's are untouched."""

from __future__ import annotations

import os

import pytest
from support import run_program

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.ants("D8"),
]


def script(name: str, *arguments: str) -> str:
    stdout, stderr = run_program("executor/fork.py", name, *arguments)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize(
    "make",
    [
        "PoolExecutor(2)",
        "PoolExecutor(2, queue_size=5)",
        "PoolExecutor.over(Pool(2, queue_size=None))",
        "PoolExecutor.over(MultiPool(2, 1, queue_size=None))",
    ],
)
def test_fork_with_a_busy_executor(make: str) -> None:
    stdout = script("fork_with_a_busy_executor", make)
    assert stdout == "child []\nparent [0, 1, 2]\n"


def test_fork_with_an_idle_executor_and_one_that_is_shut_down() -> None:
    stdout = script("fork_with_an_idle_executor_and_one_that_is_shut_down")
    assert stdout == "cannot schedule new futures after shutdown\n"


def test_results_that_were_there_are_there_in_the_child() -> None:
    stdout = script("results_that_were_there_are_there_in_the_child")
    assert stdout == "7 ValueError\n5\n"


def test_fork_while_threads_wait_for_results() -> None:
    stdout = script("fork_while_threads_wait_for_results")
    assert stdout == "timed out\n[7, 7, 7] 1\n"


def test_fork_from_a_task() -> None:
    stdout = script("fork_from_a_task")
    assert stdout == "child\nparent\n"


def test_a_child_that_exits_in_the_usual_way() -> None:
    stdout = script("a_child_that_exits_in_the_usual_way")
    assert stdout == "child's task\n5\n"


def test_multiprocessing_with_fork() -> None:
    stdout = script("multiprocessing_with_fork")
    assert stdout == "45\n0\n"
