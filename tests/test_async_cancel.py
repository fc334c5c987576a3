"""Cancelling what awaits a call: one that has not started is taken back, one that has is let go of, nothing is lost."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest
from executors import Thing, pass_through, wait_freed
from groups import hold_and_fail
from loops import each_kind, entered, fail, run, until
from support import Gate, Sum, own_logger

from pyants import AsyncPool, Pool


async def awaiting(call: Any) -> Any:
    return await call


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancels it once it waits, and sees it end so."""
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(asyncio.CancelledError):
        task.result()


@each_kind
@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_call_in_line_is_taken_back(make: Any, how: str) -> None:
    async def main() -> None:
        ran = Sum()
        async with make(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                tasks = [asyncio.ensure_future(awaiting(getattr(pool, how)(ran.add))) for _ in range(10)]
                await until(lambda: pool.pool.waiting() == 10)
                for task in tasks[::2]:
                    await cancel(task)
                gate.open()
                await held
                await asyncio.wait(tasks)
            await until(lambda: ran.value == 5)
            await until(lambda: pool.pool.stats().busy == 0)
            assert await pool.run(int, "7") == 7
        assert ran.value == 5

    run(main())


@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_call_in_the_queue_is_taken_back(how: str) -> None:
    async def main() -> None:
        ran = Sum()
        async with AsyncPool(1, queue_size=None) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)

                async def caller() -> None:
                    await (pool.run(ran.add) if how == "run" else await pool.submit(ran.add))

                tasks = [asyncio.ensure_future(caller()) for _ in range(10)]
                await until(lambda: pool.pool.queued() == 10)
                for task in tasks[::2]:
                    await cancel(task)
                gate.open()
                await held
                await asyncio.wait(tasks)
        assert ran.value == 5

    run(main())


@each_kind
def test_it_ends_at_once_although_the_pool_is_full(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 7)
                await entered(gate, 1)
                for how in (pool.run, pool.submit):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(how(int), 0.01)
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.01):
                            await how(int)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(held), 0.01)
                assert not held.done()
                gate.open()
                assert await held == 7

    run(main())


@each_kind
def test_a_call_that_has_started_is_let_go_of(make: Any) -> None:
    reported: list[BaseException] = []

    async def main() -> None:
        ended = Sum()
        async with make(1, panic_handler=reported.append) as pool:
            with Gate() as gate:

                def call() -> None:
                    gate.hold()
                    ended.add()

                task = asyncio.ensure_future(awaiting(pool.run(call)))
                await entered(gate, 1)
                # It ends at once, and the call does not notice.
                await cancel(task)
                assert ended.value == 0
                gate.open()
            await until(lambda: ended.value == 1)
            assert await pool.run(int, "7") == 7

    run(main())
    assert reported == []


@each_kind
@pytest.mark.parametrize("how", ["run", "submit", "group"])
def test_the_exception_of_one_that_was_let_go_of_is_reported(make: Any, how: str) -> None:
    error = ValueError("nobody waits for it")
    reported: list[BaseException] = []

    async def main() -> None:
        async with make(1, panic_handler=reported.append) as pool:
            with Gate() as gate:
                if how == "run":
                    call = pool.run(hold_and_fail, gate, error)
                elif how == "submit":
                    call = await pool.submit(hold_and_fail, gate, error)
                else:
                    call = pool.group().run(hold_and_fail, gate, error)
                task = asyncio.ensure_future(awaiting(call))
                await entered(gate, 1)
                await cancel(task)
                gate.open()
            await until(lambda: reported != [])

    run(main())
    assert reported == [error]


def test_without_a_handler_it_is_logged() -> None:
    logger, records = own_logger()
    error = ValueError("nobody waits for it")

    async def main() -> None:
        async with AsyncPool(1, logger=logger) as pool:
            with Gate() as gate:
                task = asyncio.ensure_future(awaiting(pool.run(hold_and_fail, gate, error)))
                await entered(gate, 1)
                await cancel(task)
                gate.open()
            await until(lambda: records.records != [])

    run(main())
    (record,) = records.records
    assert record.getMessage().startswith("exception in task ")
    assert record.getMessage().endswith("groups.hold_and_fail")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_the_exception_of_one_whose_admission_is_not_awaited_any_more_is_reported() -> None:
    # submit() is cancelled at the very moment when the call that it waited for has started.
    error = ValueError("nobody waits for it")
    reported: list[BaseException] = []

    async def main() -> None:
        async with AsyncPool(1, panic_handler=reported.append) as pool:
            with Gate() as first, Gate() as second:
                held = pool.run(first.hold)
                await entered(first, 1)
                task = asyncio.ensure_future(pool.submit(hold_and_fail, second, error))
                await until(lambda: pool.pool.waiting() == 1)
                first.open()
                # The loop is blocked: it does not know of the admission yet.
                second.wait_entered(1)
                await cancel(task)
                await held
                second.open()
            await until(lambda: reported != [])

    run(main())
    assert reported == [error]


def test_the_same_where_the_call_has_even_failed() -> None:
    error = ValueError("nobody waits for it")
    reported: list[BaseException] = []

    async def main() -> None:
        async with AsyncPool(1, panic_handler=reported.append) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                task = asyncio.ensure_future(pool.submit(fail, error))
                await until(lambda: pool.pool.waiting() == 1)
                gate.open()
                while not pool.pool.stats().failed:
                    pass  # The loop is blocked: it knows neither of the admission nor of the failure.
                # It fetches both in one turn; the task is cancelled before it has its own.
                admitted = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(admitted.set_result, None)
                held.add_done_callback(lambda _: task.cancel())
                await admitted
                await asyncio.wait([task])
                assert task.cancelled()
                await held
            await until(lambda: reported != [])

    run(main())
    assert reported == [error]


def test_cancelling_the_future_itself() -> None:
    async def main() -> None:
        ran = Sum()
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                in_line = pool.run(ran.add)
                assert in_line.cancel()
                assert not in_line.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await in_line
                # One that has started is let go of.
                assert held.cancel()
                gate.open()
            assert await pool.run(int, "7") == 7
            done = pool.run(int, "8")
            assert await done == 8
            assert not done.cancel()
        assert ran.value == 0

    run(main())


def test_gather_that_is_cancelled() -> None:
    async def main() -> None:
        ran = Sum()
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                gathered = asyncio.gather(pool.run(gate.hold), *(pool.run(ran.add) for _ in range(10)))
                await entered(gate, 1)
                await cancel(gathered)
                gate.open()
        assert ran.value == 0

    run(main())


def test_a_task_group_that_fails_takes_back_the_others() -> None:
    async def main() -> None:
        ran = Sum()
        held: asyncio.Future[None] | None = None
        async with AsyncPool(1) as pool:
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(awaiting(pool.run(fail, ValueError("mine"))))
                    with Gate() as gate:
                        held = pool.run(gate.hold)
                        for _ in range(10):
                            group.create_task(awaiting(pool.run(ran.add)))
                        await asyncio.sleep(3600)
            assert [str(error) for error in raised.value.exceptions] == ["mine"]
            assert held is not None
            await held
        assert ran.value == 0

    run(main())


def test_what_was_taken_back_is_freed() -> None:
    references: list[weakref.ref[Thing]] = []

    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                for how in (pool.run, pool.submit):
                    thing = Thing()
                    references.append(weakref.ref(thing))
                    task = asyncio.ensure_future(awaiting(how(id, thing)))
                    del thing
                    await until(lambda: pool.pool.waiting() == len(references))
                    await cancel(task)
                gate.open()
                await held

    run(main())
    wait_freed(*references)


def test_cancelling_while_workers_take_up_calls_loses_none() -> None:
    # Whoever is faster: a call either ran, or its task was cancelled, or both.
    async def main() -> None:
        for _ in range(30):
            ran: list[int] = []
            async with AsyncPool(2) as pool:
                tasks = [asyncio.ensure_future(awaiting(pool.run(ran.append, number))) for number in range(50)]
                await asyncio.sleep(0)
                for task in tasks[::3]:
                    task.cancel()
                await asyncio.wait(tasks)
            kept = {number for number, task in enumerate(tasks) if not task.cancelled()}
            assert kept <= set(ran)
            assert len(set(ran)) == len(ran)
            assert kept | set(range(0, 50, 3)) == set(range(50))

    run(main())


# --- closing ---


@each_kind
def test_closing_waits_for_calls_that_were_let_go_of(make: Any) -> None:
    async def main() -> None:
        ended = Sum()
        with Gate() as gate:
            async with make(1) as pool:

                def call() -> None:
                    gate.hold()
                    ended.add()

                task = asyncio.ensure_future(awaiting(pool.run(call)))
                await entered(gate, 1)
                await cancel(task)
                closing = asyncio.ensure_future(pool.aclose())
                await until(pool.is_closed)
                assert not closing.done()
                gate.open()
                await closing
                assert ended.value == 1

    run(main())


@each_kind
def test_closing_serves_those_in_line(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            calls = [pool.run(pow, number, 2) for number in range(50)]
        assert await asyncio.gather(*calls) == [number**2 for number in range(50)]

    run(main())


@each_kind
def test_closing_may_be_cancelled_and_taken_up_again(make: Any) -> None:
    async def main() -> None:
        async with make(1) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 7)
                await entered(gate, 1)
                for _ in range(3):
                    closing = asyncio.ensure_future(pool.aclose())
                    await until(pool.is_closed)
                    await cancel(closing)
                gate.open()
                assert await held == 7
            await asyncio.gather(pool.aclose(), pool.aclose())
            assert pool.is_closed()

    run(main())


def test_an_exception_in_the_block_is_not_masked() -> None:
    async def main() -> None:
        done = Sum()
        pool = AsyncPool(2)
        with pytest.raises(KeyError, match="mine"):
            async with pool:
                for _ in range(10):
                    pool.run(done.add)
                raise KeyError("mine")
        assert done.value == 10
        assert pool.pool.is_closed()
        assert pool.pool.running() == 0

    run(main())


def test_closing_one_over_a_pool_waits_for_its_own_calls_only() -> None:
    async def main() -> None:
        with Pool(3) as shared, Gate() as foreign, Gate() as mine:
            shared.submit(foreign.hold)
            other = AsyncPool.over(shared)
            others = other.run(foreign.hold)
            pool = AsyncPool.over(shared)
            call = pool.run(pass_through, mine, 7)
            await entered(mine, 1)
            closing = asyncio.ensure_future(pool.aclose())
            await until(pool.is_closed)
            assert not closing.done()
            mine.open()
            await closing
            assert await call == 7
            await entered(foreign, 2)
            assert foreign.inside == 2
            assert not shared.is_closed()
            assert not other.is_closed()
            foreign.open()
            await others
            assert await other.run(int, "7") == 7
            await other.aclose()

    run(main())
