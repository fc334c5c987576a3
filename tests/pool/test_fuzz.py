"""Random sequences of calls with hostile arguments: each works or raises a clear error, and the pools go on.

PYANTS_FUZZ=1000 makes so many sequences at random, instead of the few that are the same each time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import os
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from abused import at_rest, check_works, leaves
from executors import futures_log
from groups import pyants_log
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import DEADLINE, wait_until

import pyants
from pyants import (
    DEFAULT_CAPACITY,
    FuncTaskGroup,
    Future,
    LoadBalancingStrategy,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolError,
    PoolExecutor,
    PoolWithFunc,
    TaskGroup,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = int(os.environ.get("PYANTS_FUZZ", "0"))


class OnPurpose(Exception):
    """What hostile objects raise."""


def give(*_: object, **__: object) -> None:
    """A task that takes anything."""


def fail(*_: object, **__: object) -> NoReturn:
    raise OnPurpose


def raising_midway() -> Iterator[int]:
    yield 1
    raise OnPurpose


class Hostile:
    """An object that does something else whenever Python asks it for something."""

    def __init__(self, deed: Callable[[], object], value: Any = 1) -> None:
        self.deed = deed
        self.value = value

    def _act(self, *_: object) -> Any:
        self.deed()
        return self.value

    __index__ = __int__ = __float__ = __bool__ = __len__ = __hash__ = _act
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = _act
    __call__ = __repr__ = __str__ = _act

    def __iter__(self) -> Iterator[int]:
        self.deed()
        yield 1
        self.deed()

    def __getattr__(self, name: str) -> Any:
        self.deed()
        raise AttributeError(name)


class Text(str):
    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        raise OnPurpose

    __hash__ = str.__hash__


class World:
    """The objects that the calls are made on."""

    def __init__(self) -> None:
        self.pool = Pool(2, queue_size=3)
        self.hand_off = Pool(2)
        self.multi = MultiPool(2, 1)
        self.func = PoolWithFunc(2, give)
        self.multi_func = MultiPoolWithFunc(2, 1, give)
        self.pools: list[Any] = [self.pool, self.hand_off, self.multi, self.func, self.multi_func]
        self.executor = PoolExecutor(2)
        done: Future[Any] = Future()
        done.set_result(1)
        self.targets: dict[str, Any] = {
            "pool": self.pool,
            "hand_off": self.hand_off,
            "multi": self.multi,
            "func": self.func,
            "multi_func": self.multi_func,
            "executor": self.executor,
            "future": done,
            "call": self.executor.submit(give),
            "group": self.pool.group(limit=2, results=True),
            "func_group": self.func.group(),
            "results": self.executor.map(give, range(5)),
        }

        def recurse() -> object:
            return recurse()

        self.values: dict[str, Any] = {
            "None": None,
            "0": 0,
            "1": 1,
            "2": 2,
            "-1": -1,
            "2**31": 2**31,
            "-2**63": -(2**63),
            "10**30": 10**30,
            "-10**30": -(10**30),
            "0.001": 0.001,
            "-0.5": -0.5,
            "nan": float("nan"),
            "inf": float("inf"),
            "-inf": float("-inf"),
            "1e308": 1e308,
            "True": True,
            "1j": 1j,
            "timedelta": timedelta(milliseconds=1),
            "longest timedelta": timedelta.max,
            "shortest timedelta": timedelta.min,
            "empty": "",
            "text": Text("pool"),
            "NUL": "a\0b",
            "surrogate": "\ud800",
            "bytes": b"12",
            "tuple": (1, 2),
            "list": [give, 3],
            "object": object(),
            "type": int,
            "give": give,
            "fail": fail,
            "partial": partial(give, 1),
            "generator that raises": raising_midway,
            "raises": Hostile(fail),
            "returns text": Hostile(give, "no number"),
            "returns a huge number": Hostile(give, 10**30),
            "recurses": Hostile(recurse),
            "releases": Hostile(self.release),
            "submits": Hostile(self.submit),
            "strategy": LoadBalancingStrategy.LEAST_TASKS,
            "pool": self.pool,
            "future": done,
        }

    def release(self) -> None:
        for pool in self.pools:
            pool.release()

    def submit(self) -> None:
        self.pool.try_submit(give)
        self.func.try_invoke()
        self.executor.submit(give)

    def value(self, name: str) -> Any:
        value = self.values[name]
        return value() if value is raising_midway else value


CLASSES: dict[str, Any] = {
    "pool": Pool,
    "hand_off": Pool,
    "multi": MultiPool,
    "func": PoolWithFunc,
    "multi_func": MultiPoolWithFunc,
    "executor": PoolExecutor,
    "future": Future,
    "call": Future,
    "group": TaskGroup,
    "func_group": FuncTaskGroup,
}
# The names of all parameters, and some that are none.
NAMES = [
    *("fn", "self", "args", "timeout", "iterable", "capacity", "func", "wait", "cancel_futures", "limit", "results"),
    *("fail_fast", "buffersize", "chunksize", "max_workers", "initializer", "initargs", "thread_name_prefix", "size"),
    *("capacity_per_pool", "strategy", "executor", "queue_size", "nonblocking", "max_blocking_tasks", "pre_alloc"),
    *("expiry_duration", "stack_size", "name", "logger", "panic_handler", "disable_purge", "daemon"),
    *("retry_initializer", "", "\ud800", "a b"),
]
# What it may raise, besides the errors of pyants.
ALLOWED = (
    OnPurpose,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    AttributeError,
    StopIteration,
    TimeoutError,
    concurrent.futures.CancelledError,
    concurrent.futures.BrokenExecutor,
    concurrent.futures.InvalidStateError,
    asyncio.InvalidStateError,
)


def methods(kind: Any) -> list[str]:
    """Its public methods and properties, and "make": an object of its own with these arguments."""
    return ["make", "copy of it", "in with", *(name for name in dir(kind) if not name.startswith("_"))]


CALLS = [
    *((target, name) for target, kind in CLASSES.items() for name in methods(kind)),
    *(("module", name) for name in pyants.__all__ if callable(getattr(pyants, name)) and name[0].islower()),
    *(("results", name) for name in ("__next__", "close")),
]
HOSTILE = sorted(World().values)
steps = st.lists(
    st.tuples(
        st.sampled_from(CALLS),
        st.lists(st.sampled_from(HOSTILE), max_size=4),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(HOSTILE), max_size=2),
    ),
    min_size=1,
    max_size=12,
)
Step = tuple[tuple[str, str], list[str], dict[str, str]]


def make_call(world: World, step: Step) -> None:
    (target, name), given, named = step
    arguments = [world.value(value) for value in given]
    keywords: dict[str, Any] = {key: world.value(value) for key, value in named.items()}
    if target == "module":
        getattr(pyants, name)(*arguments, **keywords)
        return
    it = world.targets[target]
    if name == "make":
        use_new(CLASSES[target](*arguments, **keywords))
    elif name == "copy of it":
        copy.copy(it)
    elif name == "in with":
        if hasattr(it, "__exit__"):
            it.__exit__(*arguments, **keywords)
    else:
        method = getattr(it, name)
        if callable(method):
            outcome = method(*arguments, **keywords)
            if isinstance(outcome, Future) and outcome is not it:
                world.targets["call"] = outcome
            elif name in ("map", "map_unordered"):
                world.targets["results"] = outcome
            elif name == "group":
                world.targets["group"] = outcome


def use_new(made: Any) -> None:
    """What was made with hostile arguments works, or says why not."""
    if isinstance(made, PoolExecutor):
        with made:
            made.submit(give).exception(DEADLINE)
    elif hasattr(made, "release_timeout"):
        getattr(made, "try_invoke" if hasattr(made, "func") else "try_submit")(give)
        made.release_timeout(DEADLINE)


def is_allowed(error: BaseException) -> bool:
    # RuntimeError: an executor is shut down, a group is over.
    return isinstance(error, (PoolError, *ALLOWED)) or type(error) is RuntimeError


def run_sequence(sequence: list[Step]) -> None:
    world = World()
    with pyants_log(), futures_log():
        for step in sequence:
            try:
                make_call(world, step)
            except BaseException as error:
                if not all(map(is_allowed, leaves(error))):
                    raise
        pools = [*world.pools, world.executor.pool]
        # A task of one may have released the others.
        wait_until(lambda: all(map(at_rest, [*pools, pyants.default_pool()])), f"rest of {pools}")
        for pool in pools:
            check_works(pool)
        pyants.reboot()
        pyants.tune(DEFAULT_CAPACITY)


@settings(
    max_examples=RUNS or 10,
    derandomize=not RUNS,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(steps)
def test_hostile_arguments_get_an_answer(sequence: list[Step]) -> None:
    run_sequence(sequence)


@pytest.mark.parametrize("target", [*CLASSES, "module", "results"])
def test_each_method_gets_each_hostile_argument(target: str) -> None:
    """As its first argument, behind a callable, and by each name."""
    some = ("10**30", "nan", "raises", "releases", "surrogate")
    for call in CALLS:
        if call[0] == target:
            for values in [[value] for value in HOSTILE] if RUNS else [some]:
                sequence: list[Step] = []
                for value in values:
                    by_name: list[Step] = [(call, [], {name: value}) for name in NAMES] if RUNS else []
                    sequence += [(call, [value], {}), (call, ["give", value], {}), *by_name]
                run_sequence(sequence)
