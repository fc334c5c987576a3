"""The programs of tests/executor/test_left.py.

The main thread reads five results. The one worker is held by the item after them until the main thread is through, and
its pool closed: what it then goes on with was not cancelled. At exit each says how many items were called.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread
import itertools
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from interrupts import about_to_wait, interrupt
from program import executor_class, keep_locals, main
from support import wait_until

from pyants import PoolExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

called: list[int] = []
closed = threading.Event()


def task(number: int) -> int:
    if number >= 5:
        assert closed.wait(30)
    called.append(number)
    return number


def watch(executor: Any) -> Any:
    """Lets the held item go when the executor is closed; returns the executor."""
    module: Any = concurrent.futures.thread

    def is_through() -> bool:
        return bool(executor._shutdown if isinstance(executor, PoolExecutor) else module._shutdown)

    def let_go() -> None:
        wait_until(is_through)
        closed.set()

    threading.Thread(target=let_go, daemon=True).start()
    atexit.register(lambda: print(len(called)))
    return executor


def executor_that_is_watched(kind: str) -> Any:
    return watch(executor_class(kind)(1))


def read(results: Iterator[int], raising: str) -> None:
    """Reads five results in a loop whose body then raises."""
    for _ in results:
        if len(called) == 5:
            if raising == "Ctrl-C":
                signal.raise_signal(signal.SIGINT)
            else:
                raise ValueError


def ctrl_c_while_a_result_is_waited_for(kind: str, method: str) -> None:
    keep_locals()
    executor = executor_that_is_watched(kind)
    interrupt(executor_class(kind))
    results = getattr(executor, method)(task, range(100))
    for _ in range(5):
        next(results)
    about_to_wait.set()
    for _ in results:
        pass


def an_exception_in_the_loop(kind: str, method: str, raising: str) -> None:
    keep_locals()
    executor = executor_that_is_watched(kind)
    results = getattr(executor, method)(task, range(100))
    wait_until(lambda: len(called) == 5)
    read(results, raising)


def an_exception_in_the_loop_in_a_with_block(kind: str, where: str) -> None:
    keep_locals()
    shared = executor_class(kind)(1)
    executor = watch(PoolExecutor.over(shared.pool) if where == "over" else shared)
    try:
        with executor:
            results = executor.map(task, range(100))
            wait_until(lambda: len(called) == 5)
            read(results, "Ctrl-C")
    except KeyboardInterrupt:
        print("interrupted")
    print(len(called))


def ends_in_peace(kind: str) -> None:
    keep_locals()
    results = executor_that_is_watched(kind).map(task, range(100))
    next(results)


def nobody_has_begun_to_read(kind: str) -> None:
    keep_locals()
    _results = executor_that_is_watched(kind).map(task, range(100))
    raise ValueError


def another_thread_reads_on(kind: str) -> None:
    keep_locals()
    results = executor_that_is_watched(kind).map(task, range(100))
    begun = threading.Event()

    def read_all() -> None:
        for _ in results:
            begun.set()
        print("all")

    threading.Thread(target=read_all).start()
    begun.wait()
    raise ValueError


def ctrl_c_where_results_are_there() -> None:
    # list.extend() runs no code of Python's between two results: only the iterator can let the signal in.
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    count = 20_000
    # How long it takes to read so many depends on the machine.
    delays = itertools.cycle([1e-4, 2e-4, 4e-4, 8e-4, 16e-4, 32e-4])
    with PoolExecutor(2) as executor:
        for delay in delays:
            results = executor.map(int, [1] * count)
            executor.pool.wait_idle(30)
            seen: list[int] = []
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                seen.extend(results)
                while True:
                    time.sleep(0.001)
            except KeyboardInterrupt:
                pass
            # The signal may also have come before or after.
            if 0 < len(seen) < count:
                print(next(results, "over"))
                break


if __name__ == "__main__":
    main(globals())
