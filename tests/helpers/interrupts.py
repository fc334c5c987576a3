"""Ctrl-C while the main thread of a program waits for a future or for an executor."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from pyants import PoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

taken: list[bool] = []
interrupted = threading.Event()
about_to_wait = threading.Event()


def may_raise(frame: FrameType | None, executor_type: Any = PoolExecutor, call: str = "") -> bool:
    # Interrupted while they take the futures' locks, CPython's own classes and functions leave some of them taken: only
    # where they wait.
    if executor_type is PoolExecutor and "concurrent.futures." not in call:
        return True
    assert frame is not None
    code = frame.f_code
    if os.path.basename(code.co_filename) != "threading.py":
        return False
    if code.co_name == "wait":
        # Condition.wait(), once it has saved its state: before that, an exception would leave its lock released.
        return "saved_state" in frame.f_locals
    return code.co_name in ("join", "_wait_for_tstate_lock")


def interrupt(executor_type: Any = PoolExecutor, call: str = "", raising: BaseException | None = None) -> None:
    """Sends Ctrl-C to the main thread for as long as it has not been interrupted: it may only be about to wait.

    (The sleep only sets the pace: no test depends on its length.) The signal raises where the executor class and the
    interrupted call can bear it.
    """

    def handler(_: int, frame: FrameType | None) -> None:
        # A list: a second signal may come while the event is being set, under its lock.
        if about_to_wait.is_set() and not taken and may_raise(frame, executor_type, call):
            taken.append(True)
            interrupted.set()
            raise raising or KeyboardInterrupt

    def send() -> None:
        about_to_wait.wait()
        while not interrupted.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.01)

    signal.signal(signal.SIGINT, handler)
    threading.Thread(target=send, daemon=True).start()


def interrupted_in(call: Callable[[], object]) -> None:
    """Makes a call that the signals of `interrupt` end, and prints that they did."""
    try:
        about_to_wait.set()
        call()
    except KeyboardInterrupt:
        print("interrupted")
