"""A future's condition, which CPython's wait() and as_completed() acquire, works like one of threading."""

from __future__ import annotations

import concurrent.futures
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support import DEADLINE, Background, Gate, run_program, wait_until

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

each_kind = pytest.mark.parametrize(
    "kind", [lambda: threading.Condition(), lambda: condition_of(pyants.Future())], ids=["threading", "future"]
)
"""Each test runs on a condition of threading and on that of a future."""

Kind = Any


def condition_of(future: pyants.Future[Any]) -> Any:
    """The private attribute of a future that CPython's code uses."""
    return future._condition  # pyright: ignore[reportPrivateUsage]


def waiters_of(owner: Any) -> Any:
    """A private attribute of a future or of a condition."""
    return owner._waiters


def test_it_is_one_and_the_same() -> None:
    future: pyants.Future[int] = pyants.Future()
    assert condition_of(future) is condition_of(future)
    assert waiters_of(future) is waiters_of(future)


@each_kind
def test_its_owner_takes_it_again(kind: Callable[[], Kind]) -> None:
    condition = kind()
    with condition:
        assert condition.acquire()
        assert condition.acquire(blocking=False)
        assert condition.acquire(timeout=1)
        assert not Background(lambda: condition.acquire(blocking=False)).result()
        assert not Background(lambda: condition.acquire(timeout=0.001)).result()
        for _ in range(3):
            condition.release()
        assert not Background(lambda: condition.acquire(blocking=False)).result()

    def take() -> bool:
        with condition:
            return True

    assert Background(take).result()


@each_kind
def test_what_is_refused(kind: Callable[[], Kind]) -> None:
    condition = kind()
    for call in (condition.release, condition.notify, condition.notify_all, condition.wait):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError):
        condition.__exit__(None, None, None)
    with pytest.raises(ValueError, match="timeout"):
        condition.acquire(blocking=False, timeout=1)
    with pytest.raises(ValueError, match="timeout"):
        condition.acquire(timeout=-2)
    with pytest.raises(TypeError):
        condition.acquire("", "", "")
    with condition, pytest.raises(RuntimeError):
        Background(condition.release).result()


class Odd:
    """An object whose truth value raises."""

    def __bool__(self) -> bool:
        raise KeyError("truth")


# In 3.11 a lock takes only an int.
TRUTHS: list[Any] = [1, 2, -1] if sys.version_info < (3, 12) else [1, 2, -1, 2**70, 1.5, "yes", [0]]
FALSEHOODS: list[Any] = [0] if sys.version_info < (3, 12) else [0, 0.0, "", None, []]


@each_kind
@pytest.mark.parametrize("blocking", TRUTHS, ids=repr)
def test_blocking_is_whatever_is_true(kind: Callable[[], Kind], blocking: object) -> None:
    condition = kind()
    assert condition.acquire(blocking)
    assert condition.acquire(blocking, 1)
    assert condition.acquire(blocking=blocking)
    assert not Background(lambda: condition.acquire(blocking, 0.001)).result()
    for _ in range(3):
        condition.release()
    assert Background(lambda: condition.acquire(blocking)).result()


@each_kind
@pytest.mark.parametrize("blocking", FALSEHOODS, ids=repr)
def test_blocking_is_whatever_is_false(kind: Callable[[], Kind], blocking: object) -> None:
    condition = kind()
    with condition:
        assert not Background(lambda: condition.acquire(blocking)).result()
        assert not Background(lambda: condition.acquire(blocking, -1)).result()
        with pytest.raises(ValueError, match="non-blocking"):
            condition.acquire(blocking, 0)


@each_kind
def test_the_kinds_of_time_outs(kind: Callable[[], Kind]) -> None:
    condition = kind()
    for timeout in (-1, -1.0, 0, 0.0, True, threading.TIMEOUT_MAX):
        assert condition.acquire(timeout=timeout)
        condition.release()
    for timeout in (-2, -0.5, float("nan")):
        with pytest.raises(ValueError, match=r"timeout|NaN|nan"):
            condition.acquire(timeout=timeout)
    for timeout in (threading.TIMEOUT_MAX * 2, 1e30, float("inf"), 2**40):
        with pytest.raises(OverflowError):
            condition.acquire(timeout=timeout)
    wrong: list[Any] = ["1", None, [1]]
    for timeout in wrong:
        with pytest.raises(TypeError):
            condition.acquire(timeout=timeout)
    if sys.version_info >= (3, 12):
        with pytest.raises(KeyError, match="truth"):
            condition.acquire(Odd())
    assert Background(lambda: condition.acquire(blocking=False)).result()


@each_kind
def test_it_is_given_back_on_an_exception(kind: Callable[[], Kind]) -> None:
    condition = kind()
    with pytest.raises(KeyError), condition:
        raise KeyError
    assert Background(lambda: condition.acquire(blocking=False)).result()


@each_kind
def test_one_waits_for_it_to_be_free(kind: Callable[[], Kind]) -> None:
    condition = kind()
    order: list[str] = []

    def take() -> None:
        with condition:
            order.append("other")

    with condition:
        others = [Background(take) for _ in range(8)]
        order.append("owner")
    for other in others:
        other.result()
    assert order == ["owner"] + ["other"] * 8


@each_kind
def test_it_keeps_others_out(kind: Callable[[], Kind]) -> None:
    condition = kind()
    count = 0

    def add() -> None:
        nonlocal count
        for _ in range(2_000):
            with condition, condition:
                before = count
                count = before + 1

    for other in [Background(add) for _ in range(4)]:
        other.result()
    assert count == 8_000


@each_kind
def test_waiters_are_notified(kind: Callable[[], Kind]) -> None:
    condition = kind()
    waiting = 0
    tickets = 0

    def wait(*, deep: bool) -> bool:
        nonlocal waiting, tickets
        with condition:
            if deep:
                condition.acquire()
            waiting += 1
            woken: bool = condition.wait_for(lambda: tickets > 0, DEADLINE)
            tickets -= 1
            if deep:
                condition.release()
            return woken

    others = [Background(lambda deep=deep: wait(deep=deep)) for deep in (False, True, False, True)]  # type: ignore[misc]
    wait_until(lambda: waiting == len(others))
    with condition:
        tickets += 2
        condition.notify(2)
    wait_until(lambda: tickets == 0)
    with condition:
        tickets += 2
        condition.notify_all()
    assert all(other.result() for other in others)


@each_kind
def test_a_wait_has_an_end(kind: Callable[[], Kind]) -> None:
    condition = kind()
    with condition, condition:
        assert not condition.wait(0.001)
        assert not condition.wait_for(lambda: False, 0.001)
        assert condition.wait_for(lambda: True)
        assert not Background(lambda: condition.acquire(blocking=False)).result()


def test_a_future_ends_while_its_condition_is_asked_for() -> None:
    # No notification is lost, in whatever order the two threads come.
    with pyants.PoolExecutor(4) as executor:
        for _ in range(300):
            future = executor.submit(int)
            condition = condition_of(future)
            with condition:
                assert condition.wait_for(future.done, DEADLINE)


def all_completed(futures: list[pyants.Future[int]]) -> list[concurrent.futures.Future[int]]:
    return list(concurrent.futures.as_completed(futures))


WAITS: list[Callable[[list[pyants.Future[int]]], object]] = [concurrent.futures.wait, all_completed]


@pytest.mark.parametrize("wait", WAITS)
def test_many_wait_for_the_same_futures(wait: Callable[[list[pyants.Future[int]]], object]) -> None:
    with Gate() as gate, pyants.PoolExecutor(4) as executor:
        executor.submit(gate.hold)
        futures = [executor.submit(int) for _ in range(200)]
        others = [Background(lambda: wait(futures)) for _ in range(4)]
        gate.open()
        for other in others:
            other.result()
    for future in futures:
        assert list(waiters_of(future)) == []


@pytest.mark.thread_unsafe(reason="looks at all objects of the process")
def test_the_collector_need_not_see_it() -> None:
    # Otherwise wait() over many futures would run the collector in the middle.
    condition = condition_of(pyants.Future())
    assert not gc.is_tracked(condition)
    with condition:
        condition.notify_all()
    assert not gc.is_tracked(condition)
    # From here on the future may be part of a cycle (tests/process/test_garbage_cycles.py).
    assert list(waiters_of(condition)) == []
    assert gc.is_tracked(condition)


@pytest.mark.thread_unsafe(reason="starts a process")
def test_ctrl_c_while_one_waits_for_it_to_be_free() -> None:
    out, _ = run_program("executor/future_condition.py", "ctrl_c_while_one_waits_for_it_to_be_free")
    assert out.split() == ["interrupted", "free"]
