"""Task groups: several calls on one pool that are waited for together, as with Go's WaitGroup and errgroup.

A report is put together from parts. The group ends when all parts are there, failures are raised as one ExceptionGroup,
and the pool goes on serving other callers.
"""

from __future__ import annotations

import threading
import time

import pyants

STOCK = {"ants": 900, "bees": 40, "wasps": 3}


def count(kind: str) -> int:
    time.sleep(0.01)  # as if it had to be asked for
    return STOCK[kind]


def every_part(pool: pyants.Pool) -> None:
    with pool.group(results=True) as group:
        for kind in STOCK:
            group.submit(count, kind)
    print(f"counted: {group.results()}")  # in the order of submission


def some_fail(pool: pyants.Pool) -> None:
    futures: dict[str, pyants.Future[int]] = {}
    try:
        with pool.group() as group:
            for kind in ("ants", "elves", "bees", "orcs"):
                futures[kind] = group.submit(count, kind)
    except* KeyError as failures:
        print(f"unknown: {sorted(error.args[0] for error in failures.exceptions)}")
    known = {kind: future.result() for kind, future in futures.items() if future.exception() is None}
    print(f"and yet known: {known}")


def first_failure_ends_it(pool: pyants.Pool) -> None:
    started = threading.Event()
    rest: list[pyants.Future[int]] = []

    def fail() -> None:
        started.wait()
        raise ConnectionError("the source is gone")

    try:
        with pool.group(fail_fast=True) as group:
            for _ in range(pool.cap()):
                group.submit(fail)
            rest += [group.submit(count, "ants") for _ in range(1000)]
            started.set()
    except* ConnectionError as failures:
        print(f"{failures.exceptions[0]}; cancelled: {sum(call.cancelled() for call in rest)} of {len(rest)}")


def only_so_many_at_once(pool: pyants.Pool) -> None:
    lock = threading.Lock()
    now = most = 0

    def visit(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    with pool.group(limit=2) as group:  # of a pool of eight
        for number in range(20):
            group.submit(visit, number)
    print(f"twenty visits, {most} at a time")


def main() -> None:
    with pyants.Pool(8, queue_size=None) as pool:
        every_part(pool)
        some_fail(pool)
        first_failure_ends_it(pool)
        only_so_many_at_once(pool)


if __name__ == "__main__":
    main()
