"""AsyncTaskGroup: calls on an AsyncPool that are waited for together."""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import Thing, logged, pass_through, wait_freed
from groups import hold_and_fail, pyants_log
from loops import Ticks, collect, each_kind, entered, fail, run, until
from support import Gate, Sum, run_script

from pyants import AsyncPool, AsyncTaskGroup, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def awaiting(call: Any) -> Any:
    return await call


@each_kind
def test_the_block_is_left_when_all_calls_are_done(make: Any) -> None:
    async def main() -> None:
        done = Sum()
        async with make(2) as pool:
            with Gate() as gate:

                def call() -> None:
                    gate.hold()
                    done.add()

                async def block() -> int:
                    async with pool.group() as group:
                        for _ in range(5):
                            group.run(call)
                    return done.value

                waiting = asyncio.ensure_future(block())
                ticks = Ticks()
                await entered(gate, 2)
                gate.let(4)
                await until(lambda: done.value == 4)
                await ticks.some()
                assert not waiting.done()
                gate.open()
                assert await waiting == 5
                await ticks.stop()

    run(main())


@each_kind
def test_results_are_in_the_order_of_submission(make: Any) -> None:
    async def main() -> None:
        async with make(3) as pool:
            async with pool.group(results=True) as group:
                assert isinstance(group, AsyncTaskGroup)
                for number in range(20):
                    group.run(pow, number, 2)
                    await group.submit(int, "ff", base=16)
            assert group.results()[::2] == [number**2 for number in range(20)]
            assert group.results()[1::2] == [255] * 20
            async with pool.group(results=True) as empty:
                pass
            assert empty.results() == []

    run(main())


def test_results_before_the_end() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool, pool.group(results=True) as group:
            assert await group.run(int, "7") == 7
            assert group.results() == [7]
            with Gate() as gate:
                group.run(gate.hold)
                with pytest.raises(asyncio.InvalidStateError):
                    group.results()

    run(main())


def test_submit_waits_for_admission() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                async with pool.group(results=True) as group:
                    held = await group.submit(pass_through, gate, 7)
                    second = asyncio.ensure_future(awaiting(group.submit(int, "8")))
                    await until(lambda: pool.pool.waiting() == 1)
                    assert not second.done()
                    gate.open()
                    assert await (await second) == 8
                    assert await held == 7
                assert group.results() == [7, 8]

    run(main())


def test_other_tasks_may_submit_while_it_waits() -> None:
    async def main() -> None:
        async with AsyncPool(2) as pool:
            with Gate() as gate:

                async def later() -> None:
                    await asyncio.wait([held])
                    group.run(int, "8")

                async with pool.group(results=True) as group:
                    held = group.run(pass_through, gate, 7)
                    other = asyncio.ensure_future(later())
                    held.add_done_callback(lambda _: group.run(int, "9"))
                    await entered(gate, 1)
                    gate.open()
                await asyncio.wait([other])
            assert group.results()[:2] == [7, 9]

    run(main())


def test_a_group_that_was_left_refuses() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            async with pool.group() as group:
                group.run(int)
            with pytest.raises(RuntimeError, match="left"):
                group.run(int)
            with pytest.raises(RuntimeError, match="left"):
                await group.submit(int)
            assert pool.pool.stats().submitted == 1

    run(main())


def test_a_refusal_of_run_is_a_failure_of_the_group() -> None:
    # The exception is not raised where the call is made: the call need not be awaited.
    async def main() -> None:
        async with AsyncPool(1, nonblocking=True) as pool:
            calls: list[asyncio.Future[int]] = []
            with Gate() as gate, pytest.raises(ExceptionGroup) as raised:
                async with pool.group() as group:
                    group.run(pass_through, gate, 7)
                    calls.append(group.run(int))
                    gate.open()
            (error,) = raised.value.exceptions
            assert isinstance(error, PoolOverloadError)
            (call,) = calls
            assert call.exception() is error

    run(main())


def test_a_refusal_of_submit_is_no_call_of_the_group() -> None:
    async def main() -> None:
        async with AsyncPool(1, nonblocking=True) as pool:
            with Gate() as gate:
                async with pool.group(results=True) as group:
                    group.run(pass_through, gate, 7)
                    with pytest.raises(PoolOverloadError):
                        await group.submit(int)
                    gate.open()
            assert group.results() == [7]

    run(main())


# --- failures ---


@each_kind
def test_failures_come_out_as_one_group_with_every_traceback(make: Any) -> None:
    reported: list[BaseException] = []

    async def main() -> None:
        errors = [ValueError("one"), KeyError("two"), OSError("three")]
        async with make(2, panic_handler=reported.append) as pool:
            with pytest.raises(ExceptionGroup, match=r"^3 of 5 tasks failed") as raised:
                async with pool.group() as group:
                    group.run(int)
                    for error in errors:
                        group.run(fail, error)
                    await group.submit(int)
            assert list(raised.value.exceptions) == errors
            for error in errors:
                assert "fail" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    run(main())
    assert reported == []


@each_kind
@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), SystemExit(3)], ids=repr)
def test_what_ends_programs_comes_out_bare(make: Any, error: BaseException) -> None:
    others = [ValueError("before"), KeyError("after")]
    raised: list[BaseException] = []

    async def main() -> None:
        async with make(1) as pool:
            calls: list[asyncio.Future[Any]] = []
            try:
                async with pool.group() as group:
                    calls += [group.run(fail, failure) for failure in (others[0], error, others[1])]
            except BaseException as caught:
                raised.append(caught)
            # The other failures are reported, and calls that had not started were cancelled.
            assert len(logged(records, others[0])) == 1
            assert len(logged(records, others[1])) == (0 if calls[-1].cancelled() else 1)

    with pyants_log() as records:
        run(main())
    assert raised == [error]


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize(("error", "code"), [("SystemExit(3)", 3), ("KeyboardInterrupt()", -signal.SIGINT)])
def test_the_status_of_a_program_that_a_call_ends(error: str, code: int) -> None:
    run_script(
        f"""
        import asyncio, loops
        async def main():
            async with AsyncPool(2) as pool, pool.group() as group:
                group.run(loops.fail, {error})
        asyncio.run(main())
        """,
        code_expected=code,
    )


@pytest.mark.parametrize("fail_fast", [False, True])
def test_fail_fast(fail_fast: bool) -> None:
    async def main() -> None:
        ran = Sum()
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                error = ValueError("mine")
                second: list[asyncio.Future[int]] = []
                others: list[asyncio.Future[None]] = []
                with pytest.raises(ExceptionGroup) as raised:
                    async with pool.group(fail_fast=fail_fast) as group:
                        first = group.run(hold_and_fail, gate, error)
                        await entered(gate, 1)
                        second.append(group.run(pass_through, held, 7))
                        others += [group.run(ran.add) for _ in range(10)]
                        gate.open()
                        await asyncio.wait([first])
                        held.open()
                        if fail_fast:
                            await asyncio.wait(others)
                            # No call starts later either.
                            assert group.run(ran.add).cancelled()
                            assert (await group.submit(ran.add)).cancelled()
                assert raised.value.exceptions == (error,)
                assert ran.value == (0 if fail_fast else 10)
                assert all(call.cancelled() == fail_fast for call in others)
                assert second[0].done()
            assert await pool.run(int, "7") == 7

    held = Gate()
    run(main())


@each_kind
def test_an_exception_in_the_block_comes_out_with_what_calls_raised(make: Any) -> None:
    async def main() -> None:
        ran = Sum()
        failure, mine = ValueError("of a call"), KeyError("in the block")
        async with make(1) as pool:
            with Gate() as gate, pyants_log() as records:

                async def block() -> None:
                    async with pool.group() as group:
                        group.run(hold_and_fail, gate, failure)
                        await entered(gate, 1)
                        others.extend(group.run(ran.add) for _ in range(10))
                        raise mine

                others: list[asyncio.Future[None]] = []
                waiting = asyncio.ensure_future(block())
                await until(lambda: len(others) == 10 and all(call.cancelled() for call in others))
                # The block waits for calls that have started.
                assert not waiting.done()
                gate.open()
                with pytest.raises(ExceptionGroup, match=r"^1 of 11 tasks and the group's block failed") as raised:
                    await waiting
                assert raised.value.exceptions == (failure, mine)
                assert raised.value.__suppress_context__
                assert logged(records, failure) == []
        assert ran.value == 0

    run(main())


class Own:
    """asyncio's task group with our interface, for the behaviour that is to be the same."""

    def __init__(self) -> None:
        self.group: Any = asyncio.TaskGroup()

    async def __aenter__(self) -> Any:
        await self.group.__aenter__()
        return self

    async def __aexit__(self, *info: object) -> None:
        await self.group.__aexit__(*info)

    def run(self, fn: Any, *args: Any) -> Any:
        async def call() -> Any:
            return fn(*args)

        return self.group.create_task(call())


each_group = pytest.mark.parametrize("kind", ["pyants", "asyncio"])


def make_group(kind: str, pool: AsyncPool) -> Any:
    return pool.group() if kind == "pyants" else Own()


@each_group
def test_an_exception_of_the_block_alone(kind: str) -> None:
    async def main() -> None:
        mine = KeyError("in the block")
        async with AsyncPool(1) as pool:
            with pytest.raises(ExceptionGroup) as raised:
                async with make_group(kind, pool) as group:
                    group.run(int)
                    raise mine
            assert raised.value.exceptions == (mine,)
            for error in (SystemExit(3), KeyboardInterrupt()):
                with pytest.raises(type(error)) as bare:
                    async with make_group(kind, pool) as group:
                        group.run(int)
                        raise error
                assert bare.value is error

    run(main())


@each_group
@pytest.mark.parametrize("where", ["block", "end"])
def test_a_time_out_is_still_one(kind: str, where: str) -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                task = asyncio.current_task()
                assert task is not None
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(None) as limit:
                        async with make_group(kind, pool) as group:
                            if kind == "pyants":
                                group.run(gate.hold)
                                await entered(gate, 1)
                            else:
                                group.group.create_task(asyncio.sleep(60))
                            limit.reschedule(0)
                            asyncio.get_running_loop().call_later(0.02, gate.open)
                            if where == "block":
                                await asyncio.sleep(60)
                assert task.cancelling() == 0

    run(main())


@each_group
def test_failures_come_before_a_cancellation_which_is_kept(kind: str) -> None:
    async def main() -> None:
        failure = ValueError("of a call")
        seen: list[object] = []

        async def block(pool: AsyncPool) -> None:
            try:
                async with make_group(kind, pool) as group:
                    call = group.run(fail, failure)
                    try:
                        await asyncio.wait([call])
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        if kind == "asyncio":
                            # Its failing tasks cancel the block, too.
                            task = asyncio.current_task()
                            assert task is not None
                            task.cancel()
                        raise
            except ExceptionGroup as group_error:
                seen.append(group_error.exceptions)
            await asyncio.sleep(0)
            seen.append("went on")

        async with AsyncPool(1) as pool:
            waiting = asyncio.ensure_future(block(pool))
            if kind == "pyants":
                await until(lambda: pool.pool.stats().failed == 1)
                waiting.cancel()
            await asyncio.wait([waiting])
        assert seen[0] == (failure,)
        if kind == "pyants" or sys.version_info >= (3, 13):
            # Before 3.13 asyncio cannot tell these cases apart, and its own groups differ between versions.
            assert waiting.cancelled() == (sys.version_info >= (3, 13))
        assert len(seen) == (1 if waiting.cancelled() else 2)

    run(main())


@each_kind
@pytest.mark.parametrize("where", ["block", "end"])
@pytest.mark.parametrize("failing", [False, True])
def test_a_cancelled_block_takes_back_what_has_not_started(make: Any, where: str, failing: bool) -> None:
    async def main() -> None:
        ran = Sum()
        failure = ValueError("of a call")
        async with make(1) as pool:
            with Gate() as gate, pyants_log() as records:

                async def block() -> None:
                    async with pool.group() as group:
                        if failing:
                            group.run(hold_and_fail, gate, failure)
                        else:
                            group.run(gate.hold)
                        others.extend(group.run(ran.add) for _ in range(10))
                        if where == "block":
                            await asyncio.sleep(3600)

                others: list[asyncio.Future[None]] = []
                waiting = asyncio.ensure_future(block())
                await entered(gate, 1)
                waiting.cancel()
                await until(lambda: all(call.cancelled() for call in others))
                assert not waiting.done()
                gate.open()
                await asyncio.wait([waiting])
                assert waiting.cancelled() != failing
                if failing:
                    error: Any = waiting.exception()
                    assert type(error) is ExceptionGroup
                    assert error.exceptions == (failure,)
                assert logged(records, failure) == []
        assert ran.value == 0

    run(main())


def test_an_asynchronous_generator_that_is_closed_in_its_block() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:

            async def generator() -> AsyncGenerator[int]:
                async with pool.group() as group:
                    while True:
                        yield await group.run(int, "7")

            steps = generator()
            assert await anext(steps) == 7
            await steps.aclose()

    run(main())


def test_a_second_cancellation_leaves_at_once() -> None:
    failure = ValueError("of a call")
    reported: list[BaseException] = []

    async def main() -> None:
        async with AsyncPool(1, panic_handler=reported.append) as pool:
            with Gate() as gate:

                async def block() -> None:
                    async with pool.group() as group:
                        calls.append(group.run(hold_and_fail, gate, failure))
                        calls.append(group.run(int))

                calls: list[asyncio.Future[Any]] = []
                waiting = asyncio.ensure_future(block())
                await entered(gate, 1)
                waiting.cancel()
                await until(lambda: calls[1].cancelled())
                waiting.cancel()
                await asyncio.wait([waiting])
                assert waiting.cancelled()
                assert gate.inside == 1
                gate.open()
            # The failure of a call that still runs is reported later.
            await until(lambda: reported != [])

    run(main())
    assert reported == [failure]


def test_cancel() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                async with pool.group(results=True) as group:
                    held = group.run(pass_through, gate, 7)
                    await entered(gate, 1)
                    others = [group.run(int) for _ in range(3)]
                    assert group.cancel() == 3
                    assert group.cancel() == 0
                    assert all(call.cancelled() for call in others)
                    gate.open()
                    assert await held == 7
                    # The group is still usable.
                    assert await group.run(int, "8") == 8
                with pytest.raises(asyncio.CancelledError):
                    group.results()

    run(main())


def test_a_caller_that_is_cancelled_does_not_fail_the_group() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            with Gate() as gate:
                async with pool.group() as group:
                    group.run(gate.hold)
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(group.run(int), 0.01)
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(group.submit(int), 0.01)
                    gate.open()

    run(main())


def test_nested_groups() -> None:
    async def main() -> None:
        order: list[str] = []
        async with AsyncPool(2) as pool:
            async with pool.group() as outer:
                async with pool.group() as inner:
                    inner.run(order.append, "inner")
                assert order == ["inner"]
                outer.run(order.append, "outer")
            with pytest.raises(ExceptionGroup) as raised:
                async with pool.group() as outer, pool.group() as inner:
                    inner.run(fail, ValueError("mine"))
            nested: Any = raised.value.exceptions[0]
            assert type(nested) is ExceptionGroup
            assert [str(error) for error in nested.exceptions] == ["mine"]
        assert order == ["inner", "outer"]

    run(main())


def test_options_are_named() -> None:
    pool: Any = AsyncPool(1)
    with pytest.raises(TypeError):
        pool.group(True)
    with pytest.raises(TypeError):
        pool.group(nonsense=1)


@each_kind
@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_group_that_never_ends_lets_go_of_what_is_done(make: Any, fail_fast: bool) -> None:
    async def main() -> None:
        references: list[weakref.ref[Any]] = []
        failure = ValueError("mine")

        def call() -> Thing:
            thing = Thing()
            references.append(weakref.ref(thing))
            return thing

        async with make(2) as pool:
            with pytest.raises(ExceptionGroup, match=r"^1 of 101 tasks failed") as raised:
                async with pool.group(fail_fast=fail_fast) as group:
                    for _ in range(50):
                        await group.run(call)
                        await (await group.submit(call))
                    # While the group is still open.
                    await until(lambda: collect() >= 0 and all(reference() is None for reference in references))
                    assert len(references) == 100
                    assert len(group._pending) == 0
                    await asyncio.wait([group.run(fail, failure)])
            assert raised.value.exceptions == (failure,)

    run(main())


def test_results_are_kept_for_who_asked_for_them_up_front() -> None:
    async def main() -> None:
        async with AsyncPool(1) as pool:
            async with pool.group() as group:
                group.run(int)
            with pytest.raises(RuntimeError, match=r"results=True"):
                group.results()

    run(main())


def test_it_is_freed() -> None:
    references: list[weakref.ref[Any]] = []

    async def main() -> None:
        async with AsyncPool(2) as pool:
            async with pool.group(fail_fast=True) as group:
                for _ in range(5):
                    thing = Thing()
                    references.append(weakref.ref(thing))
                    group.run(id, thing)
                    del thing
            references.append(weakref.ref(group))

    run(main())
    wait_freed(*references)
