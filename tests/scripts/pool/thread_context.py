"""The programs of tests/pool/test_thread_context.py, run with and without -X thread_inherit_context, from 3.14 on."""

from __future__ import annotations

import contextvars
import gc
import sys
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from program import main

from pyants import LoadBalancingStrategy, MultiPool, Pool, PoolExecutor, PoolWithFunc

if TYPE_CHECKING:
    from collections.abc import Callable

variable = contextvars.ContextVar("variable", default="default")


def in_both(test: Callable[[Any], None]) -> None:
    """Runs it in an empty context with each class of executors."""
    for executor_type in (ThreadPoolExecutor, PoolExecutor):
        contextvars.Context().run(test, executor_type)


def values_in(executor: Any, count: int) -> list[str]:
    """The values of the variable in calls that so many workers run at once."""
    barrier = threading.Barrier(count + 1)

    def call() -> str:
        barrier.wait(30)
        return variable.get()

    futures = [executor.submit(call) for _ in range(count)]
    barrier.wait(30)
    return [future.result(30) for future in futures]


def a_copy_of_that_of_the_submit() -> None:
    def test(executor_type: Any) -> None:
        variable.set("made")
        with executor_type(4) as executor:
            variable.set("first")
            assert values_in(executor, 2) == ["first"] * 2
            variable.set("second")
            # Two that are there, and two that are started for it.
            assert sorted(values_in(executor, 4)) == ["first"] * 2 + ["second"] * 2

            def change() -> str:
                variable.set("changed")
                return contextvars.copy_context()[variable]

            assert executor.submit(change).result(30) == "changed"
        assert variable.get() == "second"

    in_both(test)


def empty_without_the_flag() -> None:
    def test(executor_type: Any) -> None:
        variable.set("submitter's")
        with executor_type(2) as executor:
            assert values_in(executor, 2) == ["default"] * 2

    in_both(test)


def filters_of_warnings() -> None:
    inherits = getattr(sys.flags, "thread_inherit_context")  # noqa: B009 - the flag is new in 3.14

    def warn() -> None:
        warnings.warn("deep", UserWarning, stacklevel=1)
        warnings.warn("ignored", FutureWarning, stacklevel=1)

    def test(executor_type: Any) -> None:
        with warnings.catch_warnings(record=True) as caught, executor_type(1) as executor:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", FutureWarning)
            try:
                executor.submit(warn).result(30)
            except UserWarning:
                raised = True
            else:
                raised = False
        assert raised is not inherits
        assert [str(each.message) for each in caught] == (["deep"] if inherits else [])

    # The filters of threads that have none of their own.
    warnings.simplefilter("error")
    in_both(test)


def an_initializer_and_every_kind_of_pool() -> None:
    seen: list[str] = []
    variable.set("submitter's")

    def note(*_: object) -> None:
        seen.append(variable.get())

    with Pool(1, initializer=note) as pool:
        pool.submit(note)
    with PoolWithFunc(1, note) as fixed:
        fixed.invoke(1)
    with MultiPool(2, 1, LoadBalancingStrategy.ROUND_ROBIN) as multi:
        multi.submit(note)
        multi.submit(note)
    with PoolExecutor(2) as executor:
        list(executor.map(note, range(2)))
    assert seen == ["submitter's"] * 7, seen


def a_context_that_holds_the_pool_does_not_keep_it() -> None:
    held: contextvars.ContextVar[Pool] = contextvars.ContextVar("held")

    class Own(Pool):
        inner: Pool

    def make() -> weakref.ref[Pool]:
        pool = Own(1)
        held.set(pool)
        pool.inner = Pool(1)  # It is made in a context that holds the first.
        return weakref.ref(pool)

    reference = contextvars.Context().run(make)
    gc.collect()
    assert reference() is None


if __name__ == "__main__":
    main(globals())
