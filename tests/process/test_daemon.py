"""daemon=True: the interpreter's exit does not wait for the pool."""

from __future__ import annotations

import pytest
from support import run_program, run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


@pytest.mark.parametrize(
    "make",
    [
        "Pool(1, queue_size=None, daemon=True)",
        "MultiPool(2, 1, queue_size=None, daemon=True)",
        "PoolExecutor(1, daemon=True)",
    ],
)
def test_what_is_queued_is_cancelled_and_what_runs_is_left(make: str) -> None:
    stdout, stderr = run_program("process/daemon.py", "what_is_queued_is_cancelled_and_what_runs_is_left", make)
    assert stdout == "True 10 0 10 True\nTrue\n"
    cancelled = [int(line.split(" accepted")[0].split()[-1]) for line in stderr.splitlines()]
    assert sum(cancelled) == 10
    assert all(line.startswith("WARNING ") for line in stderr.splitlines())


def test_futures_of_what_was_queued_are_cancelled() -> None:
    stdout, _ = run_program("process/daemon.py", "futures_of_what_was_queued_are_cancelled")
    assert stdout == "True\n"


def test_other_pools_are_waited_for_and_may_use_a_daemon_one() -> None:
    stdout, stderr = run_program("process/daemon.py", "other_pools_are_waited_for_and_may_use_a_daemon_one")
    assert (stdout, stderr) == ("done\n", "")


def test_an_idle_daemon_pool_says_nothing() -> None:
    assert run_script("""
        pool = Pool(2, daemon=True)
        pool.submit(int)
        pool.wait_idle()
    """) == ("", "")


def test_release_and_with_wait_for_a_daemon_pool_as_for_any() -> None:
    stdout, stderr = run_script("""
        with Pool(1, queue_size=None, daemon=True) as pool:
            for _ in range(3):
                pool.submit(print, "done")
    """)
    assert (stdout, stderr) == ("done\n" * 3, "")
