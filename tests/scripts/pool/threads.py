"""The programs of tests/pool/test_threads.py."""

from __future__ import annotations

import threading
from typing import Any

from program import main
from support import stack_size

from pyants import Pool


def profile_and_trace_functions_of_threading_are_applied(setter: str) -> None:
    calls: set[str] = set()

    def hook(frame: Any, event: Any, argument: Any) -> None:
        if event == "call":
            calls.add(frame.f_code.co_name)

    def traced() -> None:
        pass

    getattr(threading, setter)(hook)
    with Pool(1) as pool:
        pool.submit(traced)
        assert pool.wait_idle(10)
    getattr(threading, setter)(None)
    print("traced" in calls)


def the_default_stack_size_is_that_of_threading(wanted: str) -> None:
    size = int(wanted)
    threading.stack_size(size)
    sizes: list[Any] = []
    running = threading.Event()

    def measure() -> None:
        sizes.append(stack_size())
        running.wait()

    thread = threading.Thread(target=measure)
    thread.start()
    with Pool(1) as pool:
        pool.submit(measure)
        running.set()
    thread.join()
    # Without an argument stack_size() would also set it to 0.
    print(*(each >> 16 for each in sizes), threading.stack_size(size))


if __name__ == "__main__":
    main(globals())
