"""Plans: what a task costs, with many tasks."""

from __future__ import annotations

from orders import QUEUE, UNBOUNDED, Entry, Group, Order, Size, go, python


def empty(size: Size) -> Group:
    """Empty tasks from one submitter."""
    fast, slow = size.of(1_000_000, 100_000), size.of(50_000, 10_000)
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
    return Group("submitters", entries, size.of(5, 2))


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
            standard = python("`ThreadPoolExecutor(8)`", peer="ThreadPoolExecutor", **work)
            entries.append(standard._replace(rounds=1) if tasks == 1_000_000 else standard)
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
