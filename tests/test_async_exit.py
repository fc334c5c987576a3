"""AsyncPool and the process: what an import brings in, the interpreter's exit, Ctrl-C, forks."""

from __future__ import annotations

import os
import sys

import pytest
from support import IN_CHILD, run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

PRELUDE = """
import asyncio
gate = Gate()
async def entered(count):
    global loop
    loop = asyncio.get_running_loop()
    while gate.entered < count:
        await asyncio.sleep(0.002)
"""


def script(code: str, *, code_expected: int = 0) -> str:
    stdout, stderr = run_script(PRELUDE + code, code_expected=code_expected)
    assert stderr == ""
    return stdout


def test_importing_pyants_does_not_import_asyncio() -> None:
    stdout, stderr = run_script(
        """
import sys
import pyants
assert "asyncio" not in sys.modules
with pyants.Pool(1) as pool, pool.group() as group:
    group.submit(int)
with pyants.PoolExecutor(1) as executor:
    executor.submit(int).result()
assert "asyncio" not in sys.modules
assert {"AsyncPool", "AsyncTaskGroup"} <= set(dir(pyants))
assert "asyncio" not in sys.modules
pyants.AsyncPool
assert "asyncio" in sys.modules
from pyants import AsyncPool, AsyncTaskGroup
assert (AsyncPool.__module__, AsyncTaskGroup.__module__) == ("pyants", "pyants")
try:
    pyants.AsyncPond
except AttributeError as error:
    print(error)
""",
        prelude=False,
    )
    assert stdout == "module 'pyants' has no attribute 'AsyncPond'\n"
    assert stderr == ""


def test_from_pyants_import_everything() -> None:
    stdout, stderr = run_script("from pyants import *; AsyncPool(1); TaskGroup", prelude=False)
    assert (stdout, stderr) == ("", "")


# --- the interpreter's exit ---


def test_the_interpreter_ends_once_running_calls_are_done() -> None:
    stdout = script("""
async def main():
    pool.run(lambda: (gate.hold(), print("done")))
    await entered(1)
pool = AsyncPool(2)
asyncio.run(main())
print("main ends")
threading.Thread(target=open_later, args=[gate]).start()
""")
    assert stdout == "main ends\ndone\n"


def test_it_ends_with_a_pool_that_nobody_keeps() -> None:
    stdout = script("""
async def main():
    AsyncPool(2).run(lambda: (gate.hold(), print("done")))
    await entered(1)
asyncio.run(main())
print("main ends")
threading.Thread(target=open_later, args=[gate]).start()
""")
    assert stdout == "main ends\ndone\n"


def test_it_ends_with_waiting_and_queued_calls() -> None:
    stdout = script("""
async def main():
    pools = [AsyncPool(1), AsyncPool(1, queue_size=None)]
    for pool in pools:
        pool.run(gate.hold)
        for _ in range(100):
            pool.run(int)
    await entered(2)
    return pools
pools = asyncio.run(main())
print("main ends")
threading.Thread(target=open_later, args=[gate]).start()
""")
    assert stdout == "main ends\n"


def test_what_a_call_raises_at_exit_is_reported() -> None:
    stdout = script("""
def fail():
    gate.hold()
    raise ValueError("mine")
async def main():
    pool.run(fail)
    await entered(1)
pool = AsyncPool(1, panic_handler=lambda error: print("told", repr(error)))
asyncio.run(main())
threading.Thread(target=open_later, args=[gate]).start()
""")
    assert stdout == "told ValueError('mine')\n"


@pytest.mark.parametrize("daemon", [True, False])
def test_it_ends_while_loops_run_in_other_threads(daemon: bool) -> None:
    stdout = script(f"""
running = threading.Event()
refused = []
async def main():
    while True:
        try:
            await asyncio.gather(*(pool.run(int) for _ in range(10)))
            running.set()
        except PoolClosedError:
            refused.append(1)
            return
pool = AsyncPool(2)
thread = threading.Thread(target=asyncio.run, args=(main(),), daemon={daemon})
thread.start()
running.wait()
print("main ends")
""")
    assert stdout == "main ends\n"


def test_sys_exit_in_a_coroutine() -> None:
    stdout = script(
        """
async def main():
    async with AsyncPool(1) as pool:
        pool.run(lambda: (gate.hold(), print("done")))
        await entered(1)
        gate.open()
        sys.exit(5)
asyncio.run(main())
""",
        code_expected=5,
    )
    assert stdout == "done\n"


def test_a_call_that_raises_system_exit_ends_a_program_that_does_not_catch_it() -> None:
    stdout = script(
        """
async def main():
    async with AsyncPool(1) as pool:
        await pool.run(sys.exit, 5)
    print("never")
asyncio.run(main())
""",
        code_expected=5,
    )
    assert stdout == ""


# --- Ctrl-C ---

# Sends Ctrl-C once the program is about to wait. A signal that comes just before the loop goes to sleep does not wake
# it, and a second would be taken for impatience; so the loop is woken until it is seen to end.
INTERRUPT = """
about_to_wait = threading.Event()
def send():
    about_to_wait.wait()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    try:
        while True:
            loop.call_soon_threadsafe(int)
            time.sleep(0.01)
    except RuntimeError:
        pass  # It is closed.
threading.Thread(target=send, daemon=True).start()
ran = []
"""


@pytest.mark.parametrize(
    "wait",
    [
        "await pool.run(gate.hold)",
        "await (await pool.submit(gate.hold))",
        "await pool.submit(ran.append, 1)",
        "[result async for result in pool.map(gate.hold, range(5))]",
        "await asyncio.sleep(60)",
    ],
)
def test_ctrl_c_while_it_waits(wait: str) -> None:
    stdout = script(
        INTERRUPT
        + f"""
async def main():
    async with AsyncPool(1) as pool:
        held = pool.run(lambda: (gate.hold(), print("done")))
        waiting = [asyncio.ensure_future(awaiting(pool.run(ran.append, number))) for number in range(5)]
        await entered(1)
        about_to_wait.set()
        try:
            {wait}
        except asyncio.CancelledError:
            print("cancelled")
            for task in waiting:
                task.cancel()
            gate.open()
            raise
async def awaiting(call):
    await call
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", ran)
"""
    )
    assert stdout == "cancelled\ndone\ninterrupted []\n"


@pytest.mark.parametrize("where", ["block", "end"])
def test_ctrl_c_in_a_group(where: str) -> None:
    stdout = script(
        INTERRUPT
        + f"""
def held():
    gate.hold()
    print("done")
    raise ValueError("mine")
async def main():
    async with AsyncPool(1) as pool:
        try:
            async with pool.group() as group:
                group.run(held)
                calls = [group.run(ran.append, number) for number in range(5)]
                await entered(1)
                threading.Thread(target=open_later, args=(calls,), daemon=True).start()
                about_to_wait.set()
                if {where!r} == "block":
                    await asyncio.sleep(60)
        except* ValueError as failures:
            print("failed", failures.exceptions)
def open_later(calls):
    # Once what has not started is cancelled.
    wait_until(lambda: all(call.cancelled() for call in calls))
    gate.open()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", ran)
"""
    )
    # As with asyncio.TaskGroup failures come first, and from 3.13 on the task is cancelled again after them.
    assert stdout == "done\nfailed (ValueError('mine'),)\n" + (
        "interrupted []\n" if sys.version_info >= (3, 13) else ""
    )


# --- forks ---

FORK = (
    IN_CHILD
    + """

async def use(pool):
    assert await pool.run(int, "7") == 7
    assert await (await pool.submit(int, "8")) == 8
    assert [item async for item in pool.map(int, "123")] == [1, 2, 3]
    async with pool.group(results=True) as group:
        for _ in range(20):
            group.run(int)
    assert group.results() == [0] * 20
"""
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.parametrize("make", ["AsyncPool(2)", "AsyncPool.over(Pool(2))", "AsyncPool.over(MultiPool(2, 1))"])
def test_a_child_can_use_the_pool(make: str) -> None:
    stdout = script(
        FORK
        + f"""
pool = {make}
asyncio.run(use(pool))
def child():
    asyncio.run(use(pool))
    asyncio.run(pool.aclose())
    print("child")
in_child(child)
asyncio.run(use(pool))
asyncio.run(pool.aclose())
print("parent")
"""
    )
    assert stdout == "child\nparent\n"


@needs_fork
def test_a_child_of_a_busy_loop() -> None:
    stdout = script(
        FORK
        + """
pool = AsyncPool(2)
def child():
    asyncio.run(use(pool))
    # None of the parent's calls are waited for.
    asyncio.run(pool.aclose())
    print("child")
async def main():
    calls = [pool.run(gate.hold) for _ in range(10)]
    await entered(2)
    in_child(child)
    gate.open()
    await asyncio.gather(*calls)
    await use(pool)
    await pool.aclose()
    print("parent")
asyncio.run(main())
"""
    )
    assert stdout == "child\nparent\n"


@needs_fork
def test_a_child_of_a_closed_pool() -> None:
    stdout = script(
        FORK
        + """
pool = AsyncPool(2)
asyncio.run(use(pool))
asyncio.run(pool.aclose())
def child():
    try:
        asyncio.run(use(pool))
    except PoolClosedError:
        print("closed")
in_child(child)
"""
    )
    assert stdout == "closed\n"


def test_what_the_last_collection_finds_is_reported_whole() -> None:
    # While the interpreter ends, the collector runs for the last time, and clears exceptions of which nobody was told.
    _, err = run_script(
        """
        import asyncio, gc
        gc.disable()
        errors = [ValueError(f"number {number}") for number in range(40)]

        def boom(error):
            raise error

        async def main():
            async with AsyncPool(1) as pool:
                while errors:
                    call = pool.run(boom, errors.pop())
                    await asyncio.wait([call])
                    cycle = [call]
                    cycle.append(cycle)

        asyncio.run(main())
        """
    )
    assert err.count("ValueError: number") == 40
