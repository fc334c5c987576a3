"""The sample of ants' own README, in Python: a thousand tasks, twice.

First on the default pool, which is created on first use and has a capacity of 1,024 workers; then as invocations of
one function on ten workers, which add up 0 to 999.
"""

from __future__ import annotations

import threading
import time

import pyants

TASKS = 1_000


def greet() -> None:
    """Stands for a task that waits for something."""
    time.sleep(0.01)


class Sum:
    """A sum that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.total += number


def main() -> None:
    for _ in range(TASKS):
        pyants.submit(greet)
    pyants.wait_idle()
    stats = pyants.stats()
    print(f"default pool: {stats.completed} tasks done, {stats.peak_running} workers at most")
    pyants.release()

    total = Sum()
    with pyants.PoolWithFunc(10, total.add) as pool:
        for number in range(TASKS):
            pool.invoke(number)
        pool.wait_idle()
        stats = pool.stats()
    print(f"pool of ten: {stats.completed} tasks done, {stats.peak_running} workers at most, the sum is {total.total}")
    if total.total != 499_500:
        raise SystemExit("the sum should be 499500")


if __name__ == "__main__":
    main()
