"""The programs of tests/asyncio/test_exit.py that fork."""

from __future__ import annotations

import asyncio

from program import evaluate, in_child, main
from support import Gate

from pyants import AsyncPool, PoolClosedError

gate = Gate()


async def entered(count: int) -> None:
    while gate.entered < count:
        await asyncio.sleep(0.002)


async def use(pool: AsyncPool) -> None:
    assert await pool.run(int, "7") == 7
    assert await (await pool.submit(int, "8")) == 8
    assert [item async for item in pool.map(int, "123")] == [1, 2, 3]
    async with pool.group(results=True) as group:
        for _ in range(20):
            group.run(int)
    assert group.results() == [0] * 20


def a_child_can_use_the_pool(make: str) -> None:
    pool: AsyncPool = evaluate(make, AsyncPool=AsyncPool)
    asyncio.run(use(pool))

    def child() -> None:
        asyncio.run(use(pool))
        asyncio.run(pool.aclose())
        print("child")

    in_child(child)
    asyncio.run(use(pool))
    asyncio.run(pool.aclose())
    print("parent")


def a_child_of_a_busy_loop() -> None:
    pool = AsyncPool(2)

    def child() -> None:
        asyncio.run(use(pool))
        # None of the parent's calls are waited for.
        asyncio.run(pool.aclose())
        print("child")

    async def main() -> None:
        calls = [pool.run(gate.hold) for _ in range(10)]
        await entered(2)
        in_child(child)
        gate.open()
        await asyncio.gather(*calls)
        await use(pool)
        await pool.aclose()
        print("parent")

    asyncio.run(main())


def a_child_of_a_closed_pool() -> None:
    pool = AsyncPool(2)
    asyncio.run(use(pool))
    asyncio.run(pool.aclose())

    def child() -> None:
        try:
            asyncio.run(use(pool))
        except PoolClosedError:
            print("closed")

    in_child(child)


if __name__ == "__main__":
    main(globals(), forks=True)
