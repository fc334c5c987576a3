"""Tasks that raise: the exception is reported, and the pool goes on."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import weakref
from typing import NoReturn

import pytest
from support import (
    KINDS,
    Background,
    Face,
    Gate,
    Kind,
    Sum,
    nap,
    own_logger,
    run_program,
    wait_equal,
    wait_until,
)

from pyants import Pool


class Oops(Exception):
    """The exception that these tests raise."""


def fail(*args: object) -> NoReturn:
    raise Oops(*args)


@pytest.mark.ants("B68", "D1")
@pytest.mark.parametrize("kind", KINDS)
def test_a_raising_task_breaks_neither_pool_nor_submitter(kind: Kind) -> None:
    errors: list[BaseException] = []

    def task(item: object) -> None:
        if int(str(item)) % 2:
            fail(item)

    face = Face(kind, 3, task, panic_handler=errors.append)
    with face.pool as pool:
        for number in range(100):
            face.put(number)
        assert pool.wait_idle(10)
        assert (pool.stats().completed, pool.stats().failed, pool.stats().busy) == (50, 50, 0)
    assert sorted(error.args[0] for error in errors) == list(range(1, 100, 2))


@pytest.mark.ants("B70", "D1")
@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_does_not_cost_the_worker(kind: Kind) -> None:
    threads: set[int] = set()

    def task(_: object) -> None:
        threads.add(threading.get_native_id())
        fail()

    face = Face(kind, 1, task, panic_handler=lambda _: None, disable_purge=True)
    with face.pool as pool:
        for _ in range(10):
            face.put(None)
        assert pool.wait_idle(10)
        assert pool.running() == 1
        assert pool.stats().spawned == 1
    assert len(threads) == 1


@pytest.mark.ants("B69")
@pytest.mark.parametrize("kind", KINDS)
def test_the_handler_is_called_once_with_the_exception_on_the_workers_thread(kind: Kind) -> None:
    logger, records = own_logger()
    raised = Oops("x")
    calls: list[tuple[BaseException, int]] = []
    at: list[int] = []

    def task(_: object) -> None:
        at.append(threading.get_ident())
        raise raised

    def handler(error: BaseException) -> None:
        calls.append((error, threading.get_ident()))

    face = Face(kind, 2, task, panic_handler=handler, logger=logger)
    with face.pool:
        face.put(None)
    assert calls == [(raised, at[0])]
    assert calls[0][0] is raised
    assert at[0] != threading.get_ident()
    # With a handler nothing is logged.
    assert records.records == []


def test_the_exception_has_its_traceback() -> None:
    errors: list[BaseException] = []
    with Pool(1, panic_handler=errors.append) as pool:
        pool.submit(fail, "deep")
    text = "".join(traceback.format_exception(errors[0]))
    assert "in fail" in text
    assert "raise Oops(*args)" in text


@pytest.mark.ants("D1", "B70")
def test_the_worker_is_busy_while_the_handler_runs() -> None:
    with Gate() as gate, Pool(1, panic_handler=gate.hold, nonblocking=True) as pool:
        pool.submit(fail)
        gate.wait_entered(1)
        assert pool.running() == 1
        assert pool.stats().busy == 1
        assert not pool.try_submit(nap)
        gate.open()
        wait_until(lambda: pool.try_submit(nap))


@pytest.mark.ants("B71", "D1")
def test_a_blocked_submitter_is_let_in_when_the_handler_returns() -> None:
    order: list[str] = []
    with Gate() as gate:

        def handler(_: BaseException) -> None:
            gate.hold()
            order.append("handled")

        with Pool(1, panic_handler=handler) as pool:
            pool.submit(fail)
            gate.wait_entered(1)
            blocked = Background(lambda: pool.submit(order.append, "next"))
            wait_equal(pool.waiting, 1)
            gate.open()
            blocked.result()
    assert order == ["handled", "next"]


@pytest.mark.ants("B72", "D1")
def test_release_timeout_waits_for_the_handler() -> None:
    handled = Sum()

    def handler(_: BaseException) -> None:
        nap(0.05)
        handled.add()

    pool = Pool(1, panic_handler=handler)
    pool.submit(fail)
    pool.release_timeout(30)
    assert handled.value == 1


def test_a_handler_may_use_the_pool() -> None:
    done = Sum()
    with Pool(2) as other:

        def handler(_: BaseException) -> None:
            other.submit(done.add)
            assert pool.running() == 1

        with Pool(2, panic_handler=handler) as pool:
            pool.submit(fail)
            assert pool.wait_idle(10)
        assert other.wait_idle(10)
    assert done.value == 1


@pytest.mark.ants("D3", "B74")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
@pytest.mark.parametrize("kind", KINDS)
def test_no_exception_whatsoever_ends_a_worker(kind: Kind, error: type[BaseException]) -> None:
    errors: list[BaseException] = []

    def task(item: object) -> None:
        if item == "raise":
            raise error(7)

    face = Face(kind, 1, task, panic_handler=errors.append, disable_purge=True)
    with face.pool as pool:
        face.put("raise")
        face.put("pass")
        assert pool.wait_idle(10)
        assert pool.running() == 1
        assert (pool.stats().failed, pool.stats().completed) == (1, 1)
    assert [type(each) for each in errors] == [error]


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.ants("D3", "B68")
def test_exit_and_interrupt_in_a_task_do_not_end_the_process() -> None:
    stdout, stderr = run_program("pool/exceptions.py", "exit_and_interrupt_in_a_task_do_not_end_the_process")
    assert stdout == "still here\n"
    assert "SystemExit: 3" in stderr
    assert "KeyboardInterrupt: in a task" in stderr


def test_an_endless_recursion_ends_in_a_recursion_error() -> None:
    errors: list[BaseException] = []

    def recurse() -> None:
        recurse()

    with Pool(1, panic_handler=errors.append) as pool:
        pool.submit(recurse)
    assert isinstance(errors[0], RecursionError)


def test_a_reported_exception_is_let_go_of() -> None:
    references: list[weakref.ref[BaseException]] = []
    with Pool(1, panic_handler=lambda error: references.append(weakref.ref(error)), disable_purge=True) as pool:
        pool.submit(fail)
        assert pool.wait_idle(10)

        def is_gone() -> bool:
            gc.collect()
            return references[0]() is None

        wait_until(is_gone)
