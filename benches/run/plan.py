"""What is measured: groups of orders, each for one pool; measure.py and benches/peers/ants say what an order means.

Within a group the rounds of all entries are interleaved, over all builds of Python and Go. An order may have "us", the
microseconds that a task computes: run.py turns it into loops, by what it finds of each build's speed.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

Order = dict[str, Any]

UNBOUNDED: Order = {"queue": None}
QUEUE: Order = {"queue": 64}


class Entry(NamedTuple):
    """One thing to measure."""

    label: str
    order: Order
    language: str = "python"


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

    def of(self, full: int, quick: int) -> int:
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


def empty(size: Size) -> Group:
    """Empty tasks from one submitter."""
    fast, slow = size.of(200_000, 50_000), size.of(50_000, 10_000)
    entries = [
        python("`Pool(8, queue_size=None)`", "tasks", "Pool", workers=8, tasks=fast, **UNBOUNDED),
        python("`PoolWithFunc(8, queue_size=None)`", "tasks", "PoolWithFunc", workers=8, tasks=fast, **UNBOUNDED),
        python("`Pool(8, queue_size=64)`", "tasks", "Pool", workers=8, tasks=fast, **QUEUE),
        python("`Pool(8)`, hand-off", "tasks", "Pool", workers=8, tasks=slow),
        python("`Pool(2)`, hand-off", "tasks", "Pool", workers=2, tasks=slow),
        python("`PoolExecutor(8)`", "tasks", "PoolExecutor", workers=8, tasks=fast, **UNBOUNDED),
        python("`ThreadPoolExecutor(8)`", "tasks", "ThreadPoolExecutor", workers=8, tasks=slow),
        python("`ThreadPoolExecutor(2)`", "tasks", "ThreadPoolExecutor", workers=2, tasks=slow),
        python("`ThreadPool(8)`", "tasks", "ThreadPool", workers=8, tasks=slow),
        python("`SimpleQueue`, 8 threads", "tasks", "SimpleQueue", workers=8, tasks=fast),
        python("a thread per task", "tasks", "thread per task", workers=0, tasks=size.of(2_000, 500)),
        go("`ants.Pool`, 8", "tasks", "Pool", workers=8, tasks=fast),
        go("`ants.Pool`, 2", "tasks", "Pool", workers=2, tasks=fast),
        go("`ants.PoolWithFunc`, 8", "tasks", "PoolWithFunc", workers=8, tasks=fast),
        go("channel without buffer, 8 goroutines", "tasks", "channel", workers=8, tasks=fast, queue=0),
        go("channel of 64, 8 goroutines", "tasks", "channel", workers=8, tasks=fast, queue=64),
        go("a goroutine per task", "tasks", "goroutines", workers=0, tasks=fast),
    ]
    return Group("empty", entries, size.of(5, 2))


def submitters(size: Size) -> Group:
    """Empty tasks from four submitters at once."""
    fast, slow = size.of(200_000, 40_000), size.of(40_000, 8_000)
    four: Order = {"work": "tasks", "workers": 8, "submitters": 4}
    entries = [
        python("`Pool(8, queue_size=None)`", peer="Pool", tasks=fast, **four, **UNBOUNDED),
        python("`MultiPool(4, 2, queue_size=None)`", peer="MultiPool", tasks=fast, **four, **UNBOUNDED),
        python("`Pool(8, queue_size=64)`", peer="Pool", tasks=slow, **four, **QUEUE),
        python("`Pool(8)`, hand-off", peer="Pool", tasks=slow, **four),
        python("`MultiPool(4, 2)`, hand-off", peer="MultiPool", tasks=slow, **four),
        python("`PoolExecutor(8)`", peer="PoolExecutor", tasks=fast, **four, **UNBOUNDED),
        python("`ThreadPoolExecutor(8)`", peer="ThreadPoolExecutor", tasks=slow, **four),
        python("`ThreadPool(8)`", peer="ThreadPool", tasks=slow, **four),
        python("`SimpleQueue`, 8 threads", peer="SimpleQueue", tasks=fast, **four),
        go("`ants.Pool`, 8", peer="Pool", tasks=fast, **four),
        go("`ants.MultiPool`, 4 of 2", peer="MultiPool", tasks=fast, **four),
        go("channel without buffer, 8 goroutines", peer="channel", tasks=fast, **four),
    ]
    return Group("submitters", entries, size.of(5, 1))


def sleeping(size: Size) -> list[Group]:
    """ants' own benchmark: tasks that sleep 10 ms, on many workers."""
    groups = [
        sleeping_on(f"sleep {workers}", size.of(100_000, 10_000), workers, size.of(3, 1))
        for workers in (1_000, size.of(8_000, 4_000))
    ]
    if not size.quick:
        workers = most_threads()
        most = sleeping_on("sleep most", 1_000_000, workers, 1)
        few = [entry for entry in most.entries if entry.order["peer"] in ("Pool", "ThreadPoolExecutor", "goroutines")]
        groups.append(most._replace(entries=few, limit=45.0))
    return groups


def sleeping_on(name: str, tasks: int, workers: int, rounds: int) -> Group:
    """So many tasks on so many workers."""
    all_: Order = {"work": "tasks", "workers": workers, "tasks": tasks, "sleep_ms": 10}
    count = f"{workers:,}"
    entries = [
        python(f"`Pool({workers})`, hand-off", peer="Pool", **all_),
        python(f"`Pool({workers}, queue_size=None)`", peer="Pool", **all_, **UNBOUNDED),
        python(f"`MultiPool(10, {workers // 10})`, hand-off", peer="MultiPool", **all_),
        python(f"`ThreadPoolExecutor({workers})`", peer="ThreadPoolExecutor", **all_),
        python(f"`SimpleQueue`, {count} threads", peer="SimpleQueue", **all_),
        python(f"a thread per task, {count} at once", peer="thread per task", **all_),
        go(f"`ants.Pool`, {count}", peer="Pool", **all_),
        go(f"`ants.PoolWithFunc`, {count}", peer="PoolWithFunc", **all_),
        go(f"`ants.MultiPool`, 10 of {workers // 10:,}", peer="MultiPool", **all_),
        go(f"a goroutine per task, {count} at once", peer="semaphore", **all_),
        go("a goroutine per task, no limit", peer="goroutines", **all_),
    ]
    return Group(name, entries, rounds)


def lengths(size: Size) -> Group:
    """Tasks that compute for so long, on two workers."""
    entries: list[Entry] = []
    for us in (0, 10, 1000) if size.quick else (0, 1, 10, 100, 1000):
        fast, slow = size.of(100_000, 20_000), size.of(20_000, 5_000)
        most = size.of(300_000, 60_000) // max(us, 1)
        for peer, label, tasks, queue in (
            ("Pool", "`Pool(2, queue_size=None)`", fast, None),
            ("Pool", "`Pool(2)`, hand-off", slow, 0),
            ("ThreadPoolExecutor", "`ThreadPoolExecutor(2)`", slow, None),
            ("SimpleQueue", "`SimpleQueue`, 2 threads", fast, None),
        ):
            entries.append(python(label, "tasks", peer, workers=2, tasks=min(tasks, most), queue=queue, us=us))
        entries.append(go("`ants.Pool`, 2", "tasks", "Pool", workers=2, tasks=min(fast, most), us=us))
    return Group("lengths", entries, size.of(3, 1))


def workers(size: Size) -> Group:
    """Tasks that sleep 1 ms, on more and more workers."""
    entries: list[Entry] = []
    for count in (1, 16, 256) if size.quick else (1, 4, 16, 64, 256, 1024):
        work: Order = {
            "work": "tasks",
            "workers": count,
            "tasks": min(200 * count, size.of(20_000, 10_000)),
            "sleep_ms": 1,
        }
        entries += [
            python("`Pool`, hand-off", peer="Pool", **work),
            python("`ThreadPoolExecutor`", peer="ThreadPoolExecutor", **work),
            python("`ThreadPool`", peer="ThreadPool", **work),
            python("`SimpleQueue` and threads", peer="SimpleQueue", **work),
            go("`ants.Pool`", peer="Pool", **work),
        ]
    return Group("workers", entries, size.of(3, 1))


def capacities(size: Size) -> Group:
    """Empty tasks on pools of any capacity."""
    entries: list[Entry] = []
    tasks = size.of(20_000, 5_000)
    for count in (1, 100, 10_000) if size.quick else (1, 10, 100, 1_000, 10_000):
        entries += [
            python("`Pool`, hand-off", "tasks", "Pool", workers=count, tasks=tasks),
            python("`Pool`, `queue_size=None`", "tasks", "Pool", workers=count, tasks=tasks * 5, **UNBOUNDED),
            python("`ThreadPoolExecutor`", "tasks", "ThreadPoolExecutor", workers=count, tasks=tasks),
            go("`ants.Pool`", "tasks", "Pool", workers=count, tasks=tasks * 5),
        ]
    return Group("capacities", entries, size.of(3, 1))


def counts(size: Size) -> Group:
    """More and more empty tasks on eight workers."""
    entries: list[Entry] = []
    for tasks in (20_000, 100_000, 1_000_000) if size.quick else (100_000, 1_000_000, 10_000_000):
        work: Order = {"work": "tasks", "workers": 8, "tasks": tasks}
        entries += [
            python("`Pool(8, queue_size=None)`", peer="Pool", **work, **UNBOUNDED),
            python("`SimpleQueue`, 8 threads", peer="SimpleQueue", **work),
            go("`ants.Pool`, 8", peer="Pool", **work),
        ]
        if tasks <= size.of(1_000_000, 100_000):
            entries.append(python("`Pool(8, queue_size=64)`", peer="Pool", **work, **QUEUE))
        if tasks <= size.of(1_000_000, 20_000):
            entries.append(python("`ThreadPoolExecutor(8)`", peer="ThreadPoolExecutor", **work))
    return Group("counts", entries, size.of(3, 1))


def bulk(size: Size) -> Group:
    """One function over many items."""
    work: Order = {"work": "many", "workers": 8, "tasks": size.of(500_000, 100_000)}
    entries = [
        python("`for item in items: fn(item)`, no pool", peer="bare loop", **work),
        python("`for item in items: pool.submit(fn, item)`", peer="Pool.submit", **work),
        python("`pool.submit_many(fn, items)`", peer="Pool.submit_many", **work),
        python("`for item in items: pool.invoke(item)`", peer="PoolWithFunc.invoke", **work),
        python("`pool.invoke_many(items)`", peer="PoolWithFunc.invoke_many", **work),
        python("`for item in items: queue.put(item)`, 8 threads", peer="SimpleQueue.put", **work),
        python("`ThreadPool(8).map(fn, items)`", peer="ThreadPool.map", **work),
    ]
    return Group("bulk", entries, size.of(5, 3))


def results(size: Size) -> list[Group]:
    """Tasks whose results are asked for."""

    def group(name: str, work: str, tasks: int, *peers: tuple[str, str], **order: Any) -> Group:
        entries = [python(label, work, peer, workers=8, tasks=tasks, **order) for label, peer in peers]
        return Group(name, entries, size.of(5, 1))

    ants = ("`PoolExecutor(8)`", "PoolExecutor")
    standard = ("`ThreadPoolExecutor(8)`", "ThreadPoolExecutor")
    threads = ("`ThreadPool(8)`", "ThreadPool")
    aio = (("`AsyncPool(8).run`", "AsyncPool"), ("`loop.run_in_executor`, 8", "run_in_executor"))
    default = (
        ("`asyncio.to_thread`, `PoolExecutor(8)` as default", "to_thread, PoolExecutor"),
        ("`asyncio.to_thread`, `ThreadPoolExecutor(8)` as default", "to_thread, ThreadPoolExecutor"),
    )
    many, few = size.of(50_000, 10_000), size.of(5_000, 1_000)
    return [
        group("futures", "futures", many, ants, standard, threads),
        group("one by one", "one_by_one", few, ants, standard, threads),
        group("map", "mapped", many, ants, standard, threads),
        group("gathered", "awaited", size.of(20_000, 5_000), *aio, *default, gathered=True),
        group("awaited", "awaited", few, *aio, *default, gathered=False),
    ]


def real(size: Size) -> list[Group]:
    """Real work."""
    kinds = (("hash files", 1500, 500), ("zlib", 100, 20), ("JSON", 2000, 400), ("SQLite", 400, 80), ("HTTP", 400, 80))
    peers = (
        ("`Pool(8, queue_size=None)`", "Pool"),
        ("`PoolExecutor(8)`", "PoolExecutor"),
        ("`ThreadPoolExecutor(8)`", "ThreadPoolExecutor"),
        ("`ThreadPool(8)`", "ThreadPool"),
        ("one after another", "one after another"),
    )
    return [
        Group(
            f"real {kind}",
            [
                python(label, "real", peer, workers=8, tasks=size.of(full, quick), kind=kind)
                for label, peer in peers
                if not (size.quick and peer == "ThreadPool")
            ],
            size.of(3, 1),
        )
        for kind, full, quick in kinds
    ]


def latencies(size: Size) -> list[Group]:
    """From submit to the start of a task, and to its result."""
    one: Order = {"work": "latency", "workers": 8, "tasks": size.of(1_000, 200), "pause_ms": 0.5}
    busy: Order = {"us": 100, "busy_ms": 0.3}
    idle = [
        python("`Pool(8)`, hand-off", peer="Pool", **one),
        python("`Pool(8, queue_size=None)`", peer="Pool", **one, **UNBOUNDED),
        python("`PoolExecutor(8)`", peer="PoolExecutor", **one, **UNBOUNDED),
        python("`ThreadPoolExecutor(8)`", peer="ThreadPoolExecutor", **one),
        python("`ThreadPool(8)`", peer="ThreadPool", **one),
        python("`SimpleQueue`, 8 threads", peer="SimpleQueue", **one),
    ]
    loaded = [entry._replace(order=entry.order | busy) for entry in idle]
    idle.append(go("`ants.Pool`, 8", peer="Pool", **one))
    return [Group("latency idle", idle, size.of(3, 1)), Group("latency loaded", loaded, size.of(3, 1))]


def bursts(size: Size) -> Group:
    """Bursts of tasks on workers that were idle."""
    work: Order = {"work": "bursts", "workers": 8, "tasks": 1_000, "bursts": size.of(20, 5), "pause_ms": 20}
    entries = [
        python("`Pool(8, queue_size=None)`", peer="Pool", **work, **UNBOUNDED),
        python("`Pool(8, queue_size=64)`", peer="Pool", **work, **QUEUE),
        python("`Pool(8)`, hand-off", peer="Pool", **work),
        python("`PoolExecutor(8)`", peer="PoolExecutor", **work, **UNBOUNDED),
        python("`ThreadPoolExecutor(8)`", peer="ThreadPoolExecutor", **work),
        python("`ThreadPool(8)`", peer="ThreadPool", **work),
        go("`ants.Pool`, 8", peer="Pool", **work),
    ]
    return Group("bursts", entries, size.of(3, 1))


def cycles(size: Size) -> Group:
    """Workers that come and go."""
    work: Order = {"work": "cycles", "workers": 8, "tasks": size.of(50, 10)}
    entries = [
        python("`Pool(8)`, its workers purged each time", peer="Pool, purged", **work),
        python("`Pool(8)`, made and released each time", peer="Pool", **work),
        python("`ThreadPoolExecutor(8)`, made and shut down each time", peer="ThreadPoolExecutor", **work),
        python("8 threads, started and joined", peer="threads", **work),
    ]
    return Group("cycles", entries, size.of(3, 1))


def fairness(size: Size) -> Group:
    """What others in the process notice."""
    fast, slow = size.of(1_000_000, 200_000), size.of(30_000, 10_000)
    entries = [
        python("`Pool(8, queue_size=None)`", "fairness", "Pool", workers=8, tasks=fast),
        python("`PoolExecutor(8)`", "fairness", "PoolExecutor", workers=8, tasks=fast),
        python("`ThreadPoolExecutor(8)`", "fairness", "ThreadPoolExecutor", workers=8, tasks=slow),
        python("`ThreadPool(8)`", "fairness", "ThreadPool", workers=8, tasks=slow),
        python("`SimpleQueue`, 8 threads", "fairness", "SimpleQueue", workers=8, tasks=fast),
    ]
    return Group("fairness", entries, size.of(3, 1))


def cpu(size: Size) -> Group:
    """Tasks of 10 ms that only compute."""
    handed: Order = {"work": "tasks", "tasks": size.of(150, 40), "us": 10_000}
    work = handed | UNBOUNDED
    entries: list[Entry] = []
    for count in (1, 2):
        entries += [
            python(f"`Pool({count}, queue_size=None)`", peer="Pool", workers=count, **work),
            python(f"`SimpleQueue`, {count} thread{'s' * (count > 1)}", peer="SimpleQueue", workers=count, **work),
            go(f"`ants.Pool`, {count}", peer="Pool", workers=count, **handed),
        ]
    return Group("cpu", entries, size.of(5, 2))


def memory(size: Size) -> list[Group]:
    """Idle workers, and tasks that wait."""
    work: Order = {"work": "idle", "workers": size.of(10_000, 2_000)}
    idle = [
        python("`Pool`", peer="Pool", **work),
        python("`ThreadPoolExecutor`", peer="ThreadPoolExecutor", **work),
        python("`SimpleQueue` and threads", peer="SimpleQueue", **work),
        go("`ants.Pool`", peer="Pool", **work),
    ]
    queued: list[Entry] = []
    for tasks in (10_000, 50_000) if size.quick else (10_000, 100_000, 300_000):
        queued += [
            python(label, "queued", peer, workers=8, tasks=tasks)
            for label, peer in (
                ("`Pool`", "Pool"),
                ("`PoolExecutor`, with their futures", "PoolExecutor"),
                ("`ThreadPoolExecutor`, with their futures", "ThreadPoolExecutor"),
                ("`ThreadPool`, with their results", "ThreadPool"),
                ("`SimpleQueue`", "SimpleQueue"),
            )
        ]
    return [Group("idle", idle, size.of(2, 1)), Group("queued", queued, size.of(2, 1))]


def groups(quick: bool) -> list[Group]:
    """All of them, in the order of the run."""
    size = Size(quick)
    return [
        empty(size),
        submitters(size),
        *sleeping(size),
        lengths(size),
        workers(size),
        capacities(size),
        counts(size),
        bulk(size),
        *results(size),
        *real(size),
        *latencies(size),
        bursts(size),
        cycles(size),
        fairness(size),
        cpu(size),
        *memory(size),
    ]
