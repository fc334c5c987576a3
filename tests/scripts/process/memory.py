"""The programs of tests/process/test_memory.py."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from functools import partial
from typing import ClassVar

import psutil
from program import main
from support import Gate, wait_until

from pyants import MultiPool, Pool


def resident_memory_is_flat_over_many_tasks() -> None:
    pools = [Pool(4), Pool(4, queue_size=100), Pool(4, queue_size=None), MultiPool(2, 2)]

    def run(count: int) -> None:
        for pool in pools:
            pool.submit_many(bytes, [100] * (count // 2))
            for _ in range(count // 2):
                pool.submit(bytes, 100)
            assert pool.wait_idle(60)

    run(20_000)
    before = psutil.Process().memory_info().rss
    run(60_000)
    # If each task leaked one word, it would be two megabytes.
    print((psutil.Process().memory_info().rss - before) >> 10)


def pools_that_are_dropped_leave_nothing() -> None:
    def run(count: int) -> None:
        for number in range(count):
            pool = Pool(4, pre_alloc=bool(number % 2), disable_purge=True)
            pool.submit(int)
            if number % 3 == 0:
                pool.release_timeout(30)
            elif number % 3 == 1:
                pool.release()
            del pool
        gc.collect()
        wait_until(lambda: psutil.Process().num_threads() <= 3, "the end of all threads")

    run(300)
    before = psutil.Process().memory_info().rss
    run(1500)
    print((psutil.Process().memory_info().rss - before) >> 10)


def release_and_reboot_leave_nothing() -> None:
    pool = Pool(4)

    def run(count: int) -> None:
        for _ in range(count):
            for _ in range(4):
                pool.submit(int)
            pool.release_timeout(30)
            pool.reboot()

    run(200)
    before = psutil.Process().memory_info().rss
    run(1000)
    wait_until(lambda: psutil.Process().num_threads() <= 3, "the end of all threads")
    print((psutil.Process().memory_info().rss - before) >> 10)


def workers_that_come_and_go_leave_nothing() -> None:
    pool = Pool(8, expiry_duration=0.001)

    def run(count: int) -> None:
        for _ in range(count):
            with Gate() as gate:
                for _ in range(8):
                    pool.submit(gate.hold)
            wait_until(lambda: pool.running() == 0)

    run(40)
    before = psutil.Process().memory_info().rss
    run(150)
    assert pool.stats().spawned == pool.stats().expired >= 190 * 4
    print((psutil.Process().memory_info().rss - before) >> 10)


def threads_leave_no_memory_behind(kind: str) -> None:

    class Info(ctypes.Structure):
        _fields_: ClassVar = [(f"field{number}", ctypes.c_size_t) for number in range(10)]

    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Info
    idle = Pool(2)

    def callers() -> None:
        for _ in range(20):
            thread = threading.Thread(target=idle.wait_idle)
            thread.start()
            thread.join()

    def workers() -> None:
        for _ in range(5):
            with Pool(4) as pool:
                barrier = threading.Barrier(4)
                for _ in range(4):
                    pool.submit(barrier.wait)
                pool.release_timeout(20)

    cycle = callers if kind == "callers" else workers

    def in_use(count: int) -> int:
        for _ in range(count // 20):
            cycle()
        gc.collect()
        # The memory that the C library has allocated, in bytes.
        return int(libc.mallinfo2().field7)

    in_use(500)
    before = in_use(500)
    print(in_use(2000) - before)


def ten_thousand_workers_sleep_and_are_gone_after_two_expiries() -> None:
    expiry = 2.0
    pool = Pool(10_000, expiry_duration=expiry)

    turnstiles = [threading.Lock() for _ in range(10_000)]
    for turnstile in turnstiles:
        turnstile.acquire()
    for turnstile in turnstiles:
        pool.submit(turnstile.acquire)
    assert pool.running() == 10_000
    assert pool.stats().busy == 10_000
    assert not pool.try_submit(int)

    def has_completed(count: int) -> bool:
        return pool.stats().completed >= count

    # A crowd that wakes at once would fight for the interpreter's lock: so a few at a time.
    for passed in range(0, 10_000, 20):
        for turnstile in turnstiles[passed : passed + 20]:
            turnstile.release()
        wait_until(partial(has_completed, passed))
    assert pool.wait_idle(120)

    idle_since = time.monotonic()
    wait_until(lambda: pool.running() == 0, deadline=100)
    seconds = time.monotonic() - idle_since
    print(f"{seconds} s after falling idle")
    # And the time that a slow machine needs to end so many threads.
    assert seconds <= 2 * expiry + 20
    stats = pool.stats()
    assert (stats.peak_running, stats.completed, stats.expired) == (10_000, 10_000, 10_000), stats
    pool.release_timeout(30)


if __name__ == "__main__":
    main(globals())
