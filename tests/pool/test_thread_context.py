"""What context a worker begins in: where threads inherit one, -X thread_inherit_context, a copy of the submitter's."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="threads inherit no context before 3.14")

PRELUDE = """
import contextvars, gc, sys, threading, warnings, weakref
from concurrent.futures import ThreadPoolExecutor
import pyants
from pyants import PoolExecutor
variable = contextvars.ContextVar("variable", default="default")

def in_both(test):
    for kind in ThreadPoolExecutor, PoolExecutor:
        contextvars.Context().run(test, kind)

def busy(executor, count):
    # So many workers, each of them in a call; what they see there.
    barrier = threading.Barrier(count + 1)
    def call():
        barrier.wait(30)
        return variable.get()
    futures = [executor.submit(call) for _ in range(count)]
    barrier.wait(30)
    return [future.result(30) for future in futures]
"""


def run(code: str, *options: str) -> None:
    script = PRELUDE + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-P", *(argument for option in options for argument in ("-X", option)), "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_it_is_a_copy_of_that_of_the_submit_that_starts_it() -> None:
    run(
        """
        def test(kind):
            variable.set("made")
            with kind(4) as executor:
                variable.set("first")
                assert busy(executor, 2) == ["first"] * 2
                variable.set("second")
                # Two that are there, and two that are started for it.
                assert sorted(busy(executor, 4)) == ["first"] * 2 + ["second"] * 2

                def change():
                    variable.set("changed")
                    return contextvars.copy_context()[variable]

                assert executor.submit(change).result(30) == "changed"
            assert variable.get() == "second"

        in_both(test)
        """,
        "thread_inherit_context=1",
    )


def test_without_the_flag_it_is_empty() -> None:
    run(
        """
        def test(kind):
            variable.set("submitter's")
            with kind(2) as executor:
                assert busy(executor, 2) == ["default"] * 2

        in_both(test)
        """,
        "thread_inherit_context=0",
    )


@pytest.mark.parametrize("inherit", [0, 1])
def test_filters_of_warnings_are_inherited_with_it(inherit: int) -> None:
    run(
        f"""
        def test(kind):
            with warnings.catch_warnings(record=True) as caught, kind(1) as executor:
                warnings.simplefilter("always")
                warnings.simplefilter("ignore", FutureWarning)

                def warn():
                    warnings.warn("deep", UserWarning)
                    warnings.warn("ignored", FutureWarning)

                try:
                    executor.submit(warn).result(30)
                except UserWarning:
                    raised = True
                else:
                    raised = False
            assert raised is not {bool(inherit)}
            assert [str(each.message) for each in caught] == (["deep"] if {inherit} else [])

        # For those who have no filters of their own.
        warnings.simplefilter("error")
        in_both(test)
        """,
        f"thread_inherit_context={inherit}",
        "context_aware_warnings=1",
    )


def test_an_initializer_and_every_kind_of_pool() -> None:
    run(
        """
        seen = []
        variable.set("submitter's")
        note = lambda *_: seen.append(variable.get())
        with pyants.Pool(1, initializer=note) as pool:
            pool.submit(note)
        with pyants.PoolWithFunc(1, note) as pool:
            pool.invoke(1)
        with pyants.MultiPool(2, 1, pyants.LoadBalancingStrategy.ROUND_ROBIN) as pool:
            pool.submit(note)
            pool.submit(note)
        with PoolExecutor(2) as executor:
            list(executor.map(note, range(2)))
        assert seen == ["submitter's"] * 7, seen
        """,
        "thread_inherit_context=1",
    )


def test_a_context_that_holds_the_pool_does_not_keep_it() -> None:
    run(
        """
        class Own(pyants.Pool):
            held = None

        def make():
            pool = Own(1)
            variable.set(pool)
            pool.held = pyants.Pool(1)  # It is made in a context with the first.
            return weakref.ref(pool)

        reference = contextvars.Context().run(make)
        gc.collect()
        assert reference() is None
        """,
        "thread_inherit_context=1",
    )
