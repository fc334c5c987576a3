"""No public call keeps a reference to anything: counted by a debug build of CPython (`scripts/sanitize references`).

The calls are generated from the public names of each class, so that a new method is counted, too: with the arguments
below, which it must take, and with too few, too many and wrong ones, of which it may refuse any.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support import ignore

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

count_references: Callable[[], int] | None = getattr(sys, "gettotalrefcount", None)

pytestmark = [
    pytest.mark.thread_unsafe(reason="counts the references of the process"),
    pytest.mark.skipif(count_references is None, reason="only a debug build of CPython counts references"),
]

TIMES = 30
ROUNDS = 12
SOON = 60.0


def nothing(*_: object) -> object:
    return object()


def fail(*_: object) -> None:
    raise ValueError(object())


# What each method is given; one that is not here is given nothing.
ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "submit": [(nothing, 1), (fail, 1)],
    "try_submit": [(nothing, 1), (fail, 1)],
    "submit_within": [(SOON, nothing, 1), (SOON, fail, 1)],
    "submit_many": [(nothing, range(3)), (fail, range(3))],
    "run": [(nothing, 1), (fail, 1)],
    "map": [(nothing, range(3)), (fail, range(3))],
    "map_unordered": [(nothing, range(3)), (fail, range(3))],
    "invoke": [(1,)],
    "try_invoke": [(1,)],
    "invoke_within": [(SOON, 1)],
    "invoke_many": [(range(3),)],
    "tune": [(2,), (3,)],
    "release_timeout": [(SOON,)],
    "wait_idle": [(), (SOON,)],
    "running_by_index": [(0,)],
    "free_by_index": [(0,)],
    "waiting_by_index": [(0,)],
    "queued_by_index": [(0,)],
    "add_done_callback": [(nothing,)],
    "remove_done_callback": [(nothing,)],
    "set_result": [(1,)],
    "set_exception": [(ValueError(),)],
    "set": [()],
}
WRONG: list[tuple[Any, ...]] = [(), (object(),), (object(), object()), (nothing, object()), (-1.0, fail, 1, 2, 3)]
EXPECTED = (ValueError, pyants.PoolError, concurrent.futures.CancelledError, asyncio.CancelledError, ExceptionGroup)


def public(kind: type) -> list[str]:
    # CPython's ThreadPoolExecutor has had prepare_context since 3.14, for itself.
    return [name for name in dir(kind) if not name.startswith("_") and name != "prepare_context"]


def uses(kind: type) -> list[tuple[str, tuple[Any, ...] | None]]:
    """Each public name with what to give it, or None for wrong arguments."""
    return [(name, given) for name in public(kind) for given in (*ARGUMENTS.get(name, [()]), None)]


def settle() -> int:
    gc.collect()
    assert count_references is not None
    return count_references()


def assert_flat(call: Callable[[], object]) -> None:
    def growth() -> int:
        before = settle()
        for _ in range(TIMES):
            call()
        return settle() - before

    # Workers that come or go, and caches, make single rounds differ; what a call keeps, it keeps in every round.
    growth()
    grown: list[int] = []
    while len(grown) < ROUNDS:
        grown.append(growth())
        if abs(grown[-1]) < TIMES / 2:
            return
    raise AssertionError(f"references are left by each call, or taken: {grown} in {TIMES} calls")


def use(owner: object, name: str, given: tuple[Any, ...] | None) -> Any:
    """Calls the method, or reads the attribute, and uses up what comes of it."""
    member = getattr(owner, name)
    if not inspect.isroutine(member) or name == "func":
        return None
    if given is not None:
        return finish(member(*given))
    for wrong in WRONG:
        with contextlib.suppress(Exception):
            finish(member(*wrong))
    return None


def finish(result: Any) -> Any:
    if isinstance(result, concurrent.futures.Future):
        result.exception(SOON)  # pyright: ignore[reportUnknownMemberType]
    elif inspect.isgenerator(result) or hasattr(result, "__next__"):
        with contextlib.suppress(ValueError):
            list(result)
    elif isinstance(result, list):
        for one in result:  # pyright: ignore[reportUnknownVariableType]
            finish(one)
    elif isinstance(result, pyants.TaskGroup):
        with result:
            pass
    return result  # pyright: ignore[reportUnknownVariableType]


OPTIONS: dict[str, Any] = {"panic_handler": ignore, "queue_size": 8}
POOLS: dict[str, Callable[[], Any]] = {
    "Pool": lambda: pyants.Pool(2, **OPTIONS),
    "PoolWithFunc": lambda: pyants.PoolWithFunc(2, fail, **OPTIONS),
    "MultiPool": lambda: pyants.MultiPool(2, 2, pyants.LoadBalancingStrategy.ROUND_ROBIN, **OPTIONS),
    "MultiPoolWithFunc": lambda: pyants.MultiPoolWithFunc(
        2, 2, nothing, pyants.LoadBalancingStrategy.LEAST_TASKS, **OPTIONS
    ),
}


@pytest.fixture(autouse=True)
def unlogged() -> Generator[None]:
    """pytest would keep each record, with what is in it."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("kind", "name", "given"), [(kind, *use_) for kind in POOLS for use_ in uses(getattr(pyants, kind))]
)
def test_methods_of_pools(kind: str, name: str, given: tuple[Any, ...] | None) -> None:
    with POOLS[kind]() as pool:

        def call() -> None:
            use(pool, name, given)
            if pool.is_closed():
                pool.reboot()
            assert pool.wait_idle(SOON)

        assert_flat(call)


@pytest.mark.parametrize("kind", POOLS)
def test_pools_that_are_made_used_and_closed(kind: str) -> None:
    def call() -> None:
        with POOLS[kind]() as pool:
            repr(pool)
            use(pool, "submit" if hasattr(pool, "submit") else "invoke", (nothing,))
        with contextlib.suppress(pyants.PoolClosedError):
            use(pool, "submit" if hasattr(pool, "submit") else "invoke", (nothing,))
        for wrong in WRONG:
            with contextlib.suppress(Exception):
                type(pool)(*wrong)

    assert_flat(call)


@pytest.mark.parametrize(("name", "given"), uses(pyants.PoolExecutor))
def test_methods_of_executors(name: str, given: tuple[Any, ...] | None) -> None:
    with pyants.Pool(2) as pool:

        def call() -> None:
            with pyants.PoolExecutor(2) as executor:
                if name == "over":
                    use(executor, name, (pool,) if given is not None else None)
                else:
                    use(executor, name, given)

        assert_flat(call)


@pytest.mark.parametrize("kind", [pyants.TaskGroup, pyants.FuncTaskGroup])
@pytest.mark.parametrize("fail_fast", [False, True])
def test_methods_of_groups(kind: type, fail_fast: bool) -> None:
    pool: Any = POOLS["Pool" if kind is pyants.TaskGroup else "PoolWithFunc"]()
    with pool:
        for name, given in uses(kind):

            def call(name: str = name, given: tuple[Any, ...] | None = given) -> None:
                with (
                    contextlib.suppress(*EXPECTED, TypeError),
                    pool.group(fail_fast=fail_fast, limit=2, results=True) as group,
                ):
                    if name != "results":
                        use(group, name, given)
                if name == "results":
                    use(group, name, given)

            assert_flat(call)


@pytest.mark.parametrize("state", ["pending", "running", "finished", "failed", "cancelled"])
def test_methods_of_futures(state: str) -> None:
    for name, given in uses(pyants.Future):

        def call(name: str = name, given: tuple[Any, ...] | None = given) -> None:
            future = pyants.Future[object]()
            if state != "pending" and state != "cancelled":
                future.set_running_or_notify_cancel()
            if state == "finished":
                future.set_result(object())
            elif state == "failed":
                future.set_exception(ValueError(object()))
            elif state == "cancelled":
                future.cancel()
            future.add_done_callback(nothing)
            waits = name in ("result", "exception")
            with contextlib.suppress(Exception, concurrent.futures.CancelledError):
                use(future, name, (0,) if waits and given is not None else given)

        if name not in ("result", "exception") or given is not None or state in ("finished", "failed", "cancelled"):
            assert_flat(call)


@pytest.mark.parametrize("kind", ["AsyncPool", "AsyncTaskGroup", "AsyncCall"])
def test_methods_on_a_loop(kind: str) -> None:
    async def result_of(value: Any) -> None:
        if inspect.isasyncgen(value):
            async for _ in value:
                pass
        elif isinstance(value, pyants.AsyncTaskGroup):
            async with value:
                pass
        elif asyncio.isfuture(value):
            await asyncio.wait([value])
            if not value.cancelled():
                value.exception()
        elif inspect.isawaitable(value):
            await result_of(await value)

    async def use_it(owner: Any, name: str, given: tuple[Any, ...] | None) -> None:
        member = getattr(owner, name)
        if not callable(member):
            return
        for arguments in WRONG if given is None else [given]:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await result_of(member(*arguments))

    async def call(name: str, given: tuple[Any, ...] | None) -> None:
        async with pyants.AsyncPool(2) as pool:
            if kind == "AsyncPool":
                if name == "over":
                    with pyants.Pool(2) as threads:
                        await use_it(pool, name, (threads,) if given is not None else None)
                else:
                    await use_it(pool, name, given)
            elif kind == "AsyncTaskGroup":
                with contextlib.suppress(*EXPECTED):
                    async with pool.group(results=True) as group:
                        await use_it(group, name, given)
            else:
                future = pool.run(nothing)
                await use_it(future, name, given)
                await result_of(future)

    with asyncio.Runner() as runner:
        for name, given in uses(getattr(pyants, kind)):
            assert_flat(lambda name=name, given=given: runner.run(call(name, given)))  # type: ignore[misc]


def test_functions_of_the_module() -> None:
    functions = [name for name in public_functions() if name not in ("default_pool",)]
    assert {"submit", "tune", "release", "reboot"} <= set(functions)
    for name in functions:
        for given in (*ARGUMENTS.get(name, [()]), None):

            def call(name: str = name, given: tuple[Any, ...] | None = given) -> None:
                if given != (fail, 1):  # The default pool would log it.
                    if given is not None:
                        use(pyants, name, given)
                    else:
                        with contextlib.suppress(Exception):
                            getattr(pyants, name)(object(), object(), object())
                pyants.reboot()
                assert pyants.wait_idle(SOON)

            assert_flat(call)


def public_functions() -> list[str]:
    return [name for name in pyants.__all__ if inspect.isroutine(getattr(pyants, name))]
