"""Futures to whose _state, _result and _exception somebody assigns, as tests and debuggers do with CPython's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, FUTURE_TYPES, PoolExecutor, PoolFuture, Thing, wait_freed
from support import DEADLINE, Background, Gate, background, wait_until

import pyants

Futures = type[Future[Any]]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)

ERROR = OSError("assigned")
FIELDS = ("_state", "_result", "_exception")


def assigned(future: Any, **fields: Any) -> Any:
    """Assigns these fields of the future, in this order; returns the future."""
    for name, value in fields.items():
        setattr(future, f"_{name}", value)
    return future


def fields(future: Any) -> tuple[Any, ...]:
    return tuple(getattr(future, name) for name in FIELDS)


@each_future_type
@pytest.mark.parametrize(
    ("state", "running", "done", "cancelled", "shown"),
    [
        ("PENDING", False, False, False, "pending"),
        ("RUNNING", True, False, False, "running"),
        ("CANCELLED", False, True, True, "cancelled"),
        ("CANCELLED_AND_NOTIFIED", False, True, True, "cancelled"),
        ("FINISHED", False, True, False, "finished returned int"),
    ],
)
@pytest.mark.parametrize("before", ["PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"])
def test_any_state_from_any_other(
    future_type: Futures, before: str, state: str, running: bool, done: bool, cancelled: bool, shown: str
) -> None:
    future = assigned(future_type(), state=before, result=7)
    future._state = state
    assert fields(future) == (state, 7, None)
    assert (future.running(), future.done(), future.cancelled()) == (running, done, cancelled)
    assert repr(future) == f"<{type(future).__name__} at {id(future):#x} state={shown}>"
    for ask in (future.result, future.exception):
        if cancelled:
            with pytest.raises(CancelledError):
                ask(0)
        elif not done:
            with pytest.raises(TimeoutError):
                ask(0)
    if state == "FINISHED":
        assert (future.result(0), future.exception(0)) == (7, None)


@each_future_type
@pytest.mark.parametrize("order", [("state", "result", "exception"), ("exception", "result", "state")])
def test_in_any_order(future_type: Futures, order: tuple[str, ...]) -> None:
    returned = {"state": "FINISHED", "result": 42, "exception": None}
    raised = {"state": "FINISHED", "result": None, "exception": ERROR}
    future = assigned(future_type(), **{name: returned[name] for name in order})
    assert (future.result(0), future.exception(0)) == (42, None)
    future = assigned(future_type(), **{name: raised[name] for name in order})
    assert future.exception(0) is ERROR
    with pytest.raises(OSError, match="assigned") as caught:
        future.result(0)
    assert caught.value is ERROR


@each_future_type
def test_over_what_a_future_came_to(future_type: Futures) -> None:
    future: Any = future_type()
    future.set_result(1)
    future._result = 2
    assert (future.result(0), fields(future)) == (2, ("FINISHED", 2, None))
    future._exception = ERROR
    assert fields(future) == ("FINISHED", 2, ERROR)
    assert future.exception(0) is ERROR
    future._exception = None
    assert future.result(0) == 2
    future = future_type()
    future.set_exception(KeyError())
    future._exception = ERROR
    assert fields(future) == ("FINISHED", None, ERROR)
    future._state = "FINISHED"
    assert future.exception(0) is ERROR


@each_future_type
@pytest.mark.parametrize("assigned_first", [False, True])
def test_a_future_that_is_made_pending_again(future_type: Futures, assigned_first: bool) -> None:
    future: Any = future_type()
    called: list[object] = []
    if assigned_first:
        future._result = "before"
    future.set_result(1)
    future._state = "PENDING"
    future.add_done_callback(called.append)
    assert fields(future) == ("PENDING", 1, None)
    assert future.set_running_or_notify_cancel()
    future.set_result(2)
    assert future.result(0) == 2
    assert called == [future]
    with pytest.raises(InvalidStateError):
        future.set_result(3)
    future._state = "PENDING"
    future.set_exception(ERROR)
    assert fields(future) == ("FINISHED", 2, ERROR)
    future._state = "PENDING"
    assert future.cancel()
    assert fields(future) == ("CANCELLED", 2, ERROR)


@each_future_type
def test_what_was_assigned_is_let_go_of(future_type: Futures) -> None:
    future: Any = future_type()
    references: list[weakref.ref[Thing]] = []

    def new() -> Thing:
        thing = Thing()
        references.append(weakref.ref(thing))
        return thing

    future.set_result(new())
    future._result = new()
    future._exception = new()
    future._state = "PENDING"
    future._exception = None
    future.set_result(new())
    wait_freed(*references[1:3])
    assert future.result(0) is references[3]()
    del future
    wait_freed(*references)


@each_future_type
@pytest.mark.parametrize("ask", ["result", "exception"])
@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_waiters_get_what_was_assigned(future_type: Futures, ask: str, timeout: float | None) -> None:
    future: Any = future_type()

    def wait() -> Any:
        try:
            return getattr(future, ask)(timeout)
        except OSError as error:
            return error

    def is_waited_for() -> bool:
        return len(future._condition._waiters) > 0

    waiting = background(3, wait)
    if future_type is not PoolFuture:
        wait_until(is_waited_for)
    # CPython's own tests assign the state first.
    with future._condition:
        future._state = "FINISHED"
        future._result = 1
        future._exception = ERROR
        future._condition.notify_all()
    assert [each.result() for each in waiting] == [ERROR] * 3


def test_waiters_are_told_of_a_cancellation() -> None:
    future: Any = PoolFuture()
    with Gate() as gate:

        def wait() -> object:
            gate.hold()
            return future.result()

        waiting = background(2, wait)
        gate.wait_entered(2)
        gate.open()
        future._state = "CANCELLED"
        for each in waiting:
            with pytest.raises(CancelledError):
                each.result()


@each_future_type
def test_nobody_else_is_told(future_type: Futures) -> None:
    future: Any = future_type()
    called: list[object] = []
    future.add_done_callback(called.append)
    assigned(future, state="FINISHED", result=1)
    assert called == []
    future.add_done_callback(called.append)
    assert called == [future]


@each_future_type
def test_cpython_s_own_functions_see_it(future_type: Futures) -> None:
    returned = assigned(future_type(), state="FINISHED", result=3)
    raised = assigned(future_type(), state="FINISHED", exception=ERROR)
    pending = assigned(future_type(), state="PENDING", result=None, exception=None)
    done, rest = concurrent.futures.wait([returned, raised, pending], timeout=0)
    assert (done, rest) == ({returned, raised}, {pending})
    assert set(concurrent.futures.as_completed([returned, raised])) == {returned, raised}

    async def main() -> None:
        assert await asyncio.wrap_future(returned) == 3
        with pytest.raises(OSError, match="assigned"):
            await asyncio.wrap_future(raised)

    asyncio.run(main())


def test_nonsense_is_refused() -> None:
    future: Any = PoolFuture()
    for nonsense in ("DONE", "pending", "", None, 1, b"PENDING"):
        with pytest.raises(ValueError, match="_state must be PENDING"):
            future._state = nonsense
    for name in FIELDS:
        with pytest.raises(AttributeError):
            delattr(future, name)
    assert fields(future) == ("PENDING", None, None)
    assigned(future, state="FINISHED", exception=7)
    with pytest.raises(TypeError, match="BaseException"):
        future.result(0)


@pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
def test_a_task_whose_future_was_assigned_meanwhile(executor_type: Any) -> None:
    with executor_type(1) as executor, Gate() as gate:
        running = executor.submit(gate.hold)
        gate.wait_entered(1)
        running._result = "assigned"
        gate.open()
        assert running.result(DEADLINE) is None
        assert executor.submit(int, "5").result(DEADLINE) == 5


@pytest.mark.parametrize("where", ["waiting", "running"])
def test_a_task_that_somebody_ended_by_hand(where: str) -> None:
    ran: list[int] = []
    pool = pyants.Pool(1, queue_size=None)
    with PoolExecutor.over(pool) as executor, Gate() as gate:
        running = executor.submit(gate.hold)
        gate.wait_entered(1)
        waiting = executor.submit(ran.append, 1)
        future = running if where == "running" else waiting
        assigned(future, result=42, state="FINISHED")
        gate.open()
        # The call does not run if it had not begun, and the other workers and calls go on.
        assert executor.submit(int, "5").result(DEADLINE) == 5
        assert future.result(0) == 42
    # The shutdown, which waits for the executor's calls, has returned.
    assert ran == ([1] if where == "running" else [])
    pool.release()


def test_readers_see_one_thing_or_another() -> None:
    """Without the GIL a thread may read the value while another one replaces it."""
    future: Any = PoolFuture()
    future.set_result(("value", 0))
    over = threading.Event()

    def write() -> None:
        for number in range(1, 3_000):
            with future._condition:
                future._state = "PENDING"
                if number % 2:
                    future.set_result(("value", number))
                else:
                    future._state = "FINISHED"
                    future._result = ("value", number)
        over.set()

    def read() -> int:
        seen = 0
        while not over.is_set():
            value = future._result
            assert value[0] == "value"
            try:
                seen = max(seen, future.result(0)[1])
            except TimeoutError:
                continue
        return seen

    readers = background(2, read)
    Background(write).result()
    assert all(reader.result() < 3_000 for reader in readers)
    assert future.result(0) == ("value", 2_999)


def test_two_who_assign_and_one_who_finishes() -> None:
    for _ in range(200):
        future: Any = PoolFuture()
        start = threading.Barrier(3)

        def finish(future: Any = future, start: threading.Barrier = start) -> None:
            start.wait(DEADLINE)
            with contextlib.suppress(InvalidStateError):
                future.set_result(Thing())

        def write(future: Any = future, start: threading.Barrier = start) -> None:
            start.wait(DEADLINE)
            assigned(future, state="FINISHED", result=Thing())

        for each in [Background(finish), Background(write), Background(write)]:
            each.result()
        reference = weakref.ref(future.result(0))
        assert isinstance(reference(), Thing)
        del future, finish, write, each
        wait_freed(reference)
