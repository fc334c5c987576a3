"""AsyncPool.map() and map_unordered(): the results are an async iterator, and the input is read only so far ahead."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from executors import HAS_GIL, double, pass_through
from loops import as_async, each_kind, entered, run, until
from support import Gate, Sum

from pyants import AsyncPool, MultiPool, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

each_map = pytest.mark.parametrize("name", ["map", "map_unordered"])
each_source = pytest.mark.parametrize(
    "source", [pytest.param(list, id="list"), pytest.param(iter, id="iterator"), pytest.param(as_async, id="async")]
)


@each_kind
@each_map
@each_source
def test_all_results_come(make: Any, name: str, source: Any) -> None:
    async def main() -> None:
        async with make(3) as pool:
            for count in (0, 1, 2, 3, 4, 50):
                results = [result async for result in getattr(pool, name)(double, source(range(count)))]
                if name == "map_unordered":
                    results.sort()
                assert results == [number * 2 for number in range(count)]

    run(main())


def test_map_keeps_the_order_and_map_unordered_does_not_wait_for_the_slow() -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            with Gate() as gate:

                def call(number: int) -> int:
                    if number == 0:
                        gate.hold()
                    return number

                first: list[int] = []
                async with aclosing(pool.map_unordered(call, range(5))) as results:
                    async for result in results:
                        first.append(result)
                        if len(first) == 4:
                            gate.open()
                assert first == [1, 2, 3, 4, 0]
            with Gate() as gate:
                ahead = asyncio.ensure_future(anext(pool.map(call, range(5))))
                await entered(gate, 1)
                assert not ahead.done()
                gate.open()
                assert await ahead == 0

    run(main())


@each_map
@each_source
@pytest.mark.parametrize("capacity", [1, 3])
def test_it_reads_ahead_no_further_than_the_capacity(name: str, source: Any, capacity: int) -> None:
    async def main() -> None:
        read, taken = Sum(), Sum()

        def items() -> Iterator[int]:
            for number in range(20):
                read.add()
                yield number

        async def async_items() -> AsyncIterator[int]:
            for number in items():
                yield number

        async with AsyncPool(capacity) as pool:
            with Gate() as gate:

                async def consume() -> None:
                    given = async_items() if source is as_async else items()
                    async for _ in getattr(pool, name)(gate.hold, given):
                        taken.add()
                        await turns.acquire()

                turns = asyncio.Semaphore(0)
                consumer = asyncio.ensure_future(consume())
                await entered(gate, capacity)
                assert read.value == capacity
                gate.open()
                for count in range(1, 21):
                    await until(lambda count=count: taken.value == count)  # type: ignore[misc]
                    # A slow consumer slows the reading down.
                    assert read.value <= count + capacity - 1
                    turns.release()
                await consumer
            assert gate.peak <= capacity
            assert read.value == 20

    run(main())


@each_map
def test_an_endless_input(name: str) -> None:
    async def main() -> None:
        taken: list[int] = []
        async with AsyncPool(4) as pool, aclosing(getattr(pool, name)(double, itertools.count())) as results:
            async for result in results:
                taken.append(result)
                if len(taken) == 100:
                    break
        assert len(taken) == 100

    run(main())


@each_map
def test_without_a_limit_of_capacity_there_is_one(name: str) -> None:
    async def main() -> None:
        async with AsyncPool.over(MultiPool(2, 3)) as pool:
            assert [result async for result in getattr(pool, name)(int, ["7"] * 10)] == [7] * 10
            pool.pool.release()
        read = Sum()

        def items() -> Iterator[int]:
            while True:
                read.add()
                yield 0

        async with AsyncPool(0) as pool, aclosing(getattr(pool, name)(int, items())) as results:
            assert pool.pool.cap() == -1
            assert await anext(results) == 0
            assert read.value <= 1024

    run(main())


@each_map
def test_the_first_exception_ends_it_and_takes_back_what_has_not_started(name: str) -> None:
    async def main() -> None:
        error = ValueError("mine")
        ran = Sum()

        def call(number: int) -> int:
            if number == 2:
                raise error
            ran.add()
            return number

        async with AsyncPool(1) as pool:
            results: list[int] = []
            with pytest.raises(ValueError, match="mine") as raised:
                async for result in getattr(pool, name)(call, range(100)):
                    results.append(result)
            assert raised.value is error
            assert results == [0, 1]
            assert await pool.run(int, "7") == 7
        assert ran.value <= 3

    run(main())


@each_map
def test_further_exceptions_are_reported(name: str) -> None:
    reported: list[BaseException] = []

    async def main() -> None:
        ready = threading.Barrier(3, timeout=30)

        def call(number: int) -> None:
            ready.wait()
            raise ValueError(number)

        async with AsyncPool(3, panic_handler=reported.append) as pool:
            with pytest.raises(ValueError) as raised:
                async for _ in getattr(pool, name)(call, range(3)):
                    pass
            await until(lambda: len(reported) == 2)
        numbers = [error.args[0] for error in [raised.value, *reported]]
        assert sorted(numbers) == [0, 1, 2]

    run(main())
    assert len(reported) == 2


@each_map
@each_source
def test_an_input_that_fails(name: str, source: Any) -> None:
    error = KeyError("no more")

    def items() -> Iterator[int]:
        yield from range(5)
        raise error

    async def async_items() -> AsyncIterator[int]:
        for number in items():
            yield number

    async def main() -> None:
        results: list[int] = []
        async with AsyncPool(2) as pool:
            with pytest.raises(KeyError) as raised:
                async for result in getattr(pool, name)(double, async_items() if source is as_async else items()):
                    results.append(result)
            assert raised.value is error
            assert await pool.run(int, "7") == 7
        assert set(results) <= {0, 2, 4, 6, 8}

    run(main())


@each_map
def test_an_async_input_is_not_kept(name: str) -> None:
    closed: list[str] = []

    async def items() -> AsyncGenerator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append("closed")

    async def main() -> None:
        async with AsyncPool(2) as pool:
            # An input iterator that somebody keeps can be read further.
            kept = items()
            async with aclosing(getattr(pool, name)(double, kept)) as results:
                await anext(results)
            assert closed == []
            assert await anext(kept) == 2
            await kept.aclose()
            assert closed == ["closed"]
            # The loop closes one that nobody keeps.
            async with aclosing(getattr(pool, name)(double, items())) as results:
                await anext(results)
            await until(lambda: HAS_GIL or gc.collect() >= 0)
            await until(lambda: closed == ["closed"] * 2)

    run(main())


@each_map
def test_closing_takes_back_what_has_not_started(name: str) -> None:
    async def main() -> None:
        ran = Sum()
        async with AsyncPool(1) as pool:
            pool.pool.tune(4)
            gates = [Gate() for _ in range(4)]

            def call(gate: Gate) -> None:
                gate.hold()
                ran.add()

            results = getattr(pool, name)(call, gates)
            gates[0].open()
            first = asyncio.ensure_future(anext(results))
            await until(lambda: all(gate.entered for gate in gates[:4]) or first.done())
            pool.pool.tune(1)
            await first
            await results.aclose()
            for gate in gates:
                gate.open()
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert ran.value == sum(gate.entered for gate in gates)

    run(main())


@each_map
def test_cancelling_who_reads_takes_back_what_has_not_started(name: str) -> None:
    async def main() -> None:
        async with AsyncPool(3) as pool:
            with Gate() as foreign:
                others = [pool.run(foreign.hold) for _ in range(3)]
                await entered(foreign, 3)
                ran = Sum()

                async def consume() -> None:
                    async for _ in getattr(pool, name)(ran.add, [1] * 100):
                        pass

                consumer = asyncio.ensure_future(consume())
                await until(lambda: pool.pool.waiting() == 3)
                consumer.cancel()
                await asyncio.wait([consumer])
                assert consumer.cancelled()
                foreign.open()
                await asyncio.gather(*others)
            assert await pool.run(int, "7") == 7
        assert ran.value == 0

    run(main())


@each_map
def test_several_maps_at_once(name: str) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:

            async def one(start: int) -> list[int]:
                return [result async for result in getattr(pool, name)(double, range(start, start + 50))]

            for start, results in enumerate(await asyncio.gather(*(one(start) for start in range(5)))):
                assert sorted(results) == [number * 2 for number in range(start, start + 50)]

    run(main())


@each_map
def test_the_loop_goes_on_between(name: str) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            with Gate() as gate:
                results = getattr(pool, name)(functools.partial(pass_through, gate), range(3))
                ahead = asyncio.ensure_future(anext(results))
                await entered(gate, 2)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert not ahead.done()
                gate.open()
                assert await ahead in range(3)
                await results.aclose()

    run(main())


@each_map
def test_nothing_is_called_before_the_first_result_is_asked_for(name: str) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            results = getattr(pool, name)(double, range(3))
            await asyncio.sleep(0)
            assert pool.pool.stats().submitted == 0
            await results.aclose()

    run(main())


@each_map
@pytest.mark.parametrize("nonsense", [None, 3, object], ids=repr)
def test_what_is_no_input(name: str, nonsense: Any) -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            with pytest.raises(TypeError, match="iter"):
                await anext(getattr(pool, name)(double, nonsense))

    run(main())


@each_map
def test_a_pool_that_refuses_to_wait(name: str) -> None:
    async def main() -> None:
        async with AsyncPool(2, nonblocking=True) as pool:
            with Gate() as gate:
                held = [pool.run(gate.hold) for _ in range(2)]
                with pytest.raises(PoolOverloadError):
                    await anext(getattr(pool, name)(double, range(3)))
                gate.open()
                await asyncio.gather(*held)

    run(main())
