"""AsyncPool on several loops, closed loops, uvloop, and in debug mode; PoolExecutor as a loop's default executor."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib.util
import os
import threading
import tracemalloc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import EXECUTOR_TYPES, PoolExecutor, pass_through, wait_freed
from loops import Ticks, entered, everything, fail, run, until
from support import DEADLINE, Background, Gate, Sum, background, run_program, wait_equal, wait_until

from pyants import AsyncPool, Pool, PoolClosedError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None


def test_debug_mode() -> None:
    async def main() -> None:
        # Debug mode must not warn of a slow callback on a slow machine.
        asyncio.get_running_loop().slow_callback_duration = 3600.0
        async with AsyncPool(2, abandon_on_cancel=True) as pool:
            await everything(pool)
            with Gate() as gate:
                held, abandoned = pool.run(gate.hold), pool.run(gate.hold)
                await entered(gate, 2)  # A call that had not begun would be taken back.
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(abandoned, 0.01)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(pool.submit(gate.hold), 0.01)
                gate.open()
                await held

    run(main(), debug=True)


def test_one_loop_after_another() -> None:
    pool = AsyncPool(2)
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await everything(pool)

    for _ in range(10):
        run(main())
    # The pool is still open, and does not keep the loops alive.
    gc.collect()
    wait_freed(*loops)
    run(main())
    run(pool.aclose())
    assert pool.is_closed()
    gc.collect()
    wait_freed(*loops)


def test_a_pool_that_its_loop_refers_to_is_freed_with_it() -> None:
    references: list[weakref.ref[Any]] = []

    async def main() -> None:
        pool = AsyncPool(1)
        assert await pool.run(int, "7") == 7
        loop = asyncio.get_running_loop()
        setattr(loop, "a_users_own", pool)  # noqa: B010 - loops have no such attribute
        references.extend([weakref.ref(loop), weakref.ref(pool)])

    asyncio.run(main())
    gc.collect()
    wait_freed(*references)


def test_several_loops_in_several_threads() -> None:
    pool = AsyncPool(3)

    async def main() -> None:
        for _ in range(3):
            await everything(pool)

    for thread in background(4, lambda: asyncio.run(main())):
        thread.result()
    run(pool.aclose())


def test_closing_by_one_loop_waits_for_the_calls_of_another() -> None:
    pool = AsyncPool(1)
    closed, detached = threading.Event(), threading.Event()

    async def other(gate: Gate) -> list[int]:
        calls = [pool.run(pass_through, gate, number) for number in range(5)]
        detached.set()
        return await asyncio.gather(*calls)

    async def main(gate: Gate) -> None:
        closing = asyncio.ensure_future(pool.aclose())
        await until(pool.is_closed)
        with pytest.raises(PoolClosedError):
            await pool.run(int)
        assert not closing.done()
        gate.open()
        await closing
        closed.set()

    with Gate() as gate:
        results = Background(lambda: asyncio.run(other(gate)))
        assert detached.wait(DEADLINE)
        run(main(gate))
        assert results.result() == [0, 1, 2, 3, 4]
    assert closed.is_set()


def test_a_blocked_loop_does_not_keep_another_waiting() -> None:
    pool = AsyncPool(2)

    async def blocked(gate: Gate) -> int:
        call = pool.run(int, "7")
        gate.hold()
        return await call

    with Gate() as gate:
        other = Background(lambda: asyncio.run(blocked(gate)))
        gate.wait_entered(1)
        run(everything(pool))
        gate.open()
        assert other.result() == 7
    run(pool.aclose())


# --- loops that close early ---


@pytest.mark.parametrize("when", ["running", "waiting", "done"])
def test_a_loop_that_closes_with_calls_under_way(when: str) -> None:
    errors: list[BaseException] = []
    ran = Sum()
    pool = AsyncPool(1, panic_handler=errors.append)
    mine = ValueError("nobody waits for it")

    def call(gate: Gate) -> None:
        gate.hold()
        ran.add()
        raise mine

    with Gate() as gate:
        loop = asyncio.new_event_loop()

        def start() -> None:
            futures.append(pool.run(call, gate))
            if when == "waiting":
                futures.append(pool.run(ran.add))
            gate.wait_entered(1)
            if when == "done":
                # The loop has been woken, and is closed before it fetches the result.
                gate.open()
                wait_equal(lambda: pool.pool.stats().failed, 1)
            loop.stop()

        futures: list[asyncio.Future[None]] = []
        loop.call_soon(start)
        loop.run_forever()
        loop.close()
        gate.open()
        # What is raised is not lost, and only once reported. Without the GIL what the loop forgets is let go of when
        # the worker, whose thread made it, gets to it, or at the next collection.
        wait_until(lambda: gc.collect() >= 0 and len(errors) == 1, "the report")
    run(everything(pool))
    run(pool.aclose())
    # The calls cannot be awaited any more.
    wait_until(lambda: all(future.cancelled() for future in futures), "the cancellation")
    assert errors == [mine]
    # None of the waiting calls was withdrawn.
    assert ran.value == (2 if when == "waiting" else 1)


def test_asyncio_run_that_ends_with_calls_under_way() -> None:
    ran = Sum()
    pool = AsyncPool(1, abandon_on_cancel=True)

    async def main(gate: Gate) -> None:
        async def caller() -> None:
            await pool.run(gate.hold)
            await pool.run(ran.add)

        task = asyncio.ensure_future(caller())
        await entered(gate, 1)
        others = [asyncio.ensure_future(_await(pool.run(ran.add))) for _ in range(5)]
        await asyncio.sleep(0)
        assert not task.done()
        assert not any(other.done() for other in others)

    with Gate() as gate:
        run(main(gate))
        # asyncio.run() cancelled the tasks, which took back the calls that had not started, and no others.
        gate.open()
    run(everything(pool))
    assert ran.value == 0
    run(pool.aclose())


async def _await(call: Any) -> Any:
    return await call


def test_a_loop_that_is_stopped_and_goes_on_later() -> None:
    pool = AsyncPool(2)
    with Gate() as gate:
        loop = asyncio.new_event_loop()
        try:

            async def start() -> asyncio.Future[int]:
                return pool.run(pass_through, gate, 7)

            future = loop.run_until_complete(start())
            gate.open()
            wait_equal(lambda: pool.pool.stats().completed, 1)
            assert not future.done()
            assert loop.run_until_complete(future) == 7
            loop.run_until_complete(pool.aclose())
        finally:
            loop.close()


# --- again and again ---


@pytest.mark.thread_unsafe(reason="counts the threads and files of the process")
def test_asyncio_run_again_and_again_leaks_no_threads_and_no_files() -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        async with AsyncPool(3) as pool:
            await everything(pool)

    async def shared() -> None:
        await everything(kept)

    async def all_at_once() -> None:
        await asyncio.gather(*(kept.run(together.wait, DEADLINE) for _ in range(3)))

    kept = AsyncPool(3, disable_purge=True)
    together = threading.Barrier(3)
    run(all_at_once())  # From now on all workers are alive.
    run(shared())
    run(main())
    gc.collect()
    before = (threading.active_count(), files())
    for _ in range(20):
        run(main())
        run(shared())
    gc.collect()
    wait_until(lambda: threading.active_count() <= before[0], "the end of the threads")
    assert files() <= before[1]
    run(kept.aclose())


@pytest.mark.thread_unsafe(reason="measures the process")
def test_memory_is_flat_over_many_calls() -> None:
    def failing(number: int) -> int:
        if number % 10 == 0:
            raise ValueError(number)
        return number

    async def calls(pool: AsyncPool, count: int) -> None:
        for start in range(0, count, 100):
            numbers = range(start, start + 100)
            await asyncio.gather(*(pool.run(failing, number) for number in numbers), return_exceptions=True)
            submitted = [await pool.submit(failing, number) for number in numbers]
            await asyncio.gather(*submitted, return_exceptions=True)
            async for _ in pool.map(abs, numbers):
                pass
            with pytest.raises(ExceptionGroup):
                async with pool.group() as group:
                    for number in numbers:
                        group.run(failing, number)
            tasks = [asyncio.ensure_future(_await(pool.run(abs, number))) for number in numbers]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks)

    async def main() -> None:
        async with AsyncPool(2, disable_purge=True) as pool:
            await calls(pool, 200)
            tracemalloc.start()
            try:
                await calls(pool, 200)
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                await calls(pool, 1000)

                def has_grown() -> bool:
                    gc.collect()
                    # A small object leaked by each call would be twice as much; asyncio's own set of tasks grows.
                    return tracemalloc.get_traced_memory()[0] - before > 30_000

                await until(lambda: not has_grown(), "flat memory")
            finally:
                tracemalloc.stop()

    run(main())


@pytest.mark.thread_unsafe(reason="measures the process")
def test_twenty_thousand_gathered_calls() -> None:
    stdout, stderr = run_program("asyncio/loops.py", "twenty_thousand_gathered_calls")
    assert (stdout, stderr) == ("", "")


# --- uvloop ---


@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed")
@pytest.mark.parametrize("debug", [False, True])
def test_uvloop(debug: bool) -> None:
    stdout, stderr = run_program("asyncio/loops.py", "with_uvloop", debug)
    assert stdout == "timeout\n" * 6 + "mine\n"
    assert stderr == ""


# --- PoolExecutor and loops ---

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@each_executor_type
def test_it_can_be_the_default_executor(executor_type: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        executor = executor_type(2, "mine")
        loop.set_default_executor(executor)
        VARIABLE.set("the caller's")
        assert await asyncio.to_thread(VARIABLE.get) == "the caller's"
        assert (await asyncio.to_thread(lambda: threading.current_thread().name)).startswith("mine_")
        assert await loop.run_in_executor(None, int, "7") == 7
        with pytest.raises(ValueError, match="mine"):
            await asyncio.to_thread(fail, ValueError("mine"))
        ticks = Ticks()
        with Gate() as gate:
            held = [asyncio.ensure_future(asyncio.to_thread(pass_through, gate, number)) for number in range(3)]
            await entered(gate, 2)
            await ticks.some()
            # Calls in the queue are withdrawn.
            held[2].cancel()
            await asyncio.wait([held[2]])
            gate.open()
            assert await asyncio.gather(*held[:2]) == [0, 1]
        assert gate.entered == 2
        await ticks.stop()
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(int)

    run(main())


@each_executor_type
def test_asyncio_run_shuts_the_default_executor_down(executor_type: Any) -> None:
    executor: ThreadPoolExecutor = executor_type(1)
    done = Sum()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor)
        future = asyncio.get_running_loop().run_in_executor(None, done.add)
        await future

    run(main())
    assert done.value == 1
    with pytest.raises(RuntimeError):
        executor.submit(int)


@each_executor_type
def test_run_in_executor_and_wrap_future(executor_type: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with executor_type(2) as executor:
            calls = [loop.run_in_executor(executor, pow, number, 2) for number in range(50)]
            assert await asyncio.gather(*calls) == [number**2 for number in range(50)]
            assert await asyncio.wrap_future(executor.submit(int, "7")) == 7
            with Gate() as gate:
                held = [loop.run_in_executor(executor, gate.hold) for _ in range(2)]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(loop.run_in_executor(executor, gate.hold), 0.01)
                gate.open()
                await asyncio.gather(*held)
            assert gate.entered == 2

    run(main())


def test_an_executor_and_an_async_pool_use_the_same_workers() -> None:
    async def main() -> None:
        with Pool(2) as shared, PoolExecutor.over(shared) as executor:
            async with AsyncPool.over(shared) as pool:
                with Gate() as gate:
                    held = await pool.submit(gate.hold)
                    future = executor.submit(gate.hold)
                    waiting = pool.run(int, "7")
                    await until(lambda: shared.waiting() == 1)
                    gate.open()
                    await held
                    await asyncio.wrap_future(future)
                    assert await waiting == 7

    run(main())
