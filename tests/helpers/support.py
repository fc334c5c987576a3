"""Helpers for all tests: waits for conditions, gates that hold tasks, and programs in processes of their own."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType
    from typing import Self, Unpack

T = TypeVar("T")

# Only a hang takes so long, however slow the machine is.
DEADLINE = 90.0
TICK = 0.002

HELPERS = Path(__file__).parent
TESTS = HELPERS.parent


def wait_until(condition: Callable[[], bool], what: str = "the condition", deadline: float = DEADLINE) -> None:
    """Waits until `condition()` holds, and fails if it does not before the deadline."""
    limit = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not come true within {deadline} s")
        time.sleep(TICK)


def wait_equal(get: Callable[[], object], value: object) -> None:
    """Waits until `get()` returns the value, and fails with the last value if it does not."""
    limit = time.monotonic() + DEADLINE
    while (seen := get()) != value:
        if time.monotonic() > limit:
            raise AssertionError(f"{get} gave {seen!r} and not {value!r} for {DEADLINE} s")
        time.sleep(TICK)


class Gate:
    """Holds tasks until it is opened, and knows how many it holds. Leaving its `with` block opens it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self._passes = 0
        self._entered = 0
        self._inside = 0
        self._peak = 0
        self._ids: set[int] = set()

    def hold(self, *_: object) -> None:
        """Waits at the gate: this is the task to submit."""
        with self._changed:
            self._entered += 1
            self._ids.add(threading.get_native_id())
            self._inside += 1
            self._peak = max(self._peak, self._inside)
            self._changed.notify_all()
            passed = self._changed.wait_for(lambda: self._open or self._passes > 0, DEADLINE)
            if passed and not self._open:
                self._passes -= 1
            self._inside -= 1
            self._changed.notify_all()
        assert passed, "nobody opened the gate"

    def open(self) -> None:
        """Lets all tasks pass, now and later."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def let(self, count: int) -> None:
        """Lets so many tasks pass."""
        with self._changed:
            self._passes += count
            self._changed.notify_all()

    def wait_entered(self, count: int) -> None:
        """Waits until so many tasks have come to the gate so far."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._entered >= count, DEADLINE), f"{self._entered} of {count} came"

    @property
    def entered(self) -> int:
        with self._changed:
            return self._entered

    @property
    def inside(self) -> int:
        with self._changed:
            return self._inside

    @property
    def peak(self) -> int:
        """The most tasks that it ever held at once."""
        with self._changed:
            return self._peak

    @property
    def ids(self) -> set[int]:
        """The native ids of the threads that came to the gate."""
        with self._changed:
            return set(self._ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.open()


def open_when_nobody_waits(pool: pyants.Pool, gate: Gate) -> None:
    """For a thread: opens a pool's gate once its blocked submitters have been refused, for example at exit."""
    wait_until(lambda: pool.waiting() == 0)
    gate.open()


def open_later(gate: Gate) -> None:
    """For a thread: opens the gate a little later, when the exit mostly waits for it. No test depends on the time."""
    nap(0.1)
    gate.open()


class Latch:
    """Counts down to 0."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._left = count

    def count_down(self, *_: object) -> None:
        with self._changed:
            self._left -= 1
            if self._left <= 0:
                self._changed.notify_all()

    def wait(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._left <= 0, DEADLINE), f"{self._left} are missing"


class Sum:
    """A sum that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, value: int = 1) -> None:
        with self._lock:
            self._value += value

    @property
    def value(self) -> int:
        with self._lock:
            return self._value


class Background(Generic[T]):
    """A call in a thread of its own, whose result or exception `result()` gives."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._error = error

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> T:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the call hangs"
        if self._error is not None:
            raise self._error
        return self._results[0]


def background(count: int, call: Callable[[], T]) -> list[Background[T]]:
    """Makes the same call in so many threads."""
    return [Background(call) for _ in range(count)]


class Records(logging.Handler):
    """Keeps the log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class SharedHandler(logging.Handler):
    """Passes each log record to all current readers.

    It stays on its logger: logging goes through the handlers of a logger as they are, and passes one over if another is
    taken away meanwhile.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.readers: tuple[Records, ...] = ()
        self.changing = threading.Lock()
        logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        for reader in self.readers:
            reader.emit(record)

    @contextmanager
    def read(self) -> Generator[Records]:
        """Collects the records that the threads of all tests log in the block, and keeps them off stderr."""
        records = Records()
        with self.changing:
            self.readers += (records,)
        try:
            yield records
        finally:
            with self.changing:
                self.readers = tuple(reader for reader in self.readers if reader is not records)


def own_logger() -> tuple[logging.Logger, Records]:
    """A logger for one test, and the records logged on it."""
    logger = logging.Logger("a test's own")
    records = Records()
    logger.addHandler(records)
    return logger, records


def ignore(error: BaseException) -> None:
    """A panic handler for tests whose tasks raise on purpose."""


def nap(seconds: float = 0.01) -> None:
    """Work that takes a while."""
    time.sleep(seconds)


def is_thread_alive(native_id: int) -> bool:
    return os.path.exists(f"/proc/self/task/{native_id}")


def wait_gone(native_ids: Iterable[int]) -> None:
    """Waits until the operating system has no threads with these ids any more."""
    ids = set(native_ids)
    wait_until(lambda: not any(map(is_thread_alive, ids)), "the end of the threads")


def occupy(pool: pyants.Pool | pyants.MultiPool, count: int) -> dict[int, str]:
    """Makes so many workers run a task at the same time; returns their threads' names by native id."""
    names: dict[int, str] = {}
    with Gate() as gate:

        def task() -> None:
            names[threading.get_native_id()] = threading.current_thread().name
            gate.hold()

        for _ in range(count):
            pool.submit(task)
        gate.wait_entered(count)
    assert pool.wait_idle(10)
    return names


def stack_size() -> int:
    """The size of the calling thread's stack."""
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)
    libc.pthread_self.restype = ctypes.c_void_p
    assert libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes) == 0
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert libc.pthread_attr_getstack(attributes, ctypes.byref(address), ctypes.byref(size)) == 0
    libc.pthread_attr_destroy(attributes)
    return size.value


Kind = Literal["Pool", "PoolWithFunc", "MultiPool", "MultiPoolWithFunc"]
KINDS: tuple[Kind, ...] = ("Pool", "PoolWithFunc", "MultiPool", "MultiPoolWithFunc")


class Face:
    """A pool of any kind that runs one function, so that a test can be written once. A multi-pool has one pool."""

    def __init__(
        self,
        kind: Kind,
        capacity: int,
        func: Callable[[Any], object],
        **options: Unpack[pyants.PoolOptions],
    ) -> None:
        self.pool: pyants.Pool | pyants.PoolWithFunc[[object]] | pyants.MultiPool | pyants.MultiPoolWithFunc[[object]]
        self.put: Callable[[object], None]
        self.try_put: Callable[[object], bool]
        self.put_within: Callable[[float, object], None]
        self.put_many: Callable[[Iterable[object]], int]
        if kind in ("Pool", "MultiPool"):
            pool = pyants.Pool(capacity, **options) if kind == "Pool" else pyants.MultiPool(1, capacity, **options)
            self.pool = pool
            self.put = lambda item: pool.submit(func, item)
            self.try_put = lambda item: pool.try_submit(func, item)
            self.put_within = lambda timeout, item: pool.submit_within(timeout, func, item)
            self.put_many = lambda items: pool.submit_many(func, items)
        else:
            fixed = (
                pyants.PoolWithFunc(capacity, func, **options)
                if kind == "PoolWithFunc"
                else pyants.MultiPoolWithFunc(1, capacity, func, **options)
            )
            self.pool = fixed
            self.put = fixed.invoke
            self.try_put = fixed.try_invoke
            self.put_within = fixed.invoke_within
            self.put_many = fixed.invoke_many


PRELUDE = """
import faulthandler, os, signal, sys, threading, time
faulthandler.enable()
faulthandler.dump_traceback_later({limit}, exit=True)
# A test run in the background of a shell ignores Ctrl-C, and so would what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
import pyants
from pyants import {names}
from support import *
"""


def run_script(code: str, *, code_expected: int = 0, deadline: float = 60.0, prelude: bool = True) -> tuple[str, str]:
    """Runs a script in a process of its own; returns its stdout and stderr.

    For programs of a few lines; run_program is for longer ones.
    """
    # The import of asyncio, which AsyncPool needs, takes a third of the time of most of these processes.
    names = ", ".join(name for name in pyants.__all__ if not name.startswith("Async") or "Async" in code)
    script = (PRELUDE.format(limit=deadline, names=names) if prelude else "") + textwrap.dedent(code)
    return _run(["-c", script], code_expected, deadline)


def run_program(
    file: str, *arguments: object, code_expected: int = 0, deadline: float = 60.0, options: Iterable[str] = ()
) -> tuple[str, str]:
    """Runs a program of a file in tests/scripts in a process of its own; returns its stdout and stderr.

    The first argument is the program's name. It gets the others as strings. The options are for Python.
    """
    return _run([*options, str(TESTS / "scripts" / file), *map(str, arguments)], code_expected, deadline)


def end_of_program(file: str, *arguments: object, deadline: float = 60.0) -> tuple[int, str, str]:
    """As run_program, for programs that may end in any way; returns the exit code, stdout and stderr."""
    return _run_to_end([str(TESTS / "scripts" / file), *map(str, arguments)], deadline)


def _run(command: list[str], code_expected: int, deadline: float) -> tuple[str, str]:
    code, stdout, stderr = _run_to_end(command, deadline)
    assert code == code_expected, f"exit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
    return stdout, stderr


def _run_to_end(command: list[str], deadline: float) -> tuple[int, str, str]:
    """Runs Python; returns its exit code, stdout and stderr.

    A process that hangs prints the stacks of all its threads, and fails the test.
    """
    environment = dict(os.environ, PYANTS_LIMIT=str(deadline))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HELPERS), environment.get("PYTHONPATH")]))
    with subprocess.Popen(
        # -P: the installed package is imported, whatever the current directory is.
        [sys.executable, "-P", "-u", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=deadline + 20)
        except BaseException:
            # With its children, which would keep the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    report = f"exit code {process.returncode}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
    assert "Fatal Python error" not in stderr, report
    assert "panicked at" not in stderr, report
    return process.returncode, stdout, stderr
