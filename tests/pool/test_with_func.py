"""PoolWithFunc and MultiPoolWithFunc: one function, many arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import Background, Gate, Sum, nap, wait_equal

from pyants import (
    LackPoolFuncError,
    MultiPoolWithFunc,
    PoolClosedError,
    PoolOverloadError,
    PoolTimeoutError,
    PoolWithFunc,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.ants("B75")
def test_the_function_is_called_with_each_argument() -> None:
    total = Sum()
    with PoolWithFunc(10, total.add) as pool:
        for number in range(1000):
            pool.invoke(number)
    assert total.value == 499500


@pytest.mark.ants("B75")
def test_it_may_take_any_number_of_arguments() -> None:
    calls: list[tuple[tuple[object, ...], dict[str, object]]] = []

    def task(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))

    with PoolWithFunc(1, task) as pool:
        pool.invoke()
        pool.invoke(1, 2, self=3, func=4, timeout=5)
        assert pool.wait_idle(10)
        assert pool.try_invoke(6, self=7)
        pool.invoke_within(10, 8, timeout=9)
    with MultiPoolWithFunc(2, 1, task) as multi:
        multi.invoke(10, self=11)
    assert calls == [
        ((), {}),
        ((1, 2), {"self": 3, "func": 4, "timeout": 5}),
        ((6,), {"self": 7}),
        ((8,), {"timeout": 9}),
        ((10,), {"self": 11}),
    ]


@pytest.mark.ants("B75", "B79")
def test_a_missing_function_is_refused() -> None:
    # No type checker would let these pass.
    single: Any = PoolWithFunc
    multi: Any = MultiPoolWithFunc
    calls: list[Callable[[], object]] = [
        lambda: single(),
        lambda: single(1),
        lambda: single(1, None),
        lambda: single(func=None),
        lambda: multi(1),
        lambda: multi(1, 1, None),
    ]
    for call in calls:
        with pytest.raises(LackPoolFuncError):
            call()


@pytest.mark.parametrize("junk", [42, "text", [], object], ids=repr)
def test_what_is_not_callable_is_no_function(junk: object) -> None:
    if callable(junk):
        # A class is as good a function as any.
        with PoolWithFunc(1, junk) as pool:
            pool.invoke()
        return
    with pytest.raises(TypeError, match=r"\[\]" if junk == [] else str(junk)) as caught:
        PoolWithFunc(1, junk)  # type: ignore[arg-type]
    assert not isinstance(caught.value, LackPoolFuncError)


def test_the_function_can_be_read_and_not_changed() -> None:
    with PoolWithFunc(1, nap) as pool, MultiPoolWithFunc(2, 1, nap) as multi:
        assert pool.func is nap
        assert multi.func is nap
        with pytest.raises(AttributeError):
            pool.func = print  # type: ignore[misc, assignment]


@pytest.mark.ants("B76", "D7")
def test_none_is_an_argument_like_any_other() -> None:
    seen: list[object] = []
    with PoolWithFunc(2, seen.append, disable_purge=True) as pool:
        pool.invoke(None)
        pool.invoke_within(10, None)
        assert pool.wait_idle(10)
        assert pool.try_invoke(None)
        assert pool.invoke_many([None, None]) == 2
        assert pool.wait_idle(10)
        assert pool.running() >= 1
    with MultiPoolWithFunc(2, 1, seen.append) as multi:
        multi.invoke(None)
    assert seen == [None] * 6


@pytest.mark.ants("B77")
@pytest.mark.parametrize("argument", [None, 1, "x"])
def test_refusals_come_whatever_the_argument(argument: object) -> None:
    with Gate() as gate:
        with PoolWithFunc(1, gate.hold, nonblocking=True) as pool:
            pool.invoke(argument)
            with pytest.raises(PoolOverloadError):
                pool.invoke(argument)
            assert not pool.try_invoke(argument)
            gate.open()
        with pytest.raises(PoolClosedError):
            pool.invoke(argument)
        with pytest.raises(PoolClosedError):
            pool.try_invoke(argument)
        with pytest.raises(PoolClosedError):
            pool.invoke_within(1, argument)


def test_invoke_blocks_and_invoke_within_gives_up() -> None:
    with Gate() as gate, PoolWithFunc(1, gate.hold) as pool:
        pool.invoke(1)
        with pytest.raises(PoolTimeoutError):
            pool.invoke_within(0.01, 2)
        blocked = Background(lambda: pool.invoke(3))
        wait_equal(pool.waiting, 1)
        gate.open()
        blocked.result()
    assert gate.entered == 2


def test_invoke_many_gives_one_argument_each() -> None:
    seen: list[object] = []
    with PoolWithFunc(1, seen.append, queue_size=None) as pool:
        assert pool.invoke_many(range(5)) == 5
        assert pool.invoke_many([]) == 0
        assert pool.invoke_many([(1, 2)]) == 1
    assert seen == [0, 1, 2, 3, 4, (1, 2)]


def test_a_function_that_takes_other_arguments_fails_in_the_task() -> None:
    errors: list[BaseException] = []

    def one(argument: int) -> None: ...

    with PoolWithFunc(1, one, panic_handler=errors.append) as pool:
        pool.invoke(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert [type(error) for error in errors] == [TypeError]


def test_there_is_no_submit() -> None:
    with PoolWithFunc(1, nap) as pool:
        for name in ("submit", "try_submit", "submit_within", "submit_many"):
            assert not hasattr(pool, name)


def test_the_function_may_be_given_by_name() -> None:
    seen: list[int] = []
    with PoolWithFunc(capacity=2, func=seen.append) as pool:
        pool.invoke(1)
    with MultiPoolWithFunc(size=2, capacity_per_pool=2, func=seen.append) as multi:
        multi.invoke(2)
    assert seen == [1, 2]


@pytest.mark.ants("B76")
def test_the_generic_form_is_the_same_class() -> None:
    assert PoolWithFunc[[int]] is not None
    assert MultiPoolWithFunc[[int]] is not None
    total = Sum()
    with PoolWithFunc[[int]](1, total.add) as pool:
        assert isinstance(pool, PoolWithFunc)
        pool.invoke(5)
    assert total.value == 5
