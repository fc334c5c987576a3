"""What the tasks of the measurements do."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def noop() -> None:
    """The empty task."""


def take(_item: object) -> None:
    """The empty task with an argument."""


def give(item: object) -> object:
    """The empty task with an argument and a result."""
    return item


def spin(loops: int) -> None:
    """Pure Python that only computes."""
    for _ in range(loops):
        pass


def task(loops: int, sleep_ms: float) -> Callable[[], object]:
    """A task that computes or sleeps for so long, or does nothing."""
    if loops:
        return partial(spin, loops)
    if sleep_ms:
        return partial(time.sleep, sleep_ms / 1000)
    return noop


def calibrate() -> dict[str, float]:
    """How many loops of spin() take a microsecond."""
    loops, best = 100_000, float("inf")
    for _ in range(30):
        begin = time.perf_counter()
        spin(loops)
        best = min(best, time.perf_counter() - begin)
    return {"loops_per_us": loops / (best * 1e6)}
