"""What pyants is meant to reach, and what the run found of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import words
from data import quotient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from data import Run

POOL, UNBOUNDED, QUEUE = "`Pool(8)`", "`Pool(8, queue_size=None)`", "`Pool(8, queue_size=64)`"
STANDARD = "`ThreadPoolExecutor(8)`"


class Target(NamedTuple):
    """One target on one build; found is None where it was not measured."""

    text: str
    limit: float
    found: float | None
    unit: str = "×"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        if self.found is None:
            return False
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def shown(self, value: float) -> str:
        """A value of it with its unit."""
        return f"{words.number(value)} {self.unit}"


def ideal_seconds(run: Run, build: str) -> float | None:
    """Of ants' own benchmark on 1,000 workers, if starting and switching threads cost nothing."""
    entry = run.find("sleep 1000", build, "`Pool(1000)`")
    return entry.order["tasks"] / 1000 * entry.order["sleep_ms"] / 1000 if entry else None


def submitting(run: Run, build: str, gil: bool) -> Iterator[Target]:
    """Fire and forget."""
    yield Target(
        f"{UNBOUNDED} against `SimpleQueue` and 8 threads",
        1 if gil else 0.5,
        run.ratio("empty", build, UNBOUNDED, "`SimpleQueue`"),
    )
    yield Target(
        "`submit_many` against a bare loop that calls the function",
        1.5,
        run.ratio("bulk", build, "`pool.submit_many", "`for item in items: fn(item)`"),
    )
    for count in (2, 8):
        peer = f"`ThreadPoolExecutor({count})`" if gil else f"Go: `ants.Pool`, {count}"
        yield Target(
            f"hand-off, {count} workers, against {peer}",
            1 / 3 if gil else 1,
            run.ratio("empty", build, f"`Pool({count})`", peer),
        )
    yield Target(f"{QUEUE} against {STANDARD}", 0.1, run.ratio("empty", build, QUEUE, STANDARD))


def asking(run: Run, build: str, gil: bool) -> Iterator[Target]:
    """Results."""
    ants = "`PoolExecutor(8)`"
    yield Target(
        f"`PoolExecutor`, submit all, then all results, against {STANDARD}",
        1 / 50 if gil else 1 / 35,
        run.ratio("futures", build, ants, STANDARD),
    )
    yield Target(
        f"`PoolExecutor`, `submit().result()` one at a time, against {STANDARD}",
        1 / 3 if gil else 1 / 5,
        run.ratio("one by one", build, ants, STANDARD),
    )
    yield Target("`PoolExecutor.map` against `ThreadPool.map`", 1, run.ratio("map", build, ants, "`ThreadPool(8)`"))
    aio, standard = "`AsyncPool(8).run`", "`loop.run_in_executor`"
    yield Target(f"`AsyncPool.run`, gathered, against {standard}", 1 / 12, run.ratio("gathered", build, aio, standard))
    yield Target(
        f"`AsyncPool.run`, one at a time, against {standard}", 1 / 3, run.ratio("awaited", build, aio, standard)
    )


def working(run: Run, build: str, gil: bool) -> Iterator[Target]:
    """Many workers, and computing ones."""
    thousand = run.median("sleep 1000", build, "`Pool(1000)`", "seconds")
    more = next((group for group in run.groups("sleep ") if group not in ("sleep 1000", "sleep most")), "")
    count = more.removeprefix("sleep ")
    many = run.median(more, build, f"`Pool({count})`", "seconds")
    yield Target(
        "tasks of 10 ms on 1,000 workers, against the ideal time",
        1.6 if gil else 1.15,
        quotient(thousand, ideal_seconds(run, build)),
    )
    if gil:
        yield Target(f"the same on {count} workers, against 1,000", 1, quotient(many, thousand))
    else:
        yield Target(f"the same on {count} workers", 1, many, "s")
        one = run.median("cpu", build, "`Pool(1, queue_size=None)`")
        two = run.median("cpu", build, "`Pool(2, queue_size=None)`")
        yield Target("computing tasks, 2 workers against 1: faster by", 1.95, quotient(one, two), at_least=True)


def scaling(run: Run, build: str, _gil: bool) -> Iterator[Target]:
    """Memory, and many tasks."""
    kib = run.median("idle", build, "`Pool`", "bytes_each")
    yield Target("an idle worker", 14, kib / 1024 if kib is not None else None, "KiB")
    counts = sorted({entry.order["tasks"] for entry in run.entries("queued", build)})
    most = counts[-1] if counts else 0
    yield Target("a queued task", 200, run.median("queued", build, "`Pool`", "bytes_each", tasks=most), "bytes")
    future = run.median("queued", build, "`PoolExecutor`", "bytes_each", tasks=most)
    yield Target("a pending future", 200, future, "bytes")
    counts = sorted({entry.order["tasks"] for entry in run.entries("counts", build)})
    if counts:
        least, most = counts[-3], counts[-1]
        cost = [run.median("counts", build, UNBOUNDED, tasks=count) for count in (most, least)]
        yield Target(f"per task, {most:,} against {least:,} tasks", 1.2, quotient(*cost))


def of_build(run: Run, build: str) -> list[Target]:
    """All that concern this build of Python."""
    gil = run.has_gil(build)
    return [target for part in (submitting, asking, working, scaling) for target in part(run, build, gil)]


def of_core(run: Run) -> list[Target]:
    """Those of the Rust core: its slowest setting, and the one where a peer comes closest to it."""
    groups = {name: group for name, group in run.rust().items() if "pyants" in group}
    if not groups:
        return []
    middle = {name: {who: ns[len(ns) // 2] for who, ns in group.items()} for name, group in groups.items()}
    alone = {
        name: group["pyants"] / min(ns for who, ns in group.items() if who != "pyants")
        for name, group in middle.items()
    }
    closest = max(alone, key=lambda name: alone[name])
    unbounded = {
        name: group["pyants"]
        for name, group in middle.items()
        if name.startswith("unbounded") and name.endswith("1 submitter")
    }
    slowest = max(unbounded, key=lambda name: unbounded[name])
    return [
        Target(f"the Rust core against its fastest peer, where it does worst ({closest})", 1, alone[closest]),
        Target(f"the Rust core, per task, where it does worst ({slowest})", 100, unbounded[slowest], "ns"),
    ]
