"""The interpreter's exit: accepted tasks finish, threads leave, nothing hangs or crashes."""

from __future__ import annotations

import pytest
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]


def test_running_tasks_finish_first() -> None:
    stdout, stderr = run_script("""
        pool = Pool(2)
        def task(number):
            time.sleep(0.1)
            print(f"done {number}\\n", end="")
        print("main ends")
        pool.submit(task, 1)
        pool.submit(task, 2)
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
        gate = Gate()
        pool.submit(lambda: (gate.hold(), print("done\\n", end="")))
        def block():
            try:
                pool.submit(print, "never")
            except PoolClosedError:
                print("refused\\n", end="")
        for _ in range(3):
            threading.Thread(target=block, daemon={daemon}).start()
        wait_until(lambda: pool.waiting() == 3)
        threading.Thread(target=open_when_nobody_waits, args=(pool, gate)).start()
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
        gate = Gate()
        pool.submit(gate.hold)
        pool.submit(lambda: pool.submit(print, "never"))
        wait_until(lambda: pool.waiting() == 1)
        threading.Thread(target=open_when_nobody_waits, args=(pool, gate)).start()
    """)
    assert stdout == "PoolClosedError\n"


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
