"""Helpers for the tests of executors and futures.

Behaviour that CPython promises is tested on its own classes, too: a test that they do not pass is wrong.
"""

from __future__ import annotations

import concurrent.futures
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from support import Gate, Records, SharedHandler, wait_until

import pyants

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator

T = TypeVar("T")

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

# Any: the tests use methods that the types of CPython's classes lack.
PoolExecutor: Any = pyants.PoolExecutor
PoolFuture: Any = pyants.Future

EXECUTOR_TYPES = [
    pytest.param(ThreadPoolExecutor, id="ThreadPoolExecutor"),
    pytest.param(PoolExecutor, id="PoolExecutor"),
]
# The classes whose map() has a buffersize.
BUFFERING_TYPES = EXECUTOR_TYPES if sys.version_info >= (3, 14) else EXECUTOR_TYPES[1:]
Executors = type[ThreadPoolExecutor]
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
FUTURE_TYPES = [
    pytest.param(concurrent.futures.Future, id="concurrent.futures.Future"),
    pytest.param(PoolFuture, id="pyants.Future"),
]


class Thing:
    """An object to which weak references can be made."""


# Messages of executors and of map(): refused after a shutdown, and wrong values of buffersize.
REFUSED = r"^cannot schedule new futures after shutdown$"
NO_INTEGER = r"^buffersize must be an integer or None$"
NOT_POSITIVE = r"^buffersize must be None or > 0$"


def attribute(owner: object, name: str) -> Any:
    """A private attribute that known libraries read."""
    return getattr(owner, name)


def thread_count(executor: ThreadPoolExecutor) -> int:
    return len(attribute(executor, "_threads"))


def wait_idle_worker(executor: ThreadPoolExecutor) -> None:
    """Waits until the executor counts one of its workers as idle."""
    if isinstance(executor, PoolExecutor):
        pool: Any = attribute(executor, "pool")
        wait_until(lambda: pool.stats().busy == 0 and pool.stats().idle == pool.running(), "an idle worker")
    else:
        semaphore = attribute(executor, "_idle_semaphore")
        wait_until(lambda: attribute(semaphore, "_value") > 0, "an idle worker")


def wait_freed(*references: Callable[[], object]) -> None:
    """Waits until these weak references are dead.

    With the GIL nothing but reference counts may be needed for it. Without, only the owner of an object or the
    collector frees what another thread has let go of.
    """

    def are_dead() -> bool:
        if not HAS_GIL:
            gc.collect()
        return all(reference() is None for reference in references)

    wait_until(are_dead, "the end of the objects")


@contextmanager
def without_collector() -> Generator[None]:
    """In this block objects die only by their reference count. Only for tests that own the process."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# Collects what the threads of all tests log on "concurrent.futures".
futures_log = SharedHandler("concurrent.futures").read


def logged(records: Records, error: BaseException) -> list[logging.LogRecord]:
    """The records that report this very exception."""
    return [record for record in list(records.records) if record.exc_info and record.exc_info[1] is error]


def same(value: T) -> T:
    return value


def double(number: int) -> int:
    return number * 2


def new_thing(_: object) -> Thing:
    return Thing()


def pass_through(gate: Gate, value: T) -> T:
    """A task that waits at the gate, then returns the value."""
    gate.hold()
    return value
