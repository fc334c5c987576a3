"""The constructors of pools: sizes, options, defaults and the order of the checks."""

from __future__ import annotations

import time
from datetime import timedelta

import psutil
import pytest
from support import KINDS, Face, Gate, Kind, background, nap, wait_equal

import pyants
from pyants import (
    InvalidPoolExpiryError,
    InvalidPreAllocSizeError,
    LackPoolFuncError,
    Pool,
    PoolOptions,
    PoolOverloadError,
    PoolWithFunc,
)


@pytest.mark.ants("B1", "B80")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [0, -1, -5, -(2**31)])
def test_a_size_of_zero_or_less_makes_an_unlimited_pool(kind: Kind, capacity: int) -> None:
    with Face(kind, capacity, nap).pool as pool:
        assert pool.cap() == -1
        assert pool.free() == -1
        assert pool.waiting() == 0
        assert pool.stats().capacity == -1


def test_without_a_size_a_pool_is_unlimited() -> None:
    with Pool() as pool:
        assert pool.cap() == -1


@pytest.mark.ants("B13", "D14")
@pytest.mark.parametrize("capacity", [2**31, 2**31 + 1, 2**63, 2**64, 10**30, -(2**31) - 1, -(10**30)])
def test_sizes_that_do_not_fit_32_bits_are_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=str(capacity)):
        Pool(capacity)


@pytest.mark.ants("B13")
def test_the_largest_size() -> None:
    with Pool(2**31 - 1) as pool:
        assert pool.cap() == pool.free() == 2**31 - 1


def test_the_size_may_be_anything_that_is_an_index() -> None:
    class Three:
        def __index__(self) -> int:
            return 3

    with Pool(Three()) as pool:  # type: ignore[arg-type]
        assert pool.cap() == 3


@pytest.mark.ants("B2", "D17")
@pytest.mark.parametrize("pre_alloc", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_construction_starts_no_worker(kind: Kind, pre_alloc: bool) -> None:
    with Face(kind, 1000, nap, pre_alloc=pre_alloc).pool as pool:
        assert pool.running() == 0
        assert pool.free() == 1000
        assert pool.stats().spawned == 0


@pytest.mark.ants("B3", "D12")
@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_housekeeping_needs_no_thread_a_pool() -> None:
    before = psutil.Process().num_threads()
    pools = [Pool(4) for _ in range(20)]
    # The expiry thread of all pools is allowed; other threads may be about to end.
    assert psutil.Process().num_threads() <= before + 1
    for pool in pools:
        pool.release_timeout(10)


@pytest.mark.ants("B4")
def test_by_default_a_pool_blocks_any_number_of_submitters() -> None:
    with Pool(1) as pool, Gate() as gate:
        pool.submit(gate.hold)
        blocked = background(8, lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 8)
        gate.open()
        for submitter in blocked:
            submitter.result()


@pytest.mark.ants("B4", "D12")
@pytest.mark.parametrize("expiry", [None, 0, 0.0, timedelta(0)], ids=repr)
def test_an_expiry_of_zero_means_one_second(expiry: float | timedelta | None) -> None:
    options: PoolOptions = {} if expiry is None else {"expiry_duration": expiry}
    with Pool(1, **options) as pool:
        start = time.monotonic()
        pool.submit(int)
        wait_equal(pool.running, 0)
        # An idle worker lives for one to two expiry durations, by an exact clock.
        assert time.monotonic() - start >= 0.99


@pytest.mark.ants("B5", "D14")
@pytest.mark.parametrize("capacity", [-1, 0, 1])
@pytest.mark.parametrize("expiry", [-1, -0.001, timedelta(seconds=-1), float("nan"), float("inf"), float("-inf")])
def test_an_impossible_expiry_is_refused(capacity: int, expiry: float | timedelta) -> None:
    with pytest.raises(InvalidPoolExpiryError):
        Pool(capacity, expiry_duration=expiry)


@pytest.mark.ants("B6")
@pytest.mark.parametrize("expiry", [-1, -0.5, timedelta(seconds=-1)])
def test_without_purge_a_negative_expiry_is_accepted(expiry: float | timedelta) -> None:
    with Pool(1, expiry_duration=expiry, disable_purge=True) as pool:
        pool.submit(nap)
        assert pool.wait_idle(10)
        assert pool.running() == 1


@pytest.mark.parametrize("expiry", [1, 1.5, timedelta(milliseconds=300), timedelta(days=400), 1e-9, 1e9], ids=repr)
def test_durations_may_be_int_float_or_timedelta(expiry: float | timedelta) -> None:
    with Pool(1, expiry_duration=expiry) as pool:
        pool.submit(nap)
        assert pool.wait_idle(timedelta(seconds=10))


@pytest.mark.ants("B7")
@pytest.mark.parametrize("capacity", [0, -1, -7])
@pytest.mark.parametrize("kind", KINDS)
def test_pre_alloc_needs_a_size(kind: Kind, capacity: int) -> None:
    with pytest.raises(InvalidPreAllocSizeError, match=str(capacity)):
        Face(kind, capacity, nap, pre_alloc=True)


@pytest.mark.ants("B8")
def test_the_function_is_checked_first() -> None:
    with pytest.raises(LackPoolFuncError):
        PoolWithFunc(-1, None, expiry_duration=-1, pre_alloc=True)  # type: ignore[arg-type]


@pytest.mark.ants("B8")
def test_the_expiry_is_checked_before_the_size_of_pre_alloc() -> None:
    with pytest.raises(InvalidPoolExpiryError):
        Pool(-1, expiry_duration=-1, pre_alloc=True)
    with pytest.raises(InvalidPoolExpiryError):
        PoolWithFunc(-1, nap, expiry_duration=-1, pre_alloc=True)


@pytest.mark.ants("B9", "D14")
@pytest.mark.parametrize("most", [-1, -(2**70)])
def test_a_negative_limit_of_blocked_submitters_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match=str(most)):
        Pool(1, max_blocking_tasks=most)


@pytest.mark.ants("B10")
def test_nonblocking_makes_the_limit_of_blocked_submitters_irrelevant() -> None:
    with Pool(1, nonblocking=True, max_blocking_tasks=5) as pool, Gate() as gate:
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            pool.submit(gate.hold)


@pytest.mark.ants("B11", "T32")
def test_options_may_come_from_a_record() -> None:
    options: PoolOptions = {"expiry_duration": 10, "nonblocking": True, "pre_alloc": True}
    with Pool(1, **options) as pool, Gate() as gate:
        assert pool.cap() == 1
        pool.submit(gate.hold)
        with pytest.raises(PoolOverloadError):
            pool.submit(gate.hold)
    later: PoolOptions = {**options, "nonblocking": False, "max_blocking_tasks": 1}
    with Pool(1, **later) as pool, Gate() as gate:
        pool.submit(gate.hold)
        (blocked,) = background(1, lambda: pool.submit(gate.hold))
        wait_equal(pool.waiting, 1)
        gate.open()
        blocked.result()


@pytest.mark.ants("B12")
@pytest.mark.parametrize("name", ["capacity", "nonblocking", "expiry_duration", "panic_handler"])
def test_options_cannot_be_changed_later(name: str) -> None:
    with Pool(1) as pool, pytest.raises(AttributeError):
        setattr(pool, name, 5)


def test_the_documented_defaults_are_there() -> None:
    assert pyants.DEFAULT_CAPACITY == 1024
    assert pyants.DEFAULT_EXPIRY_DURATION == 1.0
