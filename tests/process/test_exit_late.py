"""The interpreter's exit: pools that are used, made or dropped while it is on its way out."""

from __future__ import annotations

import pytest
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]


def test_a_task_that_submits_more_at_exit_is_refused() -> None:
    stdout, stderr = run_script("""
        ready = threading.Event()
        def task():
            # Until the interpreter is on its way out and the pool has been closed.
            wait_until(pool.is_closed)
            try:
                pool.submit(print, "never")
            except PoolClosedError:
                print("refused")
        pool = Pool(2)
        pool.submit(task)
    """)
    assert stdout == "refused\n"
    assert stderr == ""


def test_an_exception_at_exit_is_reported() -> None:
    stdout, stderr = run_script("""
        def task():
            wait_until(pool.is_closed)
            raise ValueError("late")
        pool = Pool(2)
        pool.submit(task)
        print("main ends")
    """)
    assert stdout == "main ends\n"
    assert "ValueError: late" in stderr
    assert "exception in task" in stderr


def test_pools_in_exit_handlers() -> None:
    stdout, stderr = run_script("""
        import atexit
        pool = Pool(2)
        pool.submit(time.sleep, 0.02)
        @atexit.register
        def late():
            print(pool.is_closed(), pool.running(), pool.stats().completed)
            try:
                pool.submit(print, "never")
            except PoolClosedError:
                print("refused")
            try:
                pool.release_timeout(1)
            except PoolClosedError:
                print("closed")
    """)
    assert stdout == "True 0 1\nrefused\nclosed\n"
    assert stderr == ""


def test_a_pool_made_by_an_exit_handler() -> None:
    # Too late for its threads to be waited for, so it may refuse; it must neither hang nor crash.
    run_script("""
        import atexit
        @atexit.register
        def late():
            try:
                with Pool(2) as pool:
                    pool.submit(int)
                print("ran")
            except RuntimeError:
                print("refused")
    """)


def test_a_reboot_during_exit() -> None:
    run_script("""
        def task():
            wait_until(pool.is_closed)
            pool.reboot()
            try:
                pool.submit(time.sleep, 0.01)
            except PoolClosedError:
                pass
        pool = Pool(2)
        pool.submit(task)
    """)


def test_pools_in_finalizers() -> None:
    run_script("""
        class Owner:
            def __init__(self):
                self.pool = Pool(2)
                self.pool.submit(int)
            def __del__(self):
                self.pool.release()
        owner = Owner()
        owner.itself = owner
        sys.keep = Owner()
    """)


@pytest.mark.parametrize("round_", range(5))
def test_exit_at_any_moment_of_a_busy_pool(round_: int) -> None:
    # Workers that spawn, run, park, expire and block while the main thread leaves.
    stdout, stderr = run_script(f"""
        import random
        generator = random.Random({round_})
        done = Sum()
        pools = [Pool(8, expiry_duration=0.001), Pool(8, queue_size=None, expiry_duration=0.001), Pool(2)]
        accepted = Sum()
        def flood(pool):
            try:
                while True:
                    pool.submit(done.add)
                    accepted.add()
            except PoolClosedError:
                pass
        threads = [threading.Thread(target=flood, args=(pool,)) for pool in pools for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: done.value > generator.randrange(5000))
        import atexit
        @atexit.register
        def check():
            for thread in threads:
                thread.join()
            print(accepted.value == done.value == sum(pool.stats().completed for pool in pools))
    """)
    assert stdout == "True\n"
    assert stderr == ""


def test_a_subinterpreter_is_refused_or_served() -> None:
    run_script("""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import_error = "try:\\n import pyants\\nexcept ImportError:\\n pass"
        interpreter = interpreters.create()
        getattr(interpreters, "exec", None) and interpreters.exec(interpreter, import_error)
        interpreters.destroy(interpreter)
        with Pool(1) as pool:
            pool.submit(int)
    """)
