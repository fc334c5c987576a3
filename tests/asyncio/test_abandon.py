"""A task is cancelled while it awaits a call that runs: it waits for the call, or abandons it (abandon_on_cancel)."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from groups import hold_and_fail
from loops import each_kind, entered, run, until
from support import Background, Gate, Sum, own_logger, run_program, wait_equal, wait_until

from pyants import AsyncPool, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

both = pytest.mark.parametrize("abandon", [False, True], ids=["waits", "abandons"])


class Work:
    """A call that a gate holds, and that notes its own end."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.ended = Sum()

    def __call__(self) -> int:
        self.gate.hold()
        self.ended.add()
        return 7


async def seen_to_wait_or_not(work: Work, task: asyncio.Future[Any], abandon: bool) -> None:
    """The task that was cancelled ends at once, or when the call has ended."""
    if abandon:
        await asyncio.wait([task])
        assert work.ended.value == 0
        work.gate.open()
    else:
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        work.gate.open()
        await asyncio.wait([task])
        assert work.ended.value == 1


@each_kind
@both
def test_a_task_that_awaits_it_is_cancelled(make: Any, abandon: bool) -> None:
    async def main() -> None:
        work = Work()
        async with make(1, abandon_on_cancel=abandon) as pool:

            async def caller() -> None:
                await pool.run(work)

            task = asyncio.ensure_future(caller())
            await entered(work.gate, 1)
            task.cancel("the reason")
            await seen_to_wait_or_not(work, task, abandon)
            with pytest.raises(asyncio.CancelledError, match="the reason"):
                await task
            assert await pool.run(int, "7") == 7
            await until(lambda: pool.pool.stats().completed == 2)
            assert pool.pool.stats().cancelled == 0

    run(main())


@both
def test_the_call_itself(abandon: bool) -> None:
    async def main() -> None:
        work = Work()
        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            call = pool.run(work)
            await entered(work.gate, 1)
            called_back: list[object] = []
            call.add_done_callback(called_back.append)
            assert call.cancel()
            # Like an asyncio task that delays its own cancellation.
            assert call.cancelled() == call.done() == abandon
            assert call.cancel() is not abandon
            await seen_to_wait_or_not(work, call, abandon)
            assert call.cancelled()
            assert not call.cancel()
            await asyncio.sleep(0)
            assert called_back == [call]
            with pytest.raises(asyncio.CancelledError):
                await call

    run(main())


async def by_wait_for(call: Awaitable[Any]) -> None:
    await asyncio.wait_for(call, 0.001)


async def by_timeout(call: Awaitable[Any]) -> None:
    async with asyncio.timeout(0.001):
        await call


@both
@pytest.mark.parametrize("limited", [by_wait_for, by_timeout])
def test_time_limits(limited: Callable[[Awaitable[Any]], Awaitable[None]], abandon: bool) -> None:
    async def main() -> None:
        work = Work()
        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            call = pool.run(work)
            await entered(work.gate, 1)
            task = asyncio.ensure_future(limited(call))
            await asyncio.sleep(0)  # It begins.
            await until(lambda: call.done() or "running" in repr(call))
            if not abandon:
                # The time limit comes first, however long the call is held: its timer is the older handle of the loop.
                await asyncio.sleep(0.01)
            await seen_to_wait_or_not(work, task, abandon)
            with pytest.raises(TimeoutError):
                await task
            assert call.cancelled()

    run(main())


@both
def test_a_limit_that_is_not_met_changes_nothing(abandon: bool) -> None:
    async def main() -> None:
        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            assert await asyncio.wait_for(pool.run(int, "7"), 60) == 7
            async with asyncio.timeout(60):
                assert await pool.run(int, "8") == 8

    run(main())


@both
def test_shield_lets_go_of_it_either_way(abandon: bool) -> None:
    async def main() -> None:
        work = Work()
        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            call = pool.run(work)
            await entered(work.gate, 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(call), 0.001)
            assert not call.done()
            work.gate.open()
            assert await call == 7

    run(main())


@both
def test_gather(abandon: bool) -> None:
    async def main() -> None:
        work, ran = Work(), Sum()
        async with AsyncPool(2, abandon_on_cancel=abandon) as pool:
            gathered = asyncio.gather(pool.run(work), pool.run(work), return_exceptions=True)
            waiting = pool.run(ran.add)
            await entered(work.gate, 2)
            gathered.cancel()
            waiting.cancel()
            await seen_to_wait_or_not(work, gathered, abandon) if abandon else work.gate.open()
            with pytest.raises(asyncio.CancelledError):
                await gathered
        assert (work.ended.value, ran.value) == (2, 0)

    run(main())


@both
def test_a_task_group_that_fails(abandon: bool) -> None:
    async def main() -> None:
        work = Work()
        ended_first: list[bool] = []

        async def caller(pool: AsyncPool) -> None:
            try:
                await pool.run(work)
            finally:
                ended_first.append(work.ended.value == 1)
                work.gate.open()

        async def failing() -> None:
            await entered(work.gate, 1)
            if not abandon:
                threading.Timer(0.01, work.gate.open).start()
            raise KeyError("mine")

        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(caller(pool))
                    group.create_task(failing())
        assert [repr(error) for error in raised.value.exceptions] == ["KeyError('mine')"]
        assert ended_first == [not abandon]

    run(main())


@each_kind
@both
def test_what_it_raises_then_is_reported_on_a_worker_s_thread(make: Any, abandon: bool) -> None:
    error = ValueError("nobody asks for it")
    reported: list[tuple[BaseException, bool]] = []
    main_thread = threading.current_thread()

    def handler(raised: BaseException) -> None:
        reported.append((raised, threading.current_thread() is main_thread))

    async def main() -> None:
        async with make(1, abandon_on_cancel=abandon, panic_handler=handler) as pool:
            with Gate() as gate:

                async def caller() -> None:
                    await pool.run(hold_and_fail, gate, error)

                task = asyncio.ensure_future(caller())
                await entered(gate, 1)
                task.cancel()
                await asyncio.sleep(0)
                gate.open()
                await asyncio.wait([task])
                assert task.cancelled()
            await until(lambda: reported != [])
            await until(lambda: pool.pool.stats().failed == 1)
            assert pool.pool.stats().submitted == 1

    run(main())
    assert reported == [(error, False)]


@both
def test_the_same_where_it_has_ended_when_it_is_cancelled(abandon: bool) -> None:
    # The loop does not know yet that the call has failed. A slow handler must not run on the loop's thread.
    error = ValueError("nobody asks for it")
    reported: list[tuple[BaseException, str]] = []

    def handler(raised: BaseException) -> None:
        reported.append((raised, threading.current_thread().name))

    async def main() -> None:
        async with AsyncPool(1, abandon_on_cancel=abandon, panic_handler=handler, name="mine") as pool:

            def boom() -> None:
                raise error

            call = pool.run(boom)
            while not pool.pool.stats().failed:
                time.sleep(0.001)  # The loop is blocked meanwhile.
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            await until(lambda: reported != [])

    run(main())
    assert [(raised, name.startswith("mine_")) for raised, name in reported] == [(error, True)]


class Reports:
    """A panic handler that records the errors that it gets, and on which thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[BaseException, str]] = []

    def __call__(self, raised: BaseException) -> None:
        self.seen.append((raised, threading.current_thread().name.rpartition("_")[0]))


def failed_call(pool: AsyncPool, error: BaseException) -> asyncio.Future[None]:
    """A call that has failed while the loop was blocked, so that the loop does not know of it yet."""

    def boom() -> None:
        raise error

    before = pool.pool.stats().failed
    call = pool.run(boom)
    wait_until(lambda: pool.pool.stats().failed > before)
    return call


def test_a_report_takes_no_place_of_those_that_wait() -> None:
    error = ValueError("nobody asks for it")
    reports = Reports()

    async def main() -> None:
        async with AsyncPool(1, max_blocking_tasks=1, panic_handler=reports, name="mine") as pool:
            with Gate() as gate:
                call = failed_call(pool, error)
                held = pool.run(gate.hold)
                gate.wait_entered(1)
                waiting = pool.run(int)
                call.cancel()
                await asyncio.wait([call])
                await asyncio.sleep(0)
                assert pool.pool.waiting() == 1
                assert reports.seen == []
                gate.open()
                await asyncio.gather(held, waiting)
            await until(lambda: reports.seen != [])
            await until(lambda: pool.pool.stats().completed == 2)
            stats = pool.pool.stats()
            assert (stats.submitted, stats.completed, stats.failed, stats.rejected) == (3, 2, 1, 0)

    run(main())
    assert reports.seen == [(error, "mine")]


def test_a_report_needs_no_task_to_bring_a_worker() -> None:
    reports = Reports()

    async def main() -> None:
        async with AsyncPool(2, panic_handler=reports, expiry_duration=0.01, name="mine") as pool:
            for count in range(1, 4):
                call = failed_call(pool, ValueError(count))
                # The pool has no worker, so it starts one.
                wait_equal(pool.pool.running, 0)
                call.cancel()
                await asyncio.wait([call])
                await until(lambda: len(reports.seen) == count)  # noqa: B023 - it is called in this round
                stats = pool.pool.stats()
                assert (stats.submitted, stats.completed, stats.failed) == (count, 0, count)

    run(main())
    assert [(str(raised), name) for raised, name in reports.seen] == [(str(n), "mine") for n in (1, 2, 3)]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_report_is_lost_on_a_worker_that_goes_to_rest(workers: int) -> None:
    reports = Reports()
    count = 500

    async def main() -> None:
        async with AsyncPool(workers, panic_handler=reports, name="mine") as pool:
            report = pool._report
            for number in range(1, count + 1):
                if number % 3:
                    await pool.run(int)
                report(int, ValueError(number))
                if number % 2:
                    wait_until(lambda: len(reports.seen) == number)  # noqa: B023 - as above
            await until(lambda: len(reports.seen) == count)

    run(main())
    assert sorted(int(str(raised)) for raised, _ in reports.seen) == list(range(1, count + 1))
    assert {name for _, name in reports.seen} == {"mine"}


def test_reports_on_a_closed_pool_go_to_the_log_or_to_its_last_worker() -> None:
    reports = Reports()
    logger, records = own_logger()

    async def main() -> None:
        pool = AsyncPool(1, panic_handler=reports, logger=logger, name="mine")
        with Gate() as gate:
            held = pool.run(gate.hold)
            gate.wait_entered(1)
            closing = asyncio.ensure_future(pool.aclose())
            await until(pool.is_closed)
            pool._report(int, ValueError("early"))
            gate.open()
            await held
            await closing
        assert [str(raised) for raised, _ in reports.seen] == ["early"]
        assert records.records == []
        pool._report(int, ValueError("late"))
        assert [str(record.exc_info[1]) for record in records.records if record.exc_info] == ["late"]

    run(main())
    assert len(reports.seen) == 1


@both
def test_the_end_of_asyncio_run(abandon: bool) -> None:
    work = Work()
    pools: list[AsyncPool] = []

    async def main() -> None:
        pool = AsyncPool(1, abandon_on_cancel=abandon)
        pools.append(pool)

        async def caller() -> None:
            try:
                await pool.run(work)
            finally:
                ended_first.append(work.ended.value == 1)

        tasks.append(asyncio.ensure_future(caller()))
        await entered(work.gate, 1)
        if not abandon:
            opener.append(Background(open_when_cancelled))

    def open_when_cancelled() -> None:
        wait_until(lambda: tasks[0].cancelling() > 0)
        work.gate.open()

    opener: list[Background[None]] = []
    ended_first: list[bool] = []
    tasks: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert ended_first == [not abandon]
    assert tasks[0].cancelled()
    for opening in opener:
        opening.result()
    work.gate.open()
    pools[0].pool.release_timeout(30)
    assert work.ended.value == 1


@both
@pytest.mark.parametrize("closed", [False, True])
def test_a_call_that_is_refused_can_be_cancelled(abandon: bool, closed: bool) -> None:
    async def main() -> None:
        pool = AsyncPool(1, abandon_on_cancel=abandon)
        if closed:
            await pool.aclose()
            with pytest.raises(PoolClosedError):
                await pool.run(int)
        call = pool.run(int)
        assert call.cancel() is not closed
        await pool.aclose()
        assert call.cancelled() is not closed
        assert closed == isinstance(call.exception() if closed else None, PoolClosedError)

    run(main())


@pytest.mark.thread_unsafe(reason="starts a process")
@both
def test_ctrl_c(abandon: bool) -> None:
    stdout, stderr = run_program("asyncio/abandon.py", "ctrl_c", abandon)
    assert stdout.splitlines() == [f"cancelled {not abandon}", "interrupted True"], stderr


def test_bad_values() -> None:
    with pytest.raises(TypeError, match="abandon_on_cancel"):
        AsyncPool(1, abandon_on_cancel="yes")  # type: ignore[arg-type]


def test_a_report_does_not_wait_for_the_end_of_another_call() -> None:
    error = ValueError("nobody asks for it")
    reports = Reports()

    async def main() -> None:
        async with AsyncPool(4, panic_handler=reports, name="mine", expiry_duration=0.01) as pool:
            with Gate() as gate:
                held = pool.run(gate.hold)
                gate.wait_entered(1)
                call = failed_call(pool, error)
                # The only worker runs a call that does not end. (The loop is blocked.)
                wait_equal(pool.pool.running, 1)
                call.cancel()
                await asyncio.wait([call])
                del call
                await until(lambda: reports.seen != [])
                gate.open()
                await held

    run(main())
    assert reports.seen == [(error, "mine")]
