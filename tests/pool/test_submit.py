"""Handing tasks to a pool: arguments, refusals, reuse of workers."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from support import KINDS, Background, Face, Gate, Kind, Latch, Sum, nap, wait_equal, wait_until

from pyants import Pool, PoolClosedError, PoolOverloadError, PoolTimeoutError


def test_arguments_reach_the_task() -> None:
    calls: list[tuple[tuple[object, ...], dict[str, object]]] = []

    def task(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))

    with Pool(1) as pool:
        pool.submit(task)
        pool.submit(task, 1, "two", None)
        pool.submit(task, 3, key="value")
        # The names of the method's own parameters are free for the task's keywords.
        pool.submit(task, self=1, fn=2, args=3, kwargs=4, timeout=5)
        assert pool.wait_idle(10)
        assert pool.try_submit(task, 6, fn=7)
        pool.submit_within(10, task, 8, timeout=9)
    assert calls == [
        ((), {}),
        ((1, "two", None), {}),
        ((3,), {"key": "value"}),
        ((), {"self": 1, "fn": 2, "args": 3, "kwargs": 4, "timeout": 5}),
        ((6,), {"fn": 7}),
        ((8,), {"timeout": 9}),
    ]


def test_any_callable_is_a_task() -> None:
    seen: list[object] = []

    class Callable:
        def __call__(self, value: object) -> None:
            seen.append(value)

        def method(self, value: object) -> None:
            seen.append(value)

        @classmethod
        def of_class(cls, value: object) -> None:
            seen.append(value)

    class Constructed:
        def __init__(self, value: object) -> None:
            seen.append(value)

    with Pool(1) as pool:
        pool.submit(Callable(), 5)
        pool.submit(Callable().method, 5)
        pool.submit(Callable.of_class, 5)
        pool.submit(Constructed, 5)
        pool.submit(seen.append, 5)
        pool.submit(lambda: seen.append(5))
    assert seen == [5] * 6


@pytest.mark.ants("B18")
def test_submit_returns_none_and_does_not_wait_for_the_task() -> None:
    with Pool(1) as pool, Gate() as gate:
        assert pool.submit(gate.hold) is None  # type: ignore[func-returns-value]
        # The task still waits for an event that comes only after submit() has returned.
        gate.wait_entered(1)
        assert pool.stats().busy == 1


@pytest.mark.ants("B18")
def test_return_values_are_dropped() -> None:
    with Pool(1) as pool:
        pool.submit(lambda: 42)
        assert pool.wait_idle(10)
        assert pool.stats().completed == 1


@pytest.mark.ants("B15", "B28")
def test_workers_are_spawned_up_to_the_capacity() -> None:
    with Pool(3, nonblocking=True) as pool, Gate() as gate:
        for count in (1, 2, 3):
            pool.submit(gate.hold)
            assert pool.running() == count
        with pytest.raises(PoolOverloadError):
            pool.submit(gate.hold)
        gate.wait_entered(3)
        assert pool.running() == 3


@pytest.mark.ants("B15", "B27")
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_worker_is_reused(kind: Kind) -> None:
    threads: list[int] = []
    face = Face(kind, 4, lambda _: threads.append(threading.get_native_id()), nonblocking=True, disable_purge=True)
    with face.pool as pool:
        for _ in range(20):
            face.put(None)
            assert pool.wait_idle(10)
        assert pool.running() == 1
        assert pool.stats().spawned == 1
    assert len(set(threads)) == 1


@pytest.mark.ants("B27")
def test_a_nonblocking_pool_serves_again_when_a_worker_is_free() -> None:
    with Pool(2, nonblocking=True) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)
        gate.let(1)
        wait_until(lambda: pool.try_submit(gate.hold))
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)
        assert pool.running() == 2


@pytest.mark.ants("B19")
def test_there_is_no_backlog_but_blocked_submitters() -> None:
    with Pool(2) as pool, Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        assert pool.queued() == 0
        assert not pool.try_submit(gate.hold)
        with pytest.raises(PoolTimeoutError):
            pool.submit_within(0.01, gate.hold)
        assert pool.queued() == 0
        assert pool.stats().submitted == 2


@pytest.mark.ants("B17", "D17")
@pytest.mark.parametrize("pre_alloc", [False, True])
def test_under_a_trickle_surplus_workers_expire(pre_alloc: bool) -> None:
    with Pool(6, expiry_duration=0.1, pre_alloc=pre_alloc) as pool:
        with Gate() as gate:
            for _ in range(6):
                pool.submit(gate.hold)
            gate.wait_entered(6)

        def trickle() -> bool:
            pool.submit(int)
            assert pool.wait_idle(10)
            return pool.running() == 1

        # If the pool took the worker that has been idle longest, none would ever be idle for long.
        wait_until(trickle, "a single worker")


@pytest.mark.ants("B14", "D7")
def test_the_closed_check_comes_before_any_look_at_the_task() -> None:
    pool = Pool(1)
    pool.release()
    for junk in (None, 42, "text", object()):
        with pytest.raises(PoolClosedError):
            pool.submit(junk)  # type: ignore[arg-type]
        with pytest.raises(PoolClosedError):
            pool.try_submit(junk)  # type: ignore[arg-type]
        with pytest.raises(PoolClosedError):
            pool.submit_within(1, junk)  # type: ignore[arg-type]


@pytest.mark.ants("B24", "D7")
def test_none_is_no_task_and_stops_no_worker() -> None:
    with Pool(2, disable_purge=True) as pool:
        pool.submit(nap)
        assert pool.wait_idle(10)
        for submit in (pool.submit, pool.try_submit):
            with pytest.raises(TypeError, match="None"):
                submit(None)  # type: ignore[arg-type]
        assert pool.running() == 1
        assert pool.stats().submitted == 1
        assert pool.stats().rejected == 0


@pytest.mark.ants("B20", "B54", "D13")
def test_release_refuses_a_blocked_submitter_whose_task_never_runs() -> None:
    ran: list[int] = []
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        blocked = Background(lambda: pool.submit(ran.append, 1))
        wait_equal(pool.waiting, 1)
        pool.release()
        with pytest.raises(PoolClosedError):
            blocked.result()
    assert ran == []


@pytest.mark.ants("D13")
def test_a_submit_that_races_with_release_runs_or_is_refused() -> None:
    for _ in range(50):
        pool = Pool(2)
        ran, refused = Sum(), Sum()
        ready = threading.Barrier(4)

        def submit(pool: Pool = pool, ran: Sum = ran, refused: Sum = refused, ready: threading.Barrier = ready) -> None:
            ready.wait()
            for _ in range(5):
                try:
                    pool.submit(ran.add)
                except PoolClosedError:
                    refused.add()

        submitters = [Background(submit) for _ in range(3)]
        ready.wait()
        pool.release()
        for submitter in submitters:
            submitter.result()
        assert pool.wait_idle(10)
        wait_equal(pool.running, 0)
        assert ran.value + refused.value == 15
        assert pool.stats().submitted == ran.value
        assert pool.waiting() == 0


@pytest.mark.ants("B21")
def test_blocked_submitters_are_served_in_the_order_of_their_coming() -> None:
    order: list[int] = []
    with Pool(1) as pool:
        with Gate() as gate:
            pool.submit(gate.hold)

            def come(number: int) -> None:
                pool.submit(order.append, number)

            blocked: list[Background[None]] = []
            for number in range(6):
                blocked.append(Background(partial(come, number)))
                wait_equal(pool.waiting, number + 1)
        for submitter in blocked:
            submitter.result()
        assert pool.wait_idle(10)
    assert order == list(range(6))


@pytest.mark.ants("B23", "B25")
@pytest.mark.parametrize("kind", KINDS)
def test_tasks_may_submit_to_their_own_pool(kind: Kind) -> None:
    done = Latch(64)

    def split(item: object) -> None:
        depth = int(str(item))
        if depth == 0:
            done.count_down()
            return
        face.put(depth - 1)
        face.put(depth - 1)

    # Unlimited, so that no worker can wait for ever.
    face = Face(kind, -1, split)
    with face.pool:
        face.put(6)
        done.wait()


@pytest.mark.ants("B25")
@pytest.mark.parametrize("kind", KINDS)
def test_all_methods_may_be_called_from_inside_a_task(kind: Kind) -> None:
    seen: list[object] = []

    def task(_: object) -> None:
        pool = face.pool
        seen.extend([pool.running(), pool.free(), pool.waiting(), pool.cap(), pool.queued(), pool.is_closed()])
        pool.tune(5)
        seen.append(pool.cap())
        seen.append(pool.stats().busy)
        seen.append(face.try_put is not None)
        seen.append(repr(pool) != "")

    face = Face(kind, 3, task)
    with face.pool as pool:
        face.put(None)
        assert pool.wait_idle(10)
    assert seen == [1, 2, 0, 3, 0, False, 5, 1, True, True]


@pytest.mark.ants("B25")
def test_many_threads_submit_to_one_pool() -> None:
    total = Sum()
    with Pool(4) as pool:

        def submit() -> None:
            for number in range(200):
                pool.submit(total.add, number)

        for submitter in [Background(submit) for _ in range(8)]:
            submitter.result()
    assert total.value == 8 * sum(range(200))
    assert pool.stats().completed == 1600
