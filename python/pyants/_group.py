"""TaskGroup: several calls, waited for together."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from pyants._errors import PoolDeadlockError
from pyants._executor import Future, PoolExecutor
from pyants._types import report_failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import NoReturn, Self

    from pyants._core import MultiPool, MultiPoolWithFunc, Pool, PoolWithFunc

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _check_limit(limit: Any) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"limit must be None or an int, not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be above 0, not {limit!r}")


class _Places:
    """How many calls of a group there may be at once. Who finds no place stands in line for one."""

    def __init__(self, executor: PoolExecutor, limit: int) -> None:
        self._executor = executor
        self._limit = limit
        self._lock = threading.Lock()
        self._free = limit
        # What is told of a place, and whether it is a call of the group that waits for it.
        self._line: collections.deque[tuple[Future[None], bool]] = collections.deque()
        # The threads that run calls of the group.
        self._inside: set[int] = set()

    def call(self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        ident = threading.get_ident()
        self._inside.add(ident)
        try:
            return fn(*args, **kwargs)
        finally:
            self._inside.discard(ident)

    def take(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
        place: Future[None] = self._executor._place()
        is_inside = threading.get_ident() in self._inside
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            if is_inside and sum(inside for _, inside in self._line) + 1 == self._limit:
                # All that could give a place wait for one.
                raise PoolDeadlockError("the task group's limit is reached by calls that all wait to submit to it")
            self._line.append((place, is_inside))
        try:
            place._wait()
        except BaseException:
            with self._lock:
                try:
                    self._line.remove((place, is_inside))
                    is_given = False
                except ValueError:
                    is_given = True
            if is_given:
                self.give()
            raise

    def give(self) -> None:
        with self._lock:
            if not self._line:
                self._free += 1
                return
            place, _ = self._line.popleft()
        place.set_result(None)


def _wait_for(future: concurrent.futures.Future[Any]) -> None:
    if isinstance(future, Future):
        future._wait()
    else:
        # Of a submit() that others replaced.
        concurrent.futures.wait((future,))


class TaskGroup:
    """Calls on a pool that are waited for together: the WaitGroup and the errgroup of Go.

        with pool.group() as group:
            for name in names:
                group.submit(load, name)
        loaded = group.results()

    The block is left when all calls of the group are done. Those that failed come out as one ExceptionGroup, each with
    its traceback. Calls may be submitted from several threads, and by the group's own calls.

    fail_fast: after the first failure cancels what has not started. limit: how many calls of the group may be waiting
    or running at once; submit() waits for one of them to end.

    An exception in the block cancels what has not started, waits for what has, and is passed on as it is; failures of
    the calls are logged then. So does Ctrl-C while the block waits at its end; a second one leaves at once, and its
    traceback says how many calls are still running.
    """

    def __init__(self, executor: PoolExecutor, *, fail_fast: bool = False, limit: int | None = None) -> None:
        if limit is not None:
            _check_limit(limit)
        self._executor = executor
        self._fail_fast = fail_fast
        self._places = None if limit is None else _Places(executor, limit)
        self._futures: list[Future[Any]] = []
        self._stopped = False
        self._left = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Submits fn(*args, **kwargs) as a call of the group, and returns its Future.

        Waits as the pool's options, and the group's limit, say. Raises what the pool's submit() raises, and
        RuntimeError when the group's block has been left. In a group that failed fast the future is cancelled at once.
        """
        if self._left:
            raise RuntimeError("the task group is over: its block has been left")
        places = self._places
        if places is not None:
            places.take()
        try:
            if self._stopped:
                future: Future[_T] = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
            elif places is not None:
                future = self._executor.submit(places.call, fn, args, kwargs)
            else:
                future = self._executor.submit(fn, *args, **kwargs)
        except BaseException:
            if places is not None:
                places.give()
            raise
        self._futures.append(future)
        if self._fail_fast or places is not None:
            future.add_done_callback(self._note)
        if self._stopped:
            # It may have been on its way in when the others were cancelled.
            future.cancel()
        return future

    def _note(self, future: Future[Any]) -> None:
        # First this, or who is given the place would come in after the failure.
        if self._fail_fast and not future.cancelled() and future.exception() is not None:
            self._stop()
        if self._places is not None:
            self._places.give()

    def _stop(self) -> None:
        self._stopped = True
        self.cancel()

    def cancel(self) -> int:
        """Cancels the calls that have not started; how many."""
        # The last first: those that workers are about to start are still in their way meanwhile.
        return sum(not future.done() and future.cancel() for future in reversed(list(self._futures)))

    def results(self) -> list[Any]:
        """What the calls returned, in the order of their submission.

        Waits for those that are not done. Raises an ExceptionGroup of what calls raised, or CancelledError where one
        was cancelled.
        """
        self._wait()
        self._raise_failures()
        return [future.result() for future in self._futures]

    def _wait(self) -> None:
        # The list may grow meanwhile: the group's calls may submit others.
        for future in self._futures:
            _wait_for(future)

    def _failures(self) -> list[BaseException]:
        done = [future for future in self._futures if not future.cancelled()]
        return [error for error in (future.exception() for future in done) if error is not None]

    def _raise_failures(self) -> None:
        if failures := self._failures():
            raise BaseExceptionGroup(f"{len(failures)} of {len(self._futures)} tasks failed", failures)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: its calls live in this process")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        interrupt: BaseException | None = None
        if exc_value is not None:
            self._stop()
        try:
            self._wait()
        except BaseException as raised:  # noqa: BLE001 - it is raised again when the calls are done
            interrupt = raised
            self._stop()
            try:
                self._wait()
            except BaseException as again:
                running = sum(not future.done() for future in self._futures)
                again.add_note(f"{running} tasks of the group are still running")
                raise
        finally:
            self._left = True
        if exc_value is not None or interrupt is not None:
            report_failures(self._failures())
            if interrupt is not None:
                try:
                    raise interrupt
                finally:
                    interrupt = None
            return
        self._raise_failures()


class FuncTaskGroup(TaskGroup, Generic[_P]):
    """A TaskGroup on a pool with a function."""

    def __init__(self, executor: PoolExecutor, func: Callable[_P, Any], **options: Any) -> None:
        super().__init__(executor, **options)
        self._func = func

    def invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> Future[Any]:
        """Submits a call of the pool's function; as submit()."""
        return self.submit(self._func, *args, **kwargs)


def group(
    self: Pool | MultiPool,
    *,
    fail_fast: bool = False,
    limit: int | None = None,
) -> TaskGroup:
    """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    fail_fast: after the first failure cancels what has not started. limit: how many calls of the group may be
    waiting or running at once.
    """
    return TaskGroup(PoolExecutor.over(self), fail_fast=fail_fast, limit=limit)


def group_with_func(
    self: PoolWithFunc[_P] | MultiPoolWithFunc[_P],
    *,
    fail_fast: bool = False,
    limit: int | None = None,
) -> FuncTaskGroup[_P]:
    """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    Besides submit() it has invoke(), which calls the pool's function. fail_fast: after the first failure cancels
    what has not started. limit: how many calls of the group may be waiting or running at once.
    """
    return FuncTaskGroup(PoolExecutor.over(self), self.func, fail_fast=fail_fast, limit=limit)
