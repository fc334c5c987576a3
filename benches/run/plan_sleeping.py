"""Plans: ants' own benchmark."""

from __future__ import annotations

from orders import UNBOUNDED, Group, Order, Size, go, most_threads, python


def sleeping(size: Size) -> list[Group]:
    """ants' own benchmark: tasks that sleep 10 ms, on many workers."""
    groups = [
        sleeping_on(f"sleep {workers}", size.of(100_000, 10_000), workers, size.of(3, 1))
        for workers in (1_000, size.of(8_000, 2_000))
    ]
    if not size.quick:
        workers = most_threads()
        most = sleeping_on("sleep most", 1_000_000, workers, 1)
        few = [entry for entry in most.entries if entry.order["peer"] in ("Pool", "ThreadPoolExecutor", "goroutines")]
        groups.append(most._replace(entries=few, limit=60.0))
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
        python(f"`SimpleQueue`, {count} threads", peer="SimpleQueue", **all_)._replace(rounds=1),
        python(f"a thread per task, {count} at once", peer="thread per task", **all_)._replace(rounds=1),
        go(f"`ants.Pool`, {count}", peer="Pool", **all_),
        go(f"`ants.PoolWithFunc`, {count}", peer="PoolWithFunc", **all_),
        go(f"`ants.MultiPool`, 10 of {workers // 10:,}", peer="MultiPool", **all_),
        go(f"a goroutine per task, {count} at once", peer="semaphore", **all_),
        go("a goroutine per task, no limit", peer="goroutines", **all_),
    ]
    return Group(name, entries, rounds, limit=30.0)
