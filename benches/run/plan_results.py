"""Plans: tasks whose results are asked for, and real work."""

from __future__ import annotations

from typing import Any

from orders import Group, Size, python


def results(size: Size) -> list[Group]:
    """Tasks whose results are asked for."""

    def group(name: str, work: str, tasks: int, *peers: tuple[str, str], **order: Any) -> Group:
        entries = [python(label, work, peer, workers=8, tasks=tasks, **order) for label, peer in peers]
        return Group(name, entries, size.of(5, 2))

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


WORKS = {"small files": (3000, 500), "JSON": (1000, 200), "SQLite": (400, 80), "waiting": (800, 200)}


def real_by_workers(size: Size) -> list[Group]:
    """Real work by more and more workers."""
    groups: list[Group] = []
    for kind, (full, quick) in WORKS.items():
        entries = [
            python(label, "real", peer, workers=workers, tasks=size.of(full, quick), kind=kind)
            for workers in ((2, 32) if size.quick else (1, 2, 8, 32))
            for label, peer in (("`Pool`, `queue_size=None`", "Pool"), ("`ThreadPoolExecutor`", "ThreadPoolExecutor"))
        ]
        if kind != "waiting":
            loop = "one after another"
            entries.append(python(loop, "real", loop, workers=1, tasks=size.of(full, quick), kind=kind))
        groups.append(Group(f"by workers: {kind}", entries, size.of(2, 1)))
    return groups
