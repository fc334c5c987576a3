"""The programs of tests/executor/test_signals.py."""

from __future__ import annotations

import concurrent.futures  # pyright: ignore[reportUnusedImport] - the calls that are arguments name it
import signal
import threading
import time
from typing import Any

from interrupts import about_to_wait, interrupt, interrupted, interrupted_in
from program import evaluate, executor_class, function_of, keep_locals, main
from support import Gate, background

from pyants import PoolExecutor

ran: list[Any] = []
gate = Gate()


def five_after_the_gate() -> int:
    gate.hold()
    return 5


def a_wait_is_interrupted_and_the_task_is_not(kind: str, call: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    interrupt(executor_type, call)
    executor = executor_type(1)
    held = executor.submit(gate.hold)
    gate.wait_entered(1)
    queued = executor.submit(ran.append, 1)
    results = executor.map(gate.hold, range(3), timeout=1e6)
    wait = function_of(call, held=held, queued=queued, results=results, concurrent=concurrent)
    interrupted_in(wait)
    assert held.running()
    assert not queued.done()
    gate.open()
    # The future can be asked again.
    assert held.result(30) is None
    assert queued.result(30) is None
    executor.shutdown()
    print(ran)


def an_interrupted_map_cancels_what_has_not_started(kind: str, buffersize: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    interrupt(executor_type)
    executor = executor_type(1)
    _held = executor.submit(gate.hold)
    gate.wait_entered(1)
    results = evaluate(f"executor.map(ran.append, range(3){buffersize})", executor=executor, ran=ran)
    interrupted_in(lambda: next(results))
    print(next(results, "over"))
    gate.open()
    executor.shutdown()
    # The one that was waited for did not start either.
    print(ran)


def a_shutdown_that_waits_is_interrupted(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    interrupt(executor_type)
    executor = executor_type(1)
    _held = executor.submit(gate.hold)
    gate.wait_entered(1)
    queued = executor.submit(ran.append, 1)
    interrupted_in(executor.shutdown)
    try:
        executor.submit(int)
    except RuntimeError as error:
        print(error)
    gate.open()
    print(queued.result(30), ran)


def a_handler_that_returns_does_not_end_the_wait(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    handled: list[Any] = []

    def handler(*_: object) -> None:
        if not handled:
            handled.append(True)
            print("handled")
            gate.open()

    def send() -> None:
        # A signal that comes just before CPython's own wait goes to sleep does not wake it: again, until it is handled.
        # (The sleep only sets the pace: the test does not depend on its length.)
        while not handled:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(0.01)

    signal.signal(signal.SIGUSR1, handler)
    executor = executor_type(1)
    held = executor.submit(five_after_the_gate)
    gate.wait_entered(1)
    threading.Thread(target=send).start()
    print(held.result())
    executor.shutdown()


def the_exception_of_a_handler_is_the_one_raised(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)

    class Stop(Exception):
        pass

    interrupt(executor_type, raising=Stop("now"))
    executor = executor_type(1)
    held = executor.submit(gate.hold)
    gate.wait_entered(1)
    try:
        about_to_wait.set()
        held.result()
    except Stop as error:
        print("stopped", error)
    gate.open()


def other_threads_that_wait_are_not_disturbed(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    interrupt(executor_type)
    executor = executor_type(1)
    held = executor.submit(five_after_the_gate)
    others = background(3, held.result)
    interrupted_in(held.result)
    gate.open()
    print([other.result() for other in others])


def ctrl_c_ends_a_program_once_its_tasks_are_done(kind: str) -> None:
    keep_locals()
    executor_type = executor_class(kind)
    interrupt(executor_type)
    executor = executor_type(1)

    def task() -> None:
        interrupted.wait()
        print("done\n", end="")

    executor.submit(task)
    queued = executor.submit(print, "queued\n", end="")
    try:
        about_to_wait.set()
        with executor:
            queued.result()
    except KeyboardInterrupt:
        print("interrupted\n", end="")


def an_interrupted_submit_did_not_submit(call: str) -> None:
    keep_locals()
    interrupt()
    executor = PoolExecutor(1, queue_size=1)
    executor.submit(gate.hold)
    gate.wait_entered(1)
    _queued = executor.submit(ran.append, 0)
    submit = function_of(f"executor.{call}", executor=executor, ran=ran)
    interrupted_in(submit)
    assert executor.pool.waiting() == 0
    gate.open()
    executor.shutdown()
    print(ran)


def map_unordered_is_interrupted(call: str) -> None:
    keep_locals()
    interrupt()
    executor = PoolExecutor(1)
    results = executor.map_unordered(gate.hold, range(3))
    gate.wait_entered(1)
    wait = function_of(call, results=results)
    interrupted_in(wait)
    gate.open()
    executor.shutdown()


def a_signal_that_does_not_wake_the_main_thread(call: str) -> None:
    """Another thread gets it; one that comes just before the main thread goes to sleep does not wake that, either."""
    keep_locals()
    executor = PoolExecutor(1)
    held = executor.submit(gate.hold)
    gate.wait_entered(1)
    results = evaluate(call, executor=executor, gate=gate, held=held)

    def send() -> None:
        about_to_wait.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()
    interrupted_in(lambda: next(results))
    gate.open()
    executor.shutdown()


if __name__ == "__main__":
    main(globals())
