"""Every pair of public methods of every public class, called from several threads at once on one object.

    nox -s pairs-3.13t -- [--times N] [--seed S] [--only CLASS[.METHOD]] [--part K]

The methods are found in the classes; `TABLE` says how each is called and what it may raise besides PoolError, and a
method that is missing there fails the run. So does a crash, a hang, another exception, or a pool whose counters do not
add up afterwards or that takes no tasks any more.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import copy
import faulthandler
import gc
import itertools
import logging
import pickle
import random
import sys
import threading
import traceback
import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from abused import check_works, leaves, wait_at_rest

import pyants
from pyants import (
    AsyncPool,
    FuncTaskGroup,
    Future,
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

THREADS = 4
CALLS = 3
LIMIT = 100.0

Use = tuple["Callable[[Any, random.Random], object]", tuple[type[BaseException], ...]]


def use(call: Callable[[Any, random.Random], object], *raises: type[BaseException]) -> Use:
    return call, raises


def give(value: object = None) -> object:
    return value


def simple(name: str, *arguments: object, raises: tuple[type[BaseException], ...] = ()) -> Use:
    return use(lambda it, _: getattr(it, name)(*arguments), *raises)


# What any object can be asked for.
ANY: dict[str, Use] = {
    "repr": use(lambda it, _: repr(it)),
    "hash, ==": use(lambda it, _: hash(it) and it == it),
    "dir": use(lambda it, _: dir(it)),
    "pickle": use(lambda it, _: pickle.dumps(it), TypeError, pickle.PicklingError),
    "copy": use(lambda it, _: copy.copy(it), TypeError),
    "weakref": use(lambda it, _: weakref.ref(it)()),
    "set attribute": use(lambda it, g: setattr(it, f"own_{g.randrange(2)}", g), AttributeError),
    "delete attribute": use(lambda it, g: delattr(it, f"own_{g.randrange(2)}"), AttributeError),
    "referents": use(lambda it, _: len(gc.get_referents(it))),
}


def tune(it: Any, generator: random.Random) -> None:
    it.tune(generator.randint(1, 4))


BASE: dict[str, Use] = {
    **{name: simple(name) for name in ("running", "free", "waiting", "cap", "queued", "is_closed", "stats")},
    "tune": use(tune),
    "wait_idle": simple("wait_idle", 0.01),
    "release": simple("release"),
    "release_timeout": simple("release_timeout", 0.01),
    "reboot": simple("reboot"),
    "__enter__": simple("__enter__"),
    "__exit__": simple("__exit__", None, None, None),
    "__del__": simple("__del__"),
}


def in_group(it: Any, generator: random.Random) -> None:
    with it.group(limit=generator.choice((None, 1)), results=True) as group:
        group.submit(give, 1)
    group.results()


# A pool may be closed under a group; its calls are accepted, and run, all the same.
SUBMITTER: dict[str, Use] = {
    **BASE,
    "submit": simple("submit", give, 1),
    "try_submit": simple("try_submit", give, 1),
    "submit_within": simple("submit_within", 0.01, give, 1),
    "submit_many": simple("submit_many", give, [1, 2]),
    "group": use(in_group),
}
INVOKER: dict[str, Use] = {
    **BASE,
    "func": use(lambda it, _: it.func),
    "invoke": simple("invoke", 1),
    "try_invoke": simple("try_invoke", 1),
    "invoke_within": simple("invoke_within", 0.01, 1),
    "invoke_many": simple("invoke_many", [1, 2]),
    "group": use(in_group),
}
INDEXED: dict[str, Use] = {
    f"{name}_by_index": simple(f"{name}_by_index", 1) for name in ("running", "free", "waiting", "queued")
}


def mapped(name: str, it: Any, generator: random.Random) -> None:
    results = getattr(it, name)(give, [1, 2, 3], buffersize=generator.choice((None, 2)))
    for _ in range(generator.randint(0, 4)):
        next(results, None)


# RuntimeError: it is shut down.
EXECUTOR: dict[str, Use] = {
    "pool": use(lambda it, _: it.pool),
    "submit": simple("submit", give, 1, raises=(RuntimeError,)),
    "try_submit": simple("try_submit", give, 1, raises=(RuntimeError,)),
    "submit_within": simple("submit_within", 0.01, give, 1, raises=(RuntimeError,)),
    "submit_many": simple("submit_many", give, [1, 2], raises=(RuntimeError,)),
    "map": use(partial(mapped, "map"), RuntimeError, concurrent.futures.CancelledError),
    "map_unordered": use(partial(mapped, "map_unordered"), RuntimeError, concurrent.futures.CancelledError),
    "group": use(in_group, RuntimeError, concurrent.futures.CancelledError),
    "shutdown": use(
        lambda it, g: it.shutdown(wait=g.random() < 0.5, cancel_futures=g.random() < 0.5),
    ),
    "over": use(
        lambda it, _: PoolExecutor.over(it.pool).submit(give).result(),
        RuntimeError,
        concurrent.futures.CancelledError,
    ),
    "__enter__": simple("__enter__"),
    "__exit__": simple("__exit__", None, None, None),
    # What libraries read of a ThreadPoolExecutor.
    "_max_workers": use(lambda it, g: setattr(it, "_max_workers", g.randint(1, 4))),
    "_threads": use(lambda it, _: len(it._threads)),
    "_work_queue": use(lambda it, _: it._work_queue.qsize()),
    "_shutdown": use(lambda it, _: it._shutdown),
}
if hasattr(PoolExecutor, "prepare_context"):
    # Of ThreadPoolExecutor, from Python 3.14 on.
    EXECUTOR["prepare_context"] = simple("prepare_context", give, ())
    EXECUTOR["BROKEN"] = use(lambda it, _: it.BROKEN)

FINISHED = (concurrent.futures.CancelledError, concurrent.futures.TimeoutError, ZeroDivisionError)
# RuntimeError: set_running_or_notify_cancel() of a future that runs or is done.
STATE = (concurrent.futures.InvalidStateError, RuntimeError)


def completed(it: Any, _: object) -> None:
    concurrent.futures.wait([it], timeout=0.01)
    with contextlib.suppress(TimeoutError):
        list(concurrent.futures.as_completed([it], timeout=0.01))


async def wrapped(future: Any) -> None:
    wrapper = asyncio.wrap_future(future)
    await asyncio.wait([wrapper], timeout=0.01)
    if wrapper.done() and not wrapper.cancelled():
        wrapper.exception()


FUTURE: dict[str, Use] = {
    **{name: simple(name) for name in ("cancel", "cancelled", "running", "done")},
    "result": simple("result", 0.001, raises=FINISHED),
    "exception": simple("exception", 0.001, raises=FINISHED),
    "add_done_callback": simple("add_done_callback", give),
    "set_running_or_notify_cancel": simple("set_running_or_notify_cancel", raises=STATE),
    "set_result": simple("set_result", 1, raises=STATE),
    "set_exception": use(lambda it, _: it.set_exception(ZeroDivisionError()), *STATE),
    "__class_getitem__": use(lambda it, _: it.__class_getitem__(int)),
    "wait, as_completed": use(completed),
    "wrap_future": use(lambda it, _: asyncio.run(wrapped(it))),
    "_state": use(lambda it, _: it._state),
    "_condition": use(lambda it, _: it._condition.__enter__() and it._condition.__exit__(None, None, None)),
    "__dict__": use(lambda it, _: it.__dict__),
    "__init__": simple("__init__"),
}

# RuntimeError: its block has been left. CancelledError: cancelled before it began.
GROUP: dict[str, Use] = {
    "submit": simple("submit", give, 1, raises=(RuntimeError,)),
    "try_submit": simple("try_submit", give, 1, raises=(RuntimeError,)),
    "submit_within": simple("submit_within", 0.01, give, 1, raises=(RuntimeError,)),
    "cancel": simple("cancel"),
    "results": simple("results", raises=(concurrent.futures.CancelledError,)),
    "__enter__": simple("__enter__"),
    "__exit__": simple("__exit__", None, None, None),
}
FUNC_GROUP: dict[str, Use] = {
    **GROUP,
    "invoke": simple("invoke", 1, raises=(RuntimeError,)),
    "try_invoke": simple("try_invoke", 1, raises=(RuntimeError,)),
    "invoke_within": simple("invoke_within", 0.01, 1, raises=(RuntimeError,)),
}


async def run_one(pool: Any) -> None:
    await asyncio.wait([pool.run(give, 1)])


async def submit_one(pool: Any) -> None:
    await (await pool.submit(give, 1))


async def map_some(name: str, pool: Any) -> None:
    async for _ in getattr(pool, name)(give, [1, 2, 3]):
        pass


async def group_some(pool: Any) -> None:
    async with pool.group(results=True) as group:
        group.run(give, 1)
        await group.submit(give, 2)


async def enter_and_leave(pool: Any) -> None:
    async with pool:
        pass


def in_loop(main: Callable[[Any], Any], *raises: type[BaseException]) -> Use:
    """A loop of its own: several may use one AsyncPool."""
    return use(lambda it, _: asyncio.run(main(it)), *raises)


ASYNC: dict[str, Use] = {
    "pool": use(lambda it, _: it.pool),
    "run": in_loop(run_one),
    "submit": in_loop(submit_one),
    "map": in_loop(partial(map_some, "map")),
    "map_unordered": in_loop(partial(map_some, "map_unordered")),
    "group": in_loop(group_some),
    "aclose": in_loop(lambda it: it.aclose()),
    "reboot": simple("reboot"),
    "is_closed": simple("is_closed"),
    "over": use(lambda it, _: AsyncPool.over(it.pool)),
    "__aenter__": in_loop(enter_and_leave),
    "__aexit__": in_loop(enter_and_leave),
}

# Not one of these is for several threads at once, which may only get an exception of it.
RESULTS: dict[str, Use] = {
    "__iter__": simple("__iter__"),
    "__next__": simple("__next__", raises=(StopIteration, ValueError, concurrent.futures.CancelledError)),
    "close": simple("close", raises=(ValueError,)),
}
CALL_RAISES = (RuntimeError, asyncio.CancelledError, asyncio.InvalidStateError)
CALL: dict[str, Use] = {
    **{name: simple(name) for name in ("get_loop", "done", "cancelled")},
    "cancel": simple("cancel", raises=CALL_RAISES),
    "result": simple("result", raises=CALL_RAISES),
    "exception": simple("exception", raises=CALL_RAISES),
    "add_done_callback": simple("add_done_callback", give, raises=CALL_RAISES),
    "remove_done_callback": simple("remove_done_callback", give, raises=CALL_RAISES),
    "__await__": use(lambda it, _: next(it.__await__()), StopIteration, *CALL_RAISES),
    "__iter__": use(lambda it, _: next(iter(it)), StopIteration, *CALL_RAISES),
    "_asyncio_future_blocking": use(lambda it, _: it._asyncio_future_blocking),
}

MODULE: dict[str, Use] = {
    **{name: BASE[name] for name in ("running", "free", "waiting", "cap", "stats", "tune", "wait_idle")},
    **{name: BASE[name] for name in ("release", "release_timeout", "reboot")},
    "submit": SUBMITTER["submit"],
    "try_submit": SUBMITTER["try_submit"],
    "default_pool": simple("default_pool"),
}


@dataclass
class Class:
    """A public class: how an object of it is made, and how its methods are called."""

    name: str
    cls: Any
    make: Callable[[random.Random], Any]
    table: dict[str, Use]
    # The pool below an object.
    pool: Callable[[Any], Any] | None = None


def options(generator: random.Random) -> dict[str, Any]:
    return {
        "queue_size": generator.choice((0, 1, None)),
        "expiry_duration": generator.choice((0.001, 1.0)),
        "nonblocking": generator.random() < 0.1,
        "max_blocking_tasks": generator.choice((0, 0, 1)),
    }


def future(generator: random.Random) -> Any:
    made: Future[int] = Future()
    match generator.randrange(4):
        case 0:
            made.cancel()
        case 1:
            made.set_running_or_notify_cancel()
        case 2:
            made.set_result(1)
        case _:
            pass
    return made


def results(generator: random.Random) -> Any:
    executor = PoolExecutor(2)
    made = executor.map(give, range(20))
    executor.shutdown(wait=False)
    return made


loop = asyncio.new_event_loop()


def call(generator: random.Random) -> Any:
    async def make() -> Any:
        made = async_pool.run(give, 1)
        if generator.random() < 0.5:
            await made
        return made

    async_pool = AsyncPool(1)
    return loop.run_until_complete(make())


def itself(it: Any) -> Any:
    return it


def pool_below(it: Any) -> Any:
    return it.pool


CLASSES = [
    Class("Pool", Pool, lambda g: Pool(2, **options(g)), SUBMITTER, itself),
    Class("MultiPool", MultiPool, lambda g: MultiPool(2, 1, **options(g)), SUBMITTER | INDEXED, itself),
    Class("PoolWithFunc", PoolWithFunc, lambda g: PoolWithFunc(2, give, **options(g)), INVOKER, itself),
    Class(
        "MultiPoolWithFunc",
        MultiPoolWithFunc,
        lambda g: MultiPoolWithFunc(2, 1, give, **options(g)),
        INVOKER | INDEXED,
        itself,
    ),
    Class("PoolExecutor", PoolExecutor, lambda _: PoolExecutor(2), EXECUTOR, pool_below),
    Class("Future", Future, future, FUTURE),
    Class(
        "TaskGroup",
        TaskGroup,
        lambda g: Pool(2, queue_size=None).group(limit=g.choice((None, 1)), results=True, fail_fast=g.random() < 0.5),
        GROUP,
    ),
    Class(
        "FuncTaskGroup",
        FuncTaskGroup,
        lambda g: PoolWithFunc(2, give, queue_size=None).group(limit=g.choice((None, 1)), results=True),
        FUNC_GROUP,
    ),
    Class("AsyncPool", AsyncPool, lambda g: AsyncPool(2, abandon_on_cancel=g.random() < 0.5), ASYNC, pool_below),
    Class("AsyncCall", pyants.AsyncCall, call, CALL),
    Class("results", type(PoolExecutor(1).map(give, [])), results, RESULTS),
    Class("module", pyants, lambda _: pyants, MODULE, lambda it: it.default_pool()),
]
# Public names without methods of their own that could be called at once, and AsyncTaskGroup, which is its loop's.
LEFT_OUT = {"AsyncTaskGroup", "LoadBalancingStrategy", "PoolOptions", "PoolStats", "DEFAULT_CAPACITY"} | {
    "DEFAULT_EXPIRY_DURATION"
}


def missing() -> list[str]:
    """The public names that the table lacks."""
    found: list[str] = []
    for kind in CLASSES:
        names = pyants.__all__ if kind.cls is pyants else dir(kind.cls)
        for name in names:
            value = getattr(kind.cls, name)
            if kind.cls is pyants and (isinstance(value, type) or name in LEFT_OUT):
                continue
            if not name.startswith("_") and name not in kind.table:
                found.append(f"{kind.name}.{name}")
    named = {kind.name for kind in CLASSES} | LEFT_OUT
    for name in pyants.__all__:
        value = getattr(pyants, name)
        if isinstance(value, type) and not issubclass(value, BaseException) and name not in named:
            found.append(name)
    return found


class Team:
    """Threads that make their calls at the same moment."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._begin = threading.Barrier(THREADS + 1)
        self._end = threading.Barrier(THREADS + 1)
        for number in range(THREADS):
            threading.Thread(target=self._work, args=(number,), daemon=True).start()

    def _work(self, number: int) -> None:
        while True:
            self._begin.wait()
            self._calls[number]()
            self._end.wait()

    def run(self, calls: list[Callable[[], object]]) -> None:
        self._calls = calls
        self._begin.wait()
        self._end.wait()
        self._calls = []


def call_at_once(kind: Class, names: tuple[str, str], team: Team, seed: str) -> None:
    """Calls both methods from several threads on one object, then checks it."""
    generator = random.Random(seed)
    it = kind.make(generator)
    table = {**ANY, **kind.table}
    wrong: list[BaseException] = []

    def work(name: str, own: random.Random) -> None:
        method, raises = table[name]
        for _ in range(CALLS):
            try:
                method(it, own)
            except BaseException as error:
                if not all(isinstance(leaf, (PoolError, *raises)) for leaf in leaves(error)):
                    wrong.append(error)

    team.run([partial(work, names[number % 2], random.Random(f"{seed} {number}")) for number in range(THREADS)])
    if wrong:
        raise wrong[0]
    if kind.pool is not None:
        pool = kind.pool(it)
        wait_at_rest(pool)
        check_works(pool)
        if pool is pyants.default_pool():
            pool.reboot()


def pairs() -> Iterator[tuple[Class, tuple[str, str]]]:
    for kind in CLASSES:
        own = sorted(kind.table)
        yield from ((kind, pair) for pair in itertools.combinations_with_replacement(own, 2))
        # The module itself is no object of ours.
        if kind.cls is not pyants:
            yield from ((kind, pair) for pair in itertools.product(own, sorted(ANY)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--seed", default=str(random.randrange(10**9)))
    parser.add_argument("--only", default="")
    parser.add_argument("--part", type=int, default=1, help="of so many pairs only one")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    faulthandler.enable()
    logging.disable()
    sys.setswitchinterval(1e-6)
    assert not missing(), f"how are these called? {missing()}"
    print(f"seed {given.seed}", flush=True)
    team = Team()
    generator = random.Random(given.seed)
    chosen = [pair for pair in pairs() if given.only in f"{pair[0].name}.{pair[1][0]}"]
    chosen = chosen[generator.randrange(given.part) :: given.part]
    failures = 0
    for index, (kind, names) in enumerate(chosen * given.times):
        if index % 50 == 0:
            faulthandler.dump_traceback_later(LIMIT, exit=True)
        if given.verbose:
            print(f"{kind.name}: {names}", flush=True)
        try:
            call_at_once(kind, names, team, f"{given.seed} {index}")
        except Exception as error:
            failures += 1
            print(f"seed {given.seed}, {kind.name}: {' and '.join(names)} ({index})")
            print(*traceback.format_exception(error), sep="", flush=True)
            if failures > 20:
                break
    loop.close()
    print(f"{len(chosen)} pairs, {given.times} times; {failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
