"""Plans: how long one waits, who else is kept waiting, and what waiting takes of memory."""

from __future__ import annotations

from orders import QUEUE, UNBOUNDED, Entry, Group, Order, Size, go, python


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


def waking(size: Size) -> list[Group]:
    """While some workers are blocked: one task at a time, on one core and on all, and bursts of tasks that block."""
    peers: dict[str, Order] = {
        "`Pool`, hand-off": {"peer": "Pool", "queue": 0},
        "`Pool`, `queue_size=64`": {"peer": "Pool", "queue": 64},
        "`Pool`, `queue_size=None`": {"peer": "Pool", "queue": None},
        "`ThreadPoolExecutor`": {"peer": "ThreadPoolExecutor", "queue": None},
    }
    one: Order = {"work": "begins", "tasks": size.of(250, 50), "idle": [1, 7, 300], "busy": [0, 1, 4, 31]}
    many: Order = {"work": "fills", "tasks": size.of(8, 3), "sizes": [10, 100, 300]}

    def group(name: str, order: Order) -> Group:
        return Group(name, [python(label, **order, **peer) for label, peer in peers.items()], 1)

    return [group("begins", one), group("begins on one core", one | {"cores": 1}), group("fills", many)]


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
        python("no pool, 1 thread that computes", "fairness", "busy threads", workers=1, tasks=10 * fast),
    ]
    return Group("fairness", entries, size.of(3, 1))


LOADS: dict[str, Order] = {
    "10 µs of Python": {"us": 10},
    "100 µs of Python": {"us": 100},
    "500 µs of Python": {"us": 500},
    "C": {"native": 2_000},
}


def loops(size: Size) -> list[Group]:
    """How late an asyncio loop is while workers compute."""
    peers = {
        "`AsyncPool(8)`, its own calls": "AsyncPool",
        "`run_in_executor`, 8 threads, its own calls": "run_in_executor",
        "`Pool(8, queue_size=None)`": "Pool",
        "`PoolExecutor(8)`": "PoolExecutor",
        "`ThreadPoolExecutor(8)`": "ThreadPoolExecutor",
    }
    seconds = size.of(1.0, 0.5)
    groups: list[Group] = []
    for name, load in LOADS.items():
        tasks = round(seconds * 1e6 / float(load.get("us", 20)))
        entries = [python(label, "loop", peer, workers=8, tasks=tasks, **load) for label, peer in peers.items()]
        groups.append(Group(f"loop {name}", entries, size.of(3, 1)))
    return groups


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
