"""The programs of tests/pool/test_thread_objects.py."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from program import evaluate, executor_class, keep_locals, main
from support import Gate, wait_equal, wait_until

from pyants import Pool


def save() -> None:
    # It runs on when the main thread has ended; a daemon thread would soon be stopped then.
    threading.main_thread().join()
    threading.Event().wait(0.3)
    print("saved")


def mappings() -> int:
    with open("/proc/self/maps") as maps:
        return len(maps.readlines())


def threading_knows_as_many_as_before() -> None:
    before = threading.enumerate()
    for _ in range(20):
        with Pool(4) as pool:
            for _ in range(4):
                pool.submit(threading.current_thread)
        assert threading.enumerate() == before, threading.enumerate()
        assert threading.active_count() == len(before)
    print("done")


def interrupted_join() -> None:
    pool = Pool(1, disable_purge=True)
    threads: list[Any] = []
    pool.submit(lambda: threads.append(threading.current_thread()))
    assert pool.wait_idle(10)
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        threads[0].join()
    except KeyboardInterrupt:
        print("interrupted", threads[0].is_alive())


def a_thread_that_a_task_started_is_waited_for(make: str, thread: str) -> None:
    keep_locals()
    pool: Any = evaluate(make)
    started = threading.Event()

    def task() -> None:
        made = threading.Thread(target=save) if thread == "Thread" else threading.Timer(0.01, save)
        made.start()
        started.set()

    pool.submit(task)
    # Before the exit, at which 3.12 starts no threads any more.
    assert started.wait(20)


def a_thread_that_a_late_task_started_is_waited_for(kind: str) -> None:
    keep_locals()
    exiting = threading.Event()
    # It is called before those of executors, since it was registered later: the exit is under way then.
    module: Any = threading
    module._register_atexit(exiting.set)
    executor = executor_class(kind)(1)

    def task() -> None:
        assert exiting.wait(20)
        threading.Thread(target=save).start()

    executor.submit(task)


def a_thread_that_an_asyncio_call_started_is_waited_for() -> None:
    keep_locals()
    import asyncio

    from pyants import AsyncPool

    async def main() -> None:
        async with AsyncPool(2) as pool:
            await pool.run(lambda: threading.Thread(target=save).start())

    asyncio.run(main())


def threads_that_left_do_not_pile_up(options: str, leave: str) -> None:
    pool: Pool = evaluate(f"Pool(20, stack_size=4 << 20, {options})")

    def cycle() -> None:
        pool.tune(20)
        with Gate() as gate:
            for _ in range(20):
                pool.submit(gate.hold)
            gate.wait_entered(20)
        assert pool.wait_idle(20)
        if leave == "tune":
            pool.tune(1)
        elif leave == "reboot":
            pool.release()
            wait_equal(pool.running, 0)
            pool.reboot()
        wait_until(lambda: pool.running() <= 1)

    for _ in range(3):
        cycle()
    before = mappings()
    for _ in range(40):
        cycle()
    assert mappings() < before + 200, (before, mappings())
    assert pool.stats().spawned > 700, pool.stats()
    print("done")


def idle_pools_keep_no_stacks() -> None:

    # Larger stacks than glibc keeps for later.
    pools = [Pool(5, stack_size=64 << 20, expiry_duration=0.01) for _ in range(20)]
    before = mappings()
    for pool in pools:
        with Gate() as gate:
            for _ in range(5):
                pool.submit(gate.hold)
            gate.wait_entered(5)
        pool.wait_idle(20)
        wait_equal(pool.running, 0)
    # There are two for each expiry thread, and two for each memory arena that glibc makes for threads.
    wait_until(lambda: mappings() < before + 2 * 20 + 2 * 30, "the end of the stacks")
    print("done")


def a_patched_thread_class_is_not_ours() -> None:
    made: list[Any] = []

    class Patched(threading.Thread):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            super().__init__(*args, **kwargs)

    init = threading.Thread.__init__

    def patched(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        init(self, *args, **kwargs)

    module: Any = threading
    module.Thread.__init__ = patched
    module.Thread = Patched
    kinds: list[Any] = []
    with Pool(2) as pool:
        for _ in range(2):
            pool.submit(lambda: kinds.append(type(threading.current_thread()).__name__))
    print(kinds, made)


def a_trace_function_that_asks_for_the_thread(setter: str) -> None:
    names: set[str] = set()

    def hook(frame: Any, event: Any, argument: Any) -> Any:
        names.add(threading.current_thread().name)
        threading.enumerate()
        return hook

    def traced() -> Any:
        return 1

    getattr(threading, setter)(hook)
    for _ in range(20):
        with Pool(2, name="traced") as pool:
            pool.submit(traced)
            pool.submit(traced)
    getattr(threading, setter)(None)
    assert not any(name.startswith("Dummy") for name in names), names
    print(len([t for t in threading.enumerate() if t is not threading.main_thread()]))


if __name__ == "__main__":
    main(globals())
