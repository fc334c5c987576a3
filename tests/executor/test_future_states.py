"""Futures: their states, the changes between them, and their repr."""

from __future__ import annotations

import concurrent.futures
import copy
import logging
import pickle
import re
import weakref
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from executors import EXECUTOR_TYPES, FUTURE_TYPES, PoolFuture, attribute, futures_log
from support import DEADLINE, Gate, background

if TYPE_CHECKING:
    from collections.abc import Iterator

Futures = type[Future[Any]]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

ERROR = OSError("of the future")
STATES = ("pending", "running", "cancelled", "notified", "failed", "succeeded")
each_state = pytest.mark.parametrize("state", STATES)


def future_in(state: str, future_type: Futures) -> Future[Any]:
    """A new future in this state."""
    future = future_type()
    if state in ("running", "failed", "succeeded"):
        assert future.set_running_or_notify_cancel()
    if state in ("cancelled", "notified"):
        assert future.cancel()
    if state == "notified":
        assert not future.set_running_or_notify_cancel()
    if state == "failed":
        future.set_exception(ERROR)
    if state == "succeeded":
        future.set_result(42)
    return future


def questions(future: Future[Any]) -> tuple[bool, bool, bool]:
    return future.running(), future.done(), future.cancelled()


@each_future_type
@pytest.mark.parametrize(
    ("state", "running", "done", "cancelled"),
    [
        ("pending", False, False, False),
        ("running", True, False, False),
        ("cancelled", False, True, True),
        ("notified", False, True, True),
        ("failed", False, True, False),
        ("succeeded", False, True, False),
    ],
)
def test_what_a_future_says_of_itself(
    future_type: Futures, state: str, running: bool, done: bool, cancelled: bool
) -> None:
    assert questions(future_in(state, future_type)) == (running, done, cancelled)


@each_future_type
@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("pending", "PENDING"),
        ("running", "RUNNING"),
        ("cancelled", "CANCELLED"),
        ("notified", "CANCELLED_AND_NOTIFIED"),
        ("failed", "FINISHED"),
        ("succeeded", "FINISHED"),
    ],
)
def test_the_state_that_libraries_read(future_type: Futures, state: str, name: str) -> None:
    assert attribute(future_in(state, future_type), "_state") == name


@each_future_type
@pytest.mark.parametrize(
    ("state", "description"),
    [
        ("pending", "pending"),
        ("running", "running"),
        ("cancelled", "cancelled"),
        ("notified", "cancelled"),
        ("failed", "finished raised OSError"),
        ("succeeded", "finished returned int"),
    ],
)
def test_repr(future_type: Futures, state: str, description: str) -> None:
    future = future_in(state, future_type)
    assert repr(future) == str(future) == f"<Future at {id(future):#x} state={description}>"


@each_future_type
@pytest.mark.parametrize(
    ("state", "may", "afterwards"),
    [
        ("pending", True, "CANCELLED"),
        ("running", False, "RUNNING"),
        ("cancelled", True, "CANCELLED"),
        ("notified", True, "CANCELLED_AND_NOTIFIED"),
        ("failed", False, "FINISHED"),
        ("succeeded", False, "FINISHED"),
    ],
)
def test_cancel_in_each_state(future_type: Futures, state: str, may: bool, afterwards: str) -> None:
    future = future_in(state, future_type)
    before = questions(future)
    for _ in range(2):
        assert future.cancel() is may
        assert attribute(future, "_state") == afterwards
    assert questions(future) == (before if state != "pending" else (False, True, True))


@each_future_type
@each_state
def test_result_and_exception_in_each_state(future_type: Futures, state: str) -> None:
    future = future_in(state, future_type)
    enough: tuple[float | None, ...] = (None, 0, -1, 1e6)
    match state:
        case "pending" | "running":
            for call in (future.result, future.exception):
                for short in (0, 0.0, -1, 0.001):
                    with pytest.raises(concurrent.futures.TimeoutError):
                        call(short)
                    with pytest.raises(TimeoutError):
                        call(timeout=short)
        case "cancelled" | "notified":
            for call in (future.result, future.exception):
                for timeout in enough:
                    with pytest.raises(CancelledError):
                        call(timeout)
        case "failed":
            for timeout in enough:
                assert future.exception(timeout) is ERROR
                with pytest.raises(OSError, match="of the future") as caught:
                    future.result(timeout)
                assert caught.value is ERROR
        case _:
            for timeout in enough:
                assert future.exception(timeout) is None
                assert future.result(timeout) == 42


@each_future_type
@pytest.mark.parametrize("state", ["pending", "running"])
@pytest.mark.parametrize("outcome", ["result", "exception"])
def test_an_outcome_may_be_set_while_pending_or_running(future_type: Futures, state: str, outcome: str) -> None:
    future = future_in(state, future_type)
    thing = KeyError()
    if outcome == "result":
        future.set_result(thing)
        assert future.result(0) is thing
        assert future.exception(0) is None
    else:
        future.set_exception(thing)
        assert future.exception(0) is thing
    assert questions(future) == (False, True, False)


@each_future_type
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("cancelled", "CANCELLED: <Future at {} state=cancelled>"),
        ("notified", "CANCELLED_AND_NOTIFIED: <Future at {} state=cancelled>"),
        ("failed", "FINISHED: <Future at {} state=finished raised OSError>"),
        ("succeeded", "FINISHED: <Future at {} state=finished returned int>"),
    ],
)
def test_an_outcome_may_not_be_set_again(future_type: Futures, state: str, said: str) -> None:
    future = future_in(state, future_type)
    before = repr(future), questions(future)
    message = re.escape(said.format(f"{id(future):#x}"))
    for _ in range(2):
        with pytest.raises(InvalidStateError, match=f"^{message}$"):
            future.set_result(1)
        with pytest.raises(InvalidStateError, match=f"^{message}$"):
            future.set_exception(ValueError())
    assert (repr(future), questions(future)) == before


@each_future_type
def test_the_exception_none_is_no_exception(future_type: Futures) -> None:
    future = future_type()
    future.set_exception(None)
    assert future.exception(0) is None
    assert future.result(0) is None
    assert questions(future) == (False, True, False)


@each_future_type
def test_starting_a_pending_future(future_type: Futures) -> None:
    future = future_type()
    assert future.set_running_or_notify_cancel() is True
    assert questions(future) == (True, False, False)


@each_future_type
def test_starting_a_cancelled_future_tells_so_once(future_type: Futures) -> None:
    future = future_type()
    assert future.cancel()
    assert future.set_running_or_notify_cancel() is False
    assert questions(future) == (False, True, True)


@each_future_type
@pytest.mark.parametrize("state", ["running", "notified", "failed", "succeeded"])
def test_starting_a_future_in_any_other_state_is_an_error(future_type: Futures, state: str) -> None:
    future = future_in(state, future_type)
    before = repr(future)
    with futures_log() as records, pytest.raises(RuntimeError, match=r"^Future in unexpected state$"):
        future.set_running_or_notify_cancel()
    assert repr(future) == before
    message = f"Future {id(future)} in unexpected state: {attribute(future, '_state')}"
    assert (logging.CRITICAL, message) in [(record.levelno, record.getMessage()) for record in records.records]


@each_future_type
def test_only_one_of_many_may_start_it(future_type: Futures) -> None:
    for _ in range(50):
        future = future_type()
        with futures_log():

            def start(future: Future[Any] = future) -> bool:
                try:
                    return future.set_running_or_notify_cancel()
                except RuntimeError:
                    return False

            assert sum(each.result() for each in background(4, start)) == 1


@each_future_type
def test_only_one_of_many_may_set_or_cancel_it(future_type: Futures) -> None:
    for _ in range(50):
        future = future_type()
        numbers = iter(range(4))

        def finish(future: Future[Any] = future, numbers: Iterator[int] = numbers) -> object:
            number = next(numbers)
            try:
                if number == 0:
                    return "cancelled" if future.cancel() else None
                future.set_result(number)
            except InvalidStateError:
                return None
            return number

        (winner,) = (outcome for each in background(4, finish) if (outcome := each.result()) is not None)
        assert winner == ("cancelled" if future.cancelled() else future.result(0))


@each_future_type
def test_it_is_made_without_arguments(future_type: Futures) -> None:
    assert questions(future_type()) == (False, False, False)
    unwanted: Any = future_type
    with pytest.raises(TypeError):
        unwanted(1)


@each_future_type
def test_the_timeout_is_a_number(future_type: Futures) -> None:
    future = future_type()
    nonsense: Any = "soon"
    for call in (future.result, future.exception):
        with pytest.raises(TypeError):
            call(nonsense)


@each_future_type
def test_it_may_be_weakly_referenced_hashed_and_compared(future_type: Futures) -> None:
    future, other = future_type(), future_type()
    assert weakref.ref(future)() is future
    assert len({future, other, future}) == 2
    assert future == future
    assert future != other


@each_future_type
def test_it_may_carry_attributes(future_type: Futures) -> None:
    future: Any = future_type()
    future.label = "mine"
    assert future.label == "mine"


@each_future_type
def test_it_is_generic(future_type: Futures) -> None:
    generic: Any = future_type
    alias: Any = generic[int]
    assert alias.__origin__ is future_type
    assert alias.__args__ == (int,)
    assert isinstance(alias(), future_type)


@each_future_type
@each_state
def test_it_can_be_neither_pickled_nor_copied_deeply(future_type: Futures, state: str) -> None:
    future = future_in(state, future_type)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(future)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(future)


@each_future_type
def test_subclasses(future_type: Futures) -> None:
    class Named(future_type):  # type: ignore[valid-type, misc]
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def set_result(self, result: object) -> None:
            super().set_result((self.name, result))

    future: Any = Named("mine")
    assert repr(future) == f"<Named at {id(future):#x} state=pending>"
    future.set_result(3)
    assert future.result(0) == ("mine", 3)
    assert isinstance(future, Future)


@each_executor_type
def test_the_states_of_a_task(executor_type: type[ThreadPoolExecutor]) -> None:
    with executor_type(1) as executor, Gate() as gate:
        running = executor.submit(gate.hold)
        gate.wait_entered(1)
        pending, cancelled = executor.submit(int, "7"), executor.submit(int)
        assert questions(running) == (True, False, False)
        assert questions(pending) == (False, False, False)
        assert not running.cancel()
        assert cancelled.cancel()
        assert questions(cancelled) == (False, True, True)
        assert repr(running) == f"<Future at {id(running):#x} state=running>"
        assert repr(pending) == f"<Future at {id(pending):#x} state=pending>"
        assert repr(cancelled) == f"<Future at {id(cancelled):#x} state=cancelled>"
        gate.open()
        assert pending.result(DEADLINE) == 7
        assert not pending.cancel()
        assert [questions(future) for future in (running, pending)] == [(False, True, False)] * 2
        assert repr(pending) == f"<Future at {id(pending):#x} state=finished returned int>"
    assert questions(cancelled) == (False, True, True)
    assert attribute(cancelled, "_state") == "CANCELLED_AND_NOTIFIED"


@each_executor_type
def test_a_cancelled_task_does_not_run(executor_type: type[ThreadPoolExecutor]) -> None:
    ran: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        futures = [executor.submit(ran.append, number) for number in range(10)]
        assert all(future.cancel() for future in futures[::2])
        gate.open()
    assert ran == [1, 3, 5, 7, 9]


@each_executor_type
def test_cancelling_against_the_worker_is_decided_once(executor_type: type[ThreadPoolExecutor]) -> None:
    ran: set[int] = set()
    with executor_type(2) as executor:
        futures = [executor.submit(ran.add, number) for number in range(500)]
        cancelled = {number for number, future in enumerate(futures) if future.cancel()}
    assert ran == set(range(500)) - cancelled
    assert {number for number, future in enumerate(futures) if future.cancelled()} == cancelled


def test_pyants_future_is_one_of_concurrent_futures() -> None:
    assert Future in PoolFuture.__mro__
    assert PoolFuture.__module__ == "pyants"
    assert PoolFuture.__qualname__ == "Future"
    for name in (name for name in dir(PoolFuture) if not name.startswith("_")):
        assert getattr(PoolFuture, name).__doc__, name
