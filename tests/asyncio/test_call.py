"""AsyncPool.run() returns an object that does everything that asyncio asks of a future."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import Any

import pytest
from executors import Thing, pass_through, wait_freed
from groups import hold_and_fail
from loops import entered, fail, run, until
from support import Gate

from pyants import AsyncPool


def test_its_states() -> None:
    async def main() -> None:
        error = ValueError("mine")
        async with AsyncPool(2) as pool:
            with Gate() as gate:
                returns: asyncio.Future[Any] = pool.run(pass_through, gate, 7)
                raises: asyncio.Future[Any] = pool.run(hold_and_fail, gate, error)
                dropped = pool.run(int)
                for call in (returns, raises, dropped):
                    assert not call.done()
                    assert not call.cancelled()
                    assert call.get_loop() is asyncio.get_running_loop()
                    with pytest.raises(asyncio.InvalidStateError):
                        call.result()
                    with pytest.raises(asyncio.InvalidStateError):
                        call.exception()
                assert dropped.cancel()
                assert dropped.done()
                assert dropped.cancelled()
                for ask in (dropped.result, dropped.exception):
                    with pytest.raises(asyncio.CancelledError):
                        ask()
                gate.open()
                await asyncio.wait([returns, raises])
            assert (returns.result(), returns.exception()) == (7, None)
            assert raises.exception() is error
            with pytest.raises(ValueError, match="mine"):
                raises.result()
            for call in (returns, raises):
                assert call.done()
                assert not call.cancelled()
                assert not call.cancel()

    run(main())


def test_asyncio_takes_it_for_a_future() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            call = pool.run(int, "7")
            assert asyncio.isfuture(call)
            assert asyncio.ensure_future(call) is call
            assert await asyncio.wait_for(asyncio.shield(call), None) == 7
            # Again, and with a result that is an exception or a tuple.
            assert await call == 7
            error = StopIteration(1)
            assert await pool.run(pass_through, _open(), error) is error
            assert await pool.run(pass_through, _open(), (1, 2)) == (1, 2)

    run(main())


def _open() -> Gate:
    gate = Gate()
    gate.open()
    return gate


def test_the_message_of_a_cancellation_arrives() -> None:
    async def main() -> None:
        async with AsyncPool(1, abandon_on_cancel=True) as pool:
            with Gate() as gate:
                call = pool.run(gate.hold)

                async def waits() -> None:
                    await call

                task = asyncio.ensure_future(waits())
                await entered(gate, 1)
                await asyncio.sleep(0)
                task.cancel("why")
                with pytest.raises(asyncio.CancelledError, match="why"):
                    await task
                with pytest.raises(asyncio.CancelledError, match="why"):
                    call.result()

    run(main())


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def test_callbacks() -> None:
    async def main() -> None:
        told: list[Any] = []
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                call = pool.run(gate.hold)

                def twice(done: Any) -> None:
                    told.append("never")

                call.add_done_callback(lambda done: told.append(done is call))
                call.add_done_callback(twice)
                call.add_done_callback(lambda _: told.append("second"))
                call.add_done_callback(twice)
                assert call.remove_done_callback(twice) == 2
                assert call.remove_done_callback(twice) == 0
                context = contextvars.copy_context()
                context.run(VARIABLE.set, "given")
                VARIABLE.set("own")
                call.add_done_callback(lambda _: told.append(VARIABLE.get()))
                call.add_done_callback(lambda _: told.append(VARIABLE.get()), context=context)
                VARIABLE.set("later")
                gate.open()
                await call
                await until(lambda: len(told) == 4)
                assert told == [True, "second", "own", "given"]
                # A callback added later is called soon, but not from within add_done_callback().
                call.add_done_callback(lambda _: told.append("late"))
                assert len(told) == 4
                await asyncio.sleep(0)
                assert told[4:] == ["late"]

    run(main())


def test_a_callback_that_raises_does_not_keep_the_others() -> None:
    complaints: list[Any] = []
    error = ValueError("mine")

    async def main() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        async with AsyncPool(1) as pool:
            calls = [pool.run(int, "7") for _ in range(3)]
            for call in calls:
                call.add_done_callback(lambda _: fail(error))
                call.add_done_callback(told.append)
            assert await asyncio.gather(*calls) == [7] * 3
            await until(lambda: len(told) == 3)

    run(main())
    assert complaints == [error] * 3


def test_an_exception_that_nobody_asks_for_is_reported_once() -> None:
    reported: list[BaseException] = []
    error, seen = ValueError("never asked for"), ValueError("asked for")

    async def main() -> None:
        async with AsyncPool(1, panic_handler=reported.append) as pool:
            call = pool.run(fail, seen)
            await asyncio.wait([call])
            assert call.exception() is seen
            del call
            pool.run(fail, error)
            await until(lambda: reported != [])
            submitted = await pool.submit(fail, seen)
            await asyncio.wait([submitted])
            with pytest.raises(ValueError, match="asked for"):
                await submitted
            del submitted

    run(main())
    assert reported == [error]


def test_a_cycle_through_a_callback_is_freed() -> None:
    references: list[weakref.ref[Thing]] = []

    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                for _ in range(2):
                    call, thing = pool.run(int), Thing()
                    references.append(weakref.ref(thing))
                    call.add_done_callback(lambda _, own=(call, thing): None)  # type: ignore[misc]
                    del call, thing
                gate.open()
                await held

    run(main())
    wait_freed(*references)


def test_a_long_chain_of_results_is_dropped() -> None:
    # Each holds the one before. If one were freed within another, the stack would overflow.
    def give(former: Any) -> Any:
        return former

    async def main() -> None:
        async with AsyncPool(1) as pool:
            call: Any = None
            for number in range(20_000):
                call = pool.run(give, call)
                if number % 500 == 0:
                    await asyncio.wait([call])
            # There is one worker: when the last call is done, all are.
            await asyncio.wait([call])
            del call
            assert await pool.run(int, "7") == 7

    run(main())
