"""The programs of tests/process/test_spawn_failure.py."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from program import evaluate, main
from support import Background, Gate, wait_until

from pyants import MultiPool, Pool, PoolError, PoolOverloadError, PoolSpawnError, PoolTimeoutError, PoolWithFunc, _core

if TYPE_CHECKING:
    from collections.abc import Callable

ran: list[Any] = []
gate = Gate()

# The next starts of threads in this process fail: hence a process for each program.
fail_spawns = _core._fail_spawns


def refused(call: Callable[[], object], *errors: type[Exception]) -> Exception:
    try:
        call()
    except errors as error:
        assert type(error) in errors, error  # noqa: PT017
        return error
    raise AssertionError("not refused")


def with_nobody_alive_the_submitter_gets_the_error(options: str) -> None:
    pool: Pool = evaluate(f"Pool({options})")
    fail_spawns(-1)
    for call in (
        lambda: pool.submit(ran.append, 1),
        lambda: pool.try_submit(ran.append, 1),
        lambda: pool.submit_within(10, ran.append, 1),
    ):
        error = refused(call, PoolSpawnError)
        assert isinstance(error, RuntimeError)
        assert isinstance(error, PoolError)
        assert str(error)
    stats = pool.stats()
    assert (stats.submitted, stats.running, stats.busy, stats.queued, stats.waiting, stats.spawned) == (0,) * 6, stats
    fail_spawns(0)
    pool.submit(ran.append, 2)
    assert pool.wait_idle(10)
    assert ran == [2]
    assert pool.stats().completed == 1
    pool.release_timeout(10)


def with_a_worker_alive_the_submitter_waits_for_it(capacity: str) -> None:
    pool = Pool(int(capacity))
    pool.submit(gate.hold)
    fail_spawns(-1)
    blocked = Background(lambda: pool.submit(ran.append, 1))
    wait_until(lambda: pool.waiting() == 1)
    assert pool.running() == 1
    assert pool.stats().submitted == 1
    gate.open()
    blocked.result()
    assert pool.wait_idle(10)
    assert ran == [1]
    assert pool.stats().spawned == 1
    fail_spawns(0)
    pool.release_timeout(10)


def a_pool_that_may_not_block_refuses(capacity: str) -> None:
    pool = Pool(int(capacity), nonblocking=True)
    pool.submit(gate.hold)
    fail_spawns(-1)
    refused(lambda: pool.submit(ran.append, 1), PoolOverloadError)
    assert pool.try_submit(ran.append, 1) is False
    assert (pool.running(), pool.waiting(), pool.stats().submitted, pool.stats().rejected) == (1, 0, 1, 2)
    fail_spawns(0)
    pool.submit(ran.append, 2)
    gate.open()
    assert pool.wait_idle(10)
    assert ran == [2]


def the_limit_of_blocked_submitters_holds() -> None:
    pool = Pool(4, max_blocking_tasks=1)
    pool.submit(gate.hold)
    fail_spawns(-1)
    blocked = Background(lambda: pool.submit(ran.append, 1))
    wait_until(lambda: pool.waiting() == 1)
    refused(lambda: pool.submit(ran.append, 2), PoolOverloadError)
    assert pool.try_submit(ran.append, 2) is False
    gate.open()
    blocked.result()
    assert pool.wait_idle(10)
    assert ran == [1]


def submit_within_times_out() -> None:
    pool = Pool(4)
    pool.submit(gate.hold)
    fail_spawns(-1)
    refused(lambda: pool.submit_within(0.02, ran.append, 1), PoolTimeoutError)
    assert (pool.waiting(), pool.stats().submitted) == (0, 1)
    gate.open()
    assert pool.wait_idle(10)
    assert ran == []


def queued_tasks_run_on_the_workers_there_are(queue_size: str) -> None:
    pool = Pool(4, queue_size=evaluate(queue_size))
    pool.submit(gate.hold)
    gate.wait_entered(1)
    fail_spawns(-1)
    for number in range(5):
        pool.submit(ran.append, number)
    assert pool.running() == 1
    gate.open()
    assert pool.wait_idle(10)
    assert sorted(ran) == list(range(5))
    assert pool.stats().spawned == 1


def when_threads_are_to_be_had_again_the_waiters_get_them() -> None:
    pool = Pool(3)
    pool.submit(gate.hold)
    fail_spawns(-1)
    blocked = [Background(lambda: pool.submit(gate.hold)) for _ in range(2)]
    wait_until(lambda: pool.waiting() == 2)
    fail_spawns(0)
    # No task ends, and none is submitted.
    for each in blocked:
        each.result()
    gate.wait_entered(3)
    assert pool.waiting() == 0
    gate.open()
    assert pool.wait_idle(10)


def failures_at_random_lose_and_double_nothing(options: str) -> None:
    import random

    pool: Pool = evaluate(f"Pool({options}, expiry_duration=0.001)")
    runs = [0] * 2000

    def run(index: Any) -> None:
        runs[index] += 1

    def submit(first: Any) -> None:
        generator = random.Random(first)
        for index in range(first, 2000, 4):
            if generator.random() < 0.3:
                fail_spawns(generator.randrange(1, 4))
            while True:
                try:
                    pool.submit(run, index)
                    break
                except PoolSpawnError:
                    pass

    for each in [Background(partial(submit, first)) for first in range(4)]:
        each.result()
    fail_spawns(0)
    assert pool.wait_idle(30)
    assert set(runs) == {1}
    stats = pool.stats()
    assert (stats.submitted, stats.completed) == (2000, 2000), stats
    wait_until(lambda: pool.running() == 0)
    pool.release_timeout(10)


def a_multi_pool_and_a_pool_with_func() -> None:
    fixed = PoolWithFunc(2, ran.append)
    fail_spawns(-1)
    refused(lambda: fixed.invoke(1), PoolSpawnError)
    fail_spawns(0)
    fixed.invoke(2)
    assert fixed.wait_idle(10)
    multi = MultiPool(2, 1)
    fail_spawns(-1)
    refused(lambda: multi.submit(ran.append, 3), PoolSpawnError)
    fail_spawns(0)
    multi.submit(ran.append, 4)
    assert multi.wait_idle(10)
    assert ran == [2, 4]


def housekeeping_without_a_thread_of_its_own() -> None:
    pool = Pool(2, expiry_duration=0.01)
    pool.submit(gate.hold)
    fail_spawns(-1)
    gate.open()
    assert pool.wait_idle(10)
    pool.submit(ran.append, 1)
    assert pool.wait_idle(10)
    fail_spawns(0)
    pool.submit(ran.append, 2)
    assert pool.wait_idle(10)
    wait_until(lambda: pool.running() == 0)
    assert ran == [1, 2]


def without_memory_for_a_stack() -> None:
    import resource

    import psutil

    used = psutil.Process().memory_info().vms
    pool = Pool(1, stack_size=1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), resource.RLIM_INFINITY))
    for _ in range(3):
        refused(lambda: pool.submit(ran.append, 1), PoolSpawnError)
    assert (pool.running(), pool.waiting(), pool.stats().submitted) == (0, 0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    pool.submit(ran.append, 2)
    assert pool.wait_idle(10)
    assert ran == [2]


if __name__ == "__main__":
    main(globals())
