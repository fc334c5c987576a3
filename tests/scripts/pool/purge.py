"""The programs of tests/pool/test_purge.py."""

from __future__ import annotations

import os
from typing import Any

from program import main
from support import wait_equal, wait_until

from pyants import Pool


def pools_that_ran_and_rest_keep_no_thread_each() -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    def ran(expiry: float) -> Pool:
        pool = Pool(1, expiry_duration=expiry)
        pool.submit(int)
        return pool

    before = threads()
    pools = [ran(0.02) for _ in range(2000)]
    wait_until(lambda: not any(pool.running() for pool in pools))
    wait_equal(threads, before)
    # A pool that works and then rests adds one thread, which serves all pools.
    rest = [ran(1000) for _ in range(20)]
    wait_equal(threads, before + 20 + 1)
    for pool in rest:
        pool.release_timeout(20)
    assert threads() == before
    print(sum(pool.stats().expired for pool in pools))


def a_handler_is_never_dropped_on_a_small_stack() -> None:
    dropped: list[Any] = []

    class Handler:
        def __call__(self, error: Any) -> None:
            pass

        def __del__(self) -> None:
            dropped.append(deep(150))

    def deep(depth: int) -> int:
        def key(depth: int) -> int:
            return depth and deep(depth - 1)

        return max([depth], key=key)

    for number in range(60):
        pool = Pool(2, expiry_duration=0.002, panic_handler=Handler())
        pool.submit(int)
        pool.submit(int)
        if number % 3:
            wait_equal(pool.running, 0)
        del pool
    wait_equal(lambda: len(dropped), 60)
    print("done")


if __name__ == "__main__":
    main(globals())
