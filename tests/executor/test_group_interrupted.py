"""A signal handler that raises while a group with a limit counts its places, which leaves all of them.

A handler runs at the end of any call that Python code makes. Here it is the call that releases the lock of the places:
on free-threaded builds a Ctrl-C often comes there, with the GIL seldom, and only by chance.
"""

from __future__ import annotations

import collections
import threading
from typing import Any

import pytest
from executors import futures_log
from support import DEADLINE, Background, Gate, wait_until

from pyants import Pool, PoolExecutor, TaskGroup


class Interruption(BaseException):
    """What the handler raises."""


class InterruptedLock:
    """A lock at whose release, if armed, a signal handler raises; or while it is waited for."""

    def __init__(self) -> None:
        self.is_armed = False
        self.is_armed_before = False
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        if self.is_armed_before:
            self.is_armed_before = False
            raise Interruption
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()
        if self.is_armed:
            self.is_armed = False
            raise Interruption


def places_of(group: TaskGroup) -> tuple[Any, InterruptedLock]:
    places: Any = vars(group)["_places"]
    lock = InterruptedLock()
    places._lock = lock
    return places, lock


@pytest.mark.parametrize("submit", ["submit", "try_submit", "submit_within"])
def test_the_place_of_a_submit_that_was_interrupted_is_free_again(submit: str) -> None:
    with Pool(2) as pool, pool.group(limit=1) as group:
        _, lock = places_of(group)
        lock.is_armed = True
        with pytest.raises(Interruption):
            getattr(group, submit)(*([DEADLINE] if submit == "submit_within" else []), int)
        assert pool.stats().submitted == 0
        future = group.try_submit(int)
        assert future is not None


@pytest.mark.parametrize("submit", ["submit", "try_submit", "submit_within"])
def test_the_place_of_a_call_that_the_pool_refused_is_free_again(submit: str) -> None:
    with Gate() as gate, Pool(1, nonblocking=True) as pool, pool.group(limit=1) as group:
        pool.submit(gate.hold)
        places, lock = places_of(group)
        take = places.try_take

        def take_and_arm(place: object) -> object:
            taken = take(place)
            lock.is_armed_before = True
            return taken

        places.try_take = take_and_arm
        with pytest.raises(Interruption):
            getattr(group, submit)(*([0.0] if submit == "submit_within" else []), int)
        del places.try_take
        gate.open()
        assert pool.wait_idle(DEADLINE)
        assert group.try_submit(int) is not None


def test_a_submit_that_begins_to_wait_and_is_interrupted_gets_no_place() -> None:
    with Gate() as gate, Pool(2) as pool, pool.group(limit=1) as group:
        group.submit(gate.hold)
        places, lock = places_of(group)

        class Waiters(collections.deque[Any]):
            def append(self, place: Any) -> None:
                super().append(place)
                lock.is_armed = True

        places._waiters = Waiters()
        with pytest.raises(Interruption):
            group.submit(int)
        assert not places._waiters
        places._waiters = collections.deque()
        gate.open()
        assert group.submit(int).result(DEADLINE) == 0


def test_a_place_given_back_by_a_thread_that_is_interrupted_goes_to_the_next() -> None:
    with futures_log(), Gate() as gate, Pool(2) as pool, pool.group(limit=1) as group:
        group.submit(gate.hold)
        places, lock = places_of(group)
        waiting = Background(lambda: group.submit(int))
        wait_until(lambda: len(places._waiters) == 1)
        lock.is_armed = True
        gate.open()
        assert waiting.result().result(DEADLINE) == 0


@pytest.mark.parametrize("submit", ["submit", "try_submit", "submit_within"])
def test_the_place_of_a_cancelled_call_is_free_again_if_the_cancelling_thread_is_interrupted(submit: str) -> None:
    with Gate() as gate, Pool(1, queue_size=None) as pool, pool.group(limit=2) as group:
        group.submit(gate.hold)
        gate.wait_entered(1)
        waiting = group.submit(int)
        _, lock = places_of(group)
        lock.is_armed_before = True
        with pytest.raises(Interruption):
            waiting.cancel()
        future = getattr(group, submit)(*([DEADLINE] if submit == "submit_within" else []), int)
        gate.open()
        assert future.result(DEADLINE) == 0


@pytest.mark.parametrize("submit", ["submit", "try_submit", "submit_within"])
@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_the_pool_has_accepted_is_one_of_the_group(submit: str, limit: int | None, when: str) -> None:
    with Gate() as gate, Pool(1, queue_size=None) as pool, pool.group(limit=limit) as group:
        pool.submit(gate.hold)
        lock = InterruptedLock()
        vars(group)["_counting"] = lock  # Taken when the call is accepted, to give it its number.
        lock.is_armed_before = when == "before"
        lock.is_armed = when == "after"
        with pytest.raises(Interruption):
            getattr(group, submit)(*([DEADLINE] if submit == "submit_within" else []), int)
        assert pool.stats().submitted == 2
        assert group.cancel() == 1
        # Its place is free again.
        assert group.try_submit(int) is not None
        gate.open()


class InterruptedGroup(TaskGroup):
    """A group at whose end a signal handler raises before that has begun."""

    is_armed = True

    def _leave(self, exc_value: BaseException | None, interrupt: BaseException | None = None) -> None:
        if self.is_armed:
            self.is_armed = False
            raise Interruption
        super()._leave(exc_value, interrupt)


def test_an_end_that_is_interrupted_as_it_begins_leaves_nothing_behind() -> None:
    with Gate() as gate, PoolExecutor(1) as executor:
        group = InterruptedGroup(executor)
        held = group.submit(gate.hold)
        gate.wait_entered(1)
        queued = group.submit(int)

        def open_when_cancelled() -> None:
            wait_until(queued.cancelled)
            gate.open()

        opening = Background(open_when_cancelled)
        with pytest.raises(Interruption), group:
            pass
        assert held.done()
        opening.result()
