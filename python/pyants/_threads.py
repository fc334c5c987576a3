"""A worker's thread as the module threading shows it. The private names of threading that pyants uses are in this file.

Where one is gone, a worker is what threading makes of any thread that was started elsewhere: a dummy.

=========================  =========  ====================================================================
name                       versions   what for
=========================  =========  ====================================================================
_active                    all        the threads that current_thread() and enumerate() know, by ident
_active_limbo_lock         all        held while that changes; a new one after a fork
Thread._started            all        what keeps a thread from being started twice, or made a daemon
Thread._ident, _native_id  all        what ident and native_id say
Thread._after_fork         from 3.13  what a fork makes of a thread in the child
Thread._handle             3.13       the same: the child's thread needs one with its ident
Thread._os_thread_handle   from 3.14  its name since then
_make_thread_handle        from 3.13  makes it
_reset_internal_locks      to 3.12    what a fork makes of a thread in the child
Thread._set_tstate_lock    to 3.12    the same: what the end of the child's main thread is told by
=========================  =========  ====================================================================
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyants._core import _Exit

# As they are now: others may put a Thread or an __init__ of their own there later, which are to see their threads only.
_Thread: Any = threading.Thread
_init: Any = threading.Thread.__init__
_threading: Any = threading

# None: threading has no such thing.
active: dict[int, threading.Thread] | None = getattr(threading, "_active", None)
if not hasattr(threading, "_active_limbo_lock"):
    active = None


class WorkerThread(threading.Thread):
    """A worker's thread: what threading.current_thread() says on it."""

    def __init__(self, name: str, pool: int, end: _Exit, daemon: bool) -> None:
        _init(self, name=name, daemon=daemon)
        self._pyants_pool = pool
        self._end = end
        self._ident = threading.get_ident()
        self._native_id = threading.get_native_id()
        self._started: Any
        self._started.set()

    def is_alive(self) -> bool:
        """Whether the worker is there: it has not left, and its process is this one."""
        return not self._end.has_left()

    def join(self, timeout: float | None = None) -> None:
        """Waits until the worker has left and its thread has ended; a pool's idle workers stay as its options say."""
        if self is threading.current_thread():
            raise RuntimeError("cannot join current thread")
        if timeout is not None:
            timeout = max(timeout, 0)
            if timeout > threading.TIMEOUT_MAX:
                raise OverflowError("timeout value is too large")
        self._end.wait(timeout)

    def __repr__(self) -> str:
        status = "started" if self.is_alive() else "stopped"
        return f"<{type(self).__name__}({self.name}, {status} {self.ident})>"

    # In a forked child. A worker that forked is the child's main thread, like any thread of an executor that forks, and
    # none of the pool's any more.

    def _after_fork(self, new_ident: int | None = None) -> None:  # from 3.13
        if new_ident is not None:
            self.__class__ = _Thread
            handle = "_os_thread_handle" if hasattr(self, "_os_thread_handle") else "_handle"
            setattr(self, handle, _threading._make_thread_handle(new_ident))
        _Thread._after_fork(self, new_ident)

    def _reset_internal_locks(self, is_alive: bool) -> None:  # to 3.12
        _Thread._reset_internal_locks(self, is_alive)
        if is_alive:
            self.__class__ = _Thread
            _Thread._set_tstate_lock(self)


def make(name: str, pool: int, end: _Exit, daemon: bool) -> threading.Thread | None:
    """The calling thread, a worker's, for threading.

    pool is what tells its pool from every other; daemon: nobody waits for that pool at exit, nor for the threads that
    its tasks start. None: threading knows it by a dummy, since it is not what we know.
    """
    if active is not None:
        try:
            return WorkerThread(name, pool, end, daemon)
        except AttributeError:
            pass
    dummy: Any = threading.current_thread()
    dummy.name = name
    dummy._pyants_pool = pool
    return None
