"""The programs of tests/process/test_exit.py."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from program import evaluate, keep_locals, main, print_after
from support import Gate, open_when_nobody_waits, wait_until

from pyants import MultiPool, MultiPoolWithFunc, Pool, PoolClosedError, PoolTimeoutError, PoolWithFunc, submit

if TYPE_CHECKING:
    from collections.abc import Callable


def running_tasks_finish_first() -> None:
    keep_locals()
    pool = Pool(2)

    def task(number: Any) -> None:
        time.sleep(0.1)
        print(f"done {number}\n", end="")

    print("main ends")
    pool.submit(task, 1)
    pool.submit(task, 2)


def idle_workers_do_not_keep_the_process(make: str) -> None:
    keep_locals()
    pool = evaluate(make)
    with Gate() as gate:
        for _ in range(4):
            pool.submit(gate.hold)
        gate.wait_entered(4)
    pool.wait_idle()
    assert pool.running() == 4


def every_kind_of_pool_at_once() -> None:
    keep_locals()
    pools = [Pool(2), Pool(), Pool(3, queue_size=None), MultiPool(2, 1), Pool(1, pre_alloc=True)]
    for pool in pools:
        pool.submit(print_after, 0.02, "done")
    fixed = [PoolWithFunc(2, print), MultiPoolWithFunc(2, 2, print)]
    for func in fixed:
        func.invoke("done\n", end="")
    submit(lambda: print("done\n", end=""))


def a_dropped_pool() -> None:
    keep_locals()

    def scope() -> None:
        pool = Pool(2, disable_purge=True)
        pool.submit(print_after, 0.05, "done")

    scope()
    import gc

    gc.collect()


def a_pool_dropped_by_its_own_task() -> None:
    keep_locals()
    gate = Gate()

    class Job:
        def __init__(self, pool: Any) -> None:
            self.pool = pool

        def __call__(self) -> None:
            gate.hold()

    pool = Pool(2)
    pool.submit(Job(pool))
    pool.submit(Job(pool))
    del pool
    gate.open()
    print("main ends")


def released_and_closed_pools() -> None:
    keep_locals()
    first, second, third = Pool(2), Pool(2), Pool(2)
    for pool in (first, second, third):
        pool.submit(print_after, 0.05, "done")
    first.release()
    with contextlib.suppress(PoolTimeoutError):
        second.release_timeout(0)
    third.release()
    third.reboot()


def blocked_submitters(daemon: str) -> None:
    keep_locals()
    pool = Pool(1)
    gate = Gate()

    def task() -> None:
        gate.hold()
        print("done\n", end="")

    pool.submit(task)

    def block() -> None:
        try:
            pool.submit(print, "never")
        except PoolClosedError:
            print("refused\n", end="")

    for _ in range(3):
        threading.Thread(target=block, daemon=daemon == "True").start()
    wait_until(lambda: pool.waiting() == 3)
    threading.Thread(target=open_when_nobody_waits, args=(pool, gate)).start()


def threads_that_wait_for_the_pool(wait: str, daemon: str) -> None:
    keep_locals()
    pool = Pool(1)
    pool.submit(print_after, 0.1, "done")
    entered = threading.Event()
    waits: dict[str, Callable[[], object]] = {
        "wait_idle": pool.wait_idle,
        "release_timeout": lambda: pool.release_timeout(1e6),
        "__exit__": lambda: pool.__exit__(None, None, None),
    }

    def waiter() -> None:
        entered.set()
        with contextlib.suppress(PoolClosedError):  # The exit may have closed the pool before.
            waits[wait]()

    threading.Thread(target=waiter, daemon=daemon == "True").start()
    entered.wait()


def workers_blocked_in_a_submit_to_their_own_pool() -> None:
    keep_locals()
    pool = Pool(2, panic_handler=lambda error: print(type(error).__name__ + "\n", end=""))
    gate = Gate()
    pool.submit(gate.hold)
    pool.submit(lambda: pool.submit(print, "never"))
    wait_until(lambda: pool.waiting() == 1)
    threading.Thread(target=open_when_nobody_waits, args=(pool, gate)).start()


def an_exit_without_cleaning_up() -> None:
    keep_locals()
    pool = Pool(4)
    with Gate() as gate:
        for _ in range(4):
            pool.submit(gate.hold)
        gate.wait_entered(4)
        print("going", flush=True)
        os._exit(7)


if __name__ == "__main__":
    main(globals())
