"""AsyncPool.submit() makes a producer wait for the workers, while its loop goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from executors import pass_through
from loops import Ticks, each_kind, entered, fail, run, until
from support import Gate, Sum

from pyants import AsyncPool, BrokenPoolError, PoolClosedError, PoolOverloadError


@each_kind
def test_it_gives_an_awaitable_of_the_result(make: Any) -> None:
    async def main() -> None:
        async with make(2) as pool:
            call = await pool.submit(int, "ff", base=16)
            assert asyncio.isfuture(call)
            assert await call == 255
            assert await (await pool.submit(dict, fn=1, self=2)) == {"fn": 1, "self": 2}
            error = ValueError("mine")
            failing = await pool.submit(fail, error)
            with pytest.raises(ValueError, match="mine") as raised:
                await failing
            assert raised.value is error

    run(main())


@each_kind
def test_with_a_permit_it_does_not_wait(make: Any) -> None:
    async def main() -> None:
        async with make(3) as pool:
            with Gate() as gate:
                for count in range(3):
                    submitting = pool.submit(gate.hold)
                    # It does not need the loop.
                    with pytest.raises(StopIteration) as returned:
                        submitting.send(None)
                    assert asyncio.isfuture(returned.value.value)
                    gate.wait_entered(count + 1)

    run(main())


@each_kind
def test_a_full_pool_makes_the_producer_wait_and_not_the_loop(make: Any) -> None:
    async def main() -> None:
        submitted = Sum()
        async with make(2) as pool:
            with Gate() as gate:

                async def produce() -> list[asyncio.Future[int]]:
                    calls: list[asyncio.Future[int]] = []
                    for number in range(10):
                        calls.append(await pool.submit(pass_through, gate, number))
                        submitted.add()
                    return calls

                producer = asyncio.ensure_future(produce())
                ticks = Ticks()
                await entered(gate, 2)
                await until(lambda: submitted.value == 2)
                await until(lambda: pool.pool.waiting() == 1)
                await ticks.some(20)
                assert submitted.value == 2
                for count in range(1, 4):
                    gate.let(1)
                    await until(lambda count=count: submitted.value == 2 + count)  # type: ignore[misc]
                    await ticks.some()
                    # The producer is never more than one call ahead of the workers.
                    assert submitted.value == 2 + count
                    assert gate.entered == 2 + count
                gate.open()
                assert await asyncio.gather(*await producer) == list(range(10))
                await ticks.stop()

    run(main())


def test_a_queue_gives_permits() -> None:
    async def main() -> None:
        async with AsyncPool(1, queue_size=3) as pool:
            with Gate() as gate:
                calls = [await pool.submit(pass_through, gate, number) for number in range(4)]
                fifth = asyncio.ensure_future(pool.submit(pass_through, gate, 4))
                await until(lambda: pool.pool.waiting() == 1)
                assert not fifth.done()
                gate.open()
                assert await asyncio.gather(*calls, await fifth) == list(range(5))

    run(main())


@each_kind
def test_several_producers_are_served_in_their_turn(make: Any) -> None:
    async def main() -> list[int]:
        order: list[int] = []
        async with make(1) as pool:
            with Gate() as gate:
                held = await pool.submit(gate.hold)

                async def produce(number: int) -> asyncio.Future[None]:
                    call: asyncio.Future[None] = await pool.submit(order.append, number)
                    return call

                producers: list[asyncio.Task[asyncio.Future[None]]] = []
                for number in range(20):
                    producers.append(asyncio.ensure_future(produce(number)))
                    await until(lambda number=number: pool.pool.waiting() == number + 1)  # type: ignore[misc]
                gate.open()
                await asyncio.gather(held, *await asyncio.gather(*producers))
        return order

    assert run(main()) == list(range(20))


@each_kind
def test_it_returns_when_the_call_starts_and_not_when_it_ends(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            with Gate() as first, Gate() as second:
                held = await pool.submit(first.hold)
                waiting = asyncio.ensure_future(pool.submit(pass_through, second, 7))
                await until(lambda: pool.pool.waiting() == 1)
                first.open()
                call = await waiting
                await entered(second, 1)
                assert not call.done()
                second.open()
                assert await call == 7
                await held

    run(main())


def test_a_call_that_may_not_wait_is_refused() -> None:
    async def main() -> None:
        async with AsyncPool(1, max_blocking_tasks=1) as pool:
            with Gate() as gate:
                held = await pool.submit(gate.hold)
                waiting = asyncio.ensure_future(pool.submit(int, "7"))
                await until(lambda: pool.pool.waiting() == 1)
                for _ in range(3):
                    with pytest.raises(PoolOverloadError):
                        await pool.submit(int)
                assert pool.pool.stats().rejected == 3
                gate.open()
                assert await (await waiting) == 7
                await held

    run(main())


@each_kind
def test_a_release_while_producers_wait(make: Any) -> None:
    async def main() -> None:
        ran = Sum()
        async with make(1) as pool:
            with Gate() as gate:
                held = await pool.submit(pass_through, gate, 7)
                waiting = [asyncio.ensure_future(pool.submit(ran.add)) for _ in range(2000)]
                await until(lambda: pool.pool.waiting() == 2000)
                pool.pool.release()
                errors = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(error) for error in errors} == {PoolClosedError}
                gate.open()
                assert await held == 7
        assert ran.value == 0

    run(main())


def test_a_pool_that_breaks_while_producers_wait() -> None:
    async def main() -> None:
        gate = Gate()

        def initialize() -> None:
            gate.hold()
            raise ValueError("not today")

        async with AsyncPool(1, initializer=initialize, retry_initializer=False, panic_handler=reported.append) as pool:
            accepted = await pool.submit(int)
            waiting = [asyncio.ensure_future(pool.submit(int)) for _ in range(5)]
            await until(lambda: pool.pool.waiting() == 5)
            gate.open()
            errors: list[Any] = await asyncio.gather(accepted, *waiting, return_exceptions=True)
            assert {type(error) for error in errors} == {BrokenPoolError}

    reported: list[BaseException] = []
    run(main())
    # Only the initializer's failure is reported, not the refusal.
    assert [str(error) for error in reported] == ["not today"]


def test_leaving_the_block_waits_for_producers_in_other_tasks() -> None:
    async def main() -> None:
        with Gate() as gate:
            async with AsyncPool(1) as pool:
                held = await pool.submit(gate.hold)
                waiting = [asyncio.ensure_future(pool.submit(int, str(number))) for number in range(5)]
                await until(lambda: pool.pool.waiting() == 5)
                gate.open()
            # The calls were waiting already, and were run.
            calls = await asyncio.gather(*waiting)
            assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
            await held

    run(main())
