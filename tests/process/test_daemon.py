"""daemon=True: the interpreter's exit does not wait for the pool."""

from __future__ import annotations

import pytest
from support import run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

MAKE = {
    "Pool": "pool = Pool(1, queue_size=None, daemon=True)",
    "MultiPool": "pool = MultiPool(2, 1, queue_size=None, daemon=True)",
    "PoolExecutor": "executor = PoolExecutor(1, daemon=True); pool = executor.pool",
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_what_is_queued_is_cancelled_and_what_runs_is_left(make: str) -> None:
    stdout, stderr = run_script(f"""
        import atexit, logging
        logging.basicConfig(format="%(levelname)s %(message)s")
        {make}
        begun = threading.Semaphore(0)
        def forever():
            begun.release()
            while True:
                time.sleep(0.001)
        for _ in range(pool.cap()):
            pool.submit(forever)
        for _ in range(pool.cap()):
            begun.acquire()
        for _ in range(10):
            pool.submit(print, "never")
        before = pool.stats()
        @atexit.register
        def late():
            stats = pool.stats()
            print(pool.is_closed(), before.queued, stats.queued, stats.cancelled, stats.busy == pool.cap())
            print(stats.submitted == stats.completed + stats.failed + stats.cancelled + stats.queued + stats.busy)
    """)
    assert stdout == "True 10 0 10 True\nTrue\n"
    cancelled = [int(line.split(" accepted")[0].split()[-1]) for line in stderr.splitlines()]
    assert sum(cancelled) == 10
    assert all(line.startswith("WARNING ") for line in stderr.splitlines())


def test_futures_of_what_was_queued_are_cancelled() -> None:
    stdout, _ = run_script("""
        executor = PoolExecutor(1, daemon=True)
        begun = threading.Event()
        def forever():
            begun.set()
            while True:
                time.sleep(0.001)
        executor.submit(forever)
        begun.wait()
        future = executor.submit(int)
        future.add_done_callback(lambda future: print(future.cancelled()))
    """)
    assert stdout == "True\n"


def test_other_pools_are_waited_for_and_may_use_a_daemon_one() -> None:
    stdout, stderr = run_script("""
        daemon, other = PoolExecutor(1, daemon=True), Pool(1)
        gate = Gate()
        daemon.submit(gate.hold)
        gate.wait_entered(1)
        future = daemon.submit(lambda: "done")
        def task():
            wait_until(other.is_closed)
            gate.open()
            print(future.result())
        other.submit(task)
    """)
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
