"""The tables of the page, made from a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import targets
import words
from data import quotient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from data import Entry, Run


def title(run: Run, build: str) -> str:
    """A build of Python by its name."""
    return f"CPython {run.versions[build]['python']}" + ("" if run.has_gil(build) else ", free-threaded")


def for_each_build(run: Run, make: Callable[[str], str]) -> str:
    """The table that make() gives for a build, for all of them."""
    parts = [(build, make(build)) for build in run.builds]
    return "\n".join(f"**{title(run, build)}**\n\n{table}" for build, table in parts if table)


def shown(entry: Entry, what: str, form: Callable[[float], str]) -> str:
    """The median of it; a dash where there is none."""
    value = entry.median(what)
    return "–" if value is None else form(value)


def costs(entries: Sequence[Entry], ours: Entry | None) -> list[list[str]]:
    """Rows with all that a task costs; `ours` is what the others are compared with."""
    rows: list[list[str]] = []
    for entry in entries:
        if entry.problem:
            rows.append([entry.label, entry.problem, "–", "", "–", "–", "–"])
            continue
        cost = shown(entry, "us", words.duration) + words.spread(entry.values("us"))
        ratio = quotient(entry.median(), ours.median() if ours else None)
        rows.append(
            [
                entry.label,
                cost,
                "1" if entry is ours else words.times(ratio),
                shown(entry, "submit_us", words.duration) if entry.has("submitting") else "",
                shown(entry, "cpu_us", words.duration),
                shown(entry, "switches_each", words.number),
                shown(entry, "peak", words.size),
            ]
        )
    return rows


COSTS = [
    "per task (range of the rounds)",
    "ratio",
    "submitting it",
    "CPU time",
    "context switches",
    "peak memory of all",
]


def per_task(run: Run, group: str) -> str:
    """What a task costs, against the first entry."""

    def make(build: str) -> str:
        entries = run.entries(group, build)
        ours = next((entry for entry in entries if not entry.problem), None)
        return words.table(["", *COSTS], costs(entries, ours))

    return for_each_build(run, make)


def whole(run: Run, group: str) -> str:
    """How long all of it took, against the ideal time."""

    def make(build: str) -> str:
        rows: list[list[str]] = []
        for entry in run.entries(group, build):
            order = entry.order
            ideal = order["tasks"] / order["workers"] * order["sleep_ms"] / 1000
            free = order["peer"] == "goroutines"  # knows no workers
            values = [value * 1e6 for value in entry.values("seconds")]
            took = entry.problem or shown(entry, "seconds", lambda value: words.duration(value * 1e6))
            rows.append(
                [
                    entry.label,
                    took + words.spread(values),
                    "–" if free else words.times(quotient(entry.median("seconds"), ideal)),
                    shown(entry, "cpu", lambda value: words.duration(value * 1e6)),
                    shown(entry, "switches_each", words.number),
                    shown(entry, "peak", words.size),
                ]
            )
        head = [
            "",
            "in all (range of the rounds)",
            "of the ideal",
            "CPU time",
            "context switches per task",
            "peak memory",
        ]
        return words.table(head, rows)

    return for_each_build(run, make)


def several(run: Run, groups: Sequence[str], names: Sequence[str]) -> str:
    """Several works in one table, each against its first entry."""

    def make(build: str) -> str:
        rows: list[list[str]] = []
        for group, name in zip(groups, names, strict=True):
            entries = run.entries(group, build)
            ours = next((entry for entry in entries if not entry.problem), None)
            rows += [["" if number else name, *row] for number, row in enumerate(costs(entries, ours))]
        return words.table(["", "by", *COSTS], rows, worded=2)

    return for_each_build(run, make)


def sweep(
    run: Run,
    group: str,
    key: str,
    name: Callable[[Any], str],
    what: str = "us",
    form: Callable[[float], str] = words.duration,
) -> str:
    """A row for each peer, a column for each value that key has in the orders."""

    def make(build: str) -> str:
        entries = run.entries(group, build)
        values = sorted({entry.order[key] for entry in entries})
        rows: list[list[str]] = []
        for label in dict.fromkeys(entry.label for entry in entries):
            found = {entry.order[key]: entry for entry in entries if entry.label == label}
            cells = [
                found[value].problem or shown(found[value], what, form) if value in found else "" for value in values
            ]
            rows.append([label, *cells])
        return words.table(["", *(name(value) for value in values)], rows)

    return for_each_build(run, make)


def latency(run: Run, group: str) -> str:
    """Percentiles until the start and until the result."""
    marks = (0.5, 0.9, 0.99, 0.999)
    head = [f"{until} p{mark * 100:g}" for until in ("start", "result") for mark in marks]

    def at(entry: Entry, what: str, mark: float) -> str:
        return words.duration(entry.quantiles[what][run.quantiles.index(mark)])

    def make(build: str) -> str:
        return words.table(
            ["", *head],
            (
                [entry.label, *(at(entry, what, mark) for what in ("start_us", "result_us") for mark in marks)]
                for entry in run.entries(group, build)
                if not entry.problem
            ),
        )

    return for_each_build(run, make)


def waking(run: Run, group: str, last: float) -> str:
    """Median and a late percentile until a task begins: a row for each state of the pool, two columns for each peer."""

    def make(build: str) -> str:
        entries = [entry for entry in run.entries(group, build) if not entry.problem]
        states = sorted(
            {state for entry in entries for state in entry.quantiles},
            key=lambda state: ([int(number) for number in re.findall(r"\d+", state)], state),
        )
        named = "worst" if last == 1 else f"p{last * 100:g}"
        head = [name for entry in entries for name in (f"{entry.label}: median", named)]
        rows = [
            [state]
            + [
                words.duration(entry.quantiles[state][run.quantiles.index(mark)])
                for entry in entries
                for mark in (0.5, last)
            ]
            for state in states
        ]
        return words.table(["", *head], rows)

    return for_each_build(run, make)


def bursts(run: Run) -> str:
    """How long a burst took."""
    marks = (0.5, 0.9, 1.0)

    def make(build: str) -> str:
        entries = [entry for entry in run.entries("bursts", build) if not entry.problem]
        rows: list[list[str]] = []
        for entry in entries:
            values = [entry.quantiles["burst_us"][run.quantiles.index(mark)] for mark in marks]
            first = entries[0].quantiles["burst_us"][run.quantiles.index(0.5)]
            ratio = "1" if entry is entries[0] else words.times(values[0] / first)
            rows.append([entry.label, *(words.duration(value) for value in values), ratio])
        return words.table(["", "median", "p90", "worst", "ratio"], rows)

    return for_each_build(run, make)


def fairness(run: Run) -> str:
    """The worst gaps, in milliseconds and in switch intervals."""

    def make(build: str) -> str:
        interval = run.versions[build]["switch_ms"]

        def gap(value: float) -> str:
            return f"{words.number(value)} ms ({words.number(value / interval)})"

        gaps = ("tick_ms", "run_ms", "submit_ms")
        return words.table(
            ["", "tasks", "per task", "a timer, late", "a computing thread, kept", "another submitter, kept"],
            (
                [entry.label, f"{entry.order['tasks']:,}", shown(entry, "us", words.duration)]
                + [shown(entry, what, gap) for what in gaps]
                for entry in run.entries("fairness", build)
                if not entry.problem
            ),
        )

    return for_each_build(run, make)


def loop(run: Run, group: str) -> str:
    """Percentiles of how late a loop was."""
    marks = (0.5, 0.9, 0.99)

    def make(build: str) -> str:
        return words.table(
            ["", "per task", *(f"late p{mark * 100:g}" for mark in marks)],
            (
                [entry.label, shown(entry, "us", words.duration)]
                + [words.duration(entry.quantiles["late_us"][run.quantiles.index(mark)]) for mark in marks]
                for entry in run.entries(group, build)
                if not entry.problem
            ),
        )

    return for_each_build(run, make)


def computing(run: Run) -> str:
    """One worker against two."""

    def make(build: str) -> str:
        entries = run.entries("cpu", build)
        half = len(entries) // 2
        rows = [
            [
                one.label.replace("1", "n").replace("thread", "threads"),
                *(shown(entry, "seconds", lambda value: words.duration(value * 1e6)) for entry in (one, two)),
                words.times(quotient(one.median("seconds"), two.median("seconds"))),
            ]
            for one, two in zip(entries[:half], entries[half:], strict=True)
        ]
        return words.table(["", "n = 1", "n = 2", "faster by"], rows)

    return for_each_build(run, make)


def idle(run: Run) -> str:
    """Resident bytes for each idle worker, on all builds."""
    entries = [(build, entry) for build in run.builds for entry in run.entries("idle", build)]
    labels = dict.fromkeys(entry.label for _, entry in entries)

    def cell(build: str, label: str) -> str:
        entry = run.find("idle", build, label)
        return shown(entry, "bytes_each", words.size) if entry else "–"

    rows = [[label, *(cell(build, label) for build in run.builds)] for label in labels]
    return words.table(["", *(title(run, build) for build in run.builds)], rows)


def rust(run: Run, names: Sequence[str]) -> str:
    """Nanoseconds per task: a row for each who, a column for each of the groups, with the ratio to pyants."""
    groups = {name: group for name, group in run.rust().items() if name in names}

    def cell(group: dict[str, list[float]], who: str) -> str:
        if who not in group:
            return "–"
        ns = group[who][len(group[who]) // 2]
        ratio = ns / group["pyants"][len(group["pyants"]) // 2]
        return words.duration(ns / 1000) + ("" if who == "pyants" else f" ({words.times(ratio)})")

    everybody = dict.fromkeys(["pyants", *(who for group in groups.values() for who in group)])
    settings = [name.split("/", 1)[1].replace("/", ", ") for name in groups]
    return words.table(["", *settings], ([who, *(cell(group, who) for group in groups.values())] for who in everybody))


def judged(items: Sequence[targets.Target]) -> str:
    """Targets, found values, met or missed."""
    rows: list[list[str]] = []
    for target in items:
        verdict = "not measured" if target.found is None else "met" if target.met else "**missed**"
        found = "–" if target.found is None else target.shown(target.found)
        rows.append([target.text, f"{'≥' if target.at_least else '≤'} {target.shown(target.limit)}", found, verdict])
    return words.table(["", "target", "found", ""], rows)


def headline(run: Run) -> str:
    """The README's table: a few works, a column for each build."""
    lines = (
        ("", "empty", targets.STANDARD, targets.STANDARD),
        ("", "empty", targets.UNBOUNDED, targets.STANDARD),
        ("", "empty", targets.QUEUE, targets.STANDARD),
        ("", "empty", "`Pool(8)`, hand-off", targets.STANDARD),
        ("", "empty", "`Pool(2)`, hand-off", "`ThreadPoolExecutor(2)`"),
        ("", "empty", "`SimpleQueue`, 8 threads", targets.STANDARD),
        ("", "empty", "Go: `ants.Pool`, 8", targets.STANDARD),
        ("", "empty", "Go: `ants.Pool`, 2", "`ThreadPoolExecutor(2)`"),
        ("submit all, then all results", "futures", "`PoolExecutor(8)`", targets.STANDARD),
        ("`submit().result()`, one at a time", "one by one", "`PoolExecutor(8)`", targets.STANDARD),
        ("`map`", "map", "`PoolExecutor(8)`", targets.STANDARD),
        ("gathered, against `run_in_executor`", "gathered", "`AsyncPool(8).run`", "`loop.run_in_executor`"),
        ("one at a time", "awaited", "`AsyncPool(8).run`", "`loop.run_in_executor`"),
    )
    rows: list[list[str]] = []
    for note, group, label, against in lines:
        cells: list[str] = []
        for build in run.builds:
            cost, other = run.median(group, build, label), run.median(group, build, against)
            faster = "" if label == against else f" ({words.times(quotient(other, cost))})"
            cells.append("–" if cost is None else words.duration(cost) + faster)
        if any(cell != "–" for cell in cells):
            rows.append([f"{label}: {note}" if note else label, *cells])
    return words.table(["", *(title(run, build) for build in run.builds)], rows)
