"""The programs of tests/asyncio/test_loops.py."""

from __future__ import annotations

import asyncio
import gc
import importlib
import weakref
from typing import TYPE_CHECKING, Any

import psutil
from loops import everything
from program import keep_locals, main
from support import Gate, wait_until

from pyants import AsyncPool

if TYPE_CHECKING:
    from collections.abc import Callable


def twenty_thousand_gathered_calls() -> None:
    async def gathered(pool: AsyncPool) -> None:
        assert sum(await asyncio.gather(*(pool.run(int, "1") for _ in range(20_000)))) == 20_000

    def resident() -> int:
        gc.collect()
        return psutil.Process().memory_info().rss

    async def main() -> None:
        async with AsyncPool(8) as pool:
            for _ in range(3):
                await gathered(pool)
            before = resident()
            for _ in range(4):
                await gathered(pool)
            # If all calls of one round leaked, it would be more than 20 MiB.
            assert resident() - before < 10 << 20, (before, resident())
            assert pool.pool.running() <= 8

    asyncio.run(main())


def with_uvloop(debug: str) -> None:
    keep_locals()
    uvloop = importlib.import_module("uvloop")
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    errors: list[BaseException] = []
    pool = AsyncPool(2, panic_handler=errors.append)

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 3600
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await everything(pool)
        async with AsyncPool(2) as own:
            await everything(own)
            held_back = Gate()
            held = [own.run(held_back.hold) for _ in range(2)]
            calls: list[Callable[..., Any]] = [own.run, own.submit]
            for call in calls:
                try:
                    await asyncio.wait_for(call(print, "never"), 0.01)
                except TimeoutError:
                    print("timeout")
            held_back.open()
            await asyncio.gather(*held)

    for _ in range(3):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=debug == "True") as runner:
            runner.run(main())
    gc.collect()
    wait_until(lambda: gc.collect() >= 0 and not any(loop() for loop in loops))

    gate = Gate()

    def fail() -> None:
        gate.hold()
        raise ValueError("mine")

    async def start() -> None:
        pool.run(fail)
        gate.wait_entered(1)

    # This loop is closed while the call runs.
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    loop.run_until_complete(start())
    loop.close()
    gate.open()
    wait_until(lambda: len(errors) == 1)
    print(*errors)


if __name__ == "__main__":
    main(globals())
