"""The programs of tests/process/test_daemon.py."""

from __future__ import annotations

import threading
import time
from typing import Any

from program import evaluate, keep_locals, main
from support import Gate, wait_until

from pyants import Pool, PoolExecutor


def what_is_queued_is_cancelled_and_what_runs_is_left(make: str) -> None:
    keep_locals()
    import atexit
    import logging

    logging.basicConfig(format="%(levelname)s %(message)s")
    owner = evaluate(make)
    pool: Any = owner.pool if isinstance(owner, PoolExecutor) else owner
    begun = threading.Semaphore(0)

    def forever() -> None:
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
    def late() -> None:
        stats = pool.stats()
        print(pool.is_closed(), before.queued, stats.queued, stats.cancelled, stats.busy == pool.cap())
        print(stats.submitted == stats.completed + stats.failed + stats.cancelled + stats.queued + stats.busy)


def futures_of_what_was_queued_are_cancelled() -> None:
    keep_locals()
    executor = PoolExecutor(1, daemon=True)
    begun = threading.Event()

    def forever() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    executor.submit(forever)
    begun.wait()
    future = executor.submit(int)
    future.add_done_callback(lambda future: print(future.cancelled()))


def other_pools_are_waited_for_and_may_use_a_daemon_one() -> None:
    keep_locals()
    daemon, other = PoolExecutor(1, daemon=True), Pool(1)
    gate = Gate()
    daemon.submit(gate.hold)
    gate.wait_entered(1)
    future = daemon.submit(lambda: "done")

    def task() -> None:
        wait_until(other.is_closed)
        gate.open()
        print(future.result())

    other.submit(task)


if __name__ == "__main__":
    main(globals())
