"""Executors driven at random beside a sequential model (helpers/model.py), on own and on shared pools."""

from __future__ import annotations

import concurrent.futures
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from model import PATIENCE, TINY, Call, Machine, Model, OnPurpose, Options, run_machine

from pyants import MultiPool, Pool, PoolClosedError, PoolExecutor


@dataclass
class Setting(Options):
    """An executor's pool."""

    # The pool is not the executor's own.
    shared: bool = False


EXECUTORS = {
    "ThreadPoolExecutor's options": Setting(2, queue_size=None),
    "one worker": Setting(1, queue_size=None),
    "whose workers expire": Setting(3, queue_size=None, expiry=0.001, stays=False),
    "hand-off": Setting(2, queue_size=0),
    "queue of two": Setting(2, queue_size=2),
    "queue of one, max_blocking_tasks": Setting(1, queue_size=1, max_blocking=2),
    "nonblocking": Setting(2, queue_size=1, nonblocking=True),
    "over a pool": Setting(2, queue_size=2, shared=True),
    "over a pool with an unlimited queue": Setting(2, queue_size=None, shared=True),
    "over several": Setting(1, pools=3, shared=True),
    "over several, nonblocking": Setting(1, pools=2, nonblocking=True, shared=True),
}


class ExecutorMachine(Machine):
    def __init__(self, options: Setting) -> None:
        super().__init__()
        self.model = Model(options)
        self.options = options
        given: Any = options.keywords()
        self.executor: PoolExecutor
        if options.pools:
            self.executor = PoolExecutor.over(MultiPool(options.pools, options.capacity, **given))
        elif options.shared:
            self.executor = PoolExecutor.over(Pool(options.capacity, **given))
        else:
            self.executor = PoolExecutor(options.capacity, **given)
        self.pool = self.executor.pool
        # What the callbacks of each call saw.
        self.told: dict[Call, list[int]] = {}
        self.asked: dict[Call, int] = {}
        # How many tasks of maps may not have been seen yet.
        self.slack = 0

    def put(self, call: Call) -> None:
        call.future = self.executor.submit(self.run, call)

    def try_put(self, call: Call) -> bool:
        call.future = self.executor.try_submit(self.run, call)
        return call.future is not None

    def put_within(self, seconds: float, call: Call) -> None:
        call.future = self.executor.submit_within(seconds, self.run, call)

    def with_future(self, index: int) -> Call | None:
        calls = [call for call in self.calls if call.state not in ("new", "waiting", "refused")]
        return calls[index % len(calls)] if calls else None

    @rule(index=st.integers(0, 15))
    def submit_asking(self, index: int) -> None:
        """Submits a call that, when its gate is opened, asks for the result of another."""
        other = self.with_future(index)
        model = self.model
        if not other or model.options.nonblocking or model.is_closed:
            return
        if not model.waiters and model.permits() > 0:
            call = self.new_call("held")
            call.other = other
            model.accept(call)
            self.put(call)

    @rule(index=st.integers(0, 15))
    def cancel(self, index: int) -> None:
        if call := self.with_future(index):
            is_cancelled = call.is_cancelled or call.state == "queued"
            self.check(call.future.cancel() is is_cancelled, f"cancelling {call}")
            call.is_cancelled = is_cancelled

    @rule(index=st.integers(0, 15))
    def look_for_result(self, index: int) -> None:
        call = self.with_future(index)
        if not call:
            return
        future = call.future
        if call.is_cancelled:
            self.must_raise(concurrent.futures.CancelledError, lambda: future.result(TINY))
            self.must_raise(concurrent.futures.CancelledError, lambda: future.exception(TINY))
        elif call.state == "done":
            self.check(future.result(TINY) == call.number, "its result")
            self.check(future.exception() is None, "it has no exception")
        elif call.state == "failed":
            assert call.raises
            self.must_raise(call.raises, lambda: future.result(TINY))
            self.check(future.exception() is call.error, "its exception")
        else:
            self.must_raise(TimeoutError, lambda: future.result(TINY))
            self.must_raise(TimeoutError, lambda: future.exception(0))

    @rule(index=st.integers(0, 15))
    def add_callback(self, index: int) -> None:
        if call := self.with_future(index):
            number = self.asked[call] = self.asked.get(call, 0) + 1
            told = self.told.setdefault(call, [])

            def tell(_: object) -> None:
                told.append(number)

            call.future.add_done_callback(tell)

    @rule(count=st.integers(0, 5), fails=st.booleans())
    def map(self, count: int, fails: bool) -> None:
        """A map of quick calls, when a worker is free for them."""
        model = self.model
        is_free = any(map(model.free_at, range(model.places))) and not model.queue and not model.waiters
        if model.is_closed or not is_free or model.options.queue_size is not None:
            return
        ran: list[int] = []

        def call(number: int) -> int:
            ran.append(number)
            if fails and number == count - 1:
                raise OnPurpose(number)
            return number

        got: list[int] = []
        try:
            for number in self.executor.map(call, range(count)):
                got.append(number)
        except OnPurpose:
            got.append(count - 1)
        self.check(got == sorted(ran) == list(range(count)), f"{got} came of a map, and {ran} were called")
        # It is one task for each worker that took part. One may come when another has done all there was.
        self.slack += min(count, self.pool.cap())

    def seen(self) -> dict[str, object]:
        """Takes what maps add to the numbers over into the model."""
        stats, numbers = self.pool.stats(), self.model.numbers
        more = stats.completed + stats.cancelled - numbers.completed - numbers.cancelled
        if 0 < more <= self.slack:
            self.slack -= more
            numbers.completed, numbers.cancelled = stats.completed, stats.cancelled
        return super().seen()

    @rule(cancel_futures=st.booleans())
    def shutdown(self, cancel_futures: bool) -> None:
        model = self.model
        if self.options.shared and model.waiters:
            return
        model.close()
        if cancel_futures:
            # Those that were cancelled before may stay in the queue of a shared pool: no executor's own any more.
            for call in list(model.queue):
                if not (self.options.shared and call.is_cancelled):
                    model.queue.remove(call)
                    call.is_cancelled, call.state = True, "cancelled"
                    model.numbers.cancelled += 1
        self.executor.shutdown(wait=not model.in_flight, cancel_futures=cancel_futures)
        if not model.in_flight and not self.options.shared:
            self.check(self.pool.running() == 0, "all workers have left")

    def is_pool_closed(self) -> bool:
        return self.model.is_closed and not self.options.shared

    def look_at(self, call: Call) -> None:
        future = call.future
        if call.state in ("new", "waiting", "refused"):
            self.check(future is None, f"{call} has no future")
            return
        is_done = call.is_cancelled or call.state in ("done", "failed")
        self.soon(lambda: future.done() is is_done, f"whether {call} is done")
        self.check(future.cancelled() is call.is_cancelled, f"whether {call} is cancelled")
        self.check(future.running() is (call.state in ("running", "blocked")), f"whether {call} is running")
        expected = list(range(1, self.asked.get(call, 0) + 1)) if is_done else []
        self.soon(lambda: self.told.get(call, []) == expected, f"the callbacks of {call}: {self.told.get(call)}")

    def finish(self) -> None:
        self.executor.shutdown()
        self.must_raise(PoolClosedError, lambda: self.executor.submit(int))
        if self.options.shared:
            self.pool.release_timeout(PATIENCE)
        self.check(self.pool.running() == 0, "all workers leave in the end")


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_does_what_the_model_says(name: str) -> None:
    run_machine(lambda: ExecutorMachine(EXECUTORS[name]), runs=5)
