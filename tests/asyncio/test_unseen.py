"""An exception that nobody asks for: told when the call is dropped, in any state of the thread, never on the loop's."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from loops import collect, each_kind, fail, run, until
from support import DEADLINE, Gate, Sum, own_logger, run_script

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
            # A handler that takes its time does not stop the loop.
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

DROPS = """
    import asyncio, io, logging
    from pyants import AsyncPool

    log = io.StringIO()
    logging.basicConfig(stream=log)
    told = []

    def handler(error):
        told.append(type(error).__name__)
        try:
            raise KeyError("of the handler's own")
        except KeyError:
            pass

    def boom():
        raise ValueError("nobody asks for it")

    def use(*args, **kwargs): ...

    async def failed(pool):
        call = pool.run(boom)
        await asyncio.wait([call])
        return [call]

    async def main():
        for options in ({}, {"panic_handler": handler}):
            pool = AsyncPool(1, **options)
            for _ in range(20):
                calls = await failed(pool)
                try:
                    use(calls.pop(), other=missing_name)
                except NameError as error:
                    assert "missing_name" in str(error), error
                else:
                    raise AssertionError("it was lost")
                # The same in native code: the sort drops its list while it raises.
                calls = await failed(pool)
                try:
                    max(calls.pop(), *[call for call in await failed(pool)])
                except TypeError as error:
                    assert "not supported" in str(error), error
                else:
                    raise AssertionError("it was lost")
            await pool.aclose()

    asyncio.run(main())
    print("told", set(told), len(told) + log.getvalue().count("Traceback"))
"""


def test_a_failed_call_dropped_while_an_exception_is_on_its_way() -> None:
    stdout, stderr = run_script(DROPS)
    assert stdout == "told {'ValueError'} 120\n", stderr


CLOSED_LOOP = """
    import asyncio, threading
    from pyants import AsyncPool

    told = threading.Event()
    gate = threading.Event()

    def boom():
        gate.wait(30)
        raise ValueError("nobody asks for it")

    pool = AsyncPool(1, panic_handler=lambda error: told.set())

    def drop(loops):
        # The loop goes with what it was to call, while the NameError is on its way.
        use(loops.pop(), other=missing_name)

    def use(*args, **kwargs): ...

    async def main():
        call = pool.run(boom)
        await asyncio.sleep(0)
        return call

    loop = asyncio.new_event_loop()
    call = loop.run_until_complete(main())
    gate.set()
    pool.pool.release()
    pool.pool.wait_idle(30)  # The letter is there, and the loop has not looked.
    loops = [loop]
    loop.close = None
    del call, loop
    try:
        drop(loops)
    except NameError as error:
        print("NameError", "missing_name" in str(error))
"""


def test_a_loop_dropped_with_its_mail_while_an_exception_is_on_its_way() -> None:
    code = CLOSED_LOOP.replace("    loop.close = None\n", "")
    stdout, stderr = run_script(code)
    assert stdout == "NameError True\n", stderr


def test_a_pool_dropped_with_waiting_calls_while_an_exception_is_on_its_way() -> None:
    stdout, stderr = run_script("""
        import asyncio, threading
        from pyants import AsyncPool, Pool

        gate = threading.Event()

        def use(*args, **kwargs): ...

        async def main():
            pools = [Pool(1)]
            held = AsyncPool.over(pools[0]).run(gate.wait, 30)
            calls = [AsyncPool.over(pools[0]).run(int) for _ in range(3)]
            for call in calls:
                call.cancel()
            calls.clear()
            try:
                use(pools.pop(), other=missing_name)
            except NameError as error:
                print("NameError", "missing_name" in str(error))
            gate.set()
            print(await held)

        asyncio.run(main())
    """)
    assert stdout == "NameError True\nTrue\n", stderr


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
