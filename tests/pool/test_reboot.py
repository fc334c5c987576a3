"""reboot() opens a closed pool again."""

from __future__ import annotations

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, ignore, nap, wait_equal

from pyants import Pool, PoolClosedError, PoolOverloadError, PoolTimeoutError


@pytest.mark.ants("B63")
@pytest.mark.parametrize("kind", KINDS)
def test_reboot_of_an_open_pool_does_nothing(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with face.pool as pool, gate:
        pool.reboot()
        face.put(None)
        before = pool.stats()
        pool.reboot()
        assert pool.stats() == before
        assert not pool.is_closed()


@pytest.mark.ants("B63", "B66")
@pytest.mark.parametrize("kind", KINDS)
def test_a_rebooted_pool_works_like_a_new_one(kind: Kind) -> None:
    total = Sum()
    face = Face(kind, 3, lambda item: total.add(int(str(item))))
    pool = face.pool
    for _ in range(5):
        for number in range(100):
            face.put(number)
        pool.release_timeout(30)
        assert pool.is_closed()
        with pytest.raises(PoolClosedError):
            face.put(1)
        pool.reboot()
        assert not pool.is_closed()
        assert pool.running() == 0
    pool.release()
    assert total.value == 5 * 4950


@pytest.mark.ants("B3", "B63")
def test_after_a_reboot_idle_workers_are_purged_again() -> None:
    pool = Pool(3, expiry_duration=0.02)
    pool.release_timeout(10)
    pool.reboot()
    with Gate() as gate:
        for _ in range(3):
            pool.submit(gate.hold)
    wait_equal(pool.running, 0)
    assert pool.stats().expired == 3
    pool.release()


@pytest.mark.ants("B64")
@pytest.mark.parametrize("kind", KINDS)
def test_options_capacity_and_counters_outlive_a_reboot(kind: Kind) -> None:
    errors: list[BaseException] = []

    def task(item: object) -> None:
        if item == "fail":
            raise ValueError(item)

    face = Face(kind, 2, task, nonblocking=True, panic_handler=errors.append, disable_purge=True)
    pool = face.pool
    pool.tune(3)
    face.put("pass")
    face.put("fail")
    pool.release_timeout(10)
    before = pool.stats()
    assert (before.submitted, before.completed, before.failed, before.running) == (2, 1, 1, 0)
    pool.reboot()
    # A reboot starts no worker; the next task does.
    assert pool.stats() == before
    face.put("fail")
    assert pool.wait_idle(10)
    assert len(errors) == 2
    after = pool.stats()
    assert (after.capacity, after.submitted, after.failed, after.spawned) == (3, 3, 2, before.spawned + 1)
    assert pool.running() == 1
    pool.release()


@pytest.mark.ants("B64")
def test_a_nonblocking_pool_is_nonblocking_after_a_reboot() -> None:
    pool = Pool(1, nonblocking=True)
    pool.release_timeout(10)
    pool.reboot()
    with pool, Gate() as gate:
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap)


@pytest.mark.ants("B65", "B66")
@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_are_busy_through_release_and_reboot_stay(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold, disable_purge=True)
    with face.pool as pool:
        with gate:
            face.put(None)
            face.put(None)
            gate.wait_entered(2)
            pool.release()
            pool.reboot()
            assert pool.running() == 2
            # The old workers still count against the capacity.
            assert not face.try_put(None)
        assert pool.wait_idle(10)
        assert pool.running() == 2
        face.put(None)
        assert pool.wait_idle(10)
        assert pool.stats().spawned == 2
    assert gate.peak == 2


@pytest.mark.ants("B65", "B66")
@pytest.mark.parametrize("kind", KINDS)
def test_a_reboot_after_a_release_that_timed_out(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 1, gate.hold)
    with face.pool as pool, gate:
        face.put(None)
        with pytest.raises(PoolTimeoutError):
            pool.release_timeout(0.01)
        pool.reboot()
        blocked = Background(lambda: face.put(None))
        wait_equal(pool.waiting, 1)
        gate.open()
        blocked.result()
        pool.release_timeout(10)
    assert gate.entered == 2
    assert gate.peak == 1


@pytest.mark.ants("B67")
@pytest.mark.parametrize("options", [{}, {"pre_alloc": True}, {"queue_size": None}, {"disable_purge": True}], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_release_and_reboot_without_limit(kind: Kind, options: dict[str, object]) -> None:
    done = Sum()
    face = Face(kind, 2, lambda _: done.add(), **options)  # type: ignore[arg-type]
    pool = face.pool
    for number in range(100):
        face.put(None)
        face.put(None)
        if number % 2:
            pool.release()
        else:
            pool.release_timeout(30)
        pool.reboot()
    pool.release_timeout(30)
    assert done.value == 200
    assert pool.stats().submitted == pool.stats().completed == 200
    assert pool.running() == 0


@pytest.mark.ants("B66")
def test_release_and_reboot_while_others_submit() -> None:
    done, refused = Sum(), Sum()
    pool = Pool(2, panic_handler=ignore)

    def submit() -> None:
        for _ in range(300):
            try:
                pool.submit(done.add)
            except PoolClosedError:
                refused.add()

    submitters = [Background(submit) for _ in range(4)]
    while any(submitter.is_alive() for submitter in submitters):
        pool.release()
        pool.reboot()
    for submitter in submitters:
        submitter.result()
    assert pool.wait_idle(30)
    assert done.value + refused.value == 1200
    assert pool.stats().completed == done.value
    assert pool.running() <= 2
    pool.release_timeout(30)
