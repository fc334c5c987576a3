"""The programs of tests/project/test_private_names.py: they import pyants where a private name is missing."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import time
import types
from typing import Any

from program import in_child, keep_locals, main

# This module needs the private names, too, so it is imported before one is hidden.
importlib.import_module("concurrent.futures.thread")
# Some of its names are private, and some are changed here.
threads: Any = threading


def threading_without(hidden: str) -> types.ModuleType:
    class Without(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            if name == hidden:
                raise AttributeError(name)
            return getattr(threading, name)

    return Without("threading")


def import_without(hidden: str) -> Any:
    """Imports pyants, for which the module `threading` and a worker's Thread object lack the name."""
    init = threads.Thread.__init__

    def shorter(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self).__name__ == "WorkerThread":
            self.__dict__.pop(hidden, None)

    threads.Thread.__init__ = shorter
    sys.modules["threading"] = threading_without(hidden)
    import pyants

    sys.modules["threading"] = threading
    return pyants


def a_worker(hidden: str) -> None:
    pool = import_without(hidden).Pool(1, name="mine")
    seen: list[threading.Thread] = []
    with pool:
        pool.submit(lambda: seen.append(threading.current_thread()))
    kind = type(seen[0]).__name__
    print(kind, seen[0].name)
    # Before 3.13 nothing removes a dummy.
    is_left = kind == "_DummyThread" and sys.version_info < (3, 13)
    assert is_left or threading.active_count() == 1, threading.enumerate()


def tasks_are_waited_for(changed: str) -> None:
    keep_locals()
    if changed == "another":
        threads._register_atexit = lambda: None
    pyants = import_without("_register_atexit" if changed == "gone" else "_nothing")
    pool = pyants.Pool(1, queue_size=None)
    executor = pyants.PoolExecutor(1)

    def late(what: int) -> None:
        time.sleep(0.05)
        print(what, flush=True)

    for number in range(3):
        pool.submit(late, number)
        executor.submit(late, number)


def a_worker_may_fork(hidden: str) -> None:
    pyants = import_without(hidden)

    def child() -> None:
        assert threading.current_thread() is threading.main_thread()
        with pyants.Pool(1) as pool:
            pool.submit(print, "in the child", flush=True)

    failures: list[BaseException] = []
    with pyants.Pool(1, panic_handler=failures.append) as pool:
        pool.submit(in_child, child)
    assert not failures, failures


class OwnRunOnce(asyncio.SelectorEventLoop):
    """Overrides `_run_once`, which may then do anything."""

    def _run_once(self) -> None:
        once: Any = super()
        once._run_once()


class NoReady(asyncio.SelectorEventLoop):
    """Hides `_ready` from all code but asyncio's."""

    def __getattribute__(self, name: str) -> Any:
        caller = sys._getframe(1).f_code  # pyright: ignore[reportPrivateUsage]
        if name == "_ready" and "base_events" not in caller.co_filename:
            raise AttributeError(name)
        return super().__getattribute__(name)


def a_loop(name: str) -> None:
    async def main() -> None:
        from pyants import AsyncPool

        async with AsyncPool(2) as pool:
            assert await asyncio.gather(*(pool.run(int, str(n)) for n in range(100))) == list(range(100))

    with asyncio.Runner(loop_factory=OwnRunOnce if name == "_run_once" else NoReady) as runner:
        runner.run(main())


if __name__ == "__main__":
    main(globals(), forks=True)
