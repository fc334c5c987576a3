"""pyants and its peers behind one face, each doing what it does with its own means.

submit is the very method of the pool, so that nobody pays for the face. finish waits for all tasks in the way that each
has for it, and close lets the threads go.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 600.0
"""Seconds to wait for a pool to come to its end; the time limit of a measurement ends it long before."""

FEW = 64
"""Workers that end in no time."""

Executor: Any = getattr(pyants, "PoolExecutor", None)
AsyncPool: Any = getattr(pyants, "AsyncPool", None)


class Peer(NamedTuple):
    """Something that runs tasks."""

    submit: Callable[[Callable[[], object]], object]
    finish: Callable[[], object]
    close: Callable[[], object]


def pool(workers: int, queue: int | None) -> Peer:
    """A Pool."""
    ants = pyants.Pool(workers, queue_size=queue, disable_purge=True)
    return Peer(ants.submit, ants.wait_idle, lambda: ants.release_timeout(PATIENCE))


def call(task: Callable[[], object]) -> None:
    """The function of a PoolWithFunc, whose arguments are the tasks."""
    task()


def pool_with_func(workers: int, queue: int | None) -> Peer:
    """A PoolWithFunc."""
    ants = pyants.PoolWithFunc(workers, call, queue_size=queue, disable_purge=True)
    return Peer(ants.invoke, ants.wait_idle, lambda: ants.release_timeout(PATIENCE))


def multi_pool(workers: int, queue: int | None) -> Peer:
    """A MultiPool of at most ten pools, as in ants' benchmarks."""
    size = min(10, workers // 2)
    ants = pyants.MultiPool(size, workers // size, queue_size=queue, disable_purge=True)
    return Peer(ants.submit, ants.wait_idle, lambda: ants.release_timeout(PATIENCE))


def executor(workers: int, queue: int | None) -> Peer:
    """A PoolExecutor."""
    ants = Executor(workers, queue_size=queue)
    return Peer(ants.submit, ants.shutdown, ants.shutdown)


def thread_pool_executor(workers: int, _queue: int | None) -> Peer:
    """The standard library's executor; its queue has no bound."""
    executor = ThreadPoolExecutor(workers)
    if workers > FEW:
        return kept(executor.submit, lambda future: future.result())
    return Peer(executor.submit, executor.shutdown, executor.shutdown)


def thread_pool(workers: int, _queue: int | None) -> Peer:
    """multiprocessing's pool of threads; its queue has no bound."""
    threads = ThreadPool(workers)
    if workers > FEW:
        return kept(threads.apply_async, lambda result: result.get())

    def finish() -> None:
        threads.close()
        threads.join()

    return Peer(threads.apply_async, finish, threads.terminate)


def kept(submit: Callable[[Callable[[], object]], Any], wait: Callable[[Any], object]) -> Peer:
    """A pool whose results are kept and asked for, as ending its many threads would take longer than the tasks do."""
    results: list[Any] = []

    def submit_and_keep(task: Callable[[], object]) -> None:
        results.append(submit(task))

    def finish() -> None:
        for result in results:
            wait(result)

    return Peer(submit_and_keep, finish, lambda: None)


def simple_queue(workers: int, _queue: int | None) -> Peer:
    """Threads that share a SimpleQueue: what one would write by hand, and the least that CPython itself can do."""
    tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
    at_end: SimpleQueue[None] = SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            task()
        at_end.put(None)

    for _ in range(workers):
        threading.Thread(target=work, daemon=True).start()

    def finish() -> None:
        for _ in range(workers):
            tasks.put(None)
        for _ in range(workers):
            at_end.get()

    return Peer(tasks.put, finish, lambda: None)


def thread_per_task(workers: int, _queue: int | None) -> Peer:
    """A thread for each task, at most `workers` at once; 0: without limit."""
    threads: deque[threading.Thread] = deque()
    slots = threading.Semaphore(workers or 1)

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        finally:
            slots.release()

    def start(target: Callable[[], object]) -> None:
        # The system keeps the stack of a thread that has ended until somebody joins it.
        while threads and not threads[0].is_alive():
            threads.popleft().join()
        threads.append(threading.Thread(target=target))
        threads[-1].start()

    def submit(task: Callable[[], object]) -> None:
        slots.acquire()
        start(partial(run, task))

    def finish() -> None:
        for thread in threads:
            thread.join()

    return Peer(submit if workers else start, finish, lambda: None)


def busy_threads(workers: int, _queue: int | None) -> Peer:
    """No pool: so many threads that compute, and nothing for them to do."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            pass

    threads = [threading.Thread(target=compute) for _ in range(workers)]
    for thread in threads:
        thread.start()

    def close() -> None:
        over.set()
        for thread in threads:
            thread.join()

    return Peer(callable, lambda: None, close)


PEERS: dict[str, Callable[[int, int | None], Peer]] = {
    "Pool": pool,
    "PoolWithFunc": pool_with_func,
    "MultiPool": multi_pool,
    "PoolExecutor": executor,
    "ThreadPoolExecutor": thread_pool_executor,
    "ThreadPool": thread_pool,
    "SimpleQueue": simple_queue,
    "thread per task": thread_per_task,
    "busy threads": busy_threads,
}


def make(name: str, workers: int, queue: int | None = 0) -> Peer:
    """The peer of this name; queue: how many tasks may wait for a worker, where it can be bounded; None: any number."""
    return PEERS[name](workers, queue)
