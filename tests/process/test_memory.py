"""Memory stays flat over many tasks, pools and threads; ten thousand workers come and go."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc

import pytest
from support import Face, Gate, Kind, ignore, run_script, wait_until

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
        # All workers there will ever be: each has memory of its own.
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
            # One leaked argument of a hundred would show.
            wait_until(lambda: settled() - before < 10_000)
        finally:
            tracemalloc.stop()


def test_resident_memory_is_flat_over_many_tasks() -> None:
    stdout, _ = run_script("""
        import psutil
        pools = [Pool(4), Pool(4, queue_size=100), Pool(4, queue_size=None), MultiPool(2, 2)]
        def run(count):
            for pool in pools:
                pool.submit_many(bytes, [100] * (count // 2))
                for _ in range(count // 2):
                    pool.submit(bytes, 100)
                assert pool.wait_idle(60)
        run(20_000)
        before = psutil.Process().memory_info().rss
        run(60_000)
        # A word leaked per task would be two megabytes.
        print((psutil.Process().memory_info().rss - before) >> 10)
    """)
    assert int(stdout) < 12 * 1024


def test_pools_that_are_dropped_leave_nothing() -> None:
    stdout, _ = run_script("""
        import gc, psutil
        def run(count):
            for number in range(count):
                pool = Pool(4, pre_alloc=bool(number % 2), disable_purge=True)
                pool.submit(int)
                if number % 3 == 0:
                    pool.release_timeout(30)
                elif number % 3 == 1:
                    pool.release()
                del pool
            gc.collect()
            wait_until(lambda: psutil.Process().num_threads() <= 3, "the end of all threads")
        run(300)
        before = psutil.Process().memory_info().rss
        run(1500)
        print((psutil.Process().memory_info().rss - before) >> 10)
    """)
    assert int(stdout) < 8 * 1024


def test_release_and_reboot_leave_nothing() -> None:
    stdout, _ = run_script("""
        import psutil
        pool = Pool(4)
        def run(count):
            for _ in range(count):
                for _ in range(4):
                    pool.submit(int)
                pool.release_timeout(30)
                pool.reboot()
        run(200)
        before = psutil.Process().memory_info().rss
        run(1000)
        wait_until(lambda: psutil.Process().num_threads() <= 3, "the end of all threads")
        print((psutil.Process().memory_info().rss - before) >> 10)
    """)
    assert int(stdout) < 8 * 1024


def test_workers_that_come_and_go_leave_nothing() -> None:
    stdout, _ = run_script("""
        import psutil
        pool = Pool(8, expiry_duration=0.001)
        def run(count):
            for _ in range(count):
                with Gate() as gate:
                    for _ in range(8):
                        pool.submit(gate.hold)
                wait_until(lambda: pool.running() == 0)
        run(40)
        before = psutil.Process().memory_info().rss
        run(150)
        assert pool.stats().spawned == pool.stats().expired >= 190 * 4
        print((psutil.Process().memory_info().rss - before) >> 10)
    """)
    assert int(stdout) < 8 * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc")
@pytest.mark.parametrize("kind", ["callers", "workers"])
def test_threads_leave_no_memory_behind(kind: str) -> None:
    stdout, _ = run_script(f"""
        import ctypes, gc

        class Info(ctypes.Structure):
            _fields_ = [(f"field{{number}}", ctypes.c_size_t) for number in range(10)]

        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = Info
        idle = Pool(2)

        def callers():
            for _ in range(20):
                thread = threading.Thread(target=idle.wait_idle)
                thread.start()
                thread.join()

        def workers():
            for _ in range(5):
                with Pool(4) as pool:
                    barrier = threading.Barrier(4)
                    for _ in range(4):
                        pool.submit(barrier.wait)
                    pool.release_timeout(20)

        def in_use(count):
            for _ in range(count // 20):
                {kind}()
            gc.collect()
            # What the C library has given out, in bytes.
            return libc.mallinfo2().field7

        in_use(500)
        before = in_use(500)
        print(in_use(2000) - before)
    """)
    # Less than any block for each thread.
    assert int(stdout) < 2000 * 16


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_workers_sleep_and_are_gone_after_two_expiries() -> None:
    stdout, _ = run_script(
        """
        expiry = 2.0
        pool = Pool(10_000, expiry_duration=expiry)

        turnstiles = [threading.Lock() for _ in range(10_000)]
        for turnstile in turnstiles:
            turnstile.acquire()
        for turnstile in turnstiles:
            pool.submit(turnstile.acquire)
        assert pool.running() == 10_000
        assert pool.stats().busy == 10_000
        assert not pool.try_submit(int)
        # A crowd that wakes at once would fight for the interpreter's lock: so a few at a time.
        for passed in range(0, 10_000, 20):
            for turnstile in turnstiles[passed : passed + 20]:
                turnstile.release()
            wait_until(lambda: pool.stats().completed >= passed)
        assert pool.wait_idle(120)

        idle_since = time.monotonic()
        wait_until(lambda: pool.running() == 0, deadline=100)
        seconds = time.monotonic() - idle_since
        print(f"{seconds} s after falling idle")
        # And what a slow machine takes to end so many threads.
        assert seconds <= 2 * expiry + 20
        stats = pool.stats()
        assert (stats.peak_running, stats.completed, stats.expired) == (10_000, 10_000, 10_000), stats
        pool.release_timeout(30)
        """,
        deadline=240,
    )
    assert stdout
