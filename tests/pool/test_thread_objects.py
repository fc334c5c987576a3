"""A worker's Thread object in the module threading, and the end of its thread."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import Executors, PoolExecutor, Thing, attribute, each_executor_type
from support import (
    DEADLINE,
    Background,
    Gate,
    ignore,
    is_thread_alive,
    run_program,
    wait_equal,
    wait_until,
)

from pyants import MultiPool, Pool

if TYPE_CHECKING:
    from collections.abc import Callable


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")


def thread_of(pool: Pool) -> threading.Thread:
    """The thread of the one worker of an idle pool, which is at rest then."""
    threads: list[threading.Thread] = []
    pool.submit(lambda: threads.append(threading.current_thread()))
    assert pool.wait_idle(DEADLINE)
    return threads[0]


# --- what is to be seen ---


def test_a_worker_is_a_thread_to_look_at() -> None:
    seen: list[Any] = []

    def look() -> None:
        thread = threading.current_thread()
        seen.extend(
            [
                thread,
                thread.ident == threading.get_ident(),
                thread.native_id == threading.get_native_id(),
                thread in threading.enumerate(),
                thread.is_alive(),
                repr(thread),
            ]
        )

    with Pool(1, name="seen", disable_purge=True) as pool:
        pool.submit(look)
        assert pool.wait_idle(DEADLINE)
        thread = seen[0]
        assert isinstance(thread, threading.Thread)
        assert thread.name == "seen_0"
        assert not thread.daemon
        assert thread.is_alive()
        assert thread in threading.enumerate()
    assert seen[1:5] == [True, True, True, True]
    assert "seen_0" in seen[5]
    assert "started" in seen[5]
    assert "stopped" in repr(thread)
    assert (thread.name, thread.ident is None) == ("seen_0", False)


def test_a_worker_is_started_and_stays_what_it_is() -> None:
    with Pool(1) as pool:
        thread = thread_of(pool)
        with pytest.raises(RuntimeError):
            thread.start()
        with pytest.raises(RuntimeError):
            thread.daemon = True
        thread.name = "renamed"
        assert thread.name == "renamed"


def thread_for(target: Callable[[], object]) -> threading.Thread:
    return threading.Thread(target=target)


def timer_for(target: Callable[[], object]) -> threading.Thread:
    return threading.Timer(0, target)


@pytest.mark.parametrize("make", [thread_for, timer_for])
def test_what_a_task_starts_is_no_daemon(make: Callable[[Callable[[], object]], threading.Thread]) -> None:
    made: list[threading.Thread] = []
    ran = threading.Event()

    def task() -> None:
        made.append(make(ran.set))
        made[0].start()

    with Pool(1) as pool:
        pool.submit(task)
    assert not made[0].daemon
    assert ran.wait(DEADLINE)
    made[0].join(DEADLINE)


# --- the end ---


def test_a_thread_is_alive_until_its_worker_has_left() -> None:
    pool = Pool(1, disable_purge=True)
    thread = thread_of(pool)
    assert thread.is_alive()
    thread.join(0)
    thread.join(0.01)
    thread.join(-1)
    assert thread.is_alive()
    joined = Background(thread.join)
    assert joined.is_alive()
    pool.release()
    joined.result()
    assert not thread.is_alive()
    assert thread not in threading.enumerate()
    thread.join()
    thread.join(5)
    assert thread.native_id is not None
    assert not is_thread_alive(thread.native_id)


def test_an_expired_worker_can_be_joined() -> None:
    with Pool(1, expiry_duration=0.02) as pool:
        thread = thread_of(pool)
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert pool.running() == 0


def test_many_join_the_same_thread() -> None:
    with Pool(1, disable_purge=True) as pool, Gate() as gate:
        thread = thread_of(pool)
        pool.submit(gate.hold)
        joined = [Background(thread.join) for _ in range(5)]
        joined += [Background(lambda: thread.join(DEADLINE)) for _ in range(5)]
        gate.open()
        pool.release_timeout(DEADLINE)
        for each in joined:
            each.result()


def test_what_join_does_not_take() -> None:
    errors: list[BaseException] = []

    def join_itself() -> None:
        try:
            threading.current_thread().join()
        except RuntimeError as error:
            errors.append(error)

    with Pool(1) as pool:
        pool.submit(join_itself)
        thread = thread_of(pool)
        assert [str(error) for error in errors] == ["cannot join current thread"]
        with pytest.raises(OverflowError):
            thread.join(threading.TIMEOUT_MAX * 2)
        with pytest.raises(TypeError):
            thread.join("1")  # type: ignore[arg-type]


def test_a_thread_object_keeps_nothing_of_the_pool() -> None:
    pool = Pool(1, initializer=ignore, initargs=(thing := Thing(),))
    reference = weakref.ref(thing)
    del thing
    thread = thread_of(pool)
    pool.release_timeout(DEADLINE)
    del pool

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone, "the end of what the pool was given")
    thread.join()


@pytest.mark.thread_unsafe(reason="starts a process")
def test_threading_knows_as_many_as_before() -> None:
    stdout, _ = run_program("pool/thread_objects.py", "threading_knows_as_many_as_before")
    assert stdout == "done\n"


@pytest.mark.thread_unsafe(reason="starts a process")
def test_interrupted_join() -> None:
    stdout, _ = run_program("pool/thread_objects.py", "interrupted_join")
    assert stdout == "interrupted True\n"


# --- exit ---


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("make", ["Pool(2)", "MultiPool(2, 2)", "PoolExecutor(2)"])
@pytest.mark.parametrize("thread", ["Thread", "Timer"])
def test_a_thread_that_a_task_started_is_waited_for(make: str, thread: str) -> None:
    stdout, stderr = run_program("pool/thread_objects.py", "a_thread_that_a_task_started_is_waited_for", make, thread)
    assert (stdout, stderr) == ("saved\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("executor", ["ThreadPoolExecutor", "PoolExecutor"])
def test_a_thread_that_a_late_task_started_is_waited_for(executor: str) -> None:
    if sys.version_info[:2] == (3, 12):
        pytest.skip("3.12 starts no thread once the main thread has ended")
    stdout, stderr = run_program("pool/thread_objects.py", "a_thread_that_a_late_task_started_is_waited_for", executor)
    assert (stdout, stderr) == ("saved\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_thread_that_an_asyncio_call_started_is_waited_for() -> None:
    stdout, stderr = run_program("pool/thread_objects.py", "a_thread_that_an_asyncio_call_started_is_waited_for")
    assert (stdout, stderr) == ("saved\n", "")


# --- _threads ---


@each_executor_type
def test_blocked_calls_have_their_threads_at_once(executor_type: Executors) -> None:
    with executor_type(4, "counted") as executor, Gate() as gate:
        counts: list[int] = []
        for _ in range(6):
            executor.submit(gate.hold)
            counts.append(len(attribute(executor, "_threads")))
        threads = list(attribute(executor, "_threads"))
        assert counts == [1, 2, 3, 4, 4, 4]
        assert {thread.name for thread in threads} == {f"counted_{number}" for number in range(4)}
        assert all(isinstance(thread, threading.Thread) for thread in threads)
        assert all(thread.is_alive() and thread.ident and thread.native_id for thread in threads)
        assert not any(thread.daemon for thread in threads)
        assert set(threads) <= set(threading.enumerate())
        gate.open()
        executor.shutdown()
        for thread in threads:
            thread.join()
            assert not thread.is_alive()


@each_executor_type
def test_the_count_when_all_is_submitted(executor_type: Executors) -> None:
    with executor_type(4) as executor, Gate() as gate:
        for _ in range(15 * 4):
            executor.submit(gate.hold)
        assert len(attribute(executor, "_threads")) == 4
        gate.open()


@each_executor_type
def test_idle_threads_are_used_again(executor_type: Executors) -> None:
    with executor_type(4) as executor:
        for _ in range(3):
            executor.submit(int).result(DEADLINE)
            # The thread drops it a moment after the result is there.
            threading.Event().wait(0.05)
        assert len(attribute(executor, "_threads")) == 1


@each_executor_type
def test_the_set_does_not_keep_the_executor(executor_type: Executors) -> None:
    executor = executor_type(3, "dropped")
    futures = [executor.submit(abs, -number) for number in range(5)]
    threads = attribute(executor, "_threads")
    del executor
    gc.collect()
    for thread in list(threads):
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert [future.result(DEADLINE) for future in futures] == [0, 1, 2, 3, 4]


def test_the_set_during_a_slow_initializer() -> None:
    with Gate() as gate, PoolExecutor(3, initializer=gate.hold) as executor:
        for _ in range(3):
            executor.submit(int)
        assert len(attribute(executor, "_threads")) == 3
        gate.open()


# --- the operating system's threads ---


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
@pytest.mark.parametrize(
    "use", ["with block", "release", "expiry", "multi-pool", "executor", "shutdown", "two shutdowns", "loop"]
)
def test_a_fork_after_the_end_finds_no_threads(use: str) -> None:
    stdout, stderr = run_program("pool/thread_forks.py", "a_fork_after_the_end_finds_no_threads", use)
    assert (stdout, stderr) == ("done\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
@pytest.mark.parametrize(
    ("options", "leave"),
    [
        ("disable_purge=True", "tune"),
        ("expiry_duration=0.01", "expire"),
        ("disable_purge=True", "reboot"),
    ],
)
def test_threads_that_left_do_not_pile_up(options: str, leave: str) -> None:
    # A thread that has ended keeps its stack, of two mappings, until it is joined.
    stdout, _ = run_program("pool/thread_objects.py", "threads_that_left_do_not_pile_up", options, leave)
    assert stdout == "done\n"


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
def test_idle_pools_keep_no_stacks() -> None:
    stdout, _ = run_program("pool/thread_objects.py", "idle_pools_keep_no_stacks")
    assert stdout == "done\n"


# --- forks ---


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
def test_a_fork_in_a_task() -> None:
    stdout, stderr = run_program("pool/thread_forks.py", "a_fork_in_a_task")
    assert (stdout, stderr) == ("child\nparent\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
def test_a_fork_outside_finds_no_workers() -> None:
    stdout, stderr = run_program("pool/thread_forks.py", "a_fork_outside_finds_no_workers")
    assert (stdout, stderr) == ("child\nparent\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
@ON_LINUX
def test_a_process_of_multiprocessing_from_a_task() -> None:
    stdout, stderr = run_program("pool/thread_forks.py", "a_process_of_multiprocessing_from_a_task")
    assert (stdout, stderr) == ("child\n0\n", "")


# --- what others do to threading ---


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_patched_thread_class_is_not_ours() -> None:
    stdout, stderr = run_program("pool/thread_objects.py", "a_patched_thread_class_is_not_ours")
    assert (stdout, stderr) == ("['WorkerThread', 'WorkerThread'] []\n", "")


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("setter", ["setprofile", "settrace"])
def test_a_trace_function_that_asks_for_the_thread(setter: str) -> None:
    stdout, stderr = run_program("pool/thread_objects.py", "a_trace_function_that_asks_for_the_thread", setter)
    assert (stdout, stderr) == ("0\n", "")


def test_a_pool_of_each_kind_has_its_threads() -> None:
    threads: list[threading.Thread] = []
    with MultiPool(2, 2, name="each") as pool, Gate() as gate:

        def task() -> None:
            threads.append(threading.current_thread())
            gate.hold()

        for _ in range(4):
            pool.submit(task)
        gate.wait_entered(4)
        wait_equal(lambda: len(threads), 4)
        assert len(set(threads)) == 4
    assert not any(thread.is_alive() for thread in threads)
