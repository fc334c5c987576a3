"""The page of the benchmarks: its sections, each with what is measured, what was found, tables and plots.

The words say what is measured; whatever is claimed of the outcome is put together from the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import plan_waiting
import tables
import targets
import words
from data import quotient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from data import Run


def comparison(run: Run, group: str, ours: str, theirs: str) -> str:
    """A sentence from the medians: how many times as fast, on each build."""
    parts: list[str] = []
    for build in run.builds:
        ratio = run.ratio(group, build, theirs, ours)
        if ratio is not None:
            fast = f"{words.number(ratio)} times as fast as {theirs}"
            slow = f"took {words.number(1 / ratio)} times as long as {theirs}"
            parts.append(f"{f'was {fast}' if ratio >= 1 else slow} on {tables.title(run, build)}")
    return f"{ours} {'; it '.join(parts)}.\n" if parts else ""


def plot(drawn: list[str], name: str, text: str) -> str:
    """The plot, where it was drawn."""
    return f"![{text}](benchmarks/{name}.svg)\n" if name in drawn else ""


def opening(run: Run) -> Iterator[str]:
    """What, where, when, and how again."""
    machine = run.raw["machine"]
    yield "# Benchmarks\n"
    if run.quick:
        yield (
            "> A quick run: small works and few rounds, to see that everything runs. `make bench` measures properly.\n"
        )
    yield (
        "pyants beside the pools of Python, Go and Rust, doing the same work in the same run. Written by `make bench`; "
        "nothing on this page was filled in by hand. `make bench` in a clone of the repository measures your machine "
        '(`QUICK=1` for a look in three minutes, `PYTHONS="3.12 3.13t"` for other builds of Python) and replaces '
        "this page, its plots and [the raw figures](benchmarks/results.json).\n"
    )
    yield "## How it is measured\n"
    yield (
        "Each figure is from a process of its own, but for those of the Rust core at the end. A round goes once "
        "through all entries of a table, over all builds of Python and Go, the next one back through them; shown "
        "is the median of the rounds, with their range where it matters. Pools are made before the clock starts, "
        "and start their threads when tasks come, except that `ThreadPool` and the threads around a `SimpleQueue` "
        "are there from the start. The clock stops when the last task is done: `wait_idle` tells so for pyants, "
        "`shutdown` for executors and `join` for `ThreadPool`, or with more than 64 workers, which take long to "
        "end, all their results; a token from each thread around a `SimpleQueue`, `join` for a thread per task, a "
        "`WaitGroup` for Go. CPU time and context switches are those of the process meanwhile, per task; peak "
        "memory is what it grew by at most, in all. A **ratio** says how many times the cost of the first row.\n"
    )
    yield (
        "`SimpleQueue` with threads around it is the least that CPython itself can do, and does nothing else that a "
        "pool does: no limit, no shutdown, no exception handled.\n"
    )
    versions = [f"pyants {run.versions[run.builds[0]]['pyants']}"] if run.builds else []
    versions += [tables.title(run, build) for build in run.builds]
    if "Go" in run.versions:
        versions.append(f"{run.versions['Go']['go'].replace('go', 'Go ')} with ants {run.versions['Go']['ants']}")
    versions += [f"{name} {version}" for name, version in run.raw.get("rust", {}).get("versions", {}).items()]
    yield (
        f"This run: {run.raw['date']}, {run.raw['minutes']} minutes; {machine['cores']} cores ({machine['model']}), "
        f"{machine['memory']}, {machine['system']}; {', '.join(versions)}.\n"
    )
    if machine["load"] > 0.5:
        yield (
            f"> The machine was not quiet: its load was {machine['load']:.1f} when the run began. "
            "Figures of such a run are rough.\n"
        )
    for name, missing in (("Go", "Go" not in run.versions), ("Rust", not run.rust())):
        if missing:
            yield f"{name} was not measured in this run.\n"


def aims(run: Run) -> Iterator[str]:
    """The targets."""
    yield "## Targets\n"
    yield "What pyants is meant to reach. Without a unit a value is the time of ours by that of the other.\n"
    for build in run.builds:
        yield f"**{tables.title(run, build)}**\n"
        yield tables.judged(targets.of_build(run, build))
    core = targets.of_core(run)
    if core:
        yield "**Rust**\n"
        yield tables.judged(core)


def submitting(run: Run, drawn: list[str]) -> Iterator[str]:
    """Empty tasks."""
    yield "## Empty tasks\n"
    yield "One thread submits empty functions: all that is left is what the pool itself costs.\n"
    yield comparison(run, "empty", targets.UNBOUNDED, targets.STANDARD)
    yield comparison(run, "empty", targets.UNBOUNDED, "`SimpleQueue`")
    yield plot(drawn, "empty", "Cost of an empty task")
    yield tables.per_task(run, "empty")
    yield "### Four submitters\n"
    yield "The same from four threads at once.\n"
    yield tables.per_task(run, "submitters")
    yield "### Against the number of tasks\n"
    yield plot(drawn, "counts", "Cost of an empty task against their number")
    yield tables.sweep(run, "counts", "tasks", lambda tasks: f"{tasks:,} tasks")
    yield "Peak memory meanwhile:\n"
    yield tables.sweep(run, "counts", "tasks", lambda tasks: f"{tasks:,} tasks", "peak", words.size)
    yield "### Against the capacity\n"
    yield plot(drawn, "capacities", "Cost of an empty task against the capacity")
    yield tables.sweep(run, "capacities", "workers", lambda workers: f"capacity {workers:,}")
    yield "### One function, many arguments\n"
    yield "An empty function called for each item of a `range`; all queues are unbounded.\n"
    yield tables.per_task(run, "bulk")


def sleeping(run: Run, drawn: list[str]) -> Iterator[str]:
    """ants' own benchmarks."""
    yield "## ants' own benchmark\n"
    yield (
        "ants measures itself by tasks that sleep 10 ms: a million of them on 50,000 goroutines. A process cannot have "
        f"as many threads (here {run.raw['machine']['most_threads']:,} are safe), so the works are scaled to threads: "
        "the ideal time is that of tasks that cost nothing but their sleep, on workers that cost nothing to start. "
        "Starting the workers is part of the time.\n"
    )
    for group in run.groups("sleep "):
        entry = run.entries(group, run.builds[0])[0] if run.builds else None
        if entry:
            yield f"### {entry.order['tasks']:,} tasks on {entry.order['workers']:,} workers\n"
        yield tables.whole(run, group)
    yield "### Against the number of workers\n"
    yield "Tasks that sleep 1 ms; tasks per second.\n"
    yield plot(drawn, "workers", "Throughput against workers")
    yield tables.sweep(run, "workers", "workers", lambda workers: f"{workers:,} workers", "per_second", words.number)


def computing(run: Run, drawn: list[str]) -> Iterator[str]:
    """Tasks that compute."""
    yield "## Tasks that compute\n"
    yield "Pure Python (in Go a loop) of so many microseconds, on two workers; time per task.\n"
    yield plot(drawn, "lengths", "Throughput against the length of a task")
    yield tables.sweep(run, "lengths", "us", lambda us: f"{us:,} µs" if us else "empty")
    yield "### One worker and two\n"
    yield "Tasks of 10 ms. With the GIL two workers take turns; without it they can share the work.\n"
    yield tables.computing(run)


def asking(run: Run) -> Iterator[str]:
    """Results."""
    groups = [name for name in ("futures", "one by one", "map", "gathered", "awaited") if run.groups(name)]
    names = {
        "futures": "submit all, then all results",
        "one by one": "`submit().result()`, one at a time",
        "map": "`map`, no chunk size given",
        "gathered": "asyncio, gathered",
        "awaited": "asyncio, one at a time",
    }
    yield "## Tasks with results\n"
    yield "Empty tasks on eight workers, and their results asked for. A ratio is to the first row of the same work.\n"
    yield tables.several(run, groups, [names[group] for group in groups])


def real(run: Run) -> Iterator[str]:
    """Real work."""
    groups = run.groups("real ")
    yield "## Real work\n"
    yield (
        "On eight workers: hash files of the standard library; compress 64 KiB; parse and write some JSON; "
        "query an SQLite file; fetch from an HTTP server on the same machine that takes 5 ms to answer. "
        "A ratio is to the first row of the same work.\n"
    )
    yield tables.several(run, groups, [group.removeprefix("real ") for group in groups])
    yield "### By more and more workers\n"
    yield "Per task: files of 4 KiB hashed, JSON, SQLite, and tasks that wait for 2 ms.\n"
    for group in run.groups("by workers: "):
        yield f"{group.removeprefix('by workers: ')}:\n"
        yield tables.sweep(run, group, "workers", lambda workers: f"{workers} worker{'s' * (workers > 1)}")


def waiting(run: Run, drawn: list[str]) -> Iterator[str]:
    """Latency and fairness."""
    yield "## Latency\n"
    yield (
        "One task at a time, half a millisecond after the last result, on eight workers: from `submit` until the task "
        "starts, and until its submitter has the result.\n"
    )
    yield plot(drawn, "latency", "Latency distribution")
    yield "### On idle workers\n"
    yield tables.latency(run, "latency idle")
    yield "### On a busy pool\n"
    yield "Meanwhile another thread submits a task that computes for 100 µs every 300 µs.\n"
    yield tables.latency(run, "latency loaded")
    yield "### While workers are blocked\n"
    yield "One task at a time, from `submit` until it begins, while some workers are blocked and others idle.\n"
    yield tables.waking(run, "begins", 0.99)
    yield "The same on one core:\n"
    yield tables.waking(run, "begins on one core", 0.99)
    yield "Bursts of tasks that each need a worker, to idle workers and to a new pool: until the last has begun.\n"
    yield tables.waking(run, "fills", 1.0)
    yield "### Bursts\n"
    yield "1,000 empty tasks at once, after a pause of 20 ms; the time until the last is done.\n"
    yield tables.bursts(run)
    yield "### Workers that come and go\n"
    yield "Eight workers started, each for one task, and gone again. Per worker; the wait for purging is not in it.\n"
    yield tables.per_task(run, "cycles")
    yield "## Fairness\n"
    yield (
        "While empty tasks are submitted and drained as fast as they can be, three more threads want to go on: a timer "
        "that sleeps 1 ms at a time, one that computes, and one that submits a task each millisecond. Shown is the "
        "worst that happened to each in a round (median of the rounds), in brackets in switch intervals. The last row "
        "is without a pool: one more thread computes instead of its workers, and the tasks are thrown away. What "
        "happens there is CPython's own doing, which gives the GIL to whichever of the waiting threads is woken.\n"
    )
    yield tables.fairness(run)
    yield "### A loop while workers compute\n"
    yield (
        "An asyncio loop that sleeps 1 ms at a time is so much late while eight workers compute, all in the middle of "
        "a task to begin with: for its own calls, 1,000 at a time, or for what was submitted before.\n"
    )
    for load in plan_waiting.LOADS:
        yield f"Tasks of {load}:\n"
        yield tables.loop(run, f"loop {load}")


def remembering(run: Run, drawn: list[str]) -> Iterator[str]:
    """Memory."""
    yield "## Memory\n"
    entry = run.find("idle", run.builds[0], "`Pool`") if run.builds else None
    if entry:
        yield (
            f"Resident memory for each of {entry.order['workers']:,} idle workers, each of which has run one Python "
            "function.\n"
        )
    yield tables.idle(run)
    yield "Bytes for each task that waits for a worker.\n"
    yield plot(drawn, "memory", "Memory against waiting tasks")
    yield tables.sweep(run, "queued", "tasks", lambda tasks: f"{tasks:,} tasks", "bytes_each", words.size)


def core(run: Run) -> Iterator[str]:
    """The Rust core."""
    groups = run.rust()
    if not groups:
        return
    yield "## The core, from Rust\n"
    yield (
        "Empty closures, per task, by Criterion (`cargo bench`); in brackets how many times the cost of pyants. Only "
        "those with the same bound are compared.\n"
    )
    for kind in dict.fromkeys(name.split("/", 1)[0] for name in groups):
        names = [name for name in groups if name.startswith(kind + "/") and "pyants" in groups[name]]
        if names:
            yield f"**{kind}**\n"
            yield tables.rust(run, names)
    threads = [(name, group["std::thread"]) for name, group in groups.items() if "std::thread" in group]
    costs = [f"{words.duration(ns[len(ns) // 2] / 1000)} with {name.split('/')[1]}" for name, ns in threads]
    if costs:
        yield f"A thread for each task costs {', '.join(costs)}.\n"


def page(run: Run, drawn: list[str]) -> str:
    """All of it."""
    sections = [
        *opening(run),
        *aims(run),
        *submitting(run, drawn),
        *sleeping(run, drawn),
        *computing(run, drawn),
        *asking(run),
        *real(run),
        *waiting(run, drawn),
        *remembering(run, drawn),
        *core(run),
    ]
    return "\n".join(section for section in sections if section)


def summary(run: Run) -> str:
    """What the README shows between its markers."""
    machine = run.raw["machine"]
    scaled = [
        (build, quotient(run.median("cpu", build, "`Pool(1, "), run.median("cpu", build, "`Pool(2, ")))
        for build in run.builds
    ]
    computing = ", ".join(
        f"{words.number(ratio)} times as much on {tables.title(run, build)}" for build, ratio in scaled if ratio
    )
    return (
        f"An empty function, submitted and run, per task, on {machine['cores']} cores; in brackets how many times as "
        "fast as `ThreadPoolExecutor` with as many workers. Medians of interleaved rounds of one run of `make bench` "
        f"({run.raw['date']}):\n\n"
        f"{tables.headline(run)}\n"
        "![Cost of an empty task](docs/benchmarks/empty.svg)\n\n"
        + (f"Of pure Python, two workers computed as one in the same time: {computing}.\n" if computing else "")
    )
