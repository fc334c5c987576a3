"""A worker's thread as the module threading sees it, and the list of CPython's private names that pyants uses.

tests/project/test_private_names.py checks the code against the list, and removes the names one after another. The first
table has threading's. If one of them is missing, a worker is to threading like any thread started elsewhere: a dummy.

=========================  =========  ====================================================================
name                       versions   purpose
=========================  =========  ====================================================================
_active                    all        the threads that current_thread() and enumerate() know, by ident
_active_limbo_lock         all        held while that changes; replaced after a fork
Thread._started            all        keeps a thread from being started twice, or made a daemon
Thread._ident, _native_id  all        the values of ident and native_id
Thread._after_fork         from 3.13  fixes a thread in a forked child
Thread._handle             3.13       needed for that: the child's thread has one with its ident
Thread._os_thread_handle   from 3.14  its name since then
_make_thread_handle        from 3.13  makes it
_reset_internal_locks      to 3.12    fixes a thread in a forked child
Thread._set_tstate_lock    to 3.12    needed for that: signals the end of the child's main thread
=========================  =========  ====================================================================

=========================  =========  ====================================================================
name                       versions   purpose, and what happens if it is missing
=========================  =========  ====================================================================
_register_atexit           all        the wait for the pools' tasks at the interpreter's exit. Missing, pyants
                                      waits in atexit: after threading has joined its threads, so a task
                                      that one of them waits for is late
_make_thread_handle        from 3.13  see above. Missing, the main thread of a child that a worker has
                                      forked cannot be joined
BaseEventLoop._run_once,   all        asyncio: whether the loop has anything to do besides waiting for
_ready                                calls. Missing, it is woken for each result like any other loop
_interpreters,             from 3.13, which interpreter imports pyants. Missing, CPython refuses any but the
_xxsubinterpreters         to 3.12    main one with a message of its own
_Py_IsFinalizing           to 3.12    whether the interpreter is ending; Py_IsFinalizing since
_pthread_cleanup_push      to 3.13    the C library's: see src/python/interpreter/call.rs, which works without it
_pthread_cleanup_pop       to 3.13    likewise
=========================  =========  ====================================================================

pyants itself offers the following names, since CPython asks for them. If CPython asked for others, its own wait() or
Condition.wait() would raise AttributeError on our futures, and the tests of both would fail.

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
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyants._core import _Exit

# Saved now: a library may replace Thread or its __init__ later, and its version must see only that library's threads.
_Thread: Any = threading.Thread
_init: Any = threading.Thread.__init__
_threading: Any = threading

# None: threading has no such dict or lock.
active: dict[int, threading.Thread] | None = getattr(threading, "_active", None)
if not hasattr(threading, "_active_limbo_lock"):
    active = None


_register_atexit: Callable[[Callable[[], object]], object] | None = getattr(threading, "_register_atexit", None)


_exit_calls: list[Callable[[], object]] = []


def at_exit(call: Callable[[], object]) -> bool:
    """Registers call for the interpreter's exit, before those registered earlier; False: the exit has begun."""
    _exit_calls.append(call)
    if _register_atexit is not None:
        try:
            _register_atexit(call)
        except RuntimeError:
            return False
        except TypeError:
            pass  # Its signature has changed.
        else:
            return True
    atexit.register(call)
    return True


def end_child() -> NoReturn:
    """Ends a child that a worker has forked, as multiprocessing ends its own, with status 0.

    CPython can finalize the interpreter only in the thread that initialised it, which a child of another thread lacks.
    """
    try:
        for call in reversed(_exit_calls):
            call()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException as error:  # noqa: BLE001 - it would leave the program
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


class WorkerThread(threading.Thread):
    """A worker's thread, as threading.current_thread() returns it there."""

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
        """Whether the worker has not left and belongs to this process."""
        return not self._end.has_left()

    def join(self, timeout: float | None = None) -> None:
        """Blocks until the worker has left and its thread has ended, but for at most timeout seconds.

        An idle worker stays as long as the pool's options say.
        """
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

    # Called in a forked child. A worker that forked is the child's main thread, as any thread of an executor that forks
    # would be, and no longer a worker.

    def _after_fork(self, new_ident: int | None = None) -> None:  # from 3.13
        if new_ident is not None:
            self.__class__ = _Thread
            handle = "_os_thread_handle" if hasattr(self, "_os_thread_handle") else "_handle"
            if not hasattr(_threading, "_make_thread_handle"):
                self._ident = new_ident  # Only threading could do the rest.
                return
            setattr(self, handle, _threading._make_thread_handle(new_ident))
        _Thread._after_fork(self, new_ident)

    def _reset_internal_locks(self, is_alive: bool) -> None:  # to 3.12
        _Thread._reset_internal_locks(self, is_alive)
        if is_alive:
            self.__class__ = _Thread
            _Thread._set_tstate_lock(self)


def make(name: str, pool: int, end: _Exit, daemon: bool) -> threading.Thread | None:
    """Creates the thread object of the calling worker.

    pool: the id of its pool. daemon: whether the exit waits neither for that pool nor for threads that its tasks start.
    Returns None if threading is not as we know it, and so has a dummy for the thread.
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
