"""wait_idle() waits until every accepted task is done, those accepted meanwhile too."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, ignore, nap, wait_equal

from pyants import Pool, PoolDeadlockError


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_pool_is_idle(kind: Kind) -> None:
    pool = Face(kind, 2, nap).pool
    assert pool.wait_idle()
    assert pool.wait_idle(0)
    pool.release()
    assert pool.wait_idle()
    assert pool.wait_idle(timedelta(0))


@pytest.mark.parametrize("timeout", [0, 0.0, 0.02, timedelta(milliseconds=5)], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_pool_is_not_idle(kind: Kind, timeout: float | timedelta) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with face.pool as pool, gate:
        face.put(None)
        assert not pool.wait_idle(timeout)
        gate.open()
        assert pool.wait_idle(10)


@pytest.mark.parametrize("queue_size", [0, 3, None])
def test_it_returns_when_the_last_task_is_done(queue_size: int | None) -> None:
    done = Sum()

    def task() -> None:
        nap(0.002)
        done.add()

    with Pool(3, queue_size=queue_size) as pool:
        for _ in range(50):
            pool.submit(task)
        assert pool.wait_idle()
        assert done.value == 50
        assert pool.stats().completed == 50


def test_it_waits_for_tasks_that_tasks_submit() -> None:
    done = Sum()
    with Pool() as pool:

        def chain(left: int) -> None:
            nap(0.002)
            done.add()
            if left > 1:
                pool.submit(chain, left - 1)

        pool.submit(chain, 20)
        assert pool.wait_idle()
        assert done.value == 20


def test_it_waits_for_blocked_submitters() -> None:
    done = Sum()
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        blocked = [Background(lambda: pool.submit(done.add)) for _ in range(3)]
        wait_equal(pool.waiting, 3)
        waiter = Background(lambda: (pool.wait_idle(), done.value))
        gate.open()
        assert waiter.result() == (True, 3)
        for submitter in blocked:
            submitter.result()


def test_it_waits_for_the_panic_handler() -> None:
    reported = Sum()

    def handler(_: BaseException) -> None:
        nap(0.02)
        reported.add()

    with Pool(1, panic_handler=handler) as pool:
        pool.submit(divmod, 1, 0)
        assert pool.wait_idle()
        assert reported.value == 1


def test_many_threads_may_wait() -> None:
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        waiters = [Background(pool.wait_idle) for _ in range(4)]
        gate.wait_entered(1)
        assert all(waiter.is_alive() for waiter in waiters)
        gate.open()
        assert all(waiter.result() for waiter in waiters)


def test_it_works_on_a_closed_pool_whose_tasks_still_run() -> None:
    pool = Pool(1)
    with Gate() as gate:
        pool.submit(gate.hold)
        pool.release()
        assert not pool.wait_idle(0.01)
    assert pool.wait_idle(10)
    wait_equal(pool.running, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_waited_for_its_own_pool_would_wait_for_itself(kind: Kind) -> None:
    seen: list[object] = []

    def task(_: object) -> None:
        seen.append(face.pool.wait_idle(0.01))
        try:
            face.pool.wait_idle()
        except PoolDeadlockError as error:
            seen.append(error)

    face = Face(kind, 2, task, panic_handler=ignore)
    with face.pool as pool:
        face.put(None)
        assert pool.wait_idle(10)
    assert seen[0] is False
    assert isinstance(seen[1], PoolDeadlockError)
    assert str(seen[1])


def test_a_task_may_wait_for_another_pool() -> None:
    with Pool(1) as first, Pool(1) as second:
        seen: list[bool] = []
        second.submit(nap)
        first.submit(lambda: seen.append(second.wait_idle()))
        assert first.wait_idle(10)
        assert seen == [True]
