"""The interpreter's exit: accepted tasks finish, threads leave, nothing hangs or crashes."""

from __future__ import annotations

import pytest
from support import run_program, run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]


def test_running_tasks_finish_first() -> None:
    stdout, stderr = run_program("process/exit.py", "running_tasks_finish_first")
    assert stdout.splitlines()[0] == "main ends"
    assert sorted(stdout.splitlines()[1:]) == ["done 1", "done 2"]
    assert stderr == ""


@pytest.mark.parametrize("queue_size", [50, None])
def test_queued_tasks_finish_too(queue_size: int | None) -> None:
    stdout, stderr = run_script(f"""
        pool = Pool(1, queue_size={queue_size})
        for number in range(50):
            pool.submit(lambda: (time.sleep(0.001), print("done")))
    """)
    assert stdout == "done\n" * 50
    assert stderr == ""


@pytest.mark.parametrize(
    "make",
    [
        "Pool(4, expiry_duration=1e6)",
        "Pool(4, disable_purge=True)",
        "Pool(expiry_duration=1e6)",
        "MultiPool(2, 2, disable_purge=True)",
    ],
)
def test_idle_workers_do_not_keep_the_process(make: str) -> None:
    # The exit does not wait for the expiry of a million seconds.
    _, stderr = run_program("process/exit.py", "idle_workers_do_not_keep_the_process", make)
    assert stderr == ""


def test_every_kind_of_pool_at_once() -> None:
    stdout, stderr = run_program("process/exit.py", "every_kind_of_pool_at_once")
    assert stdout == "done\n" * 8
    assert stderr == ""


def test_a_dropped_pool() -> None:
    stdout, stderr = run_program("process/exit.py", "a_dropped_pool")
    assert stdout == "done\n"
    assert stderr == ""


def test_a_pool_dropped_by_its_own_task() -> None:
    # A worker's thread drops the last reference.
    stdout, stderr = run_program("process/exit.py", "a_pool_dropped_by_its_own_task")
    assert stdout == "main ends\n"
    assert stderr == ""


def test_released_and_closed_pools() -> None:
    stdout, stderr = run_program("process/exit.py", "released_and_closed_pools")
    assert stdout == "done\n" * 3
    assert stderr == ""


@pytest.mark.parametrize("daemon", [True, False])
def test_blocked_submitters(daemon: bool) -> None:
    stdout, stderr = run_program("process/exit.py", "blocked_submitters", daemon)
    assert "done\n" in stdout
    assert "never" not in stdout
    assert stderr == ""
    if not daemon:
        assert stdout.count("refused") == 3


@pytest.mark.parametrize("wait", ["wait_idle", "release_timeout", "__exit__"])
@pytest.mark.parametrize("daemon", [True, False])
def test_threads_that_wait_for_the_pool(wait: str, daemon: bool) -> None:
    stdout, stderr = run_program("process/exit.py", "threads_that_wait_for_the_pool", wait, daemon)
    assert stdout == "done\n"
    assert stderr == ""


def test_workers_blocked_in_a_submit_to_their_own_pool() -> None:
    stdout, _ = run_program("process/exit.py", "workers_blocked_in_a_submit_to_their_own_pool")
    assert stdout == "PoolClosedError\n"


def test_the_exit_code_is_kept() -> None:
    stdout, _ = run_script(
        """
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.05), print("done")))
        sys.exit(3)
        """,
        code_expected=3,
    )
    assert stdout == "done\n"


def test_an_exception_of_the_main_thread() -> None:
    stdout, stderr = run_script(
        """
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.05), print("done")))
        raise ValueError("main")
        """,
        code_expected=1,
    )
    assert stdout == "done\n"
    assert "ValueError: main" in stderr


def test_an_exit_without_cleaning_up() -> None:
    stdout, stderr = run_program("process/exit.py", "an_exit_without_cleaning_up", code_expected=7)
    assert (stdout, stderr) == ("going\n", "")
