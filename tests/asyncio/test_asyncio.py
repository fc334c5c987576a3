"""asyncio, and libraries that use its private attributes, work with a call and with the loop that waits for it."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from loops import entered, fail, run
from support import Gate, Sum

from pyants import AsyncCall, AsyncPool


def test_a_call_is_an_instance_of_asyncio_s_future() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            call = pool.run(int, "7")
            assert isinstance(call, asyncio.Future)
            assert isinstance(call, AsyncCall)
            assert asyncio.isfuture(call)
            assert type(call) is AsyncCall
            assert asyncio.ensure_future(call) is call
            assert await call == 7
            # tornado.gen.multi() does this: it checks each call, and adds callbacks to those that are not done.
            calls = [pool.run(int, str(number)) for number in range(10)]
            assert all(isinstance(call, asyncio.Future) for call in calls)
            done = Sum()
            for call in calls:
                call.add_done_callback(lambda _: done.add())
            await asyncio.wait(calls)
            assert done.value == 10
            with pytest.raises(AttributeError):
                call.__class__ = int  # type: ignore[assignment]

    run(main())


def test_gather_tells_the_message_of_a_cancellation() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                call = pool.run(int)
                gathered = asyncio.gather(call, return_exceptions=True)
                call.cancel("the reason")
                (error,) = await gathered
                assert isinstance(error, asyncio.CancelledError)
                assert error.args == ("the reason",)
                gate.open()
                await held

    run(main())


@pytest.mark.thread_unsafe(reason="reads the log of asyncio, which is the process's")
@pytest.mark.parametrize("how", ["a result", "an exception", "a cancellation"])
def test_debug_mode_names_the_task_whose_step_was_slow(how: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = 0.0  # The loop's clock, so that only the task's step takes time, however slow the machine is.

    async def slow(pool: AsyncPool, gate: Gate) -> None:
        nonlocal clock
        try:
            if how == "an exception":
                await pool.run(fail, ValueError("mine"))
            else:
                await pool.run(gate.hold)
        except (ValueError, asyncio.CancelledError):
            pass
        clock += 7200.0

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 3600.0
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                task = asyncio.create_task(slow(pool, gate), name="mine")
                if how != "an exception":
                    await entered(gate, 1)
                if how == "a cancellation":
                    task.cancel()
                begun = loop.time()
                setattr(loop, "time", lambda: begun + clock)  # noqa: B010 - a method cannot be assigned to
                gate.open()
                await asyncio.wait([task])
                delattr(loop, "time")

    with caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main(), debug=True)
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Executing")]
    assert any(message.startswith("Executing <Task") and "name='mine'" in message for message in told), told
    assert not any("_Collect" in message for message in told), told


def test_callbacks_in_debug_mode_keep_their_order() -> None:
    async def main() -> None:
        told: list[int] = []
        async with AsyncPool(1, queue_size=None) as pool:
            calls = [pool.run(int) for _ in range(20)]
            for number, call in enumerate(calls):
                call.add_done_callback(lambda _, number=number: told.append(number))  # type: ignore[misc]
            await asyncio.wait(calls)
            await asyncio.sleep(0)
        assert told == list(range(20))

    run(main(), debug=True)


class Discreet(asyncio.SelectorEventLoop):
    """A loop whose private attributes only asyncio itself can read."""

    hidden: tuple[str, ...] = ()

    def __getattribute__(self, name: str) -> Any:
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        if name in type(self).hidden and "base_events" not in caller.f_code.co_filename:
            raise AttributeError(name)
        return super().__getattribute__(name)


class NoReady(Discreet):
    hidden = ("_ready",)


class NoRunOnce(Discreet):
    hidden = ("_run_once",)


class OtherRunOnce(asyncio.SelectorEventLoop):
    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]


class LateReady(Discreet):
    """The loop has the private attribute when the pool looks first, and later no more."""


@pytest.mark.parametrize("kind", [NoReady, NoRunOnce, OtherRunOnce, LateReady])
def test_a_loop_without_the_private_parts(kind: Any) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            assert await pool.run(int, "7") == 7
            if kind is LateReady:
                kind.hidden = ("_ready",)
            for number in range(20):
                assert await pool.run(abs, number) == number
            assert await asyncio.gather(*(pool.run(abs, number) for number in range(100))) == list(range(100))
            assert [number async for number in pool.map(abs, range(100))] == list(range(100))

    complaints: list[Any] = []
    loop: asyncio.AbstractEventLoop = kind()
    try:
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert complaints == []


@pytest.mark.thread_unsafe(reason="changes asyncio")
def test_an_asyncio_without_the_private_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            for number in range(20):
                assert await pool.run(abs, number) == number

    once = vars(asyncio.BaseEventLoop)["_run_once"]
    monkeypatch.delattr(asyncio.BaseEventLoop, "_run_once")
    monkeypatch.setattr(asyncio.SelectorEventLoop, "_run_once", once, raising=False)
    run(main())
    # asyncio itself gets at that attribute in another way.
    loop = asyncio.SelectorEventLoop()
    monkeypatch.delattr(asyncio, "BaseEventLoop")
    loop.run_until_complete(main())
    loop.close()
