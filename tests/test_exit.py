"""The interpreter's exit: accepted tasks finish, threads leave, nothing hangs or crashes."""

from __future__ import annotations

import pytest
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]


def test_running_tasks_finish_first() -> None:
    stdout, stderr = run_script("""
        pool = Pool(2)
        gate = Gate()
        def task(number):
            time.sleep(0.1)
            print(f"done {number}\\n", end="")
        pool.submit(task, 1)
        pool.submit(task, 2)
        print("main ends")
    """)
    assert stdout.splitlines()[0] == "main ends"
    assert sorted(stdout.splitlines()[1:]) == ["done 1", "done 2"]
    assert stderr == ""


@pytest.mark.parametrize("queue_size", [50, None])
def test_queued_tasks_finish_too(queue_size: int | None) -> None:
    stdout, stderr = run_script(f"""
        pool = Pool(1, queue_size={queue_size})
        for number in range(50):
            pool.submit(lambda: (time.sleep(0.001), print("done")))
    """)
    assert stdout == "done\n" * 50
    assert stderr == ""


@pytest.mark.parametrize(
    "make",
    [
        "Pool(4, expiry_duration=1e6)",
        "Pool(4, disable_purge=True)",
        "Pool(expiry_duration=1e6)",
        "MultiPool(2, 2, disable_purge=True)",
    ],
)
def test_idle_workers_do_not_keep_the_process(make: str) -> None:
    # A million seconds of expiry are not waited for.
    _, stderr = run_script(f"""
        pool = {make}
        with Gate() as gate:
            for _ in range(4):
                pool.submit(gate.hold)
            gate.wait_entered(4)
        pool.wait_idle()
        assert pool.running() == 4
    """)
    assert stderr == ""


def test_every_kind_of_pool_at_once() -> None:
    stdout, stderr = run_script("""
        pools = [Pool(2), Pool(), Pool(3, queue_size=None), MultiPool(2, 1), Pool(1, pre_alloc=True)]
        for pool in pools:
            pool.submit(lambda: (time.sleep(0.02), print("done\\n", end="")))
        fixed = [PoolWithFunc(2, print), MultiPoolWithFunc(2, 2, print)]
        for pool in fixed:
            pool.invoke("done\\n", end="")
        submit(lambda: print("done\\n", end=""))
    """)
    assert stdout == "done\n" * 8
    assert stderr == ""


def test_a_dropped_pool() -> None:
    stdout, stderr = run_script("""
        def scope():
            pool = Pool(2, disable_purge=True)
            pool.submit(lambda: (time.sleep(0.05), print("done")))
        scope()
        import gc
        gc.collect()
    """)
    assert stdout == "done\n"
    assert stderr == ""


def test_a_pool_dropped_by_its_own_task() -> None:
    # The last reference goes on a worker's thread.
    stdout, stderr = run_script("""
        gate = Gate()
        class Job:
            def __init__(self, pool): self.pool = pool
            def __call__(self): gate.hold()
        pool = Pool(2)
        pool.submit(Job(pool))
        pool.submit(Job(pool))
        del pool
        gate.open()
        print("main ends")
    """)
    assert stdout == "main ends\n"
    assert stderr == ""


def test_released_and_closed_pools() -> None:
    stdout, stderr = run_script("""
        first, second, third = Pool(2), Pool(2), Pool(2)
        for pool in (first, second, third):
            pool.submit(lambda: (time.sleep(0.05), print("done\\n", end="")))
        first.release()
        try:
            second.release_timeout(0)
        except PoolTimeoutError:
            pass
        third.release()
        third.reboot()
    """)
    assert stdout == "done\n" * 3
    assert stderr == ""


@pytest.mark.parametrize("daemon", [True, False])
def test_blocked_submitters(daemon: bool) -> None:
    stdout, stderr = run_script(f"""
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.2), print("done\\n", end="")))
        refused = []
        def block():
            try:
                pool.submit(print, "never")
            except PoolClosedError:
                print("refused\\n", end="")
        for _ in range(3):
            threading.Thread(target=block, daemon={daemon}).start()
        wait_until(lambda: pool.waiting() == 3)
    """)
    assert "done\n" in stdout
    assert "never" not in stdout
    assert stderr == ""
    if not daemon:
        assert stdout.count("refused") == 3


@pytest.mark.parametrize("wait", ["pool.wait_idle()", "pool.release_timeout(1e6)", "pool.__exit__(None, None, None)"])
@pytest.mark.parametrize("daemon", [True, False])
def test_threads_that_wait_for_the_pool(wait: str, daemon: bool) -> None:
    stdout, stderr = run_script(f"""
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.1), print("done")))
        entered = threading.Event()
        def wait():
            entered.set()
            try:
                {wait}
            except PoolClosedError:
                # The exit was quicker to close the pool.
                pass
        threading.Thread(target=wait, daemon={daemon}).start()
        entered.wait()
    """)
    assert stdout == "done\n"
    assert stderr == ""


def test_workers_blocked_in_a_submit_to_their_own_pool() -> None:
    stdout, _ = run_script("""
        pool = Pool(2, panic_handler=lambda error: print(type(error).__name__ + "\\n", end=""))
        pool.submit(time.sleep, 0.2)
        pool.submit(lambda: pool.submit(print, "never"))
        wait_until(lambda: pool.waiting() == 1)
    """)
    assert stdout == "PoolClosedError\n"


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


def test_the_exit_code_is_kept() -> None:
    stdout, _ = run_script(
        """
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.05), print("done")))
        sys.exit(3)
        """,
        code_expected=3,
    )
    assert stdout == "done\n"


def test_an_exception_of_the_main_thread() -> None:
    stdout, stderr = run_script(
        """
        pool = Pool(1)
        pool.submit(lambda: (time.sleep(0.05), print("done")))
        raise ValueError("main")
        """,
        code_expected=1,
    )
    assert stdout == "done\n"
    assert "ValueError: main" in stderr


def test_an_exit_without_cleaning_up() -> None:
    stdout, stderr = run_script(
        """
        pool = Pool(4)
        with Gate() as gate:
            for _ in range(4):
                pool.submit(gate.hold)
            gate.wait_entered(4)
            print("going", flush=True)
            os._exit(7)
        """,
        code_expected=7,
    )
    assert (stdout, stderr) == ("going\n", "")


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
