"""The messages of errors: the limit that was met and its option, the name probably meant, and what to do instead."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from loops import entered, run
from support import DEADLINE, KINDS, Background, Face, Gate, Kind, wait_equal

from pyants import (
    AsyncPool,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolDeadlockError,
    PoolExecutor,
    PoolOverloadError,
    PoolWithFunc,
)
from pyants._types import PoolOptions

# --- overload ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("queue_size", [0, 3])
def test_a_pool_that_does_not_wait(kind: Kind, queue_size: int) -> None:
    with Gate() as gate:
        face = Face(kind, 2, gate.hold, nonblocking=True, queue_size=queue_size)
        with face.pool:
            for _ in range(2 + queue_size):
                face.put(None)
            with pytest.raises(
                PoolOverloadError,
                match=rf"{2 + queue_size} tasks are in flight, as many as capacity=2 and queue_size={queue_size} allow,"
                r".*\(nonblocking\)$",
            ):
                face.put(None)
            face.pool.tune(1)
            with pytest.raises(PoolOverloadError, match="capacity=1 and"):
                face.put(None)
            gate.open()


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_that_wait(kind: Kind) -> None:
    with Gate() as gate:
        face = Face(kind, 1, gate.hold, max_blocking_tasks=2)
        with face.pool as pool:
            face.put(None)
            waiting = [Background(lambda: face.put(None)) for _ in range(2)]
            wait_equal(pool.waiting, 2)
            with pytest.raises(PoolOverloadError, match=r"2 submitters wait .* max_blocking_tasks=2 allows$"):
                face.put(None)
            gate.open()
            for each in waiting:
                each.result()


def test_too_many_async_calls_that_wait() -> None:
    async def main() -> None:
        async with AsyncPool(1, max_blocking_tasks=1) as pool:
            with Gate() as gate:
                pool.run(gate.hold)
                await entered(gate, 1)
                waiting = pool.run(int)
                with pytest.raises(PoolOverloadError, match="max_blocking_tasks=1"):
                    await pool.run(int)
                gate.open()
                await waiting

    run(main())


def test_an_executor_with_a_limit() -> None:
    with PoolExecutor(1, queue_size=1, nonblocking=True) as executor, Gate() as gate:
        for _ in range(2):
            executor.submit(gate.hold)
        with pytest.raises(PoolOverloadError, match="capacity=1 and queue_size=1"):
            executor.submit(int)
        gate.open()


# --- unknown options ---


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("thread_name_prefix", "name"),
        ("max_workers", "capacity"),
        ("processes", "capacity"),
        ("maxsize", "queue_size"),
        ("queue", "queue_size"),
        ("queuesize", "queue_size"),
        ("queue_sise", "queue_size"),
        ("timeout", "expiry_duration"),
        ("expiry", "expiry_duration"),
        ("expire_duration", "expiry_duration"),
        ("non_blocking", "nonblocking"),
        ("blocking", "nonblocking"),
        ("max_blocking", "max_blocking_tasks"),
        ("on_error", "panic_handler"),
        ("initialiser", "initializer"),
        ("init_args", "initargs"),
        ("Name", "name"),
        ("stacksize", "stack_size"),
        ("prealloc", "pre_alloc"),
        ("log", "logger"),
        ("nonsense", None),
        ("ü\ud800", None),
    ],
)
def test_an_unknown_option_suggests_the_near_one(given: str, meant: str | None) -> None:
    makes: list[Any] = [
        functools.partial(Pool, 1),
        functools.partial(PoolWithFunc, 1, int),
        functools.partial(MultiPool, 1, 1),
        functools.partial(MultiPoolWithFunc, 1, 1, int),
        functools.partial(AsyncPool, 1),
    ]
    for make in makes:
        with pytest.raises(TypeError) as raised:
            make(**{given: 1})
        message = f"unknown option {given!r}" + (f": did you mean '{meant}'?" if meant else "")
        assert str(raised.value) == message


def test_every_option_is_known_to_the_suggestions() -> None:
    make: Any = Pool
    for name in PoolOptions.__annotations__:
        with pytest.raises(TypeError, match=f"did you mean '{name}'"):
            make(1, **{f"{name}x": 1})


def test_an_executor_names_an_unknown_option() -> None:
    make: Any = PoolExecutor
    with pytest.raises(TypeError, match="'nam'"):
        make(1, nam="x")


# --- deadlocks ---


def test_a_deadlock_in_submit_says_what_to_do_instead() -> None:
    messages: list[str] = []
    with Pool(1) as pool:

        def task() -> None:
            try:
                pool.submit(int)
            except PoolDeadlockError as error:
                messages.append(str(error))

        pool.submit(task)
        assert pool.wait_idle(DEADLINE)
    (message,) = messages
    assert re.search(r"^deadlock: submit would wait .*; have tasks call try_submit\(\)", message)


def test_a_deadlock_in_result_says_what_to_do_instead() -> None:
    with PoolExecutor(1) as executor:
        message = str(executor.submit(lambda: executor.submit(int).result()).exception(DEADLINE))
    assert re.search(r"^deadlock: result would wait .*; have tasks not wait for other tasks of their own pool", message)


def test_a_deadlock_at_the_limit_of_a_group_says_what_to_do_instead() -> None:
    with Pool(2) as pool, pool.group(limit=1) as group:

        def call() -> str:
            with pytest.raises(PoolDeadlockError) as raised:
                group.submit(int)
            return str(raised.value)

        message = group.submit(call).result(DEADLINE)
    assert "limit" in message
    assert "try_submit()" in message
