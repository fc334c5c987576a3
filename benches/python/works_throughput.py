"""Many tasks: from the first submit until the last one is done."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import peers
import tasks as kinds
from meter import Meter

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter import Result


def tasks(
    peer: str,
    workers: int,
    tasks: int,
    *,
    queue: int | None = 0,
    submitters: int = 1,
    loops: int = 0,
    sleep_ms: float = 0,
) -> Result:
    """So many tasks from so many submitters, each of which computes, sleeps, or does nothing."""
    pool = peers.make(peer, workers, queue)
    task = kinds.task(loops, sleep_ms)
    each = tasks // submitters
    ready = threading.Barrier(submitters)

    def submit_all(submit: Callable[[Callable[[], object]], object]) -> None:
        for _ in range(each):
            submit(task)

    def submit_with_others() -> None:
        ready.wait()
        submit_all(pool.submit)

    others = [threading.Thread(target=submit_with_others) for _ in range(submitters - 1)]
    for other in others:
        other.start()
    meter = Meter()
    ready.wait()
    submit_all(pool.submit)
    for other in others:
        other.join()
    submitting = meter.seconds()
    pool.finish()
    return meter.stop(each * submitters) | {"submitting": submitting}


def many(peer: str, workers: int, tasks: int) -> Result:
    """One function, an argument for each task: how the bulk methods compare with loops. All queues are unbounded."""
    items = range(tasks)
    if peer == "bare loop":
        meter = Meter()
        for item in items:
            kinds.take(item)
        return meter.stop(tasks)
    if peer == "ThreadPool.map":
        with ThreadPool(workers) as threads:
            meter = Meter()
            threads.map(kinds.take, items)
            return meter.stop(tasks)
    if peer == "SimpleQueue.put":
        pool = peers.make("SimpleQueue", workers)
        submit: Any = pool.submit
        queue: SimpleQueue[Any] = SimpleQueue()
        put = queue.put

        def work() -> None:
            while (item := queue.get()) is not None:
                kinds.take(item)

        for _ in range(workers):
            submit(work)
        meter = Meter()
        for item in items:
            put(item)
        for _ in range(workers):
            put(None)
        pool.finish()
        return meter.stop(tasks)
    with (
        pyants.Pool(workers, queue_size=None) as ants,
        pyants.PoolWithFunc(workers, kinds.take, queue_size=None) as ants_with_func,
    ):
        meter = Meter()
        match peer:
            case "Pool.submit":
                for item in items:
                    ants.submit(kinds.take, item)
            case "Pool.submit_many":
                ants.submit_many(kinds.take, items)
            case "PoolWithFunc.invoke":
                for item in items:
                    ants_with_func.invoke(item)
            case _:
                ants_with_func.invoke_many(items)
        ants.wait_idle()
        ants_with_func.wait_idle()
        return meter.stop(tasks)


def settle(handles: list[Any], pool: peers.Peer) -> None:
    """Waits for the tasks that returned these handles, in the way of their pool."""
    if isinstance(handles[0], concurrent.futures.Future):
        concurrent.futures.wait(handles)
    elif handles[0] is None:
        pool.finish()
    else:
        for handle in handles:
            handle.wait()


def bursts(peer: str, workers: int, tasks: int, *, queue: int | None = 0, bursts: int, pause_ms: float) -> Result:
    """Bursts of so many tasks, with pauses between them in which the workers idle."""
    pool = peers.make(peer, workers, queue)
    submit = pool.submit
    times: list[float] = []
    meter = Meter()
    for _ in range(bursts):
        time.sleep(pause_ms / 1000)
        begin = time.perf_counter()
        settle([submit(kinds.noop) for _ in range(tasks)], pool)
        times.append((time.perf_counter() - begin) * 1e6)
    result = meter.stop(tasks * bursts)
    result["seconds"] = sum(times) / 1e6
    result["burst_us"] = times
    pool.close()
    return result


def cycles(peer: str, workers: int, tasks: int) -> Result:
    """`tasks` times so many workers started, each for one task, and gone again; only the time until the tasks ended."""
    meeting = threading.Barrier(workers)  # so that each task needs a thread of its own
    purged = pyants.Pool(workers, expiry_duration=0.01)
    seconds = 0.0
    meter = Meter()
    for _ in range(tasks):
        begin = time.perf_counter()
        if peer == "Pool, purged":
            for _ in range(workers):
                purged.submit(meeting.wait)
            purged.wait_idle()
            seconds += time.perf_counter() - begin
            while purged.running():
                time.sleep(0.001)
            continue
        if peer == "threads":
            threads = [threading.Thread(target=meeting.wait) for _ in range(workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            pool = peers.make(peer, workers)
            for _ in range(workers):
                pool.submit(meeting.wait)
            pool.finish()
            pool.close()
        seconds += time.perf_counter() - begin
    result = meter.stop(tasks * workers)
    result["seconds"] = seconds
    return result
