"""The module-level functions and the pool that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import Gate, Sum, nap, run_script, wait_equal, wait_until

import pyants

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.thread_unsafe(reason="there is one default pool in the process")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Before each test the default pool is opened, emptied and set to its default capacity."""
    pyants.reboot()
    pyants.tune(pyants.DEFAULT_CAPACITY)
    yield
    if not pyants.default_pool().is_closed():
        pyants.release_timeout(30)


@pytest.mark.ants("B96", "B97", "B101", "D18", "D9")
def test_the_functions_act_on_one_shared_pool() -> None:
    pool = pyants.default_pool()
    assert isinstance(pool, pyants.Pool)
    assert pyants.default_pool() is pool
    assert pyants.cap() == pool.cap() == pyants.DEFAULT_CAPACITY == 1024
    with Gate() as gate:
        pyants.submit(gate.hold)
        assert pyants.try_submit(gate.hold)
        gate.wait_entered(2)
        assert pyants.running() == pool.running() == 2
        assert pyants.free() == pool.free() == 1022
        assert pyants.waiting() == pool.waiting() == 0
        assert pyants.stats() == pool.stats()
        assert pyants.stats().busy == 2
        assert not pyants.wait_idle(0.01)
    assert pyants.wait_idle(10)


def test_arguments_reach_the_task() -> None:
    calls: list[object] = []

    def task(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))

    pyants.submit(task, 1, fn=2)
    assert pyants.wait_idle()
    assert calls == [((1,), {"fn": 2})]


@pytest.mark.ants("B96", "D18")
def test_tune_changes_its_capacity() -> None:
    pyants.tune(2)
    assert pyants.cap() == 2
    with Gate() as gate:
        pyants.submit(gate.hold)
        pyants.submit(gate.hold)
        assert not pyants.try_submit(gate.hold)


@pytest.mark.ants("B99")
def test_released_it_stays_closed_until_reboot() -> None:
    pyants.release()
    assert pyants.default_pool().is_closed()
    for _ in range(2):
        with pytest.raises(pyants.PoolClosedError):
            pyants.submit(nap)
        with pytest.raises(pyants.PoolClosedError):
            pyants.release_timeout(1)
    pyants.reboot()
    pyants.submit(nap)
    pyants.reboot()
    assert not pyants.default_pool().is_closed()
    assert pyants.wait_idle(10)


@pytest.mark.ants("B100")
def test_release_timeout_with_idle_workers_does_not_wait_for_the_deadline() -> None:
    with Gate() as gate:
        for _ in range(20):
            pyants.submit(gate.hold)
    assert pyants.wait_idle(10)
    pyants.release_timeout(100_000)
    assert pyants.running() == 0


@pytest.mark.ants("T13")
def test_many_tasks() -> None:
    done = Sum()
    for _ in range(5000):
        pyants.submit(done.add)
    assert pyants.wait_idle(30)
    assert done.value == 5000
    # Between the two reads a worker may leave, or start.
    wait_until(lambda: pyants.free() == pyants.cap() - pyants.running())
    wait_equal(lambda: pyants.stats().busy, 0)


@pytest.mark.ants("B98", "D9")
def test_importing_starts_no_thread() -> None:
    stdout, _ = run_script(
        """
        import os
        import pyants
        print(len(os.listdir("/proc/self/task")))
        """,
        prelude=False,
    )
    assert stdout == "1\n"


def test_it_need_not_be_released() -> None:
    stdout, _ = run_script("""
        for number in range(10):
            pyants.submit(print, "task\\n", end="")
    """)
    assert stdout == "task\n" * 10
