"""The programs of tests/asyncio/test_unseen.py: what is dropped while an exception propagates must not replace it."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from typing import Any

import pytest
from program import keep_locals, main

from pyants import AsyncPool, Pool

# It is never assigned: its use is the exception.
missing: object


def use(dropped: object, other: object) -> None:
    """Is never called: `dropped` is freed because `missing`, which comes after it, raises a NameError."""


def boom() -> None:
    raise ValueError("nobody asks for it")


def a_failed_call_dropped() -> None:
    log = io.StringIO()
    logging.basicConfig(stream=log)
    told: list[str] = []

    def handler(error: BaseException) -> None:
        told.append(type(error).__name__)
        try:
            raise KeyError("of the handler's own")
        except KeyError:
            pass

    async def failed(pool: AsyncPool) -> list[Any]:
        call = pool.run(boom)
        await asyncio.wait([call])
        return [call]

    async def main(pool: AsyncPool) -> None:
        for _ in range(20):
            calls = await failed(pool)
            with pytest.raises(NameError, match="missing"):
                use(calls.pop(), other=missing)  # noqa: F821
            # The same in native code: max() drops its arguments while it raises.
            calls = await failed(pool)
            with pytest.raises(TypeError, match="not supported"):
                max(calls.pop(), *(await failed(pool)))
        await pool.aclose()

    asyncio.run(main(AsyncPool(1)))
    asyncio.run(main(AsyncPool(1, panic_handler=handler)))
    print("told", set(told), len(told) + log.getvalue().count("Traceback"))


def a_loop_dropped_with_its_mail() -> None:
    keep_locals()
    told, gate = threading.Event(), threading.Event()
    pool = AsyncPool(1, panic_handler=lambda _: told.set())

    def fail() -> None:
        gate.wait(30)
        boom()

    async def main() -> Any:
        call = pool.run(fail)
        await asyncio.sleep(0)
        return call

    loop = asyncio.new_event_loop()
    call = loop.run_until_complete(main())
    gate.set()
    pool.pool.release()
    pool.pool.wait_idle(30)  # The result is in the loop's mailbox, and the loop has not fetched it.
    loops = [loop]
    del call, loop

    def drop() -> None:
        # The loop is freed together with its callbacks, while the NameError propagates.
        use(loops.pop(), other=missing)  # noqa: F821

    try:
        drop()
    except NameError as error:
        print("NameError", "missing" in str(error))


def a_pool_dropped_with_waiting_calls() -> None:
    gate = threading.Event()

    async def main() -> None:
        pools = [Pool(1)]
        held = AsyncPool.over(pools[0]).run(gate.wait, 30)
        calls = [AsyncPool.over(pools[0]).run(int) for _ in range(3)]
        for call in calls:
            call.cancel()
        calls.clear()
        try:
            use(pools.pop(), other=missing)
        except NameError as error:
            print("NameError", "missing" in str(error))
        gate.set()
        print(await held)

    asyncio.run(main())


if __name__ == "__main__":
    main(globals())
