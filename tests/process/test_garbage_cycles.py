"""Cycles through each reference that the module's own classes hold: the garbage collector finds every one of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from loops import collect
from support import DEADLINE, Gate, wait_equal, wait_until

import pyants
from pyants import AsyncPool, LoadBalancingStrategy, MultiPool, MultiPoolWithFunc, Pool, PoolExecutor, PoolWithFunc

if TYPE_CHECKING:
    from collections.abc import Callable


class Thing:
    """An object that may be part of a cycle, and to which weak references can be made."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def __call__(self, *_: object) -> None: ...


class Log(logging.Logger):
    held: Any = None


class Bad(Exception):
    held: Any = None


def is_freed(reference: weakref.ref[Any]) -> None:
    def is_gone() -> bool:
        collect()
        return reference() is None

    wait_until(is_gone, "what is garbage is collected")


def freed(build: Callable[[], Any]) -> None:
    """Checks that the object that `build` returns, part of a cycle, is collected."""
    is_freed(weakref.ref(build()))


# --- pools ---


class Own(Pool):
    held: Any = None


def over(**options: Any) -> AsyncPool:
    return AsyncPool.over(Pool(1, **options))


POOLS: dict[str, Callable[..., Any]] = {
    "Pool": functools.partial(Pool, 1),
    "PoolWithFunc": functools.partial(PoolWithFunc, 1, int),
    "MultiPool": functools.partial(MultiPool, 2, 1, LoadBalancingStrategy.ROUND_ROBIN),
    "MultiPoolWithFunc": functools.partial(MultiPoolWithFunc, 2, 1, int, LoadBalancingStrategy.ROUND_ROBIN),
    "AsyncPool": functools.partial(AsyncPool, 1),
    "AsyncPool.over": over,
}
each_pool = pytest.mark.parametrize("make", POOLS.values(), ids=POOLS.keys())


@each_pool
@pytest.mark.parametrize("option", ["panic_handler", "logger", "initializer", "initargs"])
def test_a_pool_by_an_option(make: Callable[..., Any], option: str) -> None:
    def build() -> Any:
        thing = Log("mine") if option == "logger" else Thing()
        options: dict[str, Any] = {option: thing}
        if option == "initargs":
            options = {"initializer": int, "initargs": (thing,)}
        thing.held = make(**options)
        return thing

    freed(build)


@pytest.mark.parametrize("base", [PoolWithFunc, MultiPoolWithFunc])
def test_a_pool_by_its_function(base: Any) -> None:
    class Owner(base):  # type: ignore[misc]
        def __init__(self) -> None:
            # Neither a bound method nor the pool's cell can break the cycle.
            sizes = (1,) if base is PoolWithFunc else (2, 1)
            super().__init__(*sizes, self.work)  # pyright: ignore[reportUnknownMemberType]

        def work(self, _: object) -> None: ...

    freed(Owner)
    owner = Owner()
    with owner:
        owner.invoke(1)
    reference = weakref.ref(owner)
    del owner
    is_freed(reference)


def test_a_pool_by_an_attribute() -> None:
    def build() -> Own:
        pool = Own(1)
        pool.held = pool
        return pool

    freed(build)


# --- AsyncPool ---


def used(pool: AsyncPool) -> None:
    async def main() -> None:
        assert await pool.run(int, "7") == 7
        await pool.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("option", ["panic_handler", "logger", "initializer"])
def test_an_async_pool_that_was_used(option: str) -> None:
    def build() -> Any:
        thing = Log("mine") if option == "logger" else Thing()
        options: dict[str, Any] = {option: thing}
        thing.held = AsyncPool(1, **options)
        used(thing.held)
        return thing

    freed(build)


def test_an_async_pool_that_was_used_and_not_closed() -> None:
    def build() -> Thing:
        thing = Thing()
        thing.held = AsyncPool(1, panic_handler=thing)
        assert asyncio.run(thing.held.submit(int)) is not None
        return thing

    freed(build)


def test_an_async_pool_by_an_attribute() -> None:
    def build() -> AsyncPool:
        pool = AsyncPool(1)
        pool.held = pool  # type: ignore[attr-defined]
        used(pool)
        return pool

    freed(build)


def returned(value: Any) -> Any:
    return value


def raised(error: BaseException) -> None:
    raise error


def call_of(pool: AsyncPool, fn: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
    async def main() -> asyncio.Future[Any]:
        call = pool.run(fn, *args)
        await asyncio.wait([call])
        return call

    return asyncio.run(main())


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("what", ["result", "exception"])
def test_a_call_by_what_it_came_to(what: str, seen: bool) -> None:
    logger = logging.Logger("nobody's")
    logger.addHandler(logging.NullHandler())
    pool = AsyncPool(1, logger=logger)

    def build() -> Any:
        if what == "result":
            thing: Any = Thing()
            thing.held = call_of(pool, returned, thing)
        else:
            thing = Bad()
            thing.held = call_of(pool, raised, thing)
            if seen:
                assert thing.held.exception() is thing
        thing.__traceback__ = None
        return thing

    freed(build)


def test_an_exception_in_a_cycle_that_nobody_asked_for_is_reported() -> None:
    told: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert record.exc_info is not None
            told.append(repr(record.exc_info[1]))

    logger = logging.Logger("mine")
    logger.addHandler(Handler())
    pool = AsyncPool(1, logger=logger)

    def build() -> Bad:
        bad = Bad("mine")
        bad.held = call_of(pool, raised, bad)
        return bad

    freed(build)
    # Another thread may have collected it, and be about to report it.
    wait_equal(lambda: told, ["Bad('mine')"])


@pytest.mark.parametrize("what", ["callback", "context", "callable", "argument", "keyword", "message", "admission"])
def test_a_call_that_is_not_done(what: str) -> None:
    # Its pool is gone, and the waiting call with it, which will never run.
    references: list[weakref.ref[Thing]] = []

    async def main() -> None:
        with Pool(1) as shared, Gate() as gate:
            pool = AsyncPool.over(shared)
            held = pool.run(gate.hold)
            gate.wait_entered(1)
            thing = Thing()
            references.append(weakref.ref(thing))
            call: asyncio.Future[Any]
            if what == "callable":
                call = pool.run(thing)
            elif what == "argument":
                call = pool.run(returned, thing)
            elif what == "keyword":
                call = pool.run(returned, value=thing)
            else:
                call = pool.run(int)
            thing.held = call
            if what == "callback":
                call.add_done_callback(thing)
            elif what == "message":
                call.cancel(thing)
            del thing, call
            gate.open()
            await held
            # The future must not be collected before it is made, or cancelled.
            while shared.waiting() or shared.stats().busy:
                await asyncio.sleep(0)

    asyncio.run(main())
    is_freed(references[0])


def test_a_ticket() -> None:
    pool = AsyncPool(1)

    def build() -> Thing:
        async def main() -> Thing:
            thing = Thing()
            call, _, ticket = pool._submit_detached(returned, thing)
            await call
            thing.held = ticket
            return thing

        return asyncio.run(main())

    freed(build)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_forgotten_with_its_mail() -> None:
    pool = AsyncPool(1)

    class Loop(asyncio.SelectorEventLoop):
        def __del__(self) -> None:
            """Unlike asyncio's, does not close the loop: its sockets may be finalized first, and then closing fails."""

    def build() -> asyncio.AbstractEventLoop:
        async def main() -> None:
            call = pool.run(returned, 7)
            call.add_done_callback(print)
            wait_until(lambda: pool.pool.stats().completed == 1)

        loop = Loop()
        loop.call_soon(loop.stop)
        task = loop.create_task(main())
        loop.run_forever()
        # The result is in the mailbox, and the loop will never fetch it.
        assert task.done()
        assert "_Collect" in repr(loop._ready)  # type: ignore[attr-defined]
        return loop

    freed(build)


def test_an_async_group() -> None:
    pool = AsyncPool(1)

    def build() -> Thing:
        async def main() -> Thing:
            thing = Thing()
            async with pool.group() as group:
                thing.held = group
                group.run(returned, thing)
            return thing

        return asyncio.run(main())

    freed(build)


# --- executors, their futures, maps and groups ---


@pytest.mark.parametrize("option", ["logger", "initializer", "initargs"])
def test_an_executor_by_an_option(option: str) -> None:
    def build() -> Any:
        thing = Log("mine") if option == "logger" else Thing()
        options: dict[str, Any] = {option: thing}
        if option == "initargs":
            options = {"initializer": returned, "initargs": (thing,)}
        thing.held = PoolExecutor(1, **options)
        with thing.held:
            thing.held.submit(int).result(DEADLINE)
        return thing

    freed(build)


def test_an_executor_by_an_attribute() -> None:
    def build() -> PoolExecutor:
        executor = PoolExecutor(1)
        executor.held = executor  # type: ignore[attr-defined]
        return executor

    freed(build)


def test_an_executor_over_a_pool() -> None:
    def build() -> Own:
        pool = Own(1)
        pool.held = PoolExecutor.over(pool)
        return pool

    freed(build)


class Waiter(Thing):
    """The waiter that concurrent.futures puts into a future's list, and threading's lock in a condition's."""

    def add_result(self, _: object) -> None: ...

    def release(self) -> None: ...


FUTURES: dict[str, Callable[[pyants.Future[Any]], None]] = {
    "an attribute": lambda future: setattr(future, "me", future),
    "its dict": lambda future: future.__dict__.update(me=future),
    "vars": lambda future: vars(future).update(me=future),
    "another dict": lambda future: setattr(future, "__dict__", {"me": future}),
    "its result": lambda future: future.set_result(Thing(future)),
    "its exception": lambda future: future.set_exception(bad_of(future)),
    "a callback": lambda future: future.add_done_callback(Thing(future)),
    "an assigned result": lambda future: setattr(future, "_result", Thing(future)),
    "an assigned exception": lambda future: setattr(future, "_exception", bad_of(future)),
    "what was there before": lambda future: set_and_assign(future),
    "its waiters": lambda future: future._waiters.append(Waiter(future)),  # type: ignore[arg-type]
    "its condition's waiters": lambda future: future._condition._waiters.append(Waiter(future)),  # type: ignore[attr-defined]
}


def set_and_assign(future: pyants.Future[Any]) -> None:
    future.set_result(Thing(future))
    future._result = 1


def bad_of(held: object) -> Bad:
    bad = Bad()
    bad.held = held
    return bad


@pytest.mark.parametrize("tie", FUTURES.values(), ids=FUTURES.keys())
@pytest.mark.parametrize("kind", ["made", "of a call", "of a call that is done"])
def test_a_future(tie: Callable[[pyants.Future[Any]], None], kind: str, executor: PoolExecutor) -> None:
    def build() -> pyants.Future[Any]:
        if kind == "made":
            future: pyants.Future[Any] = pyants.Future()
            tie(future)
            return future
        with Gate() as gate:
            future = executor.submit(gate.hold)
            if kind == "of a call that is done":
                gate.open()
                future.result(DEADLINE)
                try:
                    tie(future)
                except concurrent.futures.InvalidStateError:
                    pytest.skip("its outcome is set")
                return future
            try:
                tie(future)
            except concurrent.futures.InvalidStateError:
                pytest.skip("its outcome is set")
        return future

    freed(build)


@pytest.fixture
def executor() -> Any:
    with PoolExecutor(1) as executor:
        yield executor


def test_a_future_s_dict_is_as_any(executor: PoolExecutor) -> None:
    future = executor.submit(int)
    assert future.__dict__ == vars(future) == {}
    future.mine = 1  # type: ignore[attr-defined]
    assert future.__dict__ == {"mine": 1}
    future.__dict__["other"] = 2
    assert future.other == 2  # type: ignore[attr-defined]
    future.__dict__ = {"new": 3}
    assert vars(future) == {"new": 3}
    with pytest.raises(TypeError):
        future.__dict__ = 3  # type: ignore[assignment]
    assert "new" in dir(future)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("what", ["function", "items", "results"])
def test_the_results_of_a_map(ordered: bool, what: str, executor: PoolExecutor) -> None:
    def build() -> Thing:
        thing = Thing()
        fn = thing if what == "function" else returned
        items: list[Any] = [thing] if what != "function" else [1]
        results = executor.map(fn, items) if ordered else executor.map_unordered(fn, items)
        thing.held = results
        with Gate() as gate:
            gate.open()
            executor.submit(gate.hold).result(DEADLINE)
        return thing

    freed(build)


def test_a_group(executor: PoolExecutor) -> None:
    def build() -> Thing:
        thing = Thing()
        with pyants.TaskGroup(executor) as group:
            thing.held = group
            group.submit(returned, thing)
        return thing

    freed(build)


# --- pools that are garbage while they have something to do ---


class Cycle:
    """A pool in a cycle through its initializer and its handler, which record their calls."""

    def __init__(self, make: Callable[..., Any], gate: Gate, seen: list[str], capacity: int = 1) -> None:
        self.local = threading.local()
        self.gate = gate
        self.seen = seen
        self.pool = make(
            capacity, queue_size=None, initializer=self.set_up, panic_handler=self.note, expiry_duration=0.01
        )

    def set_up(self) -> None:
        self.local.ready = True
        self.seen.append("set up")

    def note(self, error: BaseException) -> None:
        self.seen.append(str(error))


def work(local: threading.local, gate: Gate, seen: list[str]) -> None:
    """A task that has no reference to the pool."""
    gate.hold()
    seen.append("ready" if hasattr(local, "ready") else "not set up")
    raise ValueError("the task's")


def multi_pool(capacity: int, **options: Any) -> MultiPool:
    return MultiPool(1, capacity, LoadBalancingStrategy.ROUND_ROBIN, **options)


class SubPool(Pool):
    pass


@pytest.mark.thread_unsafe(reason="counts on what is collected when")
@pytest.mark.parametrize("make", [Pool, SubPool, multi_pool])
def test_a_pool_that_is_garbage_finishes_what_it_accepted(make: Callable[..., Any]) -> None:
    with Gate() as gate:
        seen: list[str] = []
        cycle = Cycle(make, gate, seen)
        for _ in range(3):
            cycle.pool.submit(work, cycle.local, gate, seen)
        gate.wait_entered(1)
        reference = weakref.ref(cycle)
        del cycle
        for _ in range(3):
            collect()
        gate.open()
        wait_equal(lambda: seen.count("the task's"), 3)
        is_freed(reference)
    assert seen.count("ready") == 3
    assert "not set up" not in seen


@pytest.mark.thread_unsafe(reason="counts on what is collected when")
@pytest.mark.parametrize("make", [Pool, SubPool, multi_pool])
def test_workers_that_are_started_later_are_set_up(make: Callable[..., Any]) -> None:
    with Gate() as gate:
        seen: list[str] = []
        cycle = Cycle(make, gate, seen, capacity=4)
        for _ in range(4):
            cycle.pool.submit(work, cycle.local, gate, seen)
        del cycle
        for _ in range(3):
            collect()
        gate.wait_entered(4)
        assert seen == ["set up"] * 4
        gate.open()
        wait_equal(lambda: seen.count("the task's"), 4)
    assert seen.count("ready") == 4


@pytest.mark.parametrize("make", [Pool, SubPool, multi_pool])
def test_a_pool_that_is_garbage_lets_its_workers_go(make: Callable[..., Any]) -> None:
    with Gate() as gate:
        gate.open()
        seen: list[str] = []
        cycle = Cycle(make, gate, seen)
        cycle.pool.submit(work, cycle.local, gate, seen)
        assert cycle.pool.wait_idle(DEADLINE)
        reference = weakref.ref(cycle)
        del cycle
        is_freed(reference)


class Failing:
    """An object in a cycle with a pool, whose initializers all fail at the same time."""

    def __init__(self, make: Callable[..., Any], count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.gate = Gate()
        self.pool = make(count, initializer=self.fail, panic_handler=self.ignore)

    def fail(self) -> None:
        self.gate.hold()
        self.barrier.wait(DEADLINE)
        raise Bad

    def ignore(self, error: BaseException) -> None: ...


@pytest.mark.thread_unsafe(reason="looks at all objects there are")
@pytest.mark.parametrize("make", [Pool, SubPool])
@pytest.mark.parametrize("count", [2, 4])
def test_a_pool_that_is_garbage_and_whose_workers_fail_together_is_let_go(make: Callable[..., Any], count: int) -> None:
    def left() -> int:
        collect()
        # Weak references are cleared before the finalizer revives the object.
        return sum(type(thing) is Failing for thing in gc.get_objects())

    for _ in range(10):
        failing = Failing(make, count)
        gate = failing.gate
        for _ in range(count):
            failing.pool.submit(int)
        gate.wait_entered(count)
        del failing
        collect()
        gate.open()
        wait_equal(left, 0)
