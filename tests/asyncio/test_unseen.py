"""An exception that nobody retrieves is reported when its call is freed: never on the loop's thread, whatever the
thread that frees it is doing.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from loops import collect, each_kind, fail, run, until
from support import DEADLINE, Gate, Sum, own_logger, run_program

from pyants import AsyncPool


@each_kind
def test_a_dropped_call_is_told_of_on_a_worker_s_thread(make: Any) -> None:
    error = ValueError("nobody asks for it")
    told: list[tuple[BaseException, str]] = []
    gate = Gate()

    def handler(raised: BaseException) -> None:
        told.append((raised, threading.current_thread().name))
        gate.hold()

    async def main() -> None:
        async with make(2, panic_handler=handler, name="mine") as pool:
            call = pool.run(fail, error)
            await asyncio.wait([call])
            assert told == []
            del call
            collect()
            await until(lambda: gate.inside == 1)
            # A slow handler does not block the loop.
            assert await pool.run(int, "7") == 7
            gate.open()

    run(main())
    ((raised, name),) = told
    assert raised is error
    assert name.startswith("mine")


def test_it_is_logged_where_the_pool_takes_up_nothing_more() -> None:
    logger, records = own_logger()
    error = ValueError("nobody asks for it")
    told: list[BaseException] = []

    async def main() -> None:
        async with AsyncPool(1, panic_handler=told.append, logger=logger) as pool:
            call = pool.run(fail, error)
            await asyncio.wait([call])
        del call, pool

    run(main())
    collect()
    (record,) = records.records
    assert record.getMessage() == "exception in task loops.fail"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert told == []


def test_one_that_map_lets_go_of() -> None:
    error, main_thread = ValueError("the second"), threading.current_thread()
    told: list[tuple[BaseException, bool]] = []

    def handler(raised: BaseException) -> None:
        told.append((raised, threading.current_thread() is main_thread))

    begun = threading.Event()

    def call(number: int) -> None:
        if number == 0:
            begun.wait(DEADLINE)
            raise KeyError("the first")
        begun.set()
        raise error

    async def main() -> None:
        async with AsyncPool(2, panic_handler=handler) as pool:
            with pytest.raises(KeyError, match="the first"):
                async for _ in pool.map(call, range(2)):
                    pass
            await until(lambda: told != [])

    run(main())
    assert told == [(error, False)]


@each_kind
def test_a_refusal_that_nobody_awaits_is_logged(make: Any) -> None:
    logger, records = own_logger()

    async def main() -> None:
        async with make(1, nonblocking=True, logger=logger) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                asked_for = pool.run(int)
                assert asked_for.exception() is not None
                pool.run(int)
                del asked_for
                gate.open()
                await held

    run(main())
    collect()
    (record,) = records.records
    assert record.getMessage() == "nobody awaited the refused call of builtins.int"


# --- a drop while an exception is on its way ---


def script(name: str) -> str:
    return run_program("asyncio/unseen.py", name)[0]


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_failed_call_dropped_while_an_exception_is_on_its_way() -> None:
    assert script("a_failed_call_dropped") == "told {'ValueError'} 120\n"


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_loop_dropped_with_its_mail_while_an_exception_is_on_its_way() -> None:
    assert script("a_loop_dropped_with_its_mail") == "NameError True\n"


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_pool_dropped_with_waiting_calls_while_an_exception_is_on_its_way() -> None:
    assert script("a_pool_dropped_with_waiting_calls") == "NameError True\nTrue\n"


def test_a_great_many_dropped_at_once_are_each_told_of() -> None:
    told = Sum()

    async def main() -> None:
        async with AsyncPool(2, queue_size=None, panic_handler=lambda _: told.add()) as pool:
            calls = [pool.run(fail, ValueError(str(number))) for number in range(500)]
            await asyncio.wait(calls)
            calls.clear()
            collect()
            await until(lambda: told.value == 500)

    run(main())
