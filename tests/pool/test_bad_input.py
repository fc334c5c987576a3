"""Wrong arguments of every kind raise the right exception, with the value in its message."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import nap

import pyants
from pyants import (
    InvalidLoadBalancingStrategyError,
    InvalidMultiPoolSizeError,
    InvalidPoolExpiryError,
    InvalidPoolIndexError,
    InvalidPreAllocSizeError,
    LackPoolFuncError,
    PoolClosedError,
    PoolError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Any: no type checker would let these calls pass.
Pool: Any = pyants.Pool
PoolWithFunc: Any = pyants.PoolWithFunc
MultiPool: Any = pyants.MultiPool
MultiPoolWithFunc: Any = pyants.MultiPoolWithFunc

NAN = float("nan")
INF = float("inf")
BIG = 2**31
HUGE = 10**30


class Unprintable:
    """An object whose repr raises, too."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Case(NamedTuple):
    call: Callable[[], object]
    error: type[Exception]
    text: str


def on(call: Callable[[Any], object]) -> Callable[[], object]:
    """Makes the call on an open pool."""

    def run() -> None:
        with Pool(2) as pool:
            call(pool)

    return run


def on_func(call: Callable[[Any], object]) -> Callable[[], object]:
    def run() -> None:
        with PoolWithFunc(2, nap) as pool:
            call(pool)

    return run


def on_multi(call: Callable[[Any], object]) -> Callable[[], object]:
    def run() -> None:
        with MultiPool(2, 2) as pool:
            call(pool)

    return run


def on_closed(call: Callable[[Any], object]) -> Callable[[], object]:
    def run() -> None:
        pool = Pool(2)
        pool.release()
        call(pool)

    return run


CASES: dict[str, Case] = {
    # Sizes
    "capacity float": Case(lambda: Pool(2.5), TypeError, "2.5"),
    "capacity whole float": Case(lambda: Pool(3.0), TypeError, "3.0"),
    "capacity str": Case(lambda: Pool("four"), TypeError, "four"),
    "capacity None": Case(lambda: Pool(None), TypeError, "None"),
    "capacity list": Case(lambda: Pool([7]), TypeError, "[7]"),
    "capacity too large": Case(lambda: Pool(BIG), ValueError, str(BIG)),
    "capacity far too large": Case(lambda: Pool(HUGE), ValueError, str(HUGE)),
    "capacity far too small": Case(lambda: Pool(-HUGE), ValueError, str(-HUGE)),
    "capacity twice": Case(lambda: Pool(1, capacity=2), TypeError, "capacity"),
    "options by position": Case(lambda: Pool(1, 1.0), TypeError, ""),
    "func pool capacity": Case(lambda: PoolWithFunc("x", nap), TypeError, "'x'"),
    "func pool capacity too large": Case(lambda: PoolWithFunc(BIG, nap), ValueError, str(BIG)),
    # Durations
    "expiry negative": Case(lambda: Pool(1, expiry_duration=-0.5), InvalidPoolExpiryError, "-0.5"),
    "expiry nan": Case(lambda: Pool(1, expiry_duration=NAN), InvalidPoolExpiryError, "nan"),
    "expiry inf": Case(lambda: Pool(1, expiry_duration=INF), InvalidPoolExpiryError, "inf"),
    "expiry negative timedelta": Case(
        lambda: Pool(1, expiry_duration=timedelta(seconds=-3)), InvalidPoolExpiryError, "-"
    ),
    "expiry str": Case(lambda: Pool(1, expiry_duration="soon"), TypeError, "soon"),
    "expiry None": Case(lambda: Pool(1, expiry_duration=None), TypeError, "None"),
    "expiry complex": Case(lambda: Pool(1, expiry_duration=1j), TypeError, "1j"),
    "expiry str without purge": Case(lambda: Pool(1, expiry_duration="soon", disable_purge=True), TypeError, "soon"),
    # Flags and bounds
    "pre_alloc int": Case(lambda: Pool(1, pre_alloc=1), TypeError, "1"),
    "pre_alloc None": Case(lambda: Pool(1, pre_alloc=None), TypeError, "None"),
    "pre_alloc unlimited": Case(lambda: Pool(pre_alloc=True), InvalidPreAllocSizeError, "-1"),
    "pre_alloc size 0": Case(lambda: Pool(0, pre_alloc=True), InvalidPreAllocSizeError, "0"),
    "nonblocking str": Case(lambda: Pool(1, nonblocking="yes"), TypeError, "yes"),
    "disable_purge int": Case(lambda: Pool(1, disable_purge=0), TypeError, "0"),
    "max_blocking_tasks negative": Case(lambda: Pool(1, max_blocking_tasks=-2), ValueError, "-2"),
    "max_blocking_tasks float": Case(lambda: Pool(1, max_blocking_tasks=1.5), TypeError, "1.5"),
    "max_blocking_tasks None": Case(lambda: Pool(1, max_blocking_tasks=None), TypeError, "None"),
    "max_blocking_tasks huge": Case(lambda: Pool(1, max_blocking_tasks=-HUGE), ValueError, str(-HUGE)),
    "queue_size negative": Case(lambda: Pool(1, queue_size=-1), ValueError, "-1"),
    "queue_size float": Case(lambda: Pool(1, queue_size=0.5), TypeError, "0.5"),
    "queue_size str": Case(lambda: Pool(1, queue_size="long"), TypeError, "long"),
    # Callables and names
    "panic_handler": Case(lambda: Pool(1, panic_handler="loud"), TypeError, "loud"),
    "initializer": Case(lambda: Pool(1, initializer=5), TypeError, "5"),
    "initargs list": Case(lambda: Pool(1, initializer=nap, initargs=[0.5]), TypeError, "[0.5]"),
    "initargs str": Case(lambda: Pool(1, initializer=nap, initargs="ab"), TypeError, "ab"),
    "initargs None": Case(lambda: Pool(1, initargs=None), TypeError, "None"),
    "logger": Case(lambda: Pool(1, logger="pyants"), TypeError, "pyants"),
    "logger object": Case(lambda: Pool(1, logger=77), TypeError, "77"),
    "name int": Case(lambda: Pool(1, name=99), TypeError, "99"),
    "name bytes": Case(lambda: Pool(1, name=b"abc"), TypeError, "b'abc'"),
    # Stacks
    "stack_size small": Case(lambda: Pool(1, stack_size=32767), ValueError, "32767"),
    "stack_size negative": Case(lambda: Pool(1, stack_size=-1), ValueError, "-1"),
    "stack_size zero": Case(lambda: Pool(1, stack_size=0), ValueError, "0"),
    "stack_size float": Case(lambda: Pool(1, stack_size=65536.5), TypeError, "65536.5"),
    "stack_size huge": Case(lambda: Pool(1, stack_size=HUGE), ValueError, str(HUGE)),
    # Keywords
    "unknown keyword": Case(lambda: Pool(1, size=5), TypeError, "size"),
    "unknown keyword, near miss": Case(lambda: Pool(1, nonblock=True), TypeError, "nonblock"),
    "unknown keyword func": Case(lambda: PoolWithFunc(1, nap, size=5), TypeError, "size"),
    "unknown keyword multi": Case(lambda: MultiPool(1, 1, size_per_pool=5), TypeError, "size_per_pool"),
    "unknown keyword multi func": Case(lambda: MultiPoolWithFunc(1, 1, nap, limit=5), TypeError, "limit"),
    # Functions
    "no func": Case(lambda: PoolWithFunc(1), LackPoolFuncError, "func"),
    "func None": Case(lambda: PoolWithFunc(1, None), LackPoolFuncError, "func"),
    "func int": Case(lambda: PoolWithFunc(1, 42), TypeError, "42"),
    "no func multi": Case(lambda: MultiPoolWithFunc(1, 1), LackPoolFuncError, "func"),
    "func str multi": Case(lambda: MultiPoolWithFunc(1, 1, "run"), TypeError, "run"),
    # Multi-pools
    "no size": Case(lambda: MultiPool(), TypeError, "size"),
    "size 0": Case(lambda: MultiPool(0, 1), InvalidMultiPoolSizeError, "0"),
    "size negative": Case(lambda: MultiPool(-4, 1), InvalidMultiPoolSizeError, "-4"),
    "size float": Case(lambda: MultiPool(1.5, 1), TypeError, "1.5"),
    "size huge": Case(lambda: MultiPool(HUGE, 1), ValueError, str(HUGE)),
    "per pool float": Case(lambda: MultiPool(1, 1.5), TypeError, "1.5"),
    "per pool too large": Case(lambda: MultiPool(1, BIG), ValueError, str(BIG)),
    "strategy": Case(lambda: MultiPool(1, 1, 3), InvalidLoadBalancingStrategyError, "3"),
    "strategy huge": Case(lambda: MultiPool(1, 1, HUGE), InvalidLoadBalancingStrategyError, str(HUGE)),
    "strategy multi func": Case(lambda: MultiPoolWithFunc(1, 1, nap, 5), InvalidLoadBalancingStrategyError, "5"),
    "index too large": Case(on_multi(lambda p: p.running_by_index(2)), InvalidPoolIndexError, "2"),
    "index negative": Case(on_multi(lambda p: p.free_by_index(-1)), InvalidPoolIndexError, "-1"),
    "index huge": Case(on_multi(lambda p: p.waiting_by_index(HUGE)), InvalidPoolIndexError, str(HUGE)),
    "index float": Case(on_multi(lambda p: p.queued_by_index(0.5)), TypeError, "0.5"),
    "multi submit int": Case(on_multi(lambda p: p.submit(42)), TypeError, "42"),
    "multi tune str": Case(on_multi(lambda p: p.tune("up")), TypeError, "up"),
    "multi release_timeout": Case(on_multi(lambda p: p.release_timeout(-2)), ValueError, "-2"),
    # Tasks
    "submit None": Case(on(lambda p: p.submit(None)), TypeError, "None"),
    "submit int": Case(on(lambda p: p.submit(42)), TypeError, "42"),
    "submit result": Case(on(lambda p: p.submit(max(3, 4))), TypeError, "4"),
    "submit nothing": Case(on(lambda p: p.submit()), TypeError, "fn"),
    "submit by keyword": Case(on(lambda p: p.submit(fn=nap)), TypeError, "fn"),
    "submit unprintable": Case(on(lambda p: p.submit(Unprintable())), TypeError, "Unprintable"),
    "try_submit str": Case(on(lambda p: p.try_submit("job")), TypeError, "job"),
    "try_submit nothing": Case(on(lambda p: p.try_submit()), TypeError, "fn"),
    "submit_many str": Case(on(lambda p: p.submit_many("job", [1])), TypeError, "job"),
    "submit_many no iterable": Case(on(lambda p: p.submit_many(nap, 42)), TypeError, "int"),
    "submit_many one argument": Case(on(lambda p: p.submit_many(nap)), TypeError, "iterable"),
    "invoke_many no iterable": Case(on_func(lambda p: p.invoke_many(None)), TypeError, "NoneType"),
    "submit_within str task": Case(on(lambda p: p.submit_within(1, "job")), TypeError, "job"),
    "submit_within no task": Case(on(lambda p: p.submit_within(1)), TypeError, "fn"),
    # Time-outs
    "submit_within negative": Case(on(lambda p: p.submit_within(-1, nap)), ValueError, "-1"),
    "submit_within nan": Case(on(lambda p: p.submit_within(NAN, nap)), ValueError, "nan"),
    "submit_within inf": Case(on(lambda p: p.submit_within(INF, nap)), ValueError, "inf"),
    "submit_within None": Case(on(lambda p: p.submit_within(None, nap)), TypeError, "None"),
    "submit_within str": Case(on(lambda p: p.submit_within("1s", nap)), TypeError, "1s"),
    "submit_within swapped": Case(on(lambda p: p.submit_within(nap, 1)), TypeError, "nap"),
    "invoke_within negative": Case(on_func(lambda p: p.invoke_within(-0.5, 0)), ValueError, "-0.5"),
    "invoke_within None": Case(on_func(lambda p: p.invoke_within(None, 0)), TypeError, "None"),
    "wait_idle negative": Case(on(lambda p: p.wait_idle(-1)), ValueError, "-1"),
    "wait_idle nan": Case(on(lambda p: p.wait_idle(NAN)), ValueError, "nan"),
    "wait_idle str": Case(on(lambda p: p.wait_idle("1")), TypeError, "'1'"),
    "release_timeout negative": Case(on(lambda p: p.release_timeout(-1)), ValueError, "-1"),
    "release_timeout nan": Case(on(lambda p: p.release_timeout(NAN)), ValueError, "nan"),
    "release_timeout None": Case(on(lambda p: p.release_timeout(None)), TypeError, "None"),
    "release_timeout nothing": Case(on(lambda p: p.release_timeout()), TypeError, "timeout"),
    # Tune
    "tune float": Case(on(lambda p: p.tune(2.5)), TypeError, "2.5"),
    "tune None": Case(on(lambda p: p.tune(None)), TypeError, "None"),
    "tune too large": Case(on(lambda p: p.tune(BIG)), ValueError, str(BIG)),
    "tune far too large": Case(on(lambda p: p.tune(HUGE)), ValueError, str(HUGE)),
    # Use after release
    "closed submit": Case(on_closed(lambda p: p.submit(nap)), PoolClosedError, "closed"),
    "closed submit junk": Case(on_closed(lambda p: p.submit(42)), PoolClosedError, "closed"),
    "closed try_submit": Case(on_closed(lambda p: p.try_submit(nap)), PoolClosedError, "closed"),
    "closed submit_within": Case(on_closed(lambda p: p.submit_within(1, nap)), PoolClosedError, "closed"),
    "closed submit_many": Case(on_closed(lambda p: p.submit_many(nap, [1])), PoolClosedError, "closed"),
    "closed release_timeout": Case(on_closed(lambda p: p.release_timeout(1)), PoolClosedError, "closed"),
}


@pytest.mark.ants("B5", "B7", "B9", "B13", "D7", "D14")
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_bad_input(case: Case) -> None:
    with pytest.raises(case.error) as caught:
        case.call()
    assert case.text in str(caught.value)
    # Exactly TypeError: a wrong type is no LackPoolFuncError.
    if not issubclass(case.error, PoolError) and case.error is TypeError:
        assert type(caught.value) is TypeError


@pytest.mark.ants("D14")
def test_after_bad_input_the_pool_is_as_it_was() -> None:
    with Pool(2) as pool:
        before = pool.stats()
        bad: list[Callable[[], object]] = [
            lambda: pool.submit(None),
            lambda: pool.try_submit(3),
            lambda: pool.submit_within(-1, nap),
            lambda: pool.submit_many(nap, 3),
            lambda: pool.tune(HUGE),
            lambda: pool.wait_idle(NAN),
            lambda: pool.release_timeout(-1),
        ]
        for call in bad:
            with pytest.raises((TypeError, ValueError)):
                call()
        assert pool.stats() == before
        assert not pool.is_closed()
        pool.submit(nap)
        assert pool.wait_idle(10)


def test_an_exception_of_the_conversion_is_passed_on() -> None:
    class Odd:
        def __index__(self) -> int:
            raise ZeroDivisionError("from __index__")

    with pytest.raises(ZeroDivisionError, match="from __index__"):
        Pool(Odd())
