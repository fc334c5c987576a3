"""Memory stays flat over many tasks, pools and threads; ten thousand workers come and go."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc

import pytest
from support import Face, Gate, Kind, ignore, run_program, wait_until

pytestmark = pytest.mark.thread_unsafe(reason="measures the process")


class Cargo:
    """An argument worth leaking."""

    def __init__(self) -> None:
        self.bytes = bytearray(200)


@pytest.mark.parametrize("kind", ["Pool", "PoolWithFunc", "MultiPool"])
@pytest.mark.parametrize("queue_size", [0, None])
def test_python_memory_is_flat_over_many_tasks(kind: Kind, queue_size: int | None) -> None:
    def task(item: object) -> None:
        if isinstance(item, Gate):
            item.hold()
        if isinstance(item, ValueError):
            raise item

    face = Face(kind, 2, task, queue_size=queue_size, panic_handler=ignore, disable_purge=True)

    def run(count: int) -> None:
        for number in range(count):
            face.put(Cargo() if number % 10 else ValueError(Cargo()))
        assert face.pool.wait_idle(60)

    def settled() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with face.pool:
        # Starts as many workers as there will ever be, since each has memory of its own.
        with Gate() as gate:
            face.put(gate)
            face.put(gate)
            gate.wait_entered(2)
        run(500)
        tracemalloc.start()
        try:
            run(500)
            before = settled()
            run(5000)
            # If one argument in a hundred leaked, it would show.
            wait_until(lambda: settled() - before < 10_000)
        finally:
            tracemalloc.stop()


def test_resident_memory_is_flat_over_many_tasks() -> None:
    stdout, _ = run_program("process/memory.py", "resident_memory_is_flat_over_many_tasks")
    assert int(stdout) < 12 * 1024


def test_pools_that_are_dropped_leave_nothing() -> None:
    stdout, _ = run_program("process/memory.py", "pools_that_are_dropped_leave_nothing")
    assert int(stdout) < 8 * 1024


def test_release_and_reboot_leave_nothing() -> None:
    stdout, _ = run_program("process/memory.py", "release_and_reboot_leave_nothing")
    assert int(stdout) < 8 * 1024


def test_workers_that_come_and_go_leave_nothing() -> None:
    stdout, _ = run_program("process/memory.py", "workers_that_come_and_go_leave_nothing")
    assert int(stdout) < 8 * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc")
@pytest.mark.parametrize("kind", ["callers", "workers"])
def test_threads_leave_no_memory_behind(kind: str) -> None:
    stdout, _ = run_program("process/memory.py", "threads_leave_no_memory_behind", kind)
    # Less than the smallest block of memory for each thread.
    assert int(stdout) < 2000 * 16


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_workers_sleep_and_are_gone_after_two_expiries() -> None:
    stdout, _ = run_program(
        "process/memory.py", "ten_thousand_workers_sleep_and_are_gone_after_two_expiries", deadline=240
    )
    assert stdout
