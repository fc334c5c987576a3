"""os.fork: the child's pools and executors are empty and usable, the parent's are untouched."""

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
    stdout, stderr = run_program("process/fork.py", name, *arguments)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize("make", ["Pool(3)", "Pool(3, queue_size=None)", "Pool()", "MultiPool(3, 1)"])
def test_fork_with_a_busy_pool(make: str) -> None:
    assert script("fork_with_a_busy_pool", make) == "child\nparent\n"


@pytest.mark.parametrize(
    "make",
    [
        "Pool(2, queue_size=None)",
        "MultiPool(2, 1, queue_size=None)",
        "PoolExecutor(2)",
        "PoolExecutor(2, queue_size=5)",
        "PoolExecutor.over(Pool(2, queue_size=None))",
        "PoolExecutor.over(MultiPool(2, 1, queue_size=None))",
    ],
)
def test_no_task_of_the_parent_runs_again(make: str) -> None:
    assert script("no_task_of_the_parent_runs_again", make) == "child []\nparent [0, 1, 2]\n"


def test_fork_with_idle_workers_and_blocked_submitters() -> None:
    assert script("fork_with_idle_workers_and_blocked_submitters") == "parent\n"


def test_a_child_has_an_expiry_thread_of_its_own() -> None:
    assert script("a_child_has_an_expiry_thread_of_its_own") == "parent\n"


def test_open_stays_open_and_closed_stays_closed() -> None:
    assert script("open_stays_open_and_closed_stays_closed") == "closed\n['forked_0', 'forked_1', 'forked_2']\n"


def test_purging_works_in_the_child() -> None:
    assert script("purging_works_in_the_child") == "purged\n"


@pytest.mark.parametrize("make", ["Pool(2)", "Pool(2, queue_size=None)", "PoolExecutor(2)"])
def test_fork_from_a_task(make: str) -> None:
    assert script("fork_from_a_task", make) == "child\nparent\n"


def test_fork_under_load() -> None:
    # At the moment of the fork locks are held, and workers start, park and expire.
    assert script("fork_under_load") == "parent\n"


def test_a_fork_waits_for_a_worker_that_is_just_arriving() -> None:
    assert script("a_fork_waits_for_a_worker_that_is_just_arriving") == "child 2\nparent 2\n"


def test_a_fork_waits_for_a_worker_that_is_just_leaving() -> None:
    assert script("a_fork_waits_for_a_worker_that_is_just_leaving") == "child 2\nparent 2\n"


def test_a_fork_does_not_wait_for_ever_for_a_worker_that_waits_for_the_forking_thread() -> None:
    assert script("a_fork_does_not_wait_for_ever_for_a_worker_that_waits_for_the_forking_thread") == "parent\n"


def test_a_worker_that_does_not_get_away_does_not_keep_the_others() -> None:
    assert script("a_worker_that_does_not_get_away_does_not_keep_the_others") == "parent\n"


def test_a_fork_hook_may_wait_for_a_worker() -> None:
    # Hooks run in the reverse order of their registration: this one after the module's own.
    stdout, stderr = run_program("process/fork_hook.py")
    assert (stdout, stderr) == ("hook\nparent\n", "")


def test_nothing_is_looked_up_or_imported_on_first_use() -> None:
    # A child that is forked while another thread does so would wait for ever for the end of it.
    stdout, stderr = run_program("process/lookups.py")
    assert stdout == "[]\n", stderr


def test_a_child_of_a_child() -> None:
    assert script("a_child_of_a_child") == "grandchild\nchild\nparent\n"


@pytest.mark.parametrize("make", ["Pool(2, disable_purge=True)", "PoolExecutor(2)"])
def test_a_child_that_exits_in_the_usual_way(make: str) -> None:
    assert script("a_child_that_exits_in_the_usual_way", make) == "child's task\n5\n"


@pytest.mark.parametrize("make", ["Pool(2, disable_purge=True)", "PoolExecutor(2)", "MultiPool(2, 1)"])
def test_a_child_that_leaves_the_task_that_forked_it(make: str) -> None:
    # Accepted tasks are run, and threads end, as at the end of a program.
    stdout = script("a_child_that_leaves_the_task_that_forked_it", make)
    assert sorted(stdout.splitlines()) == ["0", "and what it has printed", "child's task", "child's thread"]


@pytest.mark.parametrize("make", ["Pool(2)", "PoolExecutor(2)"])
def test_multiprocessing_with_fork(make: str) -> None:
    assert script("multiprocessing_with_fork", make) == "45\n0\n"


def test_the_default_pool_in_a_child() -> None:
    assert script("the_default_pool_in_a_child") == "parent\n"


def test_a_pool_dropped_in_the_child() -> None:
    assert script("a_pool_dropped_in_the_child") == "parent\n"


def test_fork_with_an_idle_executor_and_one_that_is_shut_down() -> None:
    assert (
        script("fork_with_an_idle_executor_and_one_that_is_shut_down") == "cannot schedule new futures after shutdown\n"
    )


@pytest.mark.parametrize("limit", ["None", "3"])
def test_a_group_is_empty_in_the_child(limit: str) -> None:
    assert script("a_group_is_empty_in_the_child", limit) == "[1, 2, 3]\n[1, None, None]\n0\n"


def test_results_that_were_there_are_there_in_the_child() -> None:
    assert script("results_that_were_there_are_there_in_the_child") == "7 ValueError\n5\n"


def test_fork_while_threads_wait_for_results() -> None:
    stdout = script("fork_while_threads_wait_for_results")
    assert stdout == "timed out\n[7, 7, 7] 1\n"
