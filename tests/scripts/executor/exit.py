"""The programs of tests/executor/test_exit.py."""

from __future__ import annotations

import atexit
import concurrent.futures
import gc
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from program import evaluate, executor_class, give_after, keep_locals, main, print_after
from support import TICK, Gate, open_when_nobody_waits, wait_until

from pyants import Future, Pool, PoolExecutor


def everything_is_done_first(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(2)

    def task(number: Any) -> None:
        time.sleep(0.002)
        print(f"done {number}\n", end="")

    for number in range(50):
        executor.submit(task, number)
    print("main ends\n", end="")


def a_running_task_finishes(kind: str, shutdown: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(3)
    entered = threading.Event()

    def task() -> None:
        entered.set()
        print_after(0.1, "done")

    executor.submit(task)
    executor.submit(print_after, 0.1, "done")
    entered.wait()
    if shutdown == "shutdown":
        executor.shutdown(wait=False)
    elif shutdown == "del":
        del executor
        gc.collect()


def callbacks_are_called_at_exit(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(1)
    future = executor.submit(give_after, 0.1, 5)

    def callback(future: Any) -> None:
        print("result", future.result())

    future.add_done_callback(callback)


def idle_workers_do_not_keep_the_process(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(4)
    with Gate() as gate:
        futures = [executor.submit(gate.hold) for _ in range(4)]
        gate.wait_entered(4)
    concurrent.futures.wait(futures)
    print("main ends")


def cancelling_at_the_end(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(1)
    gate = Gate()
    _held = executor.submit(gate.hold)
    gate.wait_entered(1)
    futures = [executor.submit(print, "never") for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()
    print(all(future.cancelled() for future in futures))


def an_exit_handler_is_refused(kind: str, used: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(2)
    if used == "True":
        executor.submit(int).result()

    @atexit.register
    def late() -> None:
        for call in (partial(executor.submit, int), partial(executor.map, int, "123")):
            try:
                call()
            except RuntimeError as error:
                print(error)
        executor.shutdown()


def an_exit_handler_that_makes_an_executor(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)

    @atexit.register
    def late() -> None:
        with executor_type(2) as executor:
            try:
                executor.submit(int)
            except RuntimeError as error:
                print(error)


def a_thread_that_goes_on_is_refused_in_the_end(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(2)
    accepted: list[Any] = []

    def go_on() -> None:
        try:
            while True:
                accepted.append(executor.submit(int))
                time.sleep(TICK)
        except RuntimeError as error:
            print(error)
        # Accepted calls are done all the same.
        print(len(accepted) > 0, not concurrent.futures.wait(accepted, 30).not_done)

    threading.Thread(target=go_on).start()
    wait_until(lambda: len(accepted) > 10)


def a_task_that_goes_on_is_refused_in_the_end(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(2)
    started = threading.Event()

    def task() -> None:
        started.set()
        try:
            while True:
                executor.submit(int)
                time.sleep(TICK)
        except RuntimeError as error:
            print(error)

    executor.submit(task)
    started.wait()


def a_task_may_wait_for_another_at_exit(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(2)
    inner = executor.submit(give_after, 0.1, 5)
    executor.submit(lambda: print(inner.result()))


def results_may_be_asked_for_by_an_exit_handler(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(1)
    futures = [executor.submit(give_after, 0.01, number) for number in range(5)]
    atexit.register(lambda: print([future.result(0) for future in futures]))


def a_daemon_that_waits_for_a_result_keeps_nobody(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    future_type: Any = concurrent.futures.Future if executor_type is ThreadPoolExecutor else Future
    future = future_type()
    threading.Thread(target=future.result, daemon=True).start()
    executor = executor_type(1)
    executor.submit(print, "done")


def the_exit_code_and_the_exception_of_the_main_thread(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    executor = executor_type(1)
    executor.submit(print_after, 0.05, "done")
    sys.exit(3)


def system_exit_in_a_task_ends_no_process(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    with executor_type(1) as executor:
        future = executor.submit(sys.exit, 3)
        print(repr(future.exception()))


def an_executor_in_a_cycle_and_one_in_a_module(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)

    class Owner:
        def __init__(self) -> None:
            self.executor = executor_type(1)
            self.future = self.executor.submit(self.work)

        def work(self) -> None:
            time.sleep(0.05)
            print("done\n", end="")

    _owner = Owner()
    setattr(sys, "keep", Owner())  # noqa: B010 - sys has no such attribute


def workers_who_wait_for_each_other_and_blocked_submitters() -> None:
    keep_locals()
    executor = PoolExecutor(1, queue_size=1)
    gate = Gate()
    executor.submit(gate.hold)
    gate.wait_entered(1)
    executor.submit(sys.stdout.write, "queued\n")

    def block() -> None:
        try:
            executor.submit(print, "never")
        except RuntimeError:
            sys.stdout.write("refused\n")

    threading.Thread(target=block).start()
    wait_until(lambda: executor.pool.waiting() == 1)
    threading.Thread(target=open_when_nobody_waits, args=(executor.pool, gate)).start()


def an_executor_over_a_pool() -> None:
    keep_locals()
    pool = Pool(1, queue_size=None)
    executor = PoolExecutor.over(pool)
    for _number in range(20):
        executor.submit(print_after, 0.002, "done")


def idle_workers_that_would_stay_long(options: str) -> None:
    keep_locals()
    executor = evaluate(f"PoolExecutor(4, {options})")
    with Gate() as gate:
        _futures = [executor.submit(gate.hold) for _ in range(4)]
        gate.wait_entered(4)


if __name__ == "__main__":
    main(globals())
