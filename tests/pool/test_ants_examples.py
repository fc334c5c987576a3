"""More scenarios of ants' own tests: floods, the default pool, multi-pools, and the examples."""

from __future__ import annotations

import pytest
from support import Gate, Sum, nap, own_logger, wait_equal, wait_until

import pyants
from pyants import (
    InvalidLoadBalancingStrategyError,
    InvalidMultiPoolSizeError,
    InvalidPoolExpiryError,
    InvalidPoolIndexError,
    LoadBalancingStrategy,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolClosedError,
    PoolWithFunc,
)

# ants' untyped and its generic form are one class here, spelt in two ways.
FORMS: list[type[PoolWithFunc[[object]]]] = [PoolWithFunc, PoolWithFunc[[object]]]
MULTI_FORMS: list[type[MultiPoolWithFunc[[object]]]] = [MultiPoolWithFunc, MultiPoolWithFunc[[object]]]
forms = pytest.mark.parametrize("form", FORMS, ids=["untyped", "generic"])
with_and_without_pre_alloc = pytest.mark.parametrize("pre_alloc", [False, True], ids=["", "pre_alloc"])


def nap_of(milliseconds: object) -> None:
    nap(int(str(milliseconds)) / 1000)


@pytest.mark.ants("T33", "T34")
@with_and_without_pre_alloc
def test_flood_then_tune(pre_alloc: bool) -> None:
    logger, _ = own_logger()
    pool = Pool(100, logger=logger, pre_alloc=pre_alloc)
    for _ in range(1000):
        pool.submit(nap, 0.001)
    pool.tune(100)
    pool.tune(10)
    assert pool.cap() == (100 if pre_alloc else 10)
    pool.release()
    with pytest.raises(PoolClosedError):
        pool.submit(nap)
    assert pool.wait_idle(30)
    wait_equal(pool.running, 0)
    assert pool.stats().completed == 1000


@pytest.mark.ants("T35")
@forms
@with_and_without_pre_alloc
def test_flood_then_tune_with_func(form: type[PoolWithFunc[[object]]], pre_alloc: bool) -> None:
    pool = form(100, nap_of, pre_alloc=pre_alloc)
    for _ in range(1000):
        pool.invoke(1)
    pool.tune(100)
    pool.tune(10)
    assert pool.cap() == (100 if pre_alloc else 10)
    pool.release()
    with pytest.raises(PoolClosedError):
        pool.invoke(1)
    assert pool.wait_idle(30)
    wait_equal(pool.running, 0)
    assert pool.stats().completed == 1000


@pytest.mark.ants("T36")
@pytest.mark.thread_unsafe(reason="there is one default pool in the process")
def test_release_timeout_of_the_default_pool() -> None:
    pyants.reboot()
    with Gate() as gate:
        for _ in range(5):
            pyants.submit(gate.hold)
        assert pyants.running() == 5
    pyants.release_timeout(100_000)
    assert pyants.running() == 0


@pytest.mark.ants("T37", "T41")
@pytest.mark.parametrize("form", MULTI_FORMS, ids=["untyped", "generic"])
def test_multi_pool_with_func_construction(form: type[MultiPoolWithFunc[[object]]]) -> None:
    with pytest.raises(InvalidMultiPoolSizeError):
        form(-1, 10, nap_of, 8)  # type: ignore[arg-type]
    with pytest.raises(InvalidLoadBalancingStrategyError):
        form(10, -1, nap_of, 8)  # type: ignore[arg-type]
    with pytest.raises(InvalidPoolExpiryError):
        form(10, 10, nap_of, LoadBalancingStrategy.ROUND_ROBIN, expiry_duration=-1)


@pytest.mark.ants("T38", "T39", "T40", "T41")
@pytest.mark.parametrize("strategy", list(LoadBalancingStrategy))
@pytest.mark.parametrize("form", MULTI_FORMS, ids=["untyped", "generic"])
def test_multi_pool_with_func_full_cycle(
    form: type[MultiPoolWithFunc[[object]]], strategy: LoadBalancingStrategy
) -> None:
    def hold(gate: object) -> None:
        assert isinstance(gate, Gate)
        gate.hold()

    pool = form(10, 5, hold, strategy)
    for _ in range(2):
        with Gate() as gate:
            for _ in range(50):
                pool.invoke(gate)
            assert (pool.waiting(), pool.running(), pool.free(), pool.cap(), pool.is_closed()) == (0, 50, 0, 50, False)
            for index in range(10):
                assert pool.waiting_by_index(index) == 0
                assert pool.running_by_index(index) == 5
                assert pool.free_by_index(index) == 0
            for index in (-1, 11):
                for by_index in (pool.waiting_by_index, pool.running_by_index, pool.free_by_index):
                    with pytest.raises(InvalidPoolIndexError):
                        by_index(index)
        pool.release_timeout(30)
        with pytest.raises(PoolClosedError):
            pool.release_timeout(30)
        with pytest.raises(PoolClosedError):
            pool.invoke(None)
        assert pool.running() == 0
        assert pool.is_closed()
        pool.reboot()
    pool.release()
    pool.tune(10)


@pytest.mark.ants("T42", "T43", "E1")
@with_and_without_pre_alloc
def test_reboot_keeps_results_right(pre_alloc: bool) -> None:
    pool = Pool(10, pre_alloc=pre_alloc)
    for _ in range(2):
        total = Sum()
        for number in range(1000):
            pool.submit(total.add, number)
        assert pool.wait_idle(30)
        assert total.value == 499500
        pool.release_timeout(30)
        pool.reboot()
    pool.release()


@pytest.mark.ants("E1")
@pytest.mark.thread_unsafe(reason="there is one default pool in the process")
def test_example_default_pool() -> None:
    pyants.reboot()
    total = Sum()
    for number in range(1000):
        pyants.submit(total.add, number)
    pyants.release_timeout(30)
    assert total.value == 499500


@pytest.mark.ants("E2")
@forms
def test_example_pool_with_func(form: type[PoolWithFunc[[object]]]) -> None:
    total = Sum()
    with form(10, lambda number: total.add(int(str(number)))) as pool:
        for number in range(1000):
            pool.invoke(number)
    assert total.value == 499500


@pytest.mark.ants("E3")
def test_example_multi_pool() -> None:
    total = Sum()
    pool = MultiPool(10, 100, LoadBalancingStrategy.ROUND_ROBIN)
    for number in range(1000):
        pool.submit(total.add, number)
    pool.release_timeout(30)
    assert total.value == 499500
    for form in MULTI_FORMS:
        other = Sum()

        def add(number: object, other: Sum = other) -> None:
            other.add(int(str(number)))

        multi = form(10, 100, add, LoadBalancingStrategy.ROUND_ROBIN)
        for number in range(1000):
            multi.invoke(number)
        multi.release_timeout(30)
        assert other.value == 499500
    wait_until(lambda: pool.running() == 0)
