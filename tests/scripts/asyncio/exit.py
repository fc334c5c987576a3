"""The programs of tests/asyncio/test_exit.py."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from typing import Any

from program import keep_locals, main
from support import Gate, open_later, wait_until

from pyants import AsyncPool, PoolClosedError

ran: list[Any] = []
about_to_wait = threading.Event()
gate = Gate()
loops: list[asyncio.AbstractEventLoop] = []


async def entered(count: int) -> None:
    loops.append(asyncio.get_running_loop())
    while gate.entered < count:
        await asyncio.sleep(0.002)


def done_after_the_gate() -> None:
    gate.hold()
    print("done")


def interrupt_when_about_to_wait() -> None:
    """Sends Ctrl-C once the program is about to wait.

    A signal that comes just before the loop goes to sleep does not wake it, and a second would be taken for impatience;
    so the loop is woken until it is seen to end.
    """

    def send() -> None:
        about_to_wait.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        with contextlib.suppress(RuntimeError):  # It is closed.
            while True:
                loops[0].call_soon_threadsafe(int)
                time.sleep(0.01)

    threading.Thread(target=send, daemon=True).start()


async def wait_in(pool: AsyncPool, how: str) -> None:
    match how:
        case "run":
            await pool.run(gate.hold)
        case "submit":
            await (await pool.submit(gate.hold))
        case "room":
            await pool.submit(ran.append, 1)
        case "map":
            _ = [result async for result in pool.map(gate.hold, range(5))]
        case _:
            assert how == "sleep"
            await asyncio.sleep(60)


def the_interpreter_ends_once_running_calls_are_done() -> None:
    keep_locals()

    async def main() -> None:
        pool.run(done_after_the_gate)
        await entered(1)

    pool = AsyncPool(2)
    asyncio.run(main())
    print("main ends")
    threading.Thread(target=open_later, args=[gate]).start()


def it_ends_with_a_pool_that_nobody_keeps() -> None:
    keep_locals()

    async def main() -> None:
        AsyncPool(2).run(done_after_the_gate)
        await entered(1)

    asyncio.run(main())
    print("main ends")
    threading.Thread(target=open_later, args=[gate]).start()


def it_ends_with_waiting_and_queued_calls() -> None:
    keep_locals()

    async def main() -> Any:
        pools = [AsyncPool(1), AsyncPool(1, queue_size=None)]
        for pool in pools:
            pool.run(gate.hold)
            for _ in range(100):
                pool.run(int)
        await entered(2)
        return pools

    _pools = asyncio.run(main())
    print("main ends")
    threading.Thread(target=open_later, args=[gate]).start()


def what_a_call_raises_at_exit_is_reported() -> None:
    keep_locals()

    def fail() -> None:
        gate.hold()
        raise ValueError("mine")

    async def main() -> None:
        pool.run(fail)
        await entered(1)

    pool = AsyncPool(1, panic_handler=lambda error: print("told", repr(error)))
    asyncio.run(main())
    threading.Thread(target=open_later, args=[gate]).start()


def it_ends_while_loops_run_in_other_threads(daemon: str) -> None:
    keep_locals()
    running = threading.Event()
    refused: list[Any] = []

    async def main() -> None:
        while True:
            try:
                await asyncio.gather(*(pool.run(int) for _ in range(10)))
                running.set()
            except PoolClosedError:
                refused.append(1)
                return

    pool = AsyncPool(2)
    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=daemon == "True")
    thread.start()
    running.wait()
    print("main ends")


def sys_exit_in_a_coroutine() -> None:
    keep_locals()

    async def main() -> None:
        async with AsyncPool(1) as pool:
            pool.run(done_after_the_gate)
            await entered(1)
            gate.open()
            sys.exit(5)

    asyncio.run(main())


def a_call_that_raises_system_exit_ends_a_program_that_does_not_catch_it() -> None:
    keep_locals()

    def leave() -> None:
        sys.exit(5)

    async def main() -> None:
        async with AsyncPool(1) as pool:
            await pool.run(leave)
        print("never")

    asyncio.run(main())


def ctrl_c_while_it_waits(wait: str) -> None:
    keep_locals()
    interrupt_when_about_to_wait()

    async def main() -> None:
        async with AsyncPool(1) as pool:
            _held = pool.run(done_after_the_gate)
            waiting = [asyncio.ensure_future(awaiting(pool.run(ran.append, number))) for number in range(5)]
            await entered(1)
            about_to_wait.set()
            try:
                await wait_in(pool, wait)
            except asyncio.CancelledError:
                print("cancelled")
                for task in waiting:
                    task.cancel()
                gate.open()
                raise

    async def awaiting(call: Any) -> None:
        await call

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", ran)


def ctrl_c_in_a_group(where: str) -> None:
    keep_locals()
    interrupt_when_about_to_wait()

    def held() -> None:
        gate.hold()
        print("done")
        raise ValueError("mine")

    async def main() -> None:
        async with AsyncPool(1) as pool:
            try:
                async with pool.group() as group:
                    group.run(held)
                    calls = [group.run(ran.append, number) for number in range(5)]
                    await entered(1)
                    threading.Thread(target=open_later, args=(calls,), daemon=True).start()
                    about_to_wait.set()
                    if where == "block":
                        await asyncio.sleep(60)
            except* ValueError as failures:
                print("failed", failures.exceptions)

    def open_later(calls: Any) -> None:
        # Once the calls that have not started are cancelled.
        wait_until(lambda: all(call.cancelled() for call in calls))
        gate.open()

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", ran)


def what_the_last_collection_finds_is_reported_whole() -> None:
    keep_locals()
    import asyncio
    import gc

    gc.disable()
    errors = [ValueError(f"number {number}") for number in range(40)]

    def boom(error: Any) -> None:
        raise error

    async def main() -> None:
        async with AsyncPool(1) as pool:
            while errors:
                call = pool.run(boom, errors.pop())
                await asyncio.wait([call])
                cycle: list[object] = [call]
                cycle.append(cycle)

    asyncio.run(main())


if __name__ == "__main__":
    main(globals())
