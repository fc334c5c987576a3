"""Programs whose interpreter ends while a thread is somewhere between Python and native code.

Each has to end with the status that it would have without pyants: no signal, no hang. The interpreter's end comes at a
different moment each time, so they are worth running often: PYANTS_EXITS=300 pytest tests/process/test_exit_states.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from program import keep_locals, main, own_interpreters

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

begun = threading.Event()


def spin(*_: object) -> NoReturn:
    begun.set()
    while True:
        pass


def doze(*_: object) -> NoReturn:
    begun.set()
    while True:
        time.sleep(0.001)


def forever(step: Callable[[], object]) -> None:
    try:
        while True:
            step()
            begun.set()
    except RuntimeError:
        begun.set()  # The exit has closed the pool.


def daemon(target: Callable[..., object], *args: object) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()
    begun.wait()


def kill_at_exit(pool: Any, number: int) -> Callable[[], NoReturn]:
    """A task that sends the signal to its own process, and never ends."""

    # The first step of the exit closes the pools, and waits for their tasks.
    def kill() -> NoReturn:
        while not pool.is_closed():
            time.sleep(0.001)
        os.kill(os.getpid(), number)
        doze()

    return kill


# --- threads that are no workers ---


def a_callback_that_never_ends() -> None:
    keep_locals()

    def settle() -> None:
        future = pyants.Future[int]()
        future.add_done_callback(spin)
        future.set_result(1)

    daemon(settle)


def callbacks_without_end() -> None:
    keep_locals()

    def settle() -> None:
        future = pyants.Future[int]()
        future.add_done_callback(lambda future: future.result())
        future.set_result(1)

    daemon(forever, settle)


def the_condition_of_a_future() -> None:
    keep_locals()
    import concurrent.futures

    def settle() -> None:
        future = pyants.Future[int]()
        threading.Thread(target=future.set_result, args=(1,), daemon=True).start()
        concurrent.futures.wait([future])

    daemon(forever, settle)


def results_that_run_python_as_they_are_dropped() -> None:
    keep_locals()

    class Result:
        def __del__(self) -> None:
            sum(range(100))

    executor = pyants.PoolExecutor(2)
    daemon(forever, lambda: executor.submit(Result).result())


def a_loop_asleep_after_a_call() -> None:
    keep_locals()
    import asyncio

    async def run() -> None:
        pool = pyants.AsyncPool(2)
        await pool.run(int)
        begun.set()
        await asyncio.Event().wait()

    daemon(asyncio.run, run())


def a_loop_with_calls_without_end() -> None:
    keep_locals()
    import asyncio

    async def run() -> None:
        pool = pyants.AsyncPool(2)
        try:
            while True:
                await asyncio.gather(*[pool.run(int) for _ in range(10)])
                begun.set()
        except pyants.PoolClosedError:
            await asyncio.Event().wait()

    daemon(lambda: asyncio.new_event_loop().run_until_complete(run()))


def a_loop_with_failures_that_nobody_asks_for() -> None:
    keep_locals()
    import asyncio

    def fail() -> None:
        raise ValueError

    async def run() -> None:
        pool = pyants.AsyncPool(2, panic_handler=str)
        try:
            while True:
                await asyncio.wait([asyncio.ensure_future(pool.run(fail))])
                begun.set()
        except pyants.PoolClosedError:
            await asyncio.Event().wait()

    daemon(lambda: asyncio.new_event_loop().run_until_complete(run()))


def a_result_that_never_comes() -> None:
    keep_locals()

    def wait() -> None:
        begun.set()
        pyants.Future[int]().result()

    daemon(wait)


def results_without_end() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2)
    daemon(forever, lambda: executor.submit(int).result())


def maps_without_end() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2)
    daemon(forever, lambda: list(executor.map(abs, range(100))))


def groups_without_end() -> None:
    keep_locals()
    pool = pyants.Pool(2)

    def calls() -> None:
        with pool.group() as group:
            for _ in range(10):
                group.submit(int)

    daemon(forever, calls)


def submits_without_end() -> None:
    keep_locals()
    pool = pyants.Pool(2)
    daemon(forever, lambda: pool.submit(int))


def an_iterable_of_python_code_without_end() -> None:
    keep_locals()
    pool = pyants.Pool(2)

    def items() -> Iterator[int]:
        while True:
            begun.set()
            yield 1

    def submit() -> None:
        with contextlib.suppress(pyants.PoolClosedError):
            pool.submit_many(abs, items())

    daemon(submit)


def waits_without_end() -> None:
    keep_locals()
    pool = pyants.Pool(2)

    def step() -> None:
        pool.submit(int)
        pool.wait_idle()

    daemon(forever, step)


def a_destructor_of_a_threads_own_data_that_waits_without_end() -> None:
    keep_locals()
    # The C library calls it when the thread has ended for Python, and no one knows of it any more.
    import ctypes

    libc = ctypes.CDLL(None)
    pool = pyants.Pool(2)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator]
    def at_end(_: int | None) -> None:
        forever(pool.wait_idle)

    key = ctypes.c_uint()
    libc.pthread_key_create(ctypes.byref(key), at_end)

    def enter() -> None:
        pool.wait_idle()
        libc.pthread_setspecific(key, ctypes.c_void_p(1))

    daemon(enter)


def threads_that_come_and_go_without_end() -> None:
    keep_locals()
    pool = pyants.Pool(2)

    def one() -> None:
        thread = threading.Thread(target=pool.wait_idle, daemon=True)
        thread.start()
        thread.join()

    for _ in range(3):
        begun.clear()
        daemon(forever, one)


# --- daemon pools ---


def a_daemon_pools_task_that_computes() -> None:
    keep_locals()
    pool = pyants.Pool(2, daemon=True)
    pool.submit(spin)
    begun.wait()


def a_daemon_pools_task_that_sleeps() -> None:
    keep_locals()
    pool = pyants.Pool(2, daemon=True)

    def sleep() -> None:
        begun.set()
        time.sleep(1e6)

    pool.submit(sleep)
    begun.wait()


def a_daemon_pool_that_is_full() -> None:
    keep_locals()
    pool = pyants.Pool(2, queue_size=None, daemon=True)
    both = threading.Barrier(3)  # Waits until both workers are busy, since an idle one might still begin a queued task.

    def task() -> None:
        both.wait()
        doze()

    for _ in range(2):
        pool.submit(task)
    for _ in range(100):
        pool.submit(print, "never")
    both.wait()


def a_daemon_executor_in_a_map() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2, daemon=True)
    _results = executor.map(doze, range(100))
    begun.wait()


# --- signals while the exit waits ---


def ctrl_c_during_a_task_that_never_ends() -> None:
    keep_locals()
    pool = pyants.Pool(2)
    pool.submit(kill_at_exit(pool, signal.SIGINT))


def ctrl_c_during_a_futures_task_that_never_ends() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2)
    executor.submit(kill_at_exit(executor.pool, signal.SIGINT))


def ctrl_c_during_a_map_that_never_ends() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2)
    kill = kill_at_exit(executor.pool, signal.SIGINT)

    def task(_: int) -> None:
        kill()

    _results = executor.map(task, range(2))


def ctrl_c_with_much_in_the_queue() -> None:
    keep_locals()
    pool = pyants.Pool(2, queue_size=None)
    pool.submit(doze)
    begun.wait()
    pool.submit(kill_at_exit(pool, signal.SIGINT))
    for _ in range(100):
        pool.submit(print, "never")


def ctrl_c_during_a_panic_handler_that_never_ends() -> None:
    keep_locals()

    def handler(_: BaseException) -> None:
        kill_at_exit(pool, signal.SIGINT)()

    pool = pyants.Pool(2, panic_handler=handler)
    pool.submit(int, "ants")


def ctrl_c_during_a_callback_that_never_ends() -> None:
    keep_locals()
    executor = pyants.PoolExecutor(2)

    def callback(_: object) -> None:
        kill_at_exit(executor.pool, signal.SIGINT)()

    future = executor.submit(begun.wait)
    future.add_done_callback(callback)
    begun.set()


def sigterm_whose_handler_exits() -> None:
    keep_locals()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    executor = pyants.PoolExecutor(2)
    executor.submit(kill_at_exit(executor.pool, signal.SIGTERM))


# --- more than one of them ---


def a_second_import_with_tasks_of_the_first() -> None:
    keep_locals()
    pool = pyants.Pool(1, queue_size=None)
    done: list[int] = []

    def task(number: int) -> None:
        time.sleep(0.001)
        done.append(number)

    for number in range(20):
        pool.submit(task, number)
    for name in [name for name in sys.modules if name.split(".")[0] == "pyants"]:
        del sys.modules[name]
    import atexit

    import pyants as again

    again.submit(int)
    atexit.register(lambda: os._exit(0 if len(done) == 20 else 5))


def a_second_interpreter_that_has_come_and_gone() -> None:
    keep_locals()
    interpreters = own_interpreters()
    if interpreters.__name__ == "_interpreters":
        number: Any = interpreters.create("legacy")
    else:
        number = interpreters.create(isolated=False)
    interpreters.run_string(number, "try:\n    import pyants\nexcept ImportError:\n    pass")
    interpreters.destroy(number)
    pool = pyants.Pool(1)
    pool.submit(time.sleep, 0.001)


if __name__ == "__main__":
    main(globals())
