"""AsyncPool.run(): a coroutine awaits blocking calls."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
import time
import traceback
import weakref
from typing import Any

import pytest
from executors import pass_through, wait_freed
from loops import Ticks, each_kind, entered, fail, run, until
from support import DEADLINE, Gate, Sum, own_logger, wait_equal

from pyants import AsyncPool, BrokenPoolError, MultiPool, Pool, PoolClosedError, PoolOverloadError


@each_kind
def test_the_result_arrives(make: Any) -> None:
    async def main() -> None:
        async with make(2) as pool:
            assert await pool.run(pow, 2, 5) == 32
            assert await pool.run(int, "ff", base=16) == 255
            assert await pool.run(dict, fn=1, self=2) == {"fn": 1, "self": 2}
            assert await pool.run(list) == []

    run(main())


@each_kind
def test_the_exception_arrives_with_its_traceback(make: Any) -> None:
    reported: list[BaseException] = []

    async def main() -> None:
        async with make(2, panic_handler=reported.append) as pool:
            error = ValueError("mine")
            with pytest.raises(ValueError, match="mine") as raised:
                await pool.run(fail, error)
            assert raised.value is error
            assert "fail" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    run(main())
    # The exception was raised where the call is awaited, so it is not reported anywhere else.
    assert reported == []


@each_kind
def test_the_loop_goes_on_meanwhile(make: Any) -> None:
    async def main() -> None:
        async with make(2) as pool:
            ticks = Ticks()
            with Gate() as gate:
                calls = [pool.run(pass_through, gate, number) for number in range(5)]
                await entered(gate, 2)
                await ticks.some()
                assert not any(call.done() for call in calls)
            assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
            await ticks.stop()

    run(main())


def test_calls_run_on_the_workers_and_at_once() -> None:
    async def main() -> None:
        async with AsyncPool(3, name="ants") as pool:
            with Gate() as gate:
                calls = [pool.run(pass_through, gate, number) for number in range(3)]
                # Nothing was awaited yet.
                gate.wait_entered(3)
                assert pool.pool.running() == 3
                gate.open()
                assert await asyncio.gather(*calls) == [0, 1, 2]
            name = await pool.run(lambda: threading.current_thread().name)
            assert name.startswith("ants_")

    run(main())


def test_it_gives_a_future_of_the_loop() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            call = pool.run(int, "7")
            assert asyncio.isfuture(call)
            assert call.get_loop() is asyncio.get_running_loop()
            told: list[asyncio.Future[int]] = []
            call.add_done_callback(told.append)
            assert await call == 7
            assert await call == 7
            assert told == [call]

    run(main())


@each_kind
def test_waiters_are_taken_up_in_turn(make: Any) -> None:
    async def main() -> list[int]:
        order: list[int] = []
        async with make(1) as pool:
            with Gate() as gate:
                calls = [pool.run(gate.hold)]
                await entered(gate, 1)
                calls += [pool.run(order.append, number) for number in range(100)]
                assert pool.pool.running() == 1
                gate.open()
                await asyncio.gather(*calls)
        return order

    assert run(main()) == list(range(100))


def test_no_more_run_than_there_are_workers() -> None:
    async def main() -> int:
        async with AsyncPool(3) as pool:
            with Gate() as gate:
                calls = [pool.run(gate.hold) for _ in range(20)]
                await entered(gate, 3)
                gate.let(10)
                await entered(gate, 13)
                gate.open()
                await asyncio.gather(*calls)
        return gate.peak

    assert run(main()) == 3


# --- what it refuses ---


@each_kind
def test_outside_of_a_loop(make: Any) -> None:
    ran = Sum()
    pools: list[AsyncPool] = []

    async def main() -> None:
        async with make(1) as pool:
            pools.append(pool)

            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="no running event loop"):
                    pool.run(ran.add)

            await pool.run(elsewhere)

    run(main())
    assert ran.value == 0


@pytest.mark.parametrize("nonsense", [None, 3, "print", []], ids=repr)
def test_what_cannot_be_called(nonsense: Any) -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            untyped: Any = pool
            for call in (pool.run, pool.submit, pool.group().run, pool.group().submit):
                with pytest.raises(TypeError, match="callable"):
                    await call(nonsense)
            with pytest.raises(TypeError):
                untyped.run()
            assert pool.pool.stats().submitted == 0

    run(main())


@each_kind
def test_a_pool_that_refuses_to_wait(make: Any) -> None:
    async def main() -> None:
        async with make(1, nonblocking=True) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                with pytest.raises(PoolOverloadError):
                    await pool.run(int)
                with pytest.raises(PoolOverloadError):
                    await pool.submit(int)
                gate.open()
                await held
            await until(lambda: pool.pool.stats().busy == 0)
            assert await pool.run(int, "7") == 7

    run(main())


@each_kind
def test_as_many_waiting_calls_as_may_be(make: Any) -> None:
    async def main() -> None:
        async with make(1, max_blocking_tasks=2) as pool:
            with Gate() as gate:
                calls = [pool.run(pass_through, gate, number) for number in range(3)]
                assert pool.pool.waiting() == 2
                with pytest.raises(PoolOverloadError):
                    await pool.run(int)
                gate.open()
                assert await asyncio.gather(*calls) == [0, 1, 2]
            assert await pool.run(int, "7") == 7

    run(main())


@each_kind
def test_a_closed_pool(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            assert await pool.run(int, "7") == 7
            assert not pool.is_closed()
        assert pool.is_closed()
        with pytest.raises(PoolClosedError):
            await pool.run(int)
        with pytest.raises(PoolClosedError):
            await pool.submit(int)
        with pytest.raises(PoolClosedError):
            [item async for item in pool.map(int, "123")]
        with pytest.raises(PoolClosedError):
            await pool.group().run(int)
        # Closing a second time does no harm.
        await pool.aclose()

    run(main())


@each_kind
def test_a_pool_that_is_released_and_opened_again(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            pool.pool.release()
            assert pool.is_closed()
            with pytest.raises(PoolClosedError):
                await pool.run(int)
            pool.pool.reboot()
            assert not pool.is_closed()
            assert await pool.run(int, "7") == 7

    run(main())


@each_kind
def test_a_release_while_calls_wait(make: Any) -> None:
    async def main() -> None:
        ran = Sum()
        async with make(1) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 7)
                await entered(gate, 1)
                waiting = [pool.run(ran.add) for _ in range(10)]
                pool.pool.release()
                errors = await asyncio.gather(*waiting, return_exceptions=True)
                assert {type(error) for error in errors} == {PoolClosedError}
                # The accepted calls are done.
                gate.open()
                assert await held == 7
        assert ran.value == 0

    run(main())


@each_kind
def test_an_initializer_that_fails(make: Any) -> None:
    async def main() -> None:
        logger, records = own_logger()
        gate = Gate()

        def initialize() -> None:
            gate.hold()
            raise ValueError("not today")

        async with make(2, initializer=initialize, logger=logger, retry_initializer=False) as pool:
            calls = [pool.run(int) for _ in range(5)]
            gate.open()
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} == {BrokenPoolError}
            await until(pool.is_closed)
            with pytest.raises(BrokenPoolError):
                await pool.run(int)
            assert "broken" in repr(pool)
        # It runs once for each worker, not for each call.
        assert 1 <= len(records.records) <= 2
        assert all("initializer" in record.getMessage() for record in records.records)

    run(main())


@pytest.mark.parametrize("nonsense", [None, 3, "pool", Pool, int], ids=repr)
def test_it_is_over_a_pool(nonsense: Any) -> None:
    with pytest.raises(TypeError):
        AsyncPool.over(nonsense)


def test_options_are_those_of_a_pool() -> None:
    untyped: Any = AsyncPool
    with pytest.raises(TypeError, match="nonsense"):
        untyped(2, nonsense=1)
    with pytest.raises(TypeError, match="capacity"):
        untyped("2")
    pool = AsyncPool(5, name="mine")
    assert pool.pool.cap() == 5
    assert AsyncPool().pool.cap() == 1024
    with pytest.raises(RuntimeError, match="once"):
        AsyncPool.__init__(pool, 3)
    assert pool.pool.cap() == 5


def test_a_pool_that_was_never_set_up() -> None:
    class Mine(AsyncPool):
        def __init__(self) -> None:
            pass

    async def main() -> None:
        pool = Mine()
        for call in (lambda: pool.run(int), lambda: pool.pool, pool.is_closed):
            with pytest.raises(RuntimeError, match="__init__"):
                call()

    run(main())
    assert "not initialised" in repr(Mine())


# --- what is awaited, and how ---


def test_stop_iteration_arrives_as_a_runtime_error() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            for error in (StopIteration(5), type("Mine", (StopIteration,), {})()):
                with pytest.raises(RuntimeError, match="StopIteration") as raised:
                    await pool.run(fail, error)
                assert raised.value.__cause__ is error
            with pytest.raises(RuntimeError, match="StopIteration"):
                await pool.run(next, iter(()))
            with pytest.raises(StopAsyncIteration):
                await pool.run(fail, StopAsyncIteration())

    run(main())


@pytest.mark.parametrize("error_type", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_exceptions_that_end_programs_do_not_end_the_loop(error_type: type[BaseException]) -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            error = error_type("mine")
            ticks = Ticks()
            with pytest.raises(error_type, match="mine") as raised:
                await pool.run(fail, error)
            assert raised.value is error
            (gathered,) = await asyncio.gather(pool.run(fail, error), return_exceptions=True)
            assert gathered is error
            await ticks.some()
            await ticks.stop()
            assert await pool.run(int, "7") == 7

    run(main())


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@each_kind
def test_a_call_is_made_in_the_context_of_its_caller(make: Any) -> None:
    def look_and_change() -> str:
        seen = VARIABLE.get()
        VARIABLE.set("changed")
        return seen

    async def caller(pool: AsyncPool, value: str) -> None:
        VARIABLE.set(value)
        for _ in range(5):
            assert await pool.run(look_and_change) == value
            assert await (await pool.submit(look_and_change)) == value
            async for seen in pool.map(lambda _: look_and_change(), range(2)):
                assert seen == value
            async with pool.group() as group:
                assert await group.run(look_and_change) == value
                assert await (await group.submit(look_and_change)) == value
        assert VARIABLE.get() == value

    async def main() -> None:
        async with make(2) as pool:
            assert await pool.run(look_and_change) == "unset"
            await asyncio.gather(*(caller(pool, str(number)) for number in range(4)))
            # A call does not see later changes.
            with Gate() as gate:
                held = [pool.run(gate.hold) for _ in range(2)]
                VARIABLE.set("early")
                early = pool.run(look_and_change)
                VARIABLE.set("late")
                gate.open()
                await asyncio.gather(*held)
                assert await early == "early"
            # The worker keeps nothing of an earlier call's context.
            assert await asyncio.gather(*(pool.run(VARIABLE.get) for _ in range(20))) == ["late"] * 20
            pool.pool.submit(lambda: seen.append(VARIABLE.get()))
            await until(lambda: seen != [])
            assert seen == ["unset"]

    seen: list[str] = []
    run(main())


def test_gather_wait_as_completed() -> None:
    async def main() -> None:
        async with AsyncPool(3) as pool:
            assert await asyncio.gather(*(pool.run(int, text) for text in "123")) == [1, 2, 3]
            mixed = await asyncio.gather(pool.run(int, "1"), pool.run(int, "no number"), return_exceptions=True)
            assert mixed[0] == 1
            assert isinstance(mixed[1], ValueError)
            with Gate() as gate:
                held, quick = pool.run(pass_through, gate, 8), pool.run(int, "7")
                done, pending = await asyncio.wait([held, quick], return_when=asyncio.FIRST_COMPLETED)
                assert (done, pending) == ({quick}, {held})
                gate.open()
                done, pending = await asyncio.wait([held, quick])
                assert (done, pending) == ({quick, held}, set())
            first = [await call for call in asyncio.as_completed([pool.run(int, text) for text in "123"])]
            assert sorted(first) == [1, 2, 3]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_await(pool.run(int, text))) for text in "123"]
            assert [task.result() for task in tasks] == [1, 2, 3]

    run(main())


async def _await(call: asyncio.Future[Any]) -> Any:
    return await call


def test_shield_keeps_a_call() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                waiting = pool.run(int, "7")
                waits = asyncio.ensure_future(_await(asyncio.shield(waiting)))
                await asyncio.sleep(0)
                waits.cancel()
                await asyncio.wait([waits])
                assert waits.cancelled()
                assert not waiting.done()
                gate.open()
                assert await waiting == 7
                await held

    run(main())


# --- completions come in batches ---


def test_a_loop_is_woken_once_for_many_results() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        wakes = Sum()
        wake = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            wakes.add()
            return wake(*args, **kwargs)

        async with AsyncPool(4) as pool:
            setattr(loop, "call_soon_threadsafe", counted)  # noqa: B010 - a method cannot be assigned to
            calls = [pool.run(int, "7") for _ in range(3000)]
            # The loop is blocked, so that it fetches no result before all are there.
            wait_equal(lambda: pool.pool.stats().completed, 3000)
            assert await asyncio.gather(*calls) == [7] * 3000
            assert wakes.value == 1
            delattr(loop, "call_soon_threadsafe")

    run(main())


def test_results_that_come_in_a_heap_do_not_block_the_loop() -> None:
    async def main() -> None:
        async with AsyncPool(4) as pool:
            calls = [pool.run(int, "7") for _ in range(20_000)]
            wait_equal(lambda: pool.pool.stats().completed, 20_000)
            done: list[int] = []
            while not all(call.done() for call in calls):
                await asyncio.sleep(0)
                done.append(sum(call.done() for call in calls))
            # Other callbacks ran in between.
            assert len(set(done)) > 5
            assert await asyncio.gather(*calls) == [7] * 20_000

    run(main())


# --- several pools ---


def test_whichever_of_several_pools_has_a_permit_takes_the_call() -> None:
    async def main() -> None:
        with MultiPool(2, 1) as shared, Gate() as gate, Gate() as other:
            pool = AsyncPool.over(shared)
            held = [pool.run(gate.hold), pool.run(other.hold)]
            await entered(gate, 1)
            await entered(other, 1)
            calls = [pool.run(pow, number, 2) for number in range(6)]
            assert calls.pop().cancel()
            # One of the workers is busy for a long time.
            gate.open()
            assert await asyncio.gather(*calls) == [0, 1, 4, 9, 16]
            assert not held[1].done()
            other.open()
            await asyncio.gather(*held)

    run(main())


# --- the object ---


def test_repr() -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            assert repr(pool) == f"<pyants.AsyncPool over {pool.pool!r}>"
            assert "open" in repr(pool)
            assert "AsyncTaskGroup" in repr(pool.group())
        assert "closed" in repr(pool)

    run(main())
    with MultiPool(2, 1) as shared:
        assert repr(AsyncPool.over(shared)) == f"<pyants.AsyncPool over {shared!r}>"


def test_it_cannot_be_pickled() -> None:
    pool = AsyncPool(2)
    for thing in (pool, AsyncPool.over(pool.pool)):
        with pytest.raises(TypeError, match=r"^cannot pickle 'AsyncPool' object: .* in this process$"):
            pickle.dumps(thing)
    with pytest.raises(TypeError, match=r"^cannot pickle 'AsyncTaskGroup' object: .* in this process$"):
        pickle.dumps(pool.group())


def test_it_can_be_referred_to_weakly_and_is_freed() -> None:
    references: list[weakref.ref[Any]] = []

    async def main() -> None:
        async with AsyncPool(2) as pool:
            assert await pool.run(int, "7") == 7
            references.append(weakref.ref(pool))
            references.append(weakref.ref(pool.pool))
        dropped = AsyncPool(2)
        assert await dropped.run(int, "7") == 7
        references.append(weakref.ref(dropped))

    run(main())
    wait_freed(*references)


def test_it_lives_while_its_calls_do() -> None:
    async def main() -> None:
        with Gate() as gate:
            pool = AsyncPool(1)
            held, waiting = pool.run(pass_through, gate, 7), pool.run(int, "8")
            await entered(gate, 1)
            del pool
            gate.open()
            assert await held == 7
            assert await waiting == 8

    run(main())


def test_arguments_and_results_are_freed() -> None:
    class Thing:
        pass

    references: list[weakref.ref[Thing]] = []

    def take(thing: Thing) -> Thing:
        references.append(weakref.ref(thing))
        result = Thing()
        references.append(weakref.ref(result))
        return result

    async def main() -> None:
        async with AsyncPool(2) as pool:
            await asyncio.gather(*(pool.run(take, Thing()) for _ in range(10)))
            assert len(references) == 20
            deadline = time.monotonic() + DEADLINE
            while any(reference() is not None for reference in references):
                await pool.run(int)
                assert time.monotonic() < deadline

    run(main())


def test_a_subclass() -> None:
    class Mine(AsyncPool):
        def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            ran.add()
            return super().run(fn, *args, **kwargs)

    async def main() -> None:
        async with Mine(2) as pool:
            assert await pool.run(int, "7") == 7
            assert type(Mine.over(pool.pool)) is Mine

    ran = Sum()
    run(main())
    assert ran.value == 1


@each_kind
def test_a_reboot_after_a_cancelled_aclose_is_not_undone(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 7)
                await entered(gate, 1)
                closing = asyncio.ensure_future(pool.aclose())
                await until(pool.is_closed)
                closer = [thread for thread in threading.enumerate() if thread.name == "pyants-close"]
                closing.cancel()
                await asyncio.wait([closing])
                pool.reboot()
            assert await held == 7
            # What aclose() began goes on behind its back until the call is done.
            await until(lambda: not any(thread.is_alive() for thread in closer))
            assert not pool.is_closed()
            assert await pool.run(int, "8") == 8

    run(main())
