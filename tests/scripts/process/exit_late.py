"""The programs of tests/process/test_exit_late.py."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

from program import keep_locals, main, own_interpreters
from support import Sum, wait_until

from pyants import Pool, PoolClosedError


def a_task_that_submits_more_at_exit_is_refused() -> None:
    keep_locals()

    def task() -> None:
        # Waits until the interpreter is exiting and has closed the pool.
        wait_until(pool.is_closed)
        try:
            pool.submit(print, "never")
        except PoolClosedError:
            print("refused")

    pool = Pool(2)
    pool.submit(task)


def an_exception_at_exit_is_reported() -> None:
    keep_locals()

    def task() -> None:
        wait_until(pool.is_closed)
        raise ValueError("late")

    pool = Pool(2)
    pool.submit(task)
    print("main ends")


def pools_in_exit_handlers() -> None:
    keep_locals()
    import atexit

    pool = Pool(2)
    pool.submit(time.sleep, 0.02)

    @atexit.register
    def late() -> None:
        print(pool.is_closed(), pool.running(), pool.stats().completed)
        try:
            pool.submit(print, "never")
        except PoolClosedError:
            print("refused")
        try:
            pool.release_timeout(1)
        except PoolClosedError:
            print("closed")


def a_pool_made_by_an_exit_handler() -> None:
    keep_locals()
    import atexit

    @atexit.register
    def late() -> None:
        try:
            with Pool(2) as pool:
                pool.submit(int)
            print("ran")
        except RuntimeError:
            print("refused")


def a_reboot_during_exit() -> None:
    keep_locals()

    def task() -> None:
        wait_until(pool.is_closed)
        pool.reboot()
        with contextlib.suppress(PoolClosedError):
            pool.submit(time.sleep, 0.01)

    pool = Pool(2)
    pool.submit(task)


def pools_in_finalizers() -> None:
    keep_locals()

    class Owner:
        itself: Owner

        def __init__(self) -> None:
            self.pool = Pool(2)
            self.pool.submit(int)

        def __del__(self) -> None:
            self.pool.release()

    owner = Owner()
    owner.itself = owner
    setattr(sys, "keep", Owner())  # noqa: B010 - sys has no such attribute


def exit_at_any_moment_of_a_busy_pool(round_: str) -> None:
    keep_locals()
    import random

    generator = random.Random(int(round_))
    done = Sum()
    pools = [Pool(8, expiry_duration=0.001), Pool(8, queue_size=None, expiry_duration=0.001), Pool(2)]
    accepted = Sum()

    def flood(pool: Any) -> None:
        try:
            while True:
                pool.submit(done.add)
                accepted.add()
        except PoolClosedError:
            pass

    threads = [threading.Thread(target=flood, args=(pool,)) for pool in pools for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: done.value > generator.randrange(5000))
    import atexit

    @atexit.register
    def check() -> None:
        for thread in threads:
            thread.join()
        print(accepted.value == done.value == sum(pool.stats().completed for pool in pools))


def a_subinterpreter_is_refused_or_served() -> None:
    keep_locals()
    interpreters = own_interpreters()
    import_error = "try:\n import pyants\nexcept ImportError:\n pass"
    interpreter = interpreters.create()
    if hasattr(interpreters, "exec"):
        interpreters.exec(interpreter, import_error)
    interpreters.destroy(interpreter)
    with Pool(1) as pool:
        pool.submit(int)


if __name__ == "__main__":
    main(globals())
