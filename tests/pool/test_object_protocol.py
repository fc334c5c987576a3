"""Pools as Python objects: repr, help, copying, subclasses, errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import re
from typing import Any

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, nap, wait_equal

import pyants
from pyants import Pool, PoolClosedError, PoolOverloadError, PoolWithFunc

CLASSES: list[type[Any]] = [pyants.Pool, pyants.PoolWithFunc, pyants.MultiPool, pyants.MultiPoolWithFunc]


def test_repr_of_a_pool() -> None:
    pool = Pool(8)
    assert repr(pool) == "<pyants.Pool capacity=8 running=0 waiting=0 open>"
    with Gate() as gate:
        pool.submit(gate.hold)
        pool.submit(gate.hold)
        assert repr(pool) == "<pyants.Pool capacity=8 running=2 waiting=0 open>"
        pool.tune(2)
        blocked = Background(lambda: pool.submit(nap))
        wait_equal(pool.waiting, 1)
        assert repr(pool) == "<pyants.Pool capacity=2 running=2 waiting=1 open>"
        gate.open()
        blocked.result()
    pool.release_timeout(10)
    assert repr(pool) == str(pool) == "<pyants.Pool capacity=2 running=0 waiting=0 closed>"
    with Pool() as pool:
        assert repr(pool) == "<pyants.Pool capacity=-1 running=0 waiting=0 open>"


@pytest.mark.parametrize("kind", KINDS)
def test_repr_of_every_kind(kind: Kind) -> None:
    with Face(kind, 3, nap).pool as pool:
        assert re.fullmatch(rf"<pyants\.{kind} .*capacity=3 running=0 waiting=0 open>", repr(pool))
    assert repr(pool).endswith("closed>")


@pytest.mark.parametrize("cls", CLASSES)
def test_the_classes_are_at_home_in_pyants(cls: type) -> None:
    assert cls.__module__ == "pyants"
    assert getattr(pyants, cls.__name__) is cls
    assert cls.__qualname__ == cls.__name__


def test_all_names_what_is_there() -> None:
    assert len(set(pyants.__all__)) == len(pyants.__all__)
    for name in pyants.__all__:
        assert hasattr(pyants, name)
    for name in ("Pool", "PoolWithFunc", "MultiPool", "MultiPoolWithFunc", "PoolError", "PoolStats", "submit", "stats"):
        assert name in pyants.__all__
    for name in dir(pyants):
        value: object = getattr(pyants, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            assert name in pyants.__all__
            assert value.__module__ == "pyants"


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("PoolError", (Exception,)),
        ("PoolClosedError", (pyants.PoolError, RuntimeError)),
        ("BrokenPoolError", (pyants.PoolClosedError,)),
        ("PoolOverloadError", (pyants.PoolError, RuntimeError)),
        ("PoolDeadlockError", (pyants.PoolOverloadError,)),
        ("PoolTimeoutError", (pyants.PoolError, TimeoutError)),
        ("InvalidPoolExpiryError", (pyants.PoolError, ValueError)),
        ("InvalidPreAllocSizeError", (pyants.PoolError, ValueError)),
        ("InvalidLoadBalancingStrategyError", (pyants.PoolError, ValueError)),
        ("InvalidMultiPoolSizeError", (pyants.PoolError, ValueError)),
        ("LackPoolFuncError", (pyants.PoolError, TypeError)),
        ("InvalidPoolIndexError", (pyants.PoolError, IndexError)),
        ("PoolSpawnError", (pyants.PoolError, RuntimeError)),
    ],
)
def test_each_error_is_also_what_a_python_user_would_catch(name: str, bases: tuple[type, ...]) -> None:
    error: type[BaseException] = getattr(pyants, name)
    for base in bases:
        assert issubclass(error, base)
    assert error.__doc__
    raised = error("text")
    assert str(raised) == "text"
    assert repr(pickle.loads(pickle.dumps(raised))) == repr(raised)


def test_overload_deadlock_and_closed_can_be_told_apart() -> None:
    assert not issubclass(PoolClosedError, PoolOverloadError)
    assert not issubclass(PoolOverloadError, PoolClosedError)
    assert not issubclass(pyants.PoolTimeoutError, PoolOverloadError)


@pytest.mark.parametrize("cls", CLASSES)
def test_help_tells_of_every_method(cls: type) -> None:
    assert inspect.getdoc(cls)
    text = pydoc.plain(pydoc.render_doc(cls))
    public = [name for name in dir(cls) if not name.startswith("_")]
    assert {"running", "free", "waiting", "cap", "queued", "stats", "tune", "wait_idle", "release"} <= set(public)
    for name in public:
        assert name in text
        assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name} has no docstring"
        if callable(getattr(cls, name)):
            assert next(iter(inspect.signature(getattr(cls, name)).parameters)) == "self"


def test_the_constructors_have_signatures() -> None:
    parameters = inspect.signature(Pool).parameters
    assert list(parameters) == [
        "capacity",
        "expiry_duration",
        "pre_alloc",
        "max_blocking_tasks",
        "nonblocking",
        "panic_handler",
        "logger",
        "disable_purge",
        "queue_size",
        "name",
        "initializer",
        "initargs",
        "retry_initializer",
        "stack_size",
        "daemon",
    ]
    assert parameters["capacity"].default == -1
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for name, each in parameters.items() if name != "capacity")
    assert list(inspect.signature(PoolWithFunc).parameters)[:2] == ["capacity", "func"]
    assert list(inspect.signature(pyants.MultiPool).parameters)[:3] == ["size", "capacity_per_pool", "strategy"]
    multi = list(inspect.signature(pyants.MultiPoolWithFunc).parameters)
    assert multi[:4] == ["size", "capacity_per_pool", "func", "strategy"]


def test_the_typed_dict_of_options_names_them_all() -> None:
    keywords = set(inspect.signature(Pool).parameters) - {"capacity"}
    assert pyants.PoolOptions.__optional_keys__ == keywords
    assert pyants.PoolOptions.__required_keys__ == set()


@pytest.mark.parametrize("kind", KINDS)
def test_pools_cannot_be_pickled_or_copied(kind: Kind) -> None:
    with Face(kind, 1, nap).pool as pool:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=f"cannot pickle '{kind}' object: "):
                attempt(pool)


@pytest.mark.parametrize("kind", KINDS)
def test_identity_is_equality_and_pools_can_be_keys(kind: Kind) -> None:
    with Face(kind, 1, nap).pool as first, Face(kind, 1, nap).pool as second:
        assert first == first
        assert first != second
        assert len({first, second}) == 2


def test_subclasses() -> None:
    class Named(Pool):
        """A pool with a label, whose constructor has its own signature."""

        def __init__(self, label: str, workers: int) -> None:
            super().__init__(workers, name=label)
            self.label = label

        def submit_twice(self, value: int, into: list[int]) -> None:
            self.submit(into.append, value)
            self.submit(into.append, value)

    seen: list[int] = []
    with Named("mine", 2) as pool:
        assert isinstance(pool, Pool)
        assert pool.cap() == 2
        assert pool.label == "mine"
        pool.submit_twice(3, seen)
    assert seen == [3, 3]
    assert "Named" in repr(pool) or "Pool" in repr(pool)


def test_subclasses_of_the_others() -> None:
    class Adding(PoolWithFunc[[int]]):
        def __init__(self) -> None:
            self.total = Sum()
            super().__init__(2, self.total.add)

    class Pair(pyants.MultiPool):
        def __init__(self) -> None:
            super().__init__(2, 1)

    with Adding() as adding:
        adding.invoke(4)
        adding.invoke(5)
    assert adding.total.value == 9
    with Pair() as pair:
        assert pair.cap() == 2
