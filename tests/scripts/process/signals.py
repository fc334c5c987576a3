"""The programs of tests/process/test_signals.py."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from program import evaluate, function_of, keep_locals, main
from support import Gate, wait_until

from pyants import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

ran: list[Any] = []
gate = Gate()


def signal_when(condition: Callable[[], bool], number: int = signal.SIGINT) -> None:
    """Sends a signal to the main thread once `condition` holds: Ctrl-C, if no other is named."""

    def send() -> None:
        wait_until(condition)
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    threading.Thread(target=send, daemon=True).start()


def interrupt(call: Callable[[], object], when: Callable[[], bool] | None = None) -> None:
    """Makes a call that Ctrl-C ends, and prints that. It is sent once `when()` holds, else just before the call."""
    about_to_wait = threading.Event()
    signal_when(when or about_to_wait.is_set)
    try:
        about_to_wait.set()
        call()
    except KeyboardInterrupt:
        print("interrupted")


def an_interrupted_submit_did_not_submit(make: str, fill: str, call: str) -> None:
    pool: Any = evaluate(make, gate=gate, ran=ran)
    evaluate(fill, pool=pool, gate=gate)
    interrupt(function_of(call, pool=pool, ran=ran), lambda: pool.waiting() == 1)
    assert pool.waiting() == 0, pool
    assert pool.stats().submitted == 1
    gate.open()
    assert pool.wait_idle(10)
    assert pool.stats().completed == 1
    print(ran)
    pool.release_timeout(10)


def submit_many_keeps_what_was_accepted() -> None:
    pool = Pool(1, queue_size=2)
    pool.submit(gate.hold)
    interrupt(lambda: pool.submit_many(ran.append, range(10)), lambda: pool.waiting() == 1)
    gate.open()
    assert pool.wait_idle(10)
    print(ran)


def wait_idle(make: str, call: str) -> None:
    pool: Any = evaluate(make, gate=gate, ran=ran)
    pool.submit(gate.hold)
    interrupt(function_of(call, pool=pool))
    assert not pool.is_closed()
    gate.open()
    print(pool.wait_idle())


def release_timeout(make: str) -> None:
    pool: Any = evaluate(make, gate=gate, ran=ran)
    pool.submit(gate.hold)
    interrupt(lambda: pool.release_timeout(1e6), pool.is_closed)
    assert pool.is_closed()
    gate.open()
    print(pool.wait_idle())
    wait_until(lambda: pool.running() == 0)


def the_end_of_a_with_block(make: str) -> None:
    pool: Any = evaluate(make, gate=gate, ran=ran)

    def block() -> None:
        with pool:
            pool.submit(gate.hold)

    interrupt(block, pool.is_closed)
    assert pool.is_closed()
    gate.open()
    print(pool.wait_idle())


def those_behind_an_interrupted_submitter_are_served() -> None:
    pool = Pool(1)
    pool.submit(gate.hold)

    def follow() -> None:
        wait_until(lambda: pool.waiting() == 1)
        pool.submit(ran.append, "behind")

    follower = threading.Thread(target=follow)
    follower.start()
    interrupt(lambda: pool.submit(ran.append, "interrupted"), lambda: pool.waiting() == 2)
    assert pool.waiting() == 1
    gate.open()
    follower.join()
    assert pool.wait_idle(10)
    print(ran)


def the_place_of_an_interrupted_submitter_is_free_again() -> None:
    pool = Pool(1, max_blocking_tasks=1)
    pool.submit(gate.hold)
    for _ in range(3):
        interrupt(lambda: pool.submit(ran.append, 1), lambda: pool.waiting() == 1)
    gate.open()
    pool.submit(ran.append, 2)
    assert pool.wait_idle(10)
    print(ran)


def a_signal_handler_that_returns_does_not_end_the_wait() -> None:
    def handler(*_: object) -> None:
        ran.append("handled")
        gate.open()

    signal.signal(signal.SIGUSR1, handler)
    pool = Pool(1)
    pool.submit(gate.hold)
    signal_when(lambda: pool.waiting() == 1, signal.SIGUSR1)
    pool.submit(ran.append, "submitted")
    assert pool.wait_idle()
    print(ran)


def a_handler_may_use_the_pool() -> None:
    pool = Pool(1, queue_size=5)
    pool.submit(gate.hold)

    def handler(*_: object) -> None:
        pool.submit(ran.append, "from the handler")
        gate.open()

    signal.signal(signal.SIGUSR1, handler)
    about_to_wait = threading.Event()
    signal_when(about_to_wait.is_set, signal.SIGUSR1)
    about_to_wait.set()
    assert pool.wait_idle(30)
    print(ran)


def the_exception_of_a_handler_is_the_one_raised() -> None:
    class Stop(Exception):
        pass

    def handler(*_: object) -> None:
        raise Stop("now")

    signal.signal(signal.SIGUSR1, handler)
    pool = Pool(1)
    pool.submit(gate.hold)
    signal_when(lambda: pool.waiting() == 1, signal.SIGUSR1)
    try:
        pool.submit(ran.append, 1)
    except Stop as stop:
        print("stopped", stop)
    gate.open()
    assert pool.wait_idle(10)
    print(ran, pool.waiting())


def signals_do_not_disturb_workers_and_other_submitters() -> None:
    pool = Pool(1)
    pool.submit(gate.hold)
    other = threading.Thread(target=pool.submit, args=(ran.append, "other"))
    other.start()
    wait_until(lambda: pool.waiting() == 1)
    interrupt(pool.wait_idle)
    assert pool.waiting() == 1
    gate.open()
    other.join()
    assert pool.wait_idle(10)
    print(ran)


def interrupts_that_race_with_free_workers_lose_and_double_nothing() -> None:
    class Stop(Exception):
        pass

    armed = False

    def handler(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False  # Otherwise the next would come while this one is being caught.
            raise Stop

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    runs = [0] * 1000

    def run(index: Any) -> None:
        time.sleep(0.0005)
        runs[index] += 1

    pool = Pool(1)
    accepted: set[int] = set()
    stopped = 0
    for index in range(1000):
        try:
            armed = True
            pool.submit(run, index)
            armed = False
            accepted.add(index)
        except Stop:
            # The signal may have come just after submit() returned: then the task runs all the same.
            stopped += 1
    assert stopped
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert pool.wait_idle(30)
    stats = pool.stats()
    print(max(runs), all(runs[index] for index in accepted))
    print(sum(runs) == stats.completed == stats.submitted, pool.waiting())
    assert sum(runs) >= len(accepted)


def an_unhandled_interrupt_ends_the_process_and_tasks_finish() -> None:
    keep_locals()

    def held() -> None:
        gate.hold()
        print("done")

    pool = Pool(1)
    pool.submit(held)
    signal_when(lambda: pool.waiting() == 1)
    try:
        pool.submit(print, "never")
    finally:
        gate.open()


if __name__ == "__main__":
    main(globals())
