"""What workers and tasks take of memory while nothing happens: resident bytes of the process.

The pools are left as they are: the process ends without waiting for their workers.
"""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

import peers
from meter import Meter, memory
from tasks import noop

if TYPE_CHECKING:
    from meter import Result


kept: list[peers.Peer] = []
"""The pools, for nobody to collect them: an executor that is collected ends its threads."""


class Gate:
    """Holds tasks until it is opened, and then lets them out one by one: a crowd that wakes at once takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        """The task."""
        with self._lock:
            pass

    def open(self) -> None:
        """Lets them go."""
        self._lock.release()


def idle(peer: str, workers: int) -> Result:
    """So many workers, started and then without a task."""
    gc.collect()
    before = memory("VmRSS")
    pool, gate = peers.make(peer, workers, 0), Gate()
    meter = Meter()
    for _ in range(workers):
        pool.submit(gate.wait)
    gate.open()
    time.sleep(0.5 + workers / 20_000)
    result = meter.stop(workers)
    kept.append(pool)
    result["bytes_each"] = (memory("VmRSS") - before) / workers
    return result


def queued(peer: str, workers: int, tasks: int) -> Result:
    """So many tasks that wait for a worker; where the pool makes futures they are kept, in a list."""
    pool, gate = peers.make(peer, workers, None), Gate()
    for _ in range(workers):
        pool.submit(gate.wait)
    time.sleep(0.1)
    gc.collect()
    submit, before = pool.submit, memory("VmRSS")
    meter = Meter()
    futures = [future for _ in range(tasks) if (future := submit(noop)) is not None]
    result = meter.stop(tasks)
    kept.append(pool)
    result["bytes_each"] = (memory("VmRSS") - before) / tasks
    del futures
    return result
