"""Pools driven at random beside a sequential model (helpers/model.py): pools of all sorts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from model import PATIENCE, TINY, Call, Machine, Model, Options, run_machine

from pyants import LoadBalancingStrategy, MultiPool, Pool, PoolClosedError, PoolOverloadError, PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

POOLS = {
    "hand-off": Options(2),
    "hand-off of one": Options(1),
    "hand-off whose workers expire": Options(3, expiry=0.001, stays=False),
    "queue of two": Options(2, queue_size=2),
    "queue of one": Options(1, queue_size=1, max_blocking=2),
    "unlimited queue": Options(2, queue_size=None),
    "unlimited queue, whose workers expire": Options(3, queue_size=None, expiry=0.001, stays=False),
    "unlimited capacity": Options(-1, expiry=0.001, stays=False),
    "unlimited capacity and a queue": Options(-1, queue_size=3),
    "nonblocking": Options(2, nonblocking=True),
    "nonblocking with a queue": Options(2, queue_size=2, nonblocking=True),
    "max_blocking_tasks": Options(2, max_blocking=2),
    "pre_alloc": Options(2, queue_size=1, pre_alloc=True),
    "round robin": Options(1, pools=3, strategy=LoadBalancingStrategy.ROUND_ROBIN),
    "least tasks": Options(2, pools=2, strategy=LoadBalancingStrategy.LEAST_TASKS, expiry=0.001, stays=False),
    "several, with max_blocking_tasks": Options(1, pools=2, max_blocking=1),
    "several, nonblocking": Options(2, pools=2, nonblocking=True),
    "several, unlimited": Options(-1, pools=2),
}


class PoolMachine(Machine):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.model = Model(options)
        given: Any = {
            **options.keywords(),
            "pre_alloc": options.pre_alloc,
            "panic_handler": self.failures.append,
        }
        if options.pools:
            strategy = LoadBalancingStrategy(options.strategy)
            self.pool = MultiPool(options.pools, options.capacity, strategy, **given)
        else:
            self.pool = Pool(options.capacity, **given)

    def put(self, call: Call) -> None:
        assert self.pool.submit(self.run, call) is None

    def try_put(self, call: Call) -> bool:
        return bool(self.pool.try_submit(self.run, call))

    def put_within(self, seconds: float, call: Call) -> None:
        assert self.pool.submit_within(seconds, self.run, call) is None

    @rule(count=st.integers(0, 4))
    def submit_many(self, count: int) -> None:
        """As many as there are permits for; in a nonblocking pool also more."""
        model = self.model
        room = 0 if model.waiters else max(0, model.permits())
        calls = [self.new_call("held") for _ in range(count)]
        if not model.is_closed and not model.options.nonblocking:
            calls = calls[:room]
        read: list[Call] = []

        def items() -> Iterator[Call]:
            for call in calls:
                read.append(call)
                yield call

        if model.is_closed:
            room = 0
        accepted = 0
        while True:
            try:
                accepted += self.pool.submit_many(self.run, items())
                assert read == calls
                break
            except (PoolClosedError, PoolOverloadError) as error:
                kind = PoolClosedError if model.is_closed else PoolOverloadError
                is_lazy = error.submitted == len(read) - 1 or (model.is_closed and not read)
                self.check(type(error) is kind and is_lazy, f"{error!r} after {read}")
                accepted += error.submitted
                model.numbers.rejected += kind is PoolOverloadError
                calls = calls[error.submitted :]
                read.clear()
                if accepted >= room:
                    break
                # A call that has just ended may not have given back its permit.
        self.check(accepted == min(count, room), f"{accepted} were accepted")
        for call in self.calls[len(self.calls) - count :][:accepted]:
            model.accept(call)

    @rule()
    def release(self) -> None:
        self.model.close()
        self.pool.release()

    @rule()
    def release_timeout(self) -> None:
        if self.model.is_closed:
            self.must_raise(PoolClosedError, partial(self.pool.release_timeout, TINY))
        elif self.model.in_flight:
            self.model.close()
            self.must_raise(PoolTimeoutError, partial(self.pool.release_timeout, TINY))
        else:
            self.model.close()
            self.pool.release_timeout(PATIENCE)
            self.check(self.pool.running() == 0, "all workers have left")

    @rule()
    def reboot(self) -> None:
        self.model.is_closed = False
        self.pool.reboot()

    @rule()
    def release_and_reboot(self) -> None:
        self.release()
        self.reboot()

    def look_at_all(self) -> None:
        numbers = self.model.numbers
        self.soon(lambda: len(self.failures) == numbers.failed, "each failure is reported")

    def finish(self) -> None:
        if not self.model.is_closed:
            self.pool.release_timeout(PATIENCE)
        self.soon(lambda: self.pool.running() == 0, "all workers leave in the end")


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_does_what_the_model_says(name: str) -> None:
    run_machine(lambda: PoolMachine(POOLS[name]), runs=5)
