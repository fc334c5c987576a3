"""The programs of tests/executor/test_future_condition.py."""

from __future__ import annotations

import signal
import threading
from typing import Any

from program import main

import pyants


def ctrl_c_while_one_waits_for_it_to_be_free() -> None:
    future: Any = pyants.Future[None]()
    condition = future._condition
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with condition:
            held.set()
            free.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()

    def interrupt(signum: Any, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        condition.acquire()
    except KeyboardInterrupt:
        print("interrupted")
    free.set()
    holder.join()
    with condition:
        print("free")


if __name__ == "__main__":
    main(globals())
