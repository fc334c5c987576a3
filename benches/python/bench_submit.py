"""Cost of submitting empty functions, and CPU-bound speed-up, of pyants and ThreadPoolExecutor in the same run.

Rounds of both are interleaved; printed are medians and ratios. Run it with each Python that matters:

    python benches/python/bench_submit.py
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
WORKERS = 8


def noop() -> None:
    """The empty task."""


def spin() -> int:
    """About 10 ms of pure Python."""
    total = 0
    for number in range(200_000):
        total += number & 3
    return total


def executor_submit(tasks: int) -> tuple[float, float]:
    """Seconds a task to submit, and to submit and run, on a ThreadPoolExecutor."""
    with ThreadPoolExecutor(WORKERS) as executor:
        begin = time.perf_counter()
        for _ in range(tasks):
            executor.submit(noop)
        submitted = time.perf_counter()
        executor.shutdown()
        return (submitted - begin) / tasks, (time.perf_counter() - begin) / tasks


def pool_submit(tasks: int, queue_size: int | None, workers: int = WORKERS) -> tuple[float, float]:
    """The same on a Pool."""
    with pyants.Pool(workers, queue_size=queue_size) as pool:
        submit = pool.submit
        begin = time.perf_counter()
        for _ in range(tasks):
            submit(noop)
        submitted = time.perf_counter()
        pool.wait_idle()
        return (submitted - begin) / tasks, (time.perf_counter() - begin) / tasks


def spin_seconds(workers: int, tasks: int = 60) -> float:
    """Seconds for CPU-bound tasks on so many workers."""
    with pyants.Pool(workers, queue_size=None) as pool:
        begin = time.perf_counter()
        for _ in range(tasks):
            pool.submit(spin)
        pool.wait_idle()
        return time.perf_counter() - begin


def main() -> None:
    """Measures, and prints a table."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, GIL {'on' if gil else 'off'}, {ROUNDS} rounds, medians in ns a task")
    works: dict[str, Callable[[], tuple[float, float]]] = {
        "ThreadPoolExecutor(8)": lambda: executor_submit(20_000),
        "Pool(8, queue_size=None)": lambda: pool_submit(300_000, None),
        "Pool(8, queue_size=64)": lambda: pool_submit(50_000, 64),
        "Pool(8)": lambda: pool_submit(20_000, 0),
        "Pool(2)": lambda: pool_submit(20_000, 0, workers=2),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            rounds[name].append(work())
    base = [statistics.median(column) for column in zip(*rounds["ThreadPoolExecutor(8)"], strict=True)]
    print(f"{'':26}{'submit':>9}{'ratio':>9}{'+ run':>9}{'ratio':>9}")
    for name, figures in rounds.items():
        submit, run = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:26}{submit * 1e9:9.0f}{base[0] / submit:8.1f}x{run * 1e9:9.0f}{base[1] / run:8.1f}x")
    one: list[float] = []
    two: list[float] = []
    for _ in range(ROUNDS):
        one.append(spin_seconds(1))
        two.append(spin_seconds(2))
    speedup = statistics.median(one) / statistics.median(two)
    print(f"CPU-bound pure Python, 2 workers against 1: {speedup:.2f} times as fast")


if __name__ == "__main__":
    main()
