"""A task is cancelled while it awaits a call: a call that waits is taken back, one that runs goes on; none is lost."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import Any

import pytest
from executors import Thing, pass_through
from groups import hold_and_fail
from loops import collect, each_kind, entered, fail, run, until
from support import Gate, Sum, own_logger

from pyants import AsyncPool, Pool, PoolOverloadError


async def awaiting(call: Any) -> Any:
    return await call


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancels a task once it waits, and checks that it ends as cancelled."""
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(asyncio.CancelledError):
        task.result()


@each_kind
@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_waiting_call_is_taken_back(make: Any, how: str) -> None:
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
        async with make(1, abandon_on_cancel=True, panic_handler=reported.append) as pool:
            with Gate() as gate:

                def call() -> None:
                    gate.hold()
                    ended.add()

                task = asyncio.ensure_future(awaiting(pool.run(call)))
                await entered(gate, 1)
                # The task ends at once, and the call does not notice.
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
        async with make(1, abandon_on_cancel=True, panic_handler=reported.append) as pool:
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
        async with AsyncPool(1, abandon_on_cancel=True, logger=logger) as pool:
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
    # submit() is cancelled just when the call for which it waited has started.
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
                # The loop fetches both in one turn; the task is cancelled before its own turn.
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
        async with AsyncPool(1, abandon_on_cancel=True) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                waiting = pool.run(ran.add)
                assert waiting.cancel()
                assert not waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                # A call that has started is abandoned.
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
        async with AsyncPool(1, abandon_on_cancel=True) as pool:
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


# --- its objects are dropped at once, while the worker is still busy ---


def gone(*references: weakref.ref[Any]) -> bool:
    collect()
    return all(reference() is None for reference in references)


@each_kind
@pytest.mark.parametrize("how", ["run", "submit", "map", "group"])
@pytest.mark.parametrize("queue_size", [0, None])
def test_a_call_taken_back_is_let_go_of_at_once(make: Any, how: str, queue_size: int | None) -> None:
    class Callable(Thing):
        def __call__(self, thing: Thing) -> None: ...

    async def main() -> None:
        variable: contextvars.ContextVar[Thing] = contextvars.ContextVar("variable")

        async def caller(fn: Callable, thing: Thing, held_by_context: Thing) -> None:
            variable.set(held_by_context)
            if how == "run":
                await pool.run(fn, thing)
            elif how == "submit":
                await (await pool.submit(fn, thing))
            elif how == "map":
                async for _ in pool.map(fn, [thing]):
                    pass
            else:
                async with pool.group() as group:
                    group.run(fn, thing)

        async with make(1, queue_size=queue_size) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                things = Callable(), Thing(), Thing()
                references = [weakref.ref(thing) for thing in things]
                task = asyncio.ensure_future(caller(*things))
                del things
                counts = pool.pool.waiting if queue_size == 0 else pool.pool.queued
                await until(lambda: counts() == 1)
                await cancel(task)
                del task
                assert pool.pool.waiting() == 0
                await until(lambda: gone(*references))
                # The worker was busy all the time.
                assert not held.done()
                gate.open()
                await held
            # A call in the queue had been accepted, one among the waiters had not.
            accepted = 0 if queue_size == 0 else 1

            def counted() -> tuple[int, int, int]:
                stats = pool.pool.stats()
                return stats.submitted, stats.completed, stats.cancelled

            # The worker may not have dropped the empty shell yet.
            await until(lambda: counted() == (1 + accepted, 1, accepted))

    run(main())


@each_kind
def test_calls_taken_back_leave_their_places(make: Any) -> None:
    async def main() -> None:
        async with make(1, max_blocking_tasks=2) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                for _ in range(5):
                    tasks = [asyncio.ensure_future(awaiting(pool.run(int))) for _ in range(2)]
                    with pytest.raises(PoolOverloadError):
                        await pool.run(int)
                    for task in tasks:
                        await cancel(task)
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(pool.run(int), 0.001)
                    assert pool.pool.waiting() == 0
                last = pool.run(int, "7")
                gate.open()
                await held
                assert await last == 7
                assert pool.pool.stats().waiting == 0

    run(main())


def test_a_call_taken_back_tells_whoever_waits_for_its_admission() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                group = pool.group()
                submitting = asyncio.ensure_future(group.submit(int))
                await until(lambda: pool.pool.waiting() == 1)
                assert group.cancel() == 1
                call = await submitting
                assert call.cancelled()
                assert pool.pool.waiting() == 0
                assert not held.done()
                gate.open()

    run(main())


def test_closing_does_not_wait_for_what_was_taken_back() -> None:
    async def main() -> None:
        with Pool(1) as shared, Gate() as gate:
            shared.submit(gate.hold)
            gate.wait_entered(1)
            pool = AsyncPool.over(shared)
            task = asyncio.ensure_future(awaiting(pool.run(int)))
            await until(lambda: shared.waiting() == 1)
            await cancel(task)
            # The worker that would have run the call is busy with another.
            await pool.aclose()
            assert gate.inside == 1
            gate.open()

    run(main())


def test_a_great_many_are_taken_back_in_little_time() -> None:
    # If each were searched for among the waiters, the time would grow with the square of their number: minutes.
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                calls = [pool.run(int) for _ in range(50_000)]
                assert pool.pool.waiting() == 50_000
                for call in calls[::2] + calls[1::2][::-1]:
                    assert call.cancel()
                assert pool.pool.waiting() == 0
                gate.open()
                await held

    run(main())


def test_cancelling_while_workers_take_up_calls_loses_none() -> None:
    # Either may be faster: the call ran, or its task was cancelled, or both.
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
            async with make(1, abandon_on_cancel=True) as pool:

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
def test_closing_serves_the_waiters(make: Any) -> None:
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


def test_a_call_taken_back_in_the_queue_leaves_its_place() -> None:
    async def main() -> None:
        with Gate() as gate:
            async with AsyncPool(1, queue_size=1, nonblocking=True) as pool:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                for _ in range(3):
                    queued = pool.run(int)
                    assert not queued.done()
                    queued.cancel()
                last = pool.run(int, "7")
                gate.open()
                assert await last == 7
                await held
                # A result may arrive a moment before the pool counts its task.
                await until(lambda: pool.pool.stats().completed == 2)
                stats = pool.pool.stats()
                assert (stats.submitted, stats.completed, stats.cancelled) == (5, 2, 3)

    run(main())


def test_many_calls_taken_back_in_the_queue_do_not_stay_there() -> None:
    async def main() -> None:
        with Gate() as gate:
            async with AsyncPool(1, queue_size=None) as pool:
                held = pool.run(gate.hold)
                await entered(gate, 1)
                kept = [pool.run(int, str(number)) for number in range(3)]
                for _ in range(20_000):
                    pool.run(int).cancel()
                assert pool.pool.queued() < 4096
                gate.open()
                assert await asyncio.gather(*kept) == [0, 1, 2]
                await held

    run(main())
