"""Pools as Python objects: repr, help, copying, weak references, subclasses, garbage."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import pydoc
import re
import sys
import weakref
from typing import Any

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, ignore, nap, wait_equal, wait_until

import pyants
from pyants import Pool, PoolClosedError, PoolOverloadError, PoolWithFunc

CLASSES: list[type[Any]] = [pyants.Pool, pyants.PoolWithFunc, pyants.MultiPool, pyants.MultiPoolWithFunc]


class Thing:
    """Something whose end a weak reference can tell."""


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
        "stack_size",
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


@pytest.mark.parametrize("kind", KINDS)
def test_weak_references(kind: Kind) -> None:
    face = Face(kind, 1, nap)
    reference = weakref.ref(face.pool)
    assert reference() is face.pool
    face.put(0.001)
    face.pool.release_timeout(10)
    del face

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)


def test_subclasses() -> None:
    class Named(Pool):
        """A pool with a label, made in a way of its own."""

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


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_let_go_of_when_the_task_is_done(kind: Kind) -> None:
    references: list[weakref.ref[Thing]] = []
    face = Face(kind, 2, lambda _: None, disable_purge=True)
    with face.pool as pool:
        for _ in range(20):
            thing = Thing()
            references.append(weakref.ref(thing))
            face.put(thing)
            del thing
        assert pool.wait_idle(10)
        # The workers are alive and idle, and keep none of it.
        wait_until(lambda: all(reference() is None for reference in references))
        assert pool.running() >= 1


def test_function_and_keywords_are_let_go_of_too() -> None:
    with Pool(1, disable_purge=True, panic_handler=ignore) as pool:
        fn, key, raising = Thing(), Thing(), Thing()
        references = [weakref.ref(each) for each in (fn, key, raising)]

        def task(*, key: Thing, fn: Thing = fn) -> None: ...

        def fail(thing: Thing) -> None:
            raise ValueError(thing)

        pool.submit(task, key=key)
        pool.submit(fail, raising)
        assert pool.wait_idle(10)
        del fn, key, raising, task

        def are_gone() -> bool:
            gc.collect()
            return all(reference() is None for reference in references)

        wait_until(are_gone)


def test_a_refused_task_is_let_go_of() -> None:
    with Pool(1, nonblocking=True) as pool, Gate() as gate:
        pool.submit(gate.hold)
        thing = Thing()
        reference = weakref.ref(thing)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap, thing)  # type: ignore[arg-type]
        assert not pool.try_submit(nap, thing)  # type: ignore[arg-type]
        pool.release()
        with pytest.raises(PoolClosedError):
            pool.submit(nap, thing)  # type: ignore[arg-type]
        del thing

        def is_gone() -> bool:
            gc.collect()
            return reference() is None

        wait_until(is_gone)


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="counts are exact with the GIL only")
@pytest.mark.thread_unsafe(reason="counts references")
def test_reference_counts_are_as_before() -> None:
    thing, fn = Thing(), Sum().add
    with Pool(2, disable_purge=True) as pool:
        before = sys.getrefcount(thing), sys.getrefcount(fn), sys.getrefcount(None)

        def use(_: object, **__: object) -> None: ...

        for _ in range(1000):
            pool.submit(use, thing, key=thing)
            pool.submit(fn)
        assert pool.wait_idle(10)
        wait_until(lambda: (sys.getrefcount(thing), sys.getrefcount(fn)) == before[:2])
        # None is immortal since 3.12; before, a leak or a theft would show.
        assert abs(sys.getrefcount(None) - before[2]) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_in_a_cycle_is_collected(kind: Kind) -> None:
    class Owner:
        def __init__(self) -> None:
            self.face = Face(kind, 1, self.work, panic_handler=self.report)

        def work(self, _: object) -> None: ...

        def report(self, _: BaseException) -> None: ...

    owner = Owner()
    reference = weakref.ref(owner)
    owner.face.put(None)
    owner.face.pool.release_timeout(10)
    del owner

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)


@pytest.mark.ants("D6")
@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_pool_finishes_its_tasks_and_lets_its_threads_go(kind: Kind) -> None:
    done = Sum()
    ended: list[weakref.ref[Thing]] = []
    gate = Gate()

    def task(thing: object) -> None:
        assert isinstance(thing, Thing)
        gate.hold()
        done.add()

    face = Face(kind, 2, task, queue_size=10, disable_purge=True)
    for _ in range(6):
        thing = Thing()
        ended.append(weakref.ref(thing))
        face.put(thing)
        del thing
    gate.wait_entered(2)
    del face
    gc.collect()
    assert done.value == 0
    gate.open()
    wait_equal(lambda: done.value, 6)
    wait_until(lambda: all(reference() is None for reference in ended))
