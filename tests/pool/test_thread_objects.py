"""A worker's thread as the module threading shows it, and its end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import Executors, PoolExecutor, Thing, attribute, each_executor_type
from support import (
    DEADLINE,
    IN_CHILD,
    Background,
    Gate,
    ignore,
    is_thread_alive,
    run_script,
    wait_equal,
    wait_until,
)

from pyants import MultiPool, Pool

if TYPE_CHECKING:
    from collections.abc import Callable


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")

# How many threads the kernel counts in the process: by the same number CPython judges a fork.
NUM_THREADS = """
import os
stat = os.open("/proc/self/stat", os.O_RDONLY)

def num_threads():
    return int(os.pread(stat, 1000, 0).rsplit(b")", 1)[1].split()[17])
"""


def thread_of(pool: Pool) -> threading.Thread:
    """The thread of a worker of an idle pool of one, which rests then."""
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


def test_threading_knows_as_many_as_before() -> None:
    stdout, _ = run_script("""
        before = threading.enumerate()
        for _ in range(20):
            with Pool(4) as pool:
                for _ in range(4):
                    pool.submit(threading.current_thread)
            assert threading.enumerate() == before, threading.enumerate()
            assert threading.active_count() == len(before)
        print("done")
    """)
    assert stdout == "done\n"


def test_interrupted_join() -> None:
    stdout, _ = run_script("""
        pool = Pool(1, disable_purge=True)
        threads = []
        pool.submit(lambda: threads.append(threading.current_thread()))
        assert pool.wait_idle(10)
        try:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            threads[0].join()
        except KeyboardInterrupt:
            print("interrupted", threads[0].is_alive())
    """)
    assert stdout == "interrupted True\n"


# --- exit ---

SAVE = """
def save():
    # Its turn comes when the main thread has ended; a daemon would not live to see it for long.
    threading.main_thread().join()
    threading.Event().wait(0.3)
    print("saved")
"""


@pytest.mark.parametrize("make", ["Pool(2)", "MultiPool(2, 2)", "PoolExecutor(2)"])
@pytest.mark.parametrize("thread", ["threading.Thread(target=save)", "threading.Timer(0.01, save)"])
def test_a_thread_that_a_task_started_is_waited_for(make: str, thread: str) -> None:
    stdout, stderr = run_script(
        SAVE
        + f"""
from pyants import PoolExecutor
pool = {make}
started = threading.Event()
pool.submit(lambda: ({thread}.start(), started.set()))
# Before the exit, at which 3.12 starts no threads any more.
assert started.wait(20)
"""
    )
    assert (stdout, stderr) == ("saved\n", "")


@pytest.mark.parametrize("executor", ["concurrent.futures.ThreadPoolExecutor", "pyants.PoolExecutor"])
def test_a_thread_that_a_late_task_started_is_waited_for(executor: str) -> None:
    if sys.version_info[:2] == (3, 12):
        pytest.skip("3.12 starts no thread once the main thread has ended")
    stdout, stderr = run_script(
        SAVE
        + f"""
import concurrent.futures.thread, pyants
exiting = threading.Event()
# Called before those of executors, since it was registered later: then the exit is under way.
threading._register_atexit(exiting.set)
executor = {executor}(1)

def task():
    assert exiting.wait(20)
    threading.Thread(target=save).start()

executor.submit(task)
"""
    )
    assert (stdout, stderr) == ("saved\n", "")


def test_a_thread_that_an_asyncio_call_started_is_waited_for() -> None:
    stdout, stderr = run_script(
        SAVE
        + """
import asyncio
from pyants import AsyncPool

async def main():
    async with AsyncPool(2) as pool:
        await pool.run(lambda: threading.Thread(target=save).start())

asyncio.run(main())
"""
    )
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
            # The thread is done with it a moment later than the result is there.
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


@ON_LINUX
@pytest.mark.parametrize(
    "use",
    [
        "with Pool(3) as pool: start(pool, 3)",
        "pool = Pool(3); start(pool, 3); pool.release_timeout(50)",
        "pool = Pool(3, expiry_duration=0.001); start(pool, 3); time.sleep(0.002); pool.release_timeout(50)",
        "with MultiPool(2, 2) as pool: start(pool, 4)",
        "with PoolExecutor(3) as pool: start(pool, 3)",
        "pool = PoolExecutor(3); start(pool, 3); pool.shutdown()",
        "pool = PoolExecutor(3); start(pool, 3); pool.shutdown(wait=False); pool.shutdown()",
        "asyncio.run(use_loop())",
    ],
)
def test_a_fork_after_the_end_finds_no_threads(use: str) -> None:
    stdout, stderr = run_script(
        "import asyncio, os, time, warnings\n"
        "from pyants import AsyncPool, MultiPool, Pool, PoolExecutor\n"
        + NUM_THREADS
        + f"""
# From 3.12 on the fork of a process with threads is warned of.
warnings.simplefilter("error")

def start(pool, count):
    for _ in range(count):
        pool.submit(time.sleep, 0.001)

async def use_loop():
    async with AsyncPool(3) as pool:
        await asyncio.gather(*(pool.run(time.sleep, 0.001) for _ in range(3)))

for _ in range(100):
    {use}
    assert num_threads() == 1, num_threads()
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print("done")
""",
        prelude=False,
    )
    assert (stdout, stderr) == ("done\n", "")


@ON_LINUX
@pytest.mark.parametrize(
    ("options", "leave"),
    [
        ("disable_purge=True", "pool.tune(1)"),
        ("expiry_duration=0.01", "pass"),
        ("disable_purge=True", "pool.release(); wait_equal(pool.running, 0); pool.reboot()"),
    ],
)
def test_threads_that_left_do_not_pile_up(options: str, leave: str) -> None:
    # A thread that has ended keeps its stack, of two mappings, until it is joined.
    stdout, _ = run_script(f"""
        def mappings():
            with open("/proc/self/maps") as maps:
                return len(maps.readlines())

        pool = Pool(20, stack_size=4 << 20, {options})

        def cycle():
            pool.tune(20)
            with Gate() as gate:
                for _ in range(20):
                    pool.submit(gate.hold)
                gate.wait_entered(20)
            assert pool.wait_idle(20)
            {leave}
            wait_until(lambda: pool.running() <= 1)

        for _ in range(3):
            cycle()
        before = mappings()
        for _ in range(40):
            cycle()
        assert mappings() < before + 200, (before, mappings())
        assert pool.stats().spawned > 700, pool.stats()
        print("done")
    """)
    assert stdout == "done\n"


@ON_LINUX
def test_idle_pools_keep_no_stacks() -> None:
    stdout, _ = run_script("""
        def mappings():
            with open("/proc/self/maps") as maps:
                return len(maps.readlines())

        # Larger stacks than glibc keeps for later.
        pools = [Pool(5, stack_size=64 << 20, expiry_duration=0.01) for _ in range(20)]
        before = mappings()
        for pool in pools:
            with Gate() as gate:
                for _ in range(5):
                    pool.submit(gate.hold)
                gate.wait_entered(5)
            pool.wait_idle(20)
            wait_equal(pool.running, 0)
        # There are two for each expiry thread, and two for each of the places where glibc has threads allocate.
        wait_until(lambda: mappings() < before + 2 * 20 + 2 * 30, "the end of the stacks")
        print("done")
    """)
    assert stdout == "done\n"


# --- forks ---


@ON_LINUX
def test_a_fork_in_a_task() -> None:
    stdout, stderr = run_script(
        IN_CHILD
        + """
from pyants import PoolExecutor
executor = PoolExecutor(3, "forked")
gate = Gate()
for _ in range(2):
    executor.submit(gate.hold)
gate.wait_entered(2)
others = list(executor._threads)

def child():
    thread = threading.current_thread()
    assert thread is threading.main_thread()
    assert thread is worker
    assert thread.is_alive()
    assert thread.name.startswith("forked_")
    assert not thread.daemon
    assert thread.ident == threading.get_ident()
    assert threading.enumerate() == [thread], threading.enumerate()
    assert repr(thread)
    for other in others:
        assert not other.is_alive()
        other.join()
        other.join(5)
        assert "stopped" in repr(other)
    done = threading.Event()
    # As long as the child's main thread runs.
    waiting = threading.Thread(target=lambda: (threading.main_thread().join(), done.set()))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    # A pool of the child's own, with threads of its own.
    with PoolExecutor(2) as own:
        assert own.submit(threading.current_thread).result(20) is not thread
        assert own.submit(lambda: threading.current_thread().is_alive()).result(20)
    # What multiprocessing does at the end of a child.
    threading._shutdown()
    assert done.is_set()
    print("child")

def task():
    global worker
    worker = threading.current_thread()
    in_child(child)
    assert worker.is_alive()
    assert type(worker) is type(others[0])
    assert threading.current_thread() is worker

executor.submit(task).result(40)
gate.open()
executor.shutdown()
assert not worker.is_alive()
print("parent")
"""
    )
    assert (stdout, stderr) == ("child\nparent\n", "")


@ON_LINUX
def test_a_fork_outside_finds_no_workers() -> None:
    stdout, stderr = run_script(
        IN_CHILD
        + """
pool = Pool(2)
gate = Gate()
threads = []
for _ in range(2):
    pool.submit(lambda: (threads.append(threading.current_thread()), gate.hold()))
gate.wait_entered(2)

def child():
    assert threading.enumerate() == [threading.main_thread()]
    for thread in threads:
        assert not thread.is_alive()
        thread.join()
    threads.clear()
    with Pool(2) as own:
        own.submit(print, "child")

in_child(child)
assert all(thread.is_alive() for thread in threads)
gate.open()
pool.release_timeout(20)
assert not any(thread.is_alive() for thread in threads)
print("parent")
"""
    )
    assert (stdout, stderr) == ("child\nparent\n", "")


@ON_LINUX
def test_a_process_of_multiprocessing_from_a_task() -> None:
    stdout, stderr = run_script(
        """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from pyants import PoolExecutor

faulthandler.cancel_dump_traceback_later()
context = multiprocessing.get_context("fork")

def start():
    process = context.Process(target=print, args=("child",))
    process.start()
    process.join(30)
    return process.exitcode

with PoolExecutor(1) as executor:
    print(executor.submit(start).result(40))
"""
    )
    assert (stdout, stderr) == ("child\n0\n", "")


# --- what others do to threading ---


def test_a_patched_thread_class_is_not_ours() -> None:
    stdout, stderr = run_script("""
        made = []

        class Patched(threading.Thread):
            def __init__(self, *args, **kwargs):
                made.append(self)
                super().__init__(*args, **kwargs)

        init = threading.Thread.__init__

        def patched(self, *args, **kwargs):
            made.append(self)
            init(self, *args, **kwargs)

        threading.Thread.__init__ = patched
        threading.Thread = Patched
        kinds = []
        with Pool(2) as pool:
            for _ in range(2):
                pool.submit(lambda: kinds.append(type(threading.current_thread()).__name__))
        print(kinds, made)
    """)
    assert (stdout, stderr) == ("['WorkerThread', 'WorkerThread'] []\n", "")


@pytest.mark.parametrize("name", ["_active", "_active_limbo_lock"])
def test_without_the_private_names_a_worker_is_a_dummy(name: str) -> None:
    code = f"""
import importlib.util, sys, threading
from pathlib import Path
directory = Path(importlib.util.find_spec("pyants").origin).parent
spec = importlib.util.spec_from_file_location("pyants._threads", directory / "_threads.py")
module = importlib.util.module_from_spec(spec)
kept = getattr(threading, {name!r})
delattr(threading, {name!r})
spec.loader.exec_module(module)
setattr(threading, {name!r}, kept)
sys.modules["pyants._threads"] = module
from pyants import Pool
with Pool(1, name="plain") as pool:
    pool.submit(lambda: print(type(threading.current_thread()).__name__, threading.current_thread().name))
"""
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("_DummyThread plain_0\n", "", 0)


@pytest.mark.parametrize("setter", ["setprofile", "settrace"])
def test_a_trace_function_that_asks_for_the_thread(setter: str) -> None:
    stdout, stderr = run_script(f"""
        names = set()

        def hook(frame, event, argument):
            names.add(threading.current_thread().name)
            threading.enumerate()
            return hook

        def traced():
            return 1

        threading.{setter}(hook)
        for _ in range(20):
            with Pool(2, name="traced") as pool:
                pool.submit(traced)
                pool.submit(traced)
        threading.{setter}(None)
        assert not any(name.startswith("Dummy") for name in names), names
        print(len([t for t in threading.enumerate() if t is not threading.main_thread()]))
    """)
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
