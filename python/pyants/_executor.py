"""PoolExecutor, a drop-in for concurrent.futures.ThreadPoolExecutor, and its Future."""

from __future__ import annotations

import collections
import collections.abc
import concurrent.futures
import itertools
import logging
import os
import queue
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from pyants._core import Pool, _Executor, _Future
from pyants._default import DEFAULT_CAPACITY
from pyants._errors import PoolClosedError, PoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import timedelta
    from typing import Self

    from pyants._core import MultiPool, MultiPoolWithFunc, PoolWithFunc, _Base
    from pyants._group import TaskGroup

_T = TypeVar("_T")
_R = TypeVar("_R")

_numbers = itertools.count()


class Future(_Future[_T], concurrent.futures.Future[_T]):
    """What a call will come to: a concurrent.futures.Future in all that can be seen.

    Executors make them. Everything that takes CPython's futures takes these, concurrent.futures.wait(), as_completed()
    and asyncio.wrap_future() among them.
    """

    # Whoever gets hold of the dict may make the future part of a cycle, so the collector has to look at it from then on.
    __dict__ = _Future._dict  # type: ignore[assignment]


def _default_workers() -> int:
    if sys.version_info >= (3, 13):
        cpus = os.process_cpu_count()
    else:
        cpus = os.cpu_count()
    return min(32, (cpus or 1) + 4)


class _Backlog:
    """What libraries ask of ThreadPoolExecutor's work queue: its size."""

    def __init__(self, pool: _Base) -> None:
        self._pool = pool

    def qsize(self) -> int:
        return self._pool.queued()

    def empty(self) -> bool:
        return self._pool.queued() == 0


class _Threads(collections.abc.Set[threading.Thread]):
    """What libraries ask of the set of ThreadPoolExecutor's threads: how many there are, and which."""

    def __init__(self, executor: PoolExecutor) -> None:
        self._pool = executor.pool
        self._pool_id = executor._pool_id()

    def __len__(self) -> int:
        return self._pool.running()

    def __iter__(self) -> Iterator[threading.Thread]:
        return (thread for thread in threading.enumerate() if getattr(thread, "_pyants_pool", None) == self._pool_id)

    def __contains__(self, thread: object) -> bool:
        return any(thread is other for other in self)


class PoolExecutor(_Executor, concurrent.futures.ThreadPoolExecutor):
    """A concurrent.futures.ThreadPoolExecutor on a pool of pyants.

    max_workers, thread_name_prefix, initializer, initargs: as ThreadPoolExecutor has them.

    The keyword options are those of Pool, for the pool that the executor makes, with other defaults: queue_size None,
    the backlog has no bound; expiry_duration 60 seconds, since ThreadPoolExecutor's threads never leave, and its users
    may keep in them what is costly to make; logger that of concurrent.futures. With a bound on the backlog submit()
    waits for room, or raises PoolOverloadError with nonblocking=True.

    It is a subclass for the sake of those who ask for one, such as loop.set_default_executor() of asyncio; it shares no
    code with ThreadPoolExecutor.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        queue_size: int | None = None,
        nonblocking: bool = False,
        max_blocking_tasks: int = 0,
        expiry_duration: float | timedelta = 60.0,
        disable_purge: bool = False,
        stack_size: int | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        # The checks, and what they say, are CPython's.
        if max_workers is None:
            max_workers = _default_workers()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        thread_name_prefix = thread_name_prefix or f"PoolExecutor-{next(_numbers)}"
        try:
            pool = Pool(
                max_workers,
                name=thread_name_prefix,
                initializer=initializer,
                initargs=tuple(initargs),
                queue_size=queue_size,
                nonblocking=nonblocking,
                max_blocking_tasks=max_blocking_tasks,
                expiry_duration=expiry_duration,
                disable_purge=disable_purge,
                stack_size=stack_size,
                logger=logger or logging.getLogger("concurrent.futures"),
            )
        except PoolClosedError:
            # The interpreter is on its way out: as with ThreadPoolExecutor, it is the calls that are refused.
            return
        self._set_up(pool, Future, thread_name_prefix)

    @classmethod
    def over(cls, pool: Pool | PoolWithFunc[...] | MultiPool | MultiPoolWithFunc[...]) -> Self:
        """An executor on the workers of a pool that others use too.

        Its shutdown() waits for, and cancels, its own calls only, and leaves the pool open. The pool's options hold:
        one without a queue makes submit() wait for a worker.
        """
        executor = cls.__new__(cls)
        executor._set_up(pool, Future, None)
        return executor

    # What libraries look at in a ThreadPoolExecutor: its attributes there, computed here.

    @property
    def _max_workers(self) -> int:
        capacity = self.pool.cap()
        return capacity if capacity > 0 else DEFAULT_CAPACITY

    @_max_workers.setter
    def _max_workers(self, max_workers: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.pool.tune(max_workers)

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

    @property
    def _work_queue(self) -> _Backlog:  # type: ignore[override]
        return _Backlog(self.pool)

    def submit_many(self, fn: Callable[[_T], _R], iterable: Iterable[_T], /) -> list[Future[_R]]:
        """Submits fn(item) for each item of iterable, and returns the futures in the order of the items.

        With a bound on the backlog it waits as submit() does. An error of the pool carries the number of accepted calls
        as its attribute submitted.
        """
        futures: list[Future[_R]] = []
        try:
            for item in iterable:
                futures.append(self._submit_one(fn, item))
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
        """As Executor.map() of Python 3.14: the results of fn(*items), in order, items being one of each iterable.

        The iterables are read at once and all calls submitted, except with buffersize: then at most so many calls are
        ahead of the results taken, and the iterables are read as the results are. Workers claim one item after another,
        so there is nothing to choose: chunksize has no effect, as with ThreadPoolExecutor.

        An exception is raised when its result's turn comes, TimeoutError when a result is not there timeout seconds
        after the call of map(); then, or when the iterator is closed, what has not started is cancelled. While it lasts
        a map is one task a worker to the pool's counters, however many items there are.
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
        """As map(), with the results in the order in which they come."""
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
        if buffersize is not None or type(self).submit is not _Executor.submit:
            return self._results_of_futures(fn, zip(*iterables, strict=False), end, buffersize, ordered=ordered)
        begin = time.monotonic()
        star = len(iterables) != 1
        items: list[Any] = []
        try:
            items.extend(zip(*iterables, strict=False) if star else iterables[0])
        except BaseException:
            # What was read before the input failed is called, as where each item is submitted when it is read.
            self._map(fn, items, star, ordered, None)
            raise
        left = None if timeout is None else timeout - (time.monotonic() - begin)
        return self._map(fn, items, star, ordered, left)

    def _results_of_futures(
        self,
        fn: Callable[..., _R],
        items: Iterator[tuple[Any, ...]],
        end: float | None,
        buffersize: int | None,
        *,
        ordered: bool,
    ) -> Iterator[_R]:
        """The results by a future each: for maps that read ahead only so far, and for subclasses with a submit()."""
        ahead: collections.OrderedDict[concurrent.futures.Future[_R], None] = collections.OrderedDict()
        done: queue.SimpleQueue[concurrent.futures.Future[_R]] = queue.SimpleQueue()

        def submit(executor: PoolExecutor, args: tuple[Any, ...]) -> None:
            future = executor.submit(fn, *args)
            ahead[future] = None
            if not ordered:
                future.add_done_callback(done.put)

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        def take() -> concurrent.futures.Future[_R]:
            if ordered:
                return ahead.popitem(last=False)[0]
            try:
                future = done.get(timeout=left())
            except queue.Empty:
                raise TimeoutError from None
            del ahead[future]
            return future

        for args in itertools.islice(items, buffersize):
            submit(self, args)
        # Weak: an executor that is dropped is not kept alive by results that nobody has taken.
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

    def group(self, *, fail_fast: bool = False, limit: int | None = None) -> TaskGroup:
        """A TaskGroup of calls of this executor."""
        from pyants._group import TaskGroup

        return TaskGroup(self, fail_fast=fail_fast, limit=limit)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts no more calls; as ThreadPoolExecutor.shutdown().

        wait: until all accepted calls are done and the workers have left. cancel_futures: calls that have not started
        are cancelled, else they are run.
        """
        self._close(cancel_futures)
        if wait:
            self._wait_closed()

    def __repr__(self) -> str:
        try:
            pool = self.pool
        except RuntimeError:
            return f"<{type(self).__module__}.{type(self).__qualname__} not initialised>"
        state = "shut down" if self._shutdown else "open"
        return f"<{type(self).__module__}.{type(self).__qualname__} over {pool!r} {state}>"


def _take(future: concurrent.futures.Future[_R], timeout: float | None) -> _R:
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()  # Where it was not the call's own exception.
        raise
    finally:
        del future  # Or its exception's traceback would hold it.
