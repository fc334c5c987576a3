"""The operating system refuses threads: tasks wait, or are refused, and none is lost."""

from __future__ import annotations

import pytest
from support import run_program

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D4")]


def script(name: str, *arguments: object) -> None:
    assert run_program("process/spawn_failure.py", name, *arguments) == ("", "")


@pytest.mark.parametrize("options", ["1", "5, queue_size=3", "2, queue_size=None", "-1", "3, nonblocking=True"])
def test_with_nobody_alive_the_submitter_gets_the_error(options: str) -> None:
    script("with_nobody_alive_the_submitter_gets_the_error", options)


@pytest.mark.parametrize("capacity", [4, -1])
def test_with_a_worker_alive_the_submitter_waits_for_it(capacity: int) -> None:
    script("with_a_worker_alive_the_submitter_waits_for_it", capacity)


@pytest.mark.parametrize("capacity", [4, -1])
def test_a_pool_that_may_not_block_refuses(capacity: int) -> None:
    script("a_pool_that_may_not_block_refuses", capacity)


def test_the_limit_of_blocked_submitters_holds() -> None:
    script("the_limit_of_blocked_submitters_holds")


def test_submit_within_times_out() -> None:
    script("submit_within_times_out")


@pytest.mark.parametrize("queue_size", [10, None])
def test_queued_tasks_run_on_the_workers_there_are(queue_size: int | None) -> None:
    script("queued_tasks_run_on_the_workers_there_are", queue_size)


def test_when_threads_are_to_be_had_again_the_waiters_get_them() -> None:
    script("when_threads_are_to_be_had_again_the_waiters_get_them")


@pytest.mark.parametrize("options", ["3", "3, queue_size=5", "3, queue_size=None", "-1", "1"])
def test_failures_at_random_lose_and_double_nothing(options: str) -> None:
    script("failures_at_random_lose_and_double_nothing", options)


def test_a_multi_pool_and_a_pool_with_func() -> None:
    script("a_multi_pool_and_a_pool_with_func")


def test_housekeeping_without_a_thread_of_its_own() -> None:
    # The pool works even if the expiry thread cannot be started.
    script("housekeeping_without_a_thread_of_its_own")


def test_without_memory_for_a_stack() -> None:
    # The fault is not injected: the operating system itself refuses.
    script("without_memory_for_a_stack")
