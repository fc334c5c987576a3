"""A worker's thread as the module threading shows it, and the list of the private names that pyants uses of CPython.

tests/project/test_private_names.py holds the code to the list, and takes the names away one after another. First
threading's. Where one of those in the first part is gone, a worker is what threading makes of any thread that was
started elsewhere: a dummy.

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

=========================  =========  ====================================================================
name                       versions   what for, and what happens when it is gone
=========================  =========  ====================================================================
_register_atexit           all        the wait for the pools' tasks at the interpreter's exit. Gone, atexit
                                      has us wait: after threading has joined its threads, so that a task
                                      that one of them waits for is late
_make_thread_handle        from 3.13  see above. Gone, nobody can join the main thread of a child that a
                                      worker has forked
BaseEventLoop._run_once,   all        asyncio: whether the loop has anything else to do than to wait for
_ready                                calls. Gone, it is woken for each result as any other loop
_interpreters,             from 3.13, which interpreter imports pyants. Gone, CPython refuses any but the
_xxsubinterpreters         to 3.12    main one in words of its own
_Py_IsFinalizing           to 3.12    the interpreter is ending; Py_IsFinalizing since
_pthread_cleanup_push      to 3.13    the C library's: see src/python/interpreter/call.rs, which does without it
_pthread_cleanup_pop       to 3.13    likewise
=========================  =========  ====================================================================

These it offers, since CPython asks for them. Should it ask for others, its own wait() or Condition.wait() raises
AttributeError on our futures, and the tests of both fail.

=========================  ==========================================================================
of a future                _state, _result, _exception, _condition, _waiters, _done_callbacks
of its condition           _is_owned, _release_save, _acquire_restore, _waiters
of a call of AsyncPool     _asyncio_future_blocking
of PoolExecutor            _threads, _work_queue, _max_workers, _thread_name_prefix, _broken, _shutdown,
                           _shutdown_lock, _adjust_thread_count, _resolve_work_item_task
=========================  ==========================================================================
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyants._core import _Exit

# As they are now: others may put a Thread or an __init__ of their own there later, which are to see their threads only.
_Thread: Any = threading.Thread
_init: Any = threading.Thread.__init__
_threading: Any = threading

# None: threading has no such thing.
active: dict[int, threading.Thread] | None = getattr(threading, "_active", None)
if not hasattr(threading, "_active_limbo_lock"):
    active = None


_register_atexit: Callable[[Callable[[], object]], object] | None = getattr(threading, "_register_atexit", None)


def at_exit(call: Callable[[], object]) -> bool:
    """Has call made at the interpreter's exit, before what was registered earlier; False: that has begun."""
    if _register_atexit is not None:
        try:
            _register_atexit(call)
        except RuntimeError:
            return False
        except TypeError:
            pass  # It is not what we know any more.
        else:
            return True
    atexit.register(call)
    return True


class WorkerThread(threading.Thread):
    """A worker's thread: what threading.current_thread() says on it."""

    def __init__(self, name: str, pool: int, end: _Exit, daemon: bool) -> None:
        _init(self, name=name, daemon=daemon)
        self._pyants_pool = pool
        self._end = end
        if not (hasattr(self, "_ident") and hasattr(self, "_native_id")):
            raise AttributeError("this is not what threading reads")
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
            if not hasattr(_threading, "_make_thread_handle"):
                self._ident = new_ident  # The rest is for threading, which alone knows it.
                return
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
