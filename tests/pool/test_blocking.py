"""Submitters that wait for a permit: their number, their time limits, and the order in which they are let in."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, background, nap, wait_equal, wait_until

from pyants import Pool, PoolClosedError, PoolOverloadError, PoolTimeoutError


@pytest.mark.ants("B15", "B22", "B32")
@pytest.mark.parametrize("kind", KINDS)
def test_each_finished_task_lets_one_submitter_in(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with face.pool as pool, gate:
        face.put(1)
        face.put(2)
        gate.wait_entered(2)
        blocked = background(5, lambda: face.put(3))
        wait_equal(pool.waiting, 5)
        for left in (4, 3, 2, 1, 0):
            gate.let(1)
            wait_equal(pool.waiting, left)
            assert pool.running() == 2
        gate.open()
        for submitter in blocked:
            submitter.result()
    assert gate.entered == 7
    assert gate.peak == 2


@pytest.mark.ants("B20")
def test_blocking_again_never_turns_into_an_overload() -> None:
    with Pool(1, max_blocking_tasks=3) as pool, Gate() as gate:
        pool.submit(gate.hold)
        blocked = background(3, lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 3)
        for left in (2, 1, 0):
            gate.let(1)
            wait_equal(pool.waiting, left)
        gate.open()
        for submitter in blocked:
            submitter.result()
        assert pool.stats().rejected == 0


@pytest.mark.ants("B26")
@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_so_many_submitters_may_block_and_the_next_is_refused_at_once(kind: Kind, most: int) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold, max_blocking_tasks=most)
    with face.pool as pool, gate:
        face.put(1)
        blocked = background(most, lambda: face.put(2))
        wait_equal(pool.waiting, most)
        with pytest.raises(PoolOverloadError):
            face.put(3)
        with pytest.raises(PoolOverloadError):
            face.put_within(1000, 3)
        assert not face.try_put(3)
        # A worker that becomes free lets a blocked submitter in, so that one more may block.
        gate.let(1)
        wait_until(lambda: pool.waiting() == most - 1)
        blocked += background(1, lambda: face.put(4))
        wait_equal(pool.waiting, most)
        gate.open()
        for submitter in blocked:
            submitter.result()
        assert pool.stats().rejected == 3
    assert gate.entered == most + 2


@pytest.mark.ants("B27", "B32")
@pytest.mark.parametrize("kind", KINDS)
def test_a_nonblocking_pool_never_blocks(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold, nonblocking=True)
    with face.pool as pool, gate:
        face.put(1)
        face.put(2)
        for _ in range(5):
            with pytest.raises(PoolOverloadError):
                face.put(3)
            with pytest.raises(PoolOverloadError):
                face.put_within(1000, 3)
            assert not face.try_put(3)
        assert pool.waiting() == 0
        assert pool.stats().rejected == 15


@pytest.mark.ants("B15")
@pytest.mark.parametrize("kind", KINDS)
def test_an_unlimited_pool_never_blocks(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, -1, gate.hold, nonblocking=True)
    with face.pool as pool, gate:
        for _ in range(50):
            face.put(None)
        assert pool.running() == 50
        assert pool.waiting() == 0
        gate.wait_entered(50)


def test_an_overload_says_what_is_the_matter() -> None:
    with Pool(1, nonblocking=True) as pool, Gate() as gate:
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError, match="1"):
            pool.submit(nap)


@pytest.mark.parametrize("kind", KINDS)
def test_try_submit_never_waits(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with face.pool as pool, gate:
        assert face.try_put(1)
        assert not face.try_put(2)
        assert pool.waiting() == 0
        pool.release()
        with pytest.raises(PoolClosedError):
            face.try_put(3)


@pytest.mark.parametrize("timeout", [0, 0.0, 0.02, timedelta(milliseconds=20), timedelta(0)], ids=repr)
def test_submit_within_gives_up(timeout: float | timedelta) -> None:
    ran = Sum()
    with Pool(1) as pool:
        with Gate() as gate:
            pool.submit(gate.hold)
            start = time.monotonic()
            with pytest.raises(PoolTimeoutError):
                pool.submit_within(timeout, ran.add)
            seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
            assert time.monotonic() - start >= seconds
            assert pool.waiting() == 0
            assert pool.stats().rejected == 1
            assert pool.stats().submitted == 1
        assert pool.wait_idle(10)
        assert ran.value == 0


@pytest.mark.parametrize("kind", KINDS)
def test_submit_within_is_let_in_in_time(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with face.pool as pool, gate:
        face.put_within(0, 1)
        blocked = Background(lambda: face.put_within(1000, 2))
        wait_equal(pool.waiting, 1)
        gate.let(1)
        blocked.result()
        assert pool.waiting() == 0
    assert gate.entered == 2


def wait_for_a_permit_for_a_moment(pool: Pool, order: list[str], seconds: float = 0.05) -> Background[None]:
    """Makes a thread the second waiter. It gives up soon, but is seen to wait even on a slow machine."""
    leaver = Background(lambda: pool.submit_within(seconds, order.append, "leaver"))
    wait_until(lambda: pool.waiting() == 2 or not leaver.is_alive())
    return leaver if pool.waiting() == 2 else wait_for_a_permit_for_a_moment(pool, order, seconds * 2)


def test_one_that_gives_up_leaves_those_behind_it_waiting() -> None:
    order: list[str] = []
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        ahead = Background(lambda: pool.submit(order.append, "ahead"))
        wait_equal(pool.waiting, 1)
        leaver = wait_for_a_permit_for_a_moment(pool, order)
        behind = Background(lambda: pool.submit(order.append, "behind"))
        with pytest.raises(PoolTimeoutError):
            leaver.result()
        wait_equal(pool.waiting, 2)
        gate.open()
        ahead.result()
        behind.result()
        assert pool.wait_idle(10)
    assert order == ["ahead", "behind"]


@pytest.mark.ants("B26")
def test_one_that_gives_up_lets_another_block() -> None:
    with Pool(1, max_blocking_tasks=1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        with pytest.raises(PoolTimeoutError):
            pool.submit_within(0.02, nap)
        blocked = Background(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        gate.open()
        blocked.result()


def test_timeouts_that_race_with_free_workers_lose_no_task() -> None:
    ran, accepted, refused = Sum(), Sum(), Sum()
    with Pool(2) as pool:

        def submit() -> None:
            for number in range(150):
                try:
                    pool.submit_within(0.0005 * (number % 3), nap_and_count)
                except PoolTimeoutError:
                    refused.add()
                else:
                    accepted.add()

        def nap_and_count() -> None:
            nap(0.0005)
            ran.add()

        for submitter in [Background(submit) for _ in range(6)]:
            submitter.result()
        assert pool.wait_idle(30)
        stats = pool.stats()
    assert ran.value == accepted.value == stats.completed
    assert refused.value == stats.rejected
    assert accepted.value + refused.value == 900


@pytest.mark.ants("B22", "B54")
@pytest.mark.parametrize("kind", KINDS)
def test_release_wakes_all_who_wait(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with face.pool as pool, gate:
        face.put(1)
        gate.wait_entered(1)
        blocked = background(3, lambda: face.put(2)) + background(3, lambda: face.put_within(1000, 2))
        wait_equal(pool.waiting, 6)
        pool.release()
        for submitter in blocked:
            with pytest.raises(PoolClosedError):
                submitter.result()
        # The task that blocked them is still running: the release did not wait for it.
        assert gate.inside == 1
        assert pool.waiting() == 0
    assert gate.entered == 1


@pytest.mark.ants("B22")
def test_a_raising_task_lets_a_submitter_in() -> None:
    def fail(gate: Gate) -> None:
        gate.hold()
        raise ValueError("on purpose")

    with Pool(1, panic_handler=lambda _: None) as pool, Gate() as gate:
        pool.submit(fail, gate)
        blocked = Background(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        gate.open()
        blocked.result()
        assert pool.wait_idle(10)
        assert (pool.stats().completed, pool.stats().failed) == (1, 1)


def test_waiting_holds_no_gil() -> None:
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        blocked = background(4, lambda: pool.submit(nap))
        wait_equal(pool.waiting, 4)
        # This thread goes on while the others wait.
        assert sum(range(1000)) == 499500
        gate.open()
        for submitter in blocked:
            submitter.result()
