"""PoolExecutor, a drop-in for concurrent.futures.ThreadPoolExecutor, and its Future."""

from __future__ import annotations

import collections
import collections.abc
import concurrent.futures
import contextlib
import gc
import itertools
import logging
import math
import os
import queue
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from pyants._core import Pool, _Executor, _Results
from pyants._default import DEFAULT_CAPACITY
from pyants._errors import PoolClosedError, PoolError
from pyants._future import Future
from pyants._group import TaskGroup
from pyants._threads import at_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import timedelta
    from types import TracebackType
    from typing import NoReturn, Self

    from pyants._core import MultiPool, MultiPoolWithFunc, PoolWithFunc

_T = TypeVar("_T")
_R = TypeVar("_R")

_numbers = itertools.count()
# Iterating over these runs no Python code.
_BUILT_IN = frozenset({list, tuple, range, str, bytes, bytearray, dict, set, frozenset})


def _default_workers() -> int:
    if sys.version_info >= (3, 13):
        cpus = os.process_cpu_count()
    else:
        cpus = os.cpu_count()
    return min(32, (cpus or 1) + 4)


# The most workers that a pool can have.
_MOST_WORKERS = 2**31 - 1


def _capacity(max_workers: float) -> int:
    """The number of threads that ThreadPoolExecutor would start: it starts more while it has fewer than max_workers."""
    return _MOST_WORKERS if max_workers >= _MOST_WORKERS else math.ceil(max_workers)


class _WorkItem:
    """A call taken out of the queue, in the form in which ThreadPoolExecutor queues it."""

    def __init__(
        self, future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs

    @property
    def task(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The call, in the form of Python 3.14 and later."""
        return self.fn, self.args, self.kwargs

    def run(self) -> None:
        """Makes the call on this thread, for its future."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.fn(*self.args, **self.kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the future's
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _Backlog:
    """The part of ThreadPoolExecutor's work queue that libraries use: its size, and the calls that wait in it."""

    def __init__(self, executor: PoolExecutor) -> None:
        self._executor = executor

    def qsize(self) -> int:
        return self._executor.pool.queued()

    def empty(self) -> bool:
        return self.qsize() == 0

    def get(self, block: bool = True, timeout: float | None = None) -> _WorkItem:
        """Takes the oldest call out; the caller then has to complete its future."""
        if block:
            raise NotImplementedError(
                "PoolExecutor's workers take its calls themselves: _work_queue.get() is for block=False only"
            )
        taken = self._executor._take_queued()
        if taken is None:
            raise queue.Empty
        return _WorkItem(*taken)

    def get_nowait(self) -> _WorkItem:
        return self.get(block=False)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Queues a call, as ThreadPoolExecutor.submit() does. Ignores None, by which it wakes its workers."""
        if item is None:
            return
        held: list[_Stand] | None = getattr(_held, "calls", None)
        call = _Stand(self._executor, item)
        if held is None:
            call.submit()
        else:
            held.append(call)


class _Stand:
    """A call that ThreadPoolExecutor.submit() made for a PoolExecutor, and its future, which mirrors one of ours."""

    def __init__(self, executor: PoolExecutor, item: Any) -> None:
        self._executor = executor
        self._future: concurrent.futures.Future[Any] = item.future
        self._call: tuple[Any, tuple[Any, ...], dict[str, Any]]
        self._call = item.task if hasattr(item, "task") else (item.fn, item.args, item.kwargs)

    def submit(self) -> None:
        own: Future[Any] = self._executor._submit_call(*self._call)
        stand: Any = self._future
        # CPython's futures keep their callbacks when they are done, and thereby this object: so drop the call here.
        del self._executor, self._call
        stand._pyants_future = own
        stand.add_done_callback(self._lead)
        own.add_done_callback(self._follow)

    def _follow(self, own: concurrent.futures.Future[Any]) -> None:
        """Completes CPython's future when ours is done."""
        stand = self._future
        del self._future
        try:
            if own.cancelled():
                stand.cancel()
                stand.set_running_or_notify_cancel()
            elif stand.set_running_or_notify_cancel():
                error = own.exception()
                if error is not None:
                    stand.set_exception(error)
                else:
                    stand.set_result(own.result())
        finally:
            error = None  # Its traceback would keep it alive.

    def _lead(self, future: Any) -> None:
        """Cancels our future when CPython's is cancelled."""
        if future.cancelled():
            future._pyants_future.cancel()


# The calls made by ThreadPoolExecutor.submit() on this thread while it holds the _Door, which it takes for a lock.
_held = threading.local()


class _Door:
    """The _shutdown_lock that ThreadPoolExecutor.submit() holds: it locks nothing.

    Tracing libraries wrap that method and call it with our executors. The calls that it queues are submitted when it
    has released CPython's locks, since a submit may wait for a permit.
    """

    def __init__(self, executor: PoolExecutor) -> None:
        self._executor = executor

    def __enter__(self) -> None:
        self._executor._check_open()
        self._outer = getattr(_held, "calls", None)
        _held.calls = self._calls = []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _held.calls = self._outer
        if kind is None:
            for call in self._calls:
                call.submit()

    _outer: list[_Stand] | None
    _calls: list[_Stand]


class _Threads(collections.abc.Set[threading.Thread]):
    """The part of ThreadPoolExecutor's set of threads that libraries use: how many there are, and which.

    Each use first starts workers for the calls that wait for one, up to the capacity, as ThreadPoolExecutor does with
    each submit(). It does not keep the pool alive.
    """

    def __init__(self, executor: PoolExecutor) -> None:
        self._pool = weakref.ref(executor.pool)
        self._pool_id = executor._pool_id()

    def _list(self) -> list[threading.Thread]:
        if (pool := self._pool()) is not None:
            pool._start_workers()
            del pool
        return [thread for thread in threading.enumerate() if getattr(thread, "_pyants_pool", None) == self._pool_id]

    def __len__(self) -> int:
        return len(self._list())

    def __iter__(self) -> Iterator[threading.Thread]:
        return iter(self._list())

    def __contains__(self, thread: object) -> bool:
        return any(thread is other for other in self)


class PoolExecutor(_Executor, concurrent.futures.ThreadPoolExecutor):
    """A concurrent.futures.ThreadPoolExecutor on a pool of pyants.

    With a limit on the backlog submit() blocks while the backlog is full, or raises PoolOverloadError if nonblocking.
    The class derives from ThreadPoolExecutor for callers that demand one, such as asyncio's
    loop.set_default_executor(); it shares no code with it.

    Args:
        max_workers: The largest number of threads; None for min(32, CPUs + 4).
        thread_name_prefix: Threads are named "{prefix}_{n}"; empty for "PoolExecutor-{i}" as prefix.
        initializer: Called in each thread before its first call.
        initargs: The arguments for initializer.
        queue_size: How many accepted calls may wait for a worker; None for no limit.
        nonblocking: Whether submit() raises PoolOverloadError instead of blocking.
        max_blocking_tasks: How many threads may block in submit() at once; 0 for no limit.
        expiry_duration: Seconds (or a timedelta) after which an idle thread leaves. None keeps all threads until
            shutdown(), as ThreadPoolExecutor does, since users may keep thread-bound objects in them.
        disable_purge: Keep idle threads until shutdown().
        stack_size: The stack of a thread, in bytes.
        logger: Gets the exceptions that no caller sees; None for the logger of concurrent.futures.
        daemon: Whether the interpreter exits without waiting for the calls: it cancels the queued ones.

    Raises:
        ValueError: max_workers is not greater than 0, or an option has a wrong value.
        TypeError: An argument has the wrong type.
    """

    def __init__(
        self,
        max_workers: float | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        queue_size: int | None = None,
        nonblocking: bool = False,
        max_blocking_tasks: int = 0,
        expiry_duration: float | timedelta | None = None,
        disable_purge: bool = False,
        stack_size: int | None = None,
        logger: logging.Logger | None = None,
        daemon: bool = False,
    ) -> None:
        # The checks and their messages are CPython's.
        if max_workers is None:
            max_workers = _default_workers()
        if not max_workers > 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        thread_name_prefix = thread_name_prefix or f"PoolExecutor-{next(_numbers)}"
        try:
            pool = Pool(
                _capacity(max_workers),
                name=thread_name_prefix,
                initializer=initializer,
                initargs=tuple(initargs),
                queue_size=queue_size,
                nonblocking=nonblocking,
                max_blocking_tasks=max_blocking_tasks,
                expiry_duration=0.0 if expiry_duration is None else expiry_duration,
                disable_purge=disable_purge or expiry_duration is None,
                stack_size=stack_size,
                logger=logger or logging.getLogger("concurrent.futures"),
                daemon=daemon,
            )
        except PoolClosedError:
            # The interpreter is exiting: as with ThreadPoolExecutor, only the calls are refused.
            return
        pool._start_workers()  # Never more threads than calls, from the start, as with ThreadPoolExecutor.
        self._set_up(pool, Future, thread_name_prefix)
        if max_workers != pool.cap():
            self.__dict__["_max_workers"] = max_workers

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls._adjust_thread_count is not PoolExecutor._adjust_thread_count:
            raise TypeError(f"{cls.__qualname__} overrides _adjust_thread_count(): {_NO_HAND_IN_THREADS}")

    @classmethod
    def over(cls, pool: Pool | PoolWithFunc[...] | MultiPool | MultiPoolWithFunc[...]) -> Self:
        """Returns an executor on the workers of a shared pool.

        Its shutdown() waits for, and cancels, only its own calls, and leaves the pool open.

        Args:
            pool: Its options apply; if it has no queue, submit() blocks until a worker is free.
        """
        executor = cls.__new__(cls)
        executor._set_up(pool, Future, None)
        return executor

    # The private attributes of ThreadPoolExecutor that libraries read, computed here.

    @property  # type: ignore[override]
    def _max_workers(self) -> float:
        capacity = self.pool.cap()
        given: float = self.__dict__.get("_max_workers", capacity)
        if _capacity(given) == capacity:
            return given
        return capacity if capacity > 0 else DEFAULT_CAPACITY

    @_max_workers.setter
    def _max_workers(self, max_workers: float) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.pool.tune(_capacity(max_workers))
        self.__dict__["_max_workers"] = max_workers

    @property
    def _thread_name_prefix(self) -> str:
        return str(self.__dict__.get("_thread_name_prefix", self._given_prefix))

    @_thread_name_prefix.setter
    def _thread_name_prefix(self, prefix: str) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.__dict__["_thread_name_prefix"] = prefix

    @property
    def _threads(self) -> _Threads:  # type: ignore[override]
        return _Threads(self)

    @property
    def _broken(self) -> str | bool:  # type: ignore[override]
        return "A thread initializer failed, the thread pool is not usable anymore" if self._is_broken() else False

    @property  # type: ignore[override]
    def _work_queue(self) -> _Backlog:
        return _Backlog(self)

    @_work_queue.setter
    def _work_queue(self, _: object) -> NoReturn:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise AttributeError(
            "PoolExecutor's queue cannot be exchanged: PoolExecutor(queue_size=n) bounds it, and "
            "shutdown(cancel_futures=True) empties it"
        )

    @staticmethod
    def _resolve_work_item_task(
        fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Called by ThreadPoolExecutor.submit() of Python 3.14."""
        return fn, args, kwargs

    @property
    def _shutdown_lock(self) -> _Door:  # type: ignore[override]
        return _Door(self)

    @property
    def _adjust_thread_count(self) -> Callable[[], None]:
        return _nothing

    @_adjust_thread_count.setter
    def _adjust_thread_count(self, _: object) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise AttributeError(f"_adjust_thread_count() cannot be exchanged: {_NO_HAND_IN_THREADS}")

    def submit_many(self, fn: Callable[[_T], _R], iterable: Iterable[_T], /) -> list[Future[_R]]:
        """Submits fn(item) for each item of iterable; blocks as submit() does.

        Returns:
            The futures, in the order of the items.

        Raises:
            PoolError: As from submit(); its attribute submitted is the number of calls accepted before.
        """
        futures: list[Future[_R]] = []
        try:
            submit: Callable[..., Any] = self.submit
            for item in iterable:
                futures.append(submit(fn, item))
        except PoolError as error:
            error.submitted = len(futures)
            raise
        return futures

    def map(
        self,
        fn: Callable[..., _R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[_R]:
        """Calls fn(*items), items being one of each iterable, and iterates over the results, as Executor.map() does.

        This call reads the iterables, and each item is begun as it comes. Workers claim one item after another. To the
        pool's counters a map is one task for each worker, however many items there are.

        An exception ends the iteration. When that happens, or the iterator is closed or left by an exception, calls
        that have not started are cancelled.

        Args:
            fn: The function to call.
            *iterables: The arguments; the shortest one ends the map.
            timeout: Seconds from this call within which each result must be there; None for no limit.
            chunksize: Ignored, as by ThreadPoolExecutor.
            buffersize: At most this many calls are ahead of the results taken, and the iterables are read as the
                results are; None for no limit.

        Returns:
            An iterator over the results, in the order of the items. It blocks until the next result is there, and
            raises the exception of that call, or TimeoutError.

        Raises:
            TypeError: buffersize is neither None nor an int.
            ValueError: buffersize is less than 1.
            RuntimeError: The executor is shut down, or the interpreter exits.
        """
        return self._results(fn, iterables, timeout, chunksize, buffersize, ordered=True)

    def map_unordered(
        self,
        fn: Callable[..., _R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[_R]:
        """As map(), but yields the results in the order of completion."""
        return self._results(fn, iterables, timeout, chunksize, buffersize, ordered=False)

    def _results(
        self,
        fn: Callable[..., _R],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        *,
        ordered: bool,
    ) -> Iterator[_R]:
        if buffersize is not None:
            if not isinstance(buffersize, int):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else timeout + time.monotonic()
        star = len(iterables) != 1
        if buffersize is not None or self._is_submit_replaced():
            return self._results_of_futures(fn, zip(*iterables, strict=False), end, buffersize, ordered=ordered)
        items = zip(*iterables, strict=False) if star else iterables[0]
        # Reading these runs no Python code that could wait for an item's call or take long.
        are_built_in = all(type(iterable) in _BUILT_IN for iterable in iterables)
        begun = list(items) if are_built_in else []
        left = None if end is None else end - time.monotonic()
        feed = self._feed(fn, begun, star, ordered, left)
        try:
            if not are_built_in:
                for item in items:
                    feed.add(item)
            return feed.results()
        finally:
            del feed  # The traceback of an exception of the input would keep it, where the collector cannot see it.

    def _results_of_futures(
        self,
        fn: Callable[..., _R],
        items: Iterator[tuple[Any, ...]],
        end: float | None,
        buffersize: int | None,
        *,
        ordered: bool,
    ) -> Iterator[_R]:
        """The results, with a future for each: for maps with a buffersize, and where submit() was replaced."""
        ahead: collections.OrderedDict[concurrent.futures.Future[_R], None] = collections.OrderedDict()
        done: collections.deque[concurrent.futures.Future[_R]] = collections.deque()
        wakers: list[Future[None]] = []

        def note(future: concurrent.futures.Future[_R]) -> None:
            done.append(future)
            while wakers:
                with contextlib.suppress(IndexError):  # Another thread may have taken the last one.
                    wakers.pop().set_result(None)

        def submit(executor: PoolExecutor, args: tuple[Any, ...]) -> None:
            future = executor.submit(fn, *args)
            ahead[future] = None
            if not ordered:
                future.add_done_callback(note)

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        def take() -> concurrent.futures.Future[_R]:
            if ordered:
                return ahead.popitem(last=False)[0]
            while not done:
                # Waits for a future: a Ctrl-C that comes just before queue.SimpleQueue.get() sleeps does not end it.
                waker: Future[None] = Future()
                wakers.append(waker)
                if not done:
                    waker._wait(left())
            future = done.popleft()
            del ahead[future]
            return future

        for args in itertools.islice(items, buffersize):
            submit(self, args)
        # Weak, so that results which were not taken do not keep the executor alive.
        executor = weakref.ref(self)

        def results() -> Generator[_R, None, None]:
            try:
                while ahead:
                    if buffersize is not None and (again := executor()) is not None:
                        for args in itertools.islice(items, 1):
                            submit(again, args)
                            del args
                        del again
                    yield _take(take(), left())
            finally:
                for future in ahead:
                    future.cancel()

        return results()

    def group(self, *, fail_fast: bool = False, limit: int | None = None, results: bool = False) -> TaskGroup:
        """Returns a TaskGroup of calls of this executor; the arguments are those of TaskGroup."""

        return TaskGroup(self, fail_fast=fail_fast, limit=limit, results=results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts no more calls; as ThreadPoolExecutor.shutdown().

        Args:
            wait: Block until all accepted calls are done and the workers' threads have ended.
            cancel_futures: Cancel the calls that have not started; otherwise they run.
        """
        self._close(cancel_futures)
        if wait:
            self._wait_closed()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Calls shutdown(). After an exception, ends the maps whose results the block was reading."""
        if exc_type is not None:
            self._leave_maps()
        self.shutdown(wait=True)

    def __repr__(self) -> str:
        try:
            pool = self.pool
        except RuntimeError:
            return f"<{type(self).__module__}.{type(self).__qualname__} not initialised>"
        state = "broken" if self._broken else "shut down" if self._shutdown else "open"
        return f"<{type(self).__module__}.{type(self).__qualname__} over {pool!r} {state}>"


def _take(future: concurrent.futures.Future[_R], timeout: float | None) -> _R:
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()  # In case it was not the call's own exception.
        raise
    finally:
        del future  # Its exception's traceback would keep it alive.


_NO_HAND_IN_THREADS = (
    "PoolExecutor starts its threads itself; its options daemon, initializer, stack_size and expiry_duration say how"
)


def _nothing() -> None:
    """Called by ThreadPoolExecutor.submit() to start a thread for a call: there is nothing to do."""


def _leave_maps() -> None:
    """At exit, after an uncaught exception: ends the maps whose results the main thread was reading."""
    if hasattr(sys, "last_value"):
        for found in gc.get_objects():
            if type(found) is _Results:
                found._leave()


# Called before the exit waits for the pools, since that was registered earlier. If this module is imported while the
# interpreter exits it is too late to register, but then there are no maps.
at_exit(_leave_maps)
