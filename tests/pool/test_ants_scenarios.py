"""The scenarios of ants' own tests, scaled to threads: fewer workers, shorter naps, the same ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from support import Background, Gate, Sum, background, nap, own_logger, wait_equal

import pyants
from pyants import (
    InvalidPoolExpiryError,
    InvalidPreAllocSizeError,
    LackPoolFuncError,
    Pool,
    PoolClosedError,
    PoolOverloadError,
    PoolWithFunc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# ants' untyped and its generic form are one class here, spelt in two ways.
FORMS: list[type[PoolWithFunc[[object]]]] = [PoolWithFunc, PoolWithFunc[[object]]]
forms = pytest.mark.parametrize("form", FORMS, ids=["untyped", "generic"])
with_and_without_pre_alloc = pytest.mark.parametrize("pre_alloc", [False, True], ids=["", "pre_alloc"])


def flood(pool: Pool | PoolWithFunc[[object]], gate: Gate, put: Callable[[], None]) -> None:
    """Fills a pool of 50 with tasks that the gate holds; 5000 more wait for a permit."""

    def put_many(count: int) -> None:
        for _ in range(count):
            put()

    put_many(50)
    assert pool.running() == 50
    gate.wait_entered(50)
    submitter = Background(lambda: put_many(5000))
    wait_equal(pool.waiting, 1)
    gate.open()
    submitter.result()
    assert pool.wait_idle(30)
    assert gate.entered == 5050
    assert gate.peak == pool.stats().peak_running == 50


@pytest.mark.ants("T1", "T2")
@with_and_without_pre_alloc
def test_waiting_for_a_worker(pre_alloc: bool) -> None:
    with Pool(50, pre_alloc=pre_alloc) as pool, Gate() as gate:
        flood(pool, gate, lambda: pool.submit(gate.hold))


@pytest.mark.ants("T3", "T4", "T5", "T6")
@forms
@with_and_without_pre_alloc
def test_waiting_for_a_worker_with_func(form: type[PoolWithFunc[[object]]], pre_alloc: bool) -> None:
    gate = Gate()
    with form(50, gate.hold, pre_alloc=pre_alloc) as pool, gate:
        flood(pool, gate, lambda: pool.invoke(100))


@pytest.mark.ants("T7")
def test_a_worker_after_the_purge() -> None:
    with Pool(1000, expiry_duration=0.1) as pool:
        for _ in range(300):
            pool.submit(nap)
        wait_equal(pool.running, 0)
        with Gate() as gate:
            pool.submit(gate.hold)
            assert pool.running() == 1


@pytest.mark.ants("T8", "T9", "T10", "T11")
@forms
@with_and_without_pre_alloc
def test_a_worker_after_the_purge_with_func(form: type[PoolWithFunc[[object]]], pre_alloc: bool) -> None:
    gate = Gate()

    def task(item: object) -> None:
        if item == "hold":
            gate.hold()
        else:
            nap()

    with form(1000, task, expiry_duration=0.1, pre_alloc=pre_alloc) as pool, gate:
        for _ in range(300):
            pool.invoke("nap")
        wait_equal(pool.running, 0)
        pool.invoke("hold")
        assert pool.running() == 1


@pytest.mark.slow
@pytest.mark.ants("T7")
def test_a_worker_after_the_purge_by_default() -> None:
    with Pool(1000) as pool:
        for _ in range(100):
            pool.submit(nap)
        wait_equal(pool.running, 0)
        assert pool.stats().expired == pool.stats().spawned
        with Gate() as gate:
            pool.submit(gate.hold)
            assert pool.running() == 1


def oops(*_: object) -> NoReturn:
    raise RuntimeError("Oops!")


@pytest.mark.ants("T14", "T15", "D1")
@with_and_without_pre_alloc
def test_panic_handler(pre_alloc: bool) -> None:
    calls = Sum()

    def count(error: BaseException) -> None:
        assert error.args == ("Oops!",)
        calls.add()

    with Pool(10, panic_handler=count, pre_alloc=pre_alloc) as pool:
        pool.submit(oops)
        wait_equal(lambda: calls.value, 1)
        wait_equal(lambda: pool.stats().busy, 0)
        pool.submit(nap)
    for number, form in enumerate(FORMS, 2):
        with form(10, oops, panic_handler=count, pre_alloc=pre_alloc) as fixed:
            fixed.invoke("Oops!")
            wait_equal(lambda: calls.value, number)
            assert fixed.wait_idle(10)
            assert fixed.stats().busy == 0


@pytest.mark.ants("T16", "T17")
@with_and_without_pre_alloc
def test_panic_without_handler(pre_alloc: bool) -> None:
    for number in range(3):
        logger, records = own_logger()
        if number == 0:
            with Pool(10, logger=logger, pre_alloc=pre_alloc) as pool:
                pool.submit(oops)
        else:
            with FORMS[number - 1](10, oops, logger=logger, pre_alloc=pre_alloc) as fixed:
                fixed.invoke("Oops!")
        (record,) = records.records
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "Oops!"
        assert record.exc_info[2] is not None


@pytest.mark.ants("T18")
def test_purge_of_a_pool_with_pre_alloc() -> None:
    with Pool(10, pre_alloc=True, expiry_duration=0.1) as pool:
        pool.submit(nap)
        wait_equal(pool.running, 0)
    for form in FORMS:
        with form(10, nap_of, expiry_duration=0.1) as fixed:
            fixed.invoke(1)
            wait_equal(fixed.running, 0)


def nap_of(milliseconds: object) -> None:
    nap(int(str(milliseconds)) / 1000)


@pytest.mark.ants("T19", "T20")
@forms
def test_nonblocking_invoke(form: type[PoolWithFunc[[object]]]) -> None:
    gate = Gate()
    with form(10, gate.hold, nonblocking=True) as pool, gate:
        for _ in range(10):
            pool.invoke(gate)
        with pytest.raises(PoolOverloadError):
            pool.invoke(None)
        gate.open()
        wait_equal(lambda: pool.stats().busy, 0)
        pool.invoke(gate)
    assert gate.entered == 11


@pytest.mark.ants("T21", "T22")
@forms
def test_limited_blocking_invoke(form: type[PoolWithFunc[[object]]]) -> None:
    gate = Gate()
    with form(10, gate.hold, max_blocking_tasks=1) as pool, gate:
        for _ in range(10):
            pool.invoke(gate)
        second = Background(lambda: pool.invoke(gate))
        wait_equal(pool.waiting, 1)
        with pytest.raises(PoolOverloadError):
            pool.invoke(gate)
        gate.open()
        second.result()
    assert gate.entered == 11


@pytest.mark.ants("T23")
@pytest.mark.thread_unsafe(reason="there is one default pool in the process")
def test_reboot_of_the_default_pool() -> None:
    pyants.reboot()
    done = Sum()
    pyants.submit(done.add)
    wait_equal(lambda: done.value, 1)
    pyants.release_timeout(30)
    with pytest.raises(PoolClosedError):
        pyants.submit(None)  # type: ignore[arg-type]
    pyants.reboot()
    pyants.submit(done.add)
    wait_equal(lambda: done.value, 2)
    pyants.release_timeout(30)


@pytest.mark.ants("T24", "T25", "T26")
@pytest.mark.parametrize("expiry", [1.0, 0.02])
@pytest.mark.parametrize("with_func", [False, True])
def test_disable_purge(expiry: float, with_func: bool) -> None:
    gate = Gate()
    pool: Pool | PoolWithFunc[[object]]
    put: Callable[[int], None]
    if with_func:
        fixed = PoolWithFunc[[object]](10, gate.hold, disable_purge=True, expiry_duration=expiry)
        pool, put = fixed, fixed.invoke
    else:
        plain = Pool(10, disable_purge=True, expiry_duration=expiry)
        pool, put = plain, lambda number: plain.submit(gate.hold, number)
    # Another pool, which purges, shows that the time for it has passed.
    with gate, Pool(1, expiry_duration=0.02) as clock:
        for number in range(10):
            put(number)
        gate.wait_entered(10)
        assert (pool.running(), pool.free()) == (10, 0)
        gate.open()
        assert pool.wait_idle(10)
        for _ in range(3):
            clock.submit(int)
            wait_equal(clock.running, 0)
    assert (pool.running(), pool.free()) == (10, 0)
    pool.release_timeout(30)
    assert (pool.running(), pool.free()) == (0, 10)


@pytest.mark.ants("T27", "T28")
@forms
def test_unlimited_pool_with_func(form: type[PoolWithFunc[[object]]]) -> None:
    gate = Gate()
    with form(-1, gate.hold) as pool, gate:
        pool.invoke(10)
        pool.invoke(10)
        assert (pool.running(), pool.free()) == (2, -1)
        gate.let(2)
        pool.tune(10)
        assert pool.cap() == -1
    with pytest.raises(InvalidPreAllocSizeError):
        form(-1, gate.hold, pre_alloc=True)


@pytest.mark.ants("T29", "T30")
@forms
def test_release_with_blocked_invokers(form: type[PoolWithFunc[[object]]]) -> None:
    gate = Gate()
    pool = form(1, gate.hold)

    def invoke() -> int:
        refused = 0
        for number in range(30):
            try:
                pool.invoke(number)
            except PoolClosedError:
                refused += 1
        return refused

    with gate:
        invokers = background(2, invoke)
        gate.wait_entered(1)
        gate.let(3)
        gate.wait_entered(4)
        # The fourth task is held, so both invokers wait, each with an argument in hand.
        wait_equal(pool.waiting, 2)
        pool.release()
        assert sum(invoker.result() for invoker in invokers) == 60 - 4
        assert gate.inside == 1
    assert pool.wait_idle(10)
    assert gate.entered == 4


@pytest.mark.ants("T31")
def test_invalid_construction() -> None:
    for capacity in (-1, 1):
        with pytest.raises(InvalidPoolExpiryError):
            Pool(capacity, expiry_duration=-1)
    for form in FORMS:
        for capacity in (-1, 1):
            with pytest.raises(InvalidPoolExpiryError):
                form(capacity, nap_of, expiry_duration=-1)
        with pytest.raises(LackPoolFuncError):
            form(1, None, expiry_duration=-1)  # type: ignore[arg-type]
