"""Checked by mypy and pyright, never run: submit and invoke check the arguments of the callable.

Each `type: ignore` marks a mistake that a type checker must find; a comment without one is an error itself.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import logging
from datetime import timedelta
from typing import assert_type

import pyants
from pyants import (
    LoadBalancingStrategy,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolOptions,
    PoolStats,
    PoolWithFunc,
)


def work(number: int, text: str = "", *, flag: bool = False) -> float:
    return number + len(text) + flag


def print_one(number: int) -> None: ...


def handler(error: BaseException) -> None: ...


def submitting(pool: Pool, multi: MultiPool) -> None:
    assert_type(pool.submit(work, 1), None)
    pool.submit(work, 1, "two", flag=True)
    pool.submit(work, "one")  # type: ignore[arg-type]
    pool.submit(work)  # type: ignore[call-arg]
    pool.submit(print_one, 1, 2)  # type: ignore[call-arg]
    pool.submit(work, 1, flag="yes")  # type: ignore[arg-type]
    pool.submit(work, 1, colour="red")  # type: ignore[call-arg]
    pool.submit(None)  # type: ignore[arg-type]
    pool.submit(work(1))  # type: ignore[arg-type]

    assert_type(pool.try_submit(work, 1), bool)
    pool.try_submit(work, "one")  # type: ignore[arg-type]

    assert_type(pool.submit_within(1.5, work, 1, flag=True), None)
    pool.submit_within(timedelta(seconds=1), work, 1)
    pool.submit_within(1.5, work, "one")  # type: ignore[arg-type]
    pool.submit_within(None, work, 1)  # type: ignore[arg-type]
    pool.submit_within("soon", work, 1)  # type: ignore[arg-type]

    assert_type(pool.submit_many(work, [1, 2]), int)
    pool.submit_many(work, (number for number in range(3)))
    pool.submit_many(work, 3)  # type: ignore[arg-type]

    multi.submit(work, 1)
    multi.submit(work, "one")  # type: ignore[arg-type]
    multi.try_submit(work)  # type: ignore[call-arg]


def invoking(pool: PoolWithFunc[[int, str]], multi: MultiPoolWithFunc[[int]]) -> None:
    assert_type(pool.invoke(1, "two"), None)
    pool.invoke("one", "two")  # type: ignore[arg-type]
    pool.invoke(1)  # type: ignore[call-arg]
    assert_type(pool.try_invoke(1, "two"), bool)
    pool.try_invoke(1, 2)  # type: ignore[arg-type]
    pool.invoke_within(2, 1, "two")
    pool.invoke_within(2, "one", "two")  # type: ignore[arg-type]
    multi.invoke(1)
    multi.invoke("one")  # type: ignore[arg-type]
    assert_type(multi.invoke_many([1, 2]), int)
    pool.submit(work, 1)  # type: ignore[attr-defined]


def inferring() -> None:
    pool = PoolWithFunc(4, work)
    pool.invoke(1)
    pool.invoke(1, "two", flag=True)
    pool.invoke("one")  # type: ignore[arg-type]
    multi = MultiPoolWithFunc(2, 4, work, LoadBalancingStrategy.LEAST_TASKS)
    multi.invoke(1, flag=False)
    multi.invoke(flag=False)  # type: ignore[call-arg]
    assert_type(multi.running_by_index(0), int)
    with PoolWithFunc(4, print) as printing:
        printing.invoke("anything", 1, None, sep=", ")


def options() -> None:
    record: PoolOptions = {"nonblocking": True, "queue_size": None}
    pool = Pool(4, **record)
    Pool(4, expiry_duration=timedelta(seconds=2), panic_handler=handler, logger=logging.getLogger("mine"))
    Pool(4, initializer=work, initargs=(1, "two"), name="mine", stack_size=65536, max_blocking_tasks=3)
    Pool(4, nonblock=True)  # type: ignore[call-arg]
    Pool(4, nonblocking="yes")  # type: ignore[arg-type]
    Pool("four")  # type: ignore[arg-type]
    Pool(4, panic_handler=3)  # type: ignore[arg-type]
    MultiPool(2, 4, LoadBalancingStrategy.ROUND_ROBIN, **record)
    assert_type(pool.stats(), PoolStats)
    assert_type(pool.stats().busy, int)
    assert_type(pool.wait_idle(), bool)
    with pool as entered:
        assert_type(entered, Pool)


def default_pool() -> None:
    pyants.submit(work, 1, flag=True)
    pyants.submit(work, "one")  # type: ignore[arg-type]
    assert_type(pyants.try_submit(work, 1), bool)
    assert_type(pyants.default_pool(), Pool)
    assert_type(pyants.stats(), PoolStats)


class Labelled(Pool):
    """A subclass may have a constructor of its own."""

    def __init__(self, label: str) -> None:
        super().__init__(2, name=label)
        self.label = label


def subclass() -> None:
    with Labelled("mine") as pool:
        assert_type(pool, Labelled)
        pool.submit(work, 1)
