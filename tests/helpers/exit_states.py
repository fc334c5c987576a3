"""Programs whose interpreter ends while a thread is somewhere between Python and native code.

Each has to end with the status that it would have without pyants: no signal, no hang. The interpreter's end comes at a
different moment each time, so they are worth running often: PYANTS_EXITS=300 pytest tests/process/test_exit_states.py.
"""

from __future__ import annotations

from typing import NamedTuple

PRELUDE = """
import faulthandler, os, signal, sys, threading, time
faulthandler.dump_traceback_later(60, exit=True)
signal.signal(signal.SIGINT, signal.default_int_handler)
import pyants

begun = threading.Event()

def spin(*_):
    begun.set()
    while True:
        pass

def doze(*_):
    begun.set()
    while True:
        time.sleep(0.001)

def forever(step):
    try:
        while True:
            step()
            begun.set()
    except RuntimeError:
        begun.set()  # Closed by the exit.

def daemon(target, *args):
    threading.Thread(target=target, args=args, daemon=True).start()
    begun.wait()

def kill_at_exit(pool, number):
    # The pools are closed by the first thing that happens at exit, which is to wait for their tasks.
    def kill():
        while not pool.is_closed():
            time.sleep(0.001)
        os.kill(os.getpid(), number)
        doze()
    return kill
"""


class State(NamedTuple):
    """A program, its status, and what has to stand in its standard error."""

    script: str
    status: int = 0
    says: str = ""


STATES = {
    "a callback that never ends, on a daemon thread": State("""
        def settle(callback):
            future = pyants.Future()
            future.add_done_callback(callback)
            future.set_result(1)
        daemon(settle, spin)
    """),
    "callbacks without end, on a daemon thread": State("""
        def settle():
            future = pyants.Future()
            future.add_done_callback(lambda future: future.result())
            future.set_result(1)
        daemon(forever, settle)
    """),
    "a condition of a future, on a daemon thread": State("""
        import concurrent.futures
        def settle():
            future = pyants.Future()
            threading.Thread(target=future.set_result, args=(1,), daemon=True).start()
            concurrent.futures.wait([future])
        daemon(forever, settle)
    """),
    "results that run Python as they are dropped, on a daemon thread": State("""
        class Result:
            def __del__(self):
                sum(range(100))
        executor = pyants.PoolExecutor(2)
        daemon(forever, lambda: executor.submit(Result).result())
    """),
    "a loop on a daemon thread, asleep after a call": State("""
        import asyncio
        async def main():
            pool = pyants.AsyncPool(2)
            await pool.run(int)
            begun.set()
            await asyncio.Event().wait()
        daemon(asyncio.run, main())
    """),
    "a loop on a daemon thread, with calls without end": State("""
        import asyncio
        async def main():
            pool = pyants.AsyncPool(2)
            try:
                while True:
                    await asyncio.gather(*[pool.run(int) for _ in range(10)])
                    begun.set()
            except pyants.PoolClosedError:
                await asyncio.Event().wait()
        daemon(lambda: asyncio.new_event_loop().run_until_complete(main()))
    """),
    "failures that nobody asks for, on a daemon thread's loop": State("""
        import asyncio
        def fail():
            raise ValueError
        async def main():
            pool = pyants.AsyncPool(2, panic_handler=str)
            try:
                while True:
                    await asyncio.wait([asyncio.ensure_future(pool.run(fail))])
                    begun.set()
            except pyants.PoolClosedError:
                await asyncio.Event().wait()
        daemon(lambda: asyncio.new_event_loop().run_until_complete(main()))
    """),
    "a result that never comes, on a daemon thread": State("""
        daemon(lambda: (begun.set(), pyants.Future().result()))
    """),
    "results without end, on a daemon thread": State("""
        executor = pyants.PoolExecutor(2)
        daemon(forever, lambda: executor.submit(int).result())
    """),
    "maps without end, on a daemon thread": State("""
        executor = pyants.PoolExecutor(2)
        daemon(forever, lambda: list(executor.map(abs, range(100))))
    """),
    "groups without end, on a daemon thread": State("""
        pool = pyants.Pool(2)
        def calls():
            with pool.group() as group:
                for _ in range(10):
                    group.submit(int)
        daemon(forever, calls)
    """),
    "submits without end, on a daemon thread": State("""
        pool = pyants.Pool(2)
        daemon(forever, lambda: pool.submit(int))
    """),
    "an iterable of Python code without end, on a daemon thread": State("""
        pool = pyants.Pool(2)
        def items():
            while True:
                begun.set()
                yield 1
        def submit():
            try:
                pool.submit_many(abs, items())
            except pyants.PoolClosedError:
                pass
        daemon(submit)
    """),
    "waits without end, on a daemon thread": State("""
        pool = pyants.Pool(2)
        daemon(forever, lambda: (pool.submit(int), pool.wait_idle()))
    """),
    "a destructor of a thread's own data that waits without end": State("""
        # The C library calls it when the thread has ended in Python, and been forgotten by everybody.
        import ctypes
        libc = ctypes.CDLL(None)
        pool = pyants.Pool(2)

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def at_end(_):
            forever(pool.wait_idle)

        key = ctypes.c_uint()
        libc.pthread_key_create(ctypes.byref(key), at_end)
        daemon(lambda: (pool.wait_idle(), libc.pthread_setspecific(key, ctypes.c_void_p(1))))
        """),
    "threads that come and go without end": State("""
        pool = pyants.Pool(2)

        def one():
            thread = threading.Thread(target=pool.wait_idle, daemon=True)
            thread.start()
            thread.join()

        for _ in range(3):
            begun.clear()
            daemon(forever, one)
        """),
    "a daemon pool's task that computes": State("""
        pool = pyants.Pool(2, daemon=True)
        pool.submit(spin)
        begun.wait()
    """),
    "a daemon pool's task that sleeps": State("""
        pool = pyants.Pool(2, daemon=True)
        pool.submit(lambda: (begun.set(), time.sleep(1e6)))
        begun.wait()
    """),
    "a daemon pool that is full": State(
        """
        pool = pyants.Pool(2, queue_size=None, daemon=True)
        both = threading.Barrier(3)  # Until both workers are busy: one that is not may yet begin what is queued.
        for _ in range(2):
            pool.submit(lambda: (both.wait(), doze()))
        for _ in range(100):
            pool.submit(print, "never")
        both.wait()
        """,
        says="accepted tasks are cancelled",
    ),
    "a daemon executor in a map": State(
        """
        executor = pyants.PoolExecutor(2, daemon=True)
        results = executor.map(doze, range(100))
        begun.wait()
        """
    ),
    "Ctrl-C while the exit waits for a task that never ends": State(
        """
        pool = pyants.Pool(2)
        pool.submit(kill_at_exit(pool, signal.SIGINT))
        """,
        says="KeyboardInterrupt",
    ),
    "Ctrl-C while the exit waits for a future's task that never ends": State(
        """
        executor = pyants.PoolExecutor(2)
        executor.submit(kill_at_exit(executor.pool, signal.SIGINT))
        """,
        says="KeyboardInterrupt",
    ),
    "Ctrl-C while the exit waits for a map that never ends": State(
        """
        executor = pyants.PoolExecutor(2)
        kill = kill_at_exit(executor.pool, signal.SIGINT)
        results = executor.map(lambda item: kill(), range(2))
        """,
        says="KeyboardInterrupt",
    ),
    "Ctrl-C while the exit waits, with much in the queue": State(
        """
        pool = pyants.Pool(2, queue_size=None)
        pool.submit(doze)
        begun.wait()
        pool.submit(kill_at_exit(pool, signal.SIGINT))
        for _ in range(100):
            pool.submit(print, "never")
        """,
        says="accepted tasks are cancelled",
    ),
    "Ctrl-C while the exit waits for a panic handler that never ends": State(
        """
        pool = pyants.Pool(2, panic_handler=lambda error: kill_at_exit(pool, signal.SIGINT)())
        pool.submit(int, "ants")
        """,
        says="KeyboardInterrupt",
    ),
    "Ctrl-C while the exit waits for a callback that never ends": State(
        """
        executor = pyants.PoolExecutor(2)
        future = executor.submit(begun.wait)
        future.add_done_callback(lambda future: kill_at_exit(executor.pool, signal.SIGINT)())
        begun.set()
        """,
        says="KeyboardInterrupt",
    ),
    "SIGTERM, whose handler exits, while the exit waits": State(
        """
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        executor = pyants.PoolExecutor(2)
        executor.submit(kill_at_exit(executor.pool, signal.SIGTERM))
        """
    ),
    "a second import, with tasks of the first": State("""
        pool = pyants.Pool(1, queue_size=None)
        done = []
        for number in range(20):
            pool.submit(lambda number=number: (time.sleep(0.001), done.append(number)))
        for name in [name for name in sys.modules if name.split(".")[0] == "pyants"]:
            del sys.modules[name]
        import pyants
        pyants.submit(int)
        import atexit
        atexit.register(lambda: os._exit(0 if len(done) == 20 else 5))
    """),
    "a second interpreter that has come and gone": State("""
        try:
            import _interpreters
            make = lambda: _interpreters.create("legacy")
            run = lambda number, code: _interpreters.run_string(number, code)
        except ImportError:
            import _xxsubinterpreters as _interpreters
            make = lambda: _interpreters.create(isolated=False)
            run = _interpreters.run_string
        number = make()
        run(number, "try:\\n    import pyants\\nexcept ImportError:\\n    pass")
        _interpreters.destroy(number)
        pool = pyants.Pool(1)
        pool.submit(time.sleep, 0.001)
    """),
}
