"""The programs of tests/executor/test_group_signals.py."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from program import evaluate, function_of, keep_locals, main
from support import Gate, Records, wait_until

from pyants import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

ran: list[Any] = []
queued: list[Any] = []
about_to_wait = threading.Event()
records = Records()
logging.getLogger("pyants").addHandler(records)
gate = Gate()


def five_after_the_gate() -> int:
    gate.hold()
    return 5


class Interrupts:
    """Sends Ctrl-C to the main thread for as long as it has not been interrupted so often.

    It may only be about to wait.
    """

    times = 0
    wanted = 0

    def __init__(self, then: Callable[[Interrupts], None] | None = None) -> None:
        self.then = then
        signal.signal(signal.SIGINT, self.handle)
        threading.Thread(target=self.begin, daemon=True).start()

    def handle(self, *_: object) -> None:
        if self.times < self.wanted:
            self.times += 1
            raise KeyboardInterrupt(self.times)

    def send(self, wanted: int) -> None:
        self.wanted = wanted
        while self.times < wanted:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.01)

    def begin(self) -> None:
        about_to_wait.wait()
        self.send(1)
        if self.then is not None:
            self.then(self)
        else:
            wait_until(is_all_cancelled)
            gate.open()


def is_all_cancelled() -> bool:
    """Calls that had not started are cancelled."""
    return all(future.cancelled() for future in queued)


def logged() -> list[BaseException | None]:
    return [record.exc_info[1] for record in records.records if record.exc_info]


def held() -> None:
    gate.hold()
    print("done")
    raise ValueError("mine")


def it_leaves_nothing_running_and_nothing_unreported(make: str, wait: str) -> None:
    keep_locals()
    Interrupts()
    owner: Any = evaluate(make)
    first: Any = None
    try:
        with owner.group() as group:
            first = group.submit(held)
            gate.wait_entered(1)
            for number in range(5):
                queued.append(group.submit(ran.append, number))
            about_to_wait.set()
            if wait == "in the block":
                threading.Event().wait()
    except KeyboardInterrupt as error:
        print("interrupted", error, first.done(), ran, logged())


def a_submit_that_waits(submit: str, places: str) -> None:
    keep_locals()
    limit: int | None = evaluate(places)
    Interrupts()
    pool = Pool(1 if limit is None else 5)
    first: Any = None
    try:
        with pool.group(results=True, limit=limit) as group:
            first = group.submit(held)
            gate.wait_entered(1)
            wait = function_of(f"group.{submit}", group=group, ran=ran)
            about_to_wait.set()
            wait()
    except KeyboardInterrupt:
        print("interrupted", first.done(), ran, logged())
    assert pool.waiting() == 0
    # No place of the limit is lost.
    with pool.group(results=True, limit=limit) as again:
        for _ in range(5):
            again.submit(int)
    print(again.results())


def a_place_is_not_lost_to_a_submit_that_was_interrupted() -> None:
    keep_locals()
    Interrupts(lambda _: gate.let(1))
    pool = Pool(5)
    with pool.group(results=True, limit=1) as group:
        group.submit(gate.hold)
        gate.wait_entered(1)
        about_to_wait.set()
        try:
            group.submit(ran.append, 1)
        except KeyboardInterrupt:
            print("interrupted")
        for _ in range(3):
            group.submit(int)
    print(ran, group.results())


def a_second_one_leaves_at_once_and_says_what_is_running() -> None:
    keep_locals()

    def then(interrupts: Interrupts) -> None:
        wait_until(is_all_cancelled)
        interrupts.send(2)

    Interrupts(then)
    pool = Pool(2, queue_size=None)
    try:
        with pool.group() as group:
            for _ in range(2):
                group.submit(gate.hold)
            gate.wait_entered(2)
            for number in range(5):
                queued.append(group.submit(ran.append, number))
            about_to_wait.set()
    except KeyboardInterrupt as error:
        print("interrupted", error, error.__notes__, repr(error.__context__))
        assert gate.inside == 2
    gate.open()
    pool.release_timeout(20)
    print(ran)


def without_a_second_one_the_program_ends_when_what_runs_is_done() -> None:
    keep_locals()
    Interrupts()
    pool = Pool(1, queue_size=None)
    with pool.group() as group:
        group.submit(held)
        gate.wait_entered(1)
        for number in range(5):
            queued.append(group.submit(ran.append, number))
        about_to_wait.set()


def results_are_interrupted() -> None:
    keep_locals()
    Interrupts(lambda _: gate.open())
    pool = Pool(1)
    with pool.group(results=True) as group:
        group.submit(five_after_the_gate)
        gate.wait_entered(1)
        about_to_wait.set()
        try:
            group.results()
        except KeyboardInterrupt:
            print("interrupted")
        # The group goes on.
        print(group.results())


def a_handler_that_returns_does_not_end_the_wait() -> None:
    keep_locals()

    def handler(*_: object) -> None:
        print("handled")
        gate.open()

    signal.signal(signal.SIGUSR1, handler)
    pool = Pool(1)
    with pool.group(results=True) as group:
        group.submit(five_after_the_gate)
        gate.wait_entered(1)
        threading.Thread(target=signal.pthread_kill, args=(threading.main_thread().ident or 0, signal.SIGUSR1)).start()
    print(group.results())


def nested_groups() -> None:
    keep_locals()
    Interrupts()
    pool = Pool(1, queue_size=None)
    last: Any = None
    try:
        with pool.group() as outer, pool.group() as inner:
            inner.submit(held)
            gate.wait_entered(1)
            for number in range(5):
                queued.append(inner.submit(ran.append, number))
            queued.append(outer.submit(ran.append, 5))
            last = queued.pop()
            about_to_wait.set()
    except KeyboardInterrupt as error:
        assert last.done()
        print("interrupted", error, [number for number in ran if number != 5], logged())


if __name__ == "__main__":
    main(globals())
