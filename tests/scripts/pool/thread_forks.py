"""The programs of tests/pool/test_thread_objects.py that fork."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from typing import Any

from program import in_child, main
from support import Gate

from pyants import MultiPool, Pool, PoolExecutor


def as_any(value: Any) -> Any:
    """The same object, for the use of its private attributes."""
    return value


def start(pool: Any, count: int) -> None:
    for _ in range(count):
        pool.submit(time.sleep, 0.001)


def use_with_block() -> None:
    with Pool(3) as pool:
        start(pool, 3)


def use_release() -> None:
    pool = Pool(3)
    start(pool, 3)
    pool.release_timeout(50)


def use_expiry() -> None:
    pool = Pool(3, expiry_duration=0.001)
    start(pool, 3)
    time.sleep(0.002)
    pool.release_timeout(50)


def use_multi_pool() -> None:
    with MultiPool(2, 2) as pool:
        start(pool, 4)


def use_executor() -> None:
    with PoolExecutor(3) as executor:
        start(executor, 3)


def use_shutdown() -> None:
    executor = PoolExecutor(3)
    start(executor, 3)
    executor.shutdown()


def use_two_shutdowns() -> None:
    executor = PoolExecutor(3)
    start(executor, 3)
    executor.shutdown(wait=False)
    executor.shutdown()


def use_loop() -> None:
    import asyncio

    from pyants import AsyncPool

    async def run() -> None:
        async with AsyncPool(3) as pool:
            await asyncio.gather(*(pool.run(time.sleep, 0.001) for _ in range(3)))

    asyncio.run(run())


USES = {
    "with block": use_with_block,
    "release": use_release,
    "expiry": use_expiry,
    "multi-pool": use_multi_pool,
    "executor": use_executor,
    "shutdown": use_shutdown,
    "two shutdowns": use_two_shutdowns,
    "loop": use_loop,
}


def a_fork_in_a_task() -> None:
    executor = PoolExecutor(3, "forked")
    gate = Gate()
    for _ in range(2):
        executor.submit(gate.hold)
    gate.wait_entered(2)
    others = list(as_any(executor)._threads)
    workers: list[threading.Thread] = []

    def child() -> None:
        thread = threading.current_thread()
        assert thread is threading.main_thread()
        assert thread is workers[0]
        assert thread.is_alive()
        assert thread.name.startswith("forked_")
        assert not thread.daemon
        assert thread.ident == threading.get_ident()
        assert threading.enumerate() == [thread], threading.enumerate()
        assert repr(thread)
        for other in others:
            assert not other.is_alive()
            other.join()
            other.join(5)
            assert "stopped" in repr(other)
        done = threading.Event()
        # While the child's main thread runs.

        def wait() -> None:
            threading.main_thread().join()
            done.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        # A pool of the child's own, with threads of its own.
        with PoolExecutor(2) as own:
            assert own.submit(threading.current_thread).result(20) is not thread
            assert own.submit(lambda: threading.current_thread().is_alive()).result(20)
        # multiprocessing does this at the end of a child.
        as_any(threading)._shutdown()
        assert done.is_set()
        print("child")

    def task() -> None:
        workers.append(threading.current_thread())
        worker = workers[0]
        in_child(child)
        assert worker.is_alive()
        assert type(worker) is type(others[0])
        assert threading.current_thread() is worker

    executor.submit(task).result(40)
    gate.open()
    executor.shutdown()
    assert not workers[0].is_alive()
    print("parent")


def a_fork_outside_finds_no_workers() -> None:
    pool = Pool(2)
    gate = Gate()
    threads: list[Any] = []

    def task() -> None:
        threads.append(threading.current_thread())
        gate.hold()

    for _ in range(2):
        pool.submit(task)
    gate.wait_entered(2)

    def child() -> None:
        assert threading.enumerate() == [threading.main_thread()]
        for thread in threads:
            assert not thread.is_alive()
            thread.join()
        threads.clear()
        with Pool(2) as own:
            own.submit(print, "child")

    in_child(child)
    assert all(thread.is_alive() for thread in threads)
    gate.open()
    pool.release_timeout(20)
    assert not any(thread.is_alive() for thread in threads)
    print("parent")


def a_process_of_multiprocessing_from_a_task() -> None:

    context = multiprocessing.get_context("fork")

    def start() -> Any:
        process = context.Process(target=print, args=("child",))
        process.start()
        process.join(30)
        return process.exitcode

    with PoolExecutor(1) as executor:
        print(executor.submit(start).result(40))


def a_fork_after_the_end_finds_no_threads(use: str) -> None:
    # From 3.12 on os.fork() warns in a process with threads.
    warnings.simplefilter("error")
    stat = os.open("/proc/self/stat", os.O_RDONLY)

    def num_threads() -> int:
        """The kernel's count of the process's threads, by which CPython decides whether to warn of a fork."""
        return int(os.pread(stat, 1000, 0).rsplit(b")", 1)[1].split()[17])

    for _ in range(100):
        USES[use]()
        assert num_threads() == 1, num_threads()
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    print("done")


if __name__ == "__main__":
    main(globals(), forks=True)
