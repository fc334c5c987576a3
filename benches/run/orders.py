"""What plans are made of: orders, each for one pool, in groups; measure.py and benches/peers/ants take them.

An order may have "us", the microseconds that a task computes: run.py turns it into loops, by what it finds of the
speed of each build.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

_N = TypeVar("_N", int, float)

Order = dict[str, Any]

UNBOUNDED: Order = {"queue": None}
QUEUE: Order = {"queue": 64}


class Entry(NamedTuple):
    """One thing to measure."""

    label: str
    order: Order
    language: str = "python"
    rounds: int | None = None
    """No more than these, where one takes very long."""


class Group(NamedTuple):
    """Entries that are compared with each other."""

    name: str
    entries: list[Entry]
    rounds: int
    limit: float = 60.0
    """Seconds that a process may take."""


class Size(NamedTuple):
    """How much to measure."""

    quick: bool

    def of(self, full: _N, quick: _N) -> _N:
        """The one that is meant."""
        return quick if self.quick else full


def python(label: str, work: str, peer: str, **order: Any) -> Entry:
    """Something of Python's."""
    return Entry(label, {"work": work, "peer": peer, **order})


def go(label: str, work: str, peer: str, **order: Any) -> Entry:
    """Something of Go's."""
    return Entry(f"Go: {label}", {"work": work, "peer": peer, **order}, "go")


def most_threads() -> int:
    """How many threads a process may have here, in thousands, with some left for others; at most 20,000."""
    limits = [20_000]
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if soft > 0:
        limits.append(soft)
    for path, share in (
        ("/proc/sys/kernel/threads-max", 1),
        ("/proc/sys/kernel/pid_max", 1),
        ("/proc/sys/vm/max_map_count", 3),  # a thread's stack, its guard page, and what the allocator maps for it
        ("/sys/fs/cgroup/pids.max", 1),
    ):
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()) // share)
    return max(int(min(limits) * 0.95) // 1000, 1) * 1000
