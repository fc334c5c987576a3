"""TaskGroup: several calls that are waited for together."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from pyants._core import _Block, _fork_count
from pyants._errors import PoolDeadlockError, PoolTimeoutError
from pyants._failures import is_base_error, raise_group, report_failures
from pyants._future import Future

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import NoReturn, Self

    from pyants._core import _Executor

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _check_limit(limit: Any) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"limit must be None or an int, not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be above 0, not {limit!r}")


def _acquire(lock: Any, held: list[bool]) -> None:
    """Acquires the lock and notes it, for a block that releases it in the end if it is noted.

    In a with statement a signal handler may raise when the lock is acquired and the block has not begun, from Python
    3.14 on: it is never released then. Here Python's own iterators do both, so that no handler runs in between.
    """
    held.extend(itertools.starmap(lock.acquire, _ONCE))


_ONCE: tuple[tuple[()]] = ((),)


class _Place:
    """A place in a group with a limit, for one call."""

    __slots__ = ("future", "is_held", "is_inside", "is_taken")

    future: Future[None]
    """Set when the call that waits for the place gets it."""
    is_inside: bool
    """Whether it is a call of the group that waits for it."""

    def __init__(self) -> None:
        # Changed only under the lock of the places.
        self.is_held = False
        # Whether a call of the group has it, which gives it back at its end.
        self.is_taken = False


class _Places:
    """The places for a group's limit: each waiting or running call holds one, and submit() waits for a free one.

    A signal handler may raise at the end of any call that this makes, even the one that releases the lock. So under
    the lock there is no call between two changes that belong together, and a submit that raises gives its place back
    in any case: give() knows whether there is one.
    """

    def __init__(self, executor: _Executor, limit: int) -> None:
        self._executor = executor
        self._limit = limit
        self._lock = threading.Lock()
        self._free = limit
        self._waiters: collections.deque[_Place] = collections.deque()
        # The threads that run calls of the group.
        self._inside: set[int] = set()

    def call(self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        ident = threading.get_ident()
        self._inside.add(ident)
        try:
            return fn(*args, **kwargs)
        finally:
            self._inside.discard(ident)

    def try_take(self, place: _Place) -> bool:
        held: list[bool] = []
        try:
            _acquire(self._lock, held)
            if self._free == 0:
                return False
            self._free -= 1
            place.is_held = True
            return True
        finally:
            if held:
                self._lock.release()

    def take(self, place: _Place, timeout: float | None = None) -> bool:
        place.future = self._executor._place()
        place.is_inside = timeout is None and threading.get_ident() in self._inside
        held: list[bool] = []
        try:
            _acquire(self._lock, held)
            if self._free > 0:
                self._free -= 1
                place.is_held = True
                return True
            if place.is_inside and sum(waiter.is_inside for waiter in self._waiters) + 1 == self._limit:
                # All calls that could free a place wait for one.
                raise PoolDeadlockError(
                    "deadlock: the task group's limit is reached by calls that all wait to submit to it; have them call"
                    " try_submit(), and do the work themselves where it returns None"
                )
            self._waiters.append(place)
        finally:
            if held:
                self._lock.release()
        place.future._wait(timeout)
        return True

    def give(self, place: _Place) -> None:
        """Gives the place to the call that has waited longest for one; or, if it is not held, waits for it no more."""
        held: list[bool] = []
        try:
            _acquire(self._lock, held)
            if not place.is_held:
                if place in self._waiters:
                    self._waiters.remove(place)
                return
            if not self._waiters:
                place.is_held = False
                self._free += 1
                return
            place.is_held = False
            waiter = self._waiters[0]
            del self._waiters[0]
            waiter.is_held = True
            waiter.future.set_result(None)
        finally:
            if held:
                self._lock.release()

    def give_up(self, place: _Place) -> None:
        """Gives the place back, or waits for it no more, unless a call of the group has it."""
        if not place.is_taken:
            self.give(place)


class _Call:
    """A call of a group, from before its submit: accepted has its future then, or None."""

    __slots__ = ("accepted", "number", "place")

    number: int

    def __init__(self, place: _Place | None) -> None:
        self.place = place
        self.accepted: list[Future[Any] | None] = []
        self.number = -1


def _wait_for(future: concurrent.futures.Future[Any]) -> None:
    if isinstance(future, Future):
        future._wait()
    else:
        # Made by a replacement of submit().
        concurrent.futures.wait((future,))


class _Failures:
    """The exceptions that calls of a group raised."""

    def __init__(self) -> None:
        # By the number of the call.
        self.errors: dict[int, BaseException] = {}
        # The first SystemExit or KeyboardInterrupt, of a call or of the block.
        self.base_error: BaseException | None = None

    def in_order(self) -> list[BaseException]:
        errors = self.errors.copy()
        return [errors[number] for number in sorted(errors)]


class TaskGroup(_Block):
    """Calls on a pool that are waited for together, like Go's WaitGroup and errgroup.

        with pool.group(results=True) as group:
            for name in names:
                group.submit(load, name)
        loaded = group.results()

    The end of the block blocks until all calls of the group are done, and raises the exceptions of failed calls as one
    ExceptionGroup, each with its traceback. Calls may be submitted from several threads, and by the group's own calls.

    As with asyncio.TaskGroup an exception in the block cancels the calls that have not started, waits for the others,
    and is raised in one group with the calls' exceptions. SystemExit and KeyboardInterrupt, of the block or of a call,
    are raised as they are, and other failures are logged then; they, too, cancel the calls that have not started. So
    does Ctrl-C while the block waits at its end; a second one leaves at once, and its traceback says how many calls are
    still running.

    Args:
        executor: The executor that runs the calls.
        fail_fast: After the first failure, cancel the calls that have not started.
        limit: How many calls of the group may be waiting or running at once: submit() blocks until one ends. None for
            no limit.
        results: Keep what the calls return, for results(); otherwise only unfinished calls and failures are kept.
    """

    def __init__(
        self, executor: _Executor, *, fail_fast: bool = False, limit: int | None = None, results: bool = False
    ) -> None:
        if limit is not None:
            _check_limit(limit)
        self._executor = executor
        self._fail_fast = fail_fast
        self._limit = limit
        self._count = 0
        self._begin()
        self._failures = _Failures()
        # By the number of the call, like the failures.
        self._futures: dict[int, Future[Any]] | None = {} if results else None
        self._stopped = False
        self._left = False

    def _begin(self) -> None:
        self._process = _fork_count()
        self._places = None if self._limit is None else _Places(self._executor, self._limit)
        # Reentrant: while it is held the garbage collector may run code that submits.
        self._counting = threading.RLock()
        # The unfinished calls.
        self._pending: dict[Future[Any], _Call] = {}

    def _check_process(self) -> None:
        """In a forked child the unfinished calls are the parent's, and its threads may hold the locks: begins anew."""
        if self._process != _fork_count():
            self._begin()
            if self._futures is not None:
                self._futures = {number: future for number, future in self._futures.items() if future.done()}

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Submits fn(*args, **kwargs) as a call of the group; blocks as the pool's options and the group's limit say.

        Returns:
            The call's Future, which is cancelled at once in a group that failed fast.

        Raises:
            PoolError: As from the pool's submit().
            PoolDeadlockError: It would block for ever, since all calls within the limit wait to submit to the group.
            RuntimeError: The group's block has been left.
        """
        self._check_open()
        submit = self._executor.submit
        places = self._places
        if places is None:
            future = self._admit(None, submit, fn, args, kwargs)
        else:
            take = functools.partial(self._take, places)
            future = self._in_place(
                places, take, lambda place: self._admit(place, submit, places.call, (fn, args, kwargs))
            )
        assert future is not None
        return future

    def try_submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T] | None:
        """As submit(), but never blocks; returns None if the pool is overloaded or the group's limit is reached."""
        self._check_open()
        submit = self._executor.try_submit
        places = self._places
        if places is None:
            return self._admit(None, submit, fn, args, kwargs)
        take = functools.partial(self._try_take, places)
        return self._in_place(places, take, lambda place: self._admit(place, submit, places.call, (fn, args, kwargs)))

    def submit_within(
        self, timeout: float | timedelta, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """As submit(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
        self._check_open()
        submit = self._executor.submit_within
        places = self._places
        if places is None:
            future = self._admit(None, functools.partial(submit, timeout), fn, args, kwargs)
            assert future is not None
            return future
        end = time.monotonic() + self._executor._seconds(timeout)

        def left() -> float:
            return max(0.0, end - time.monotonic())

        def take(place: _Place) -> bool:
            try:
                return self._take(places, place, left())
            except TimeoutError:
                raise PoolTimeoutError("submit_within ran out of time: the task group's limit is reached") from None

        future = self._in_place(
            places,
            take,
            lambda place: self._admit(place, functools.partial(submit, left()), places.call, (fn, args, kwargs)),
        )
        assert future is not None
        return future

    def _in_place(
        self,
        places: _Places,
        take: Callable[[_Place], bool],
        submit: Callable[[_Place], Future[_T] | None],
    ) -> Future[_T] | None:
        """Submits a call that needs a place; None: there is no place, or the pool is overloaded."""
        place = _Place()
        try:
            try:
                if take(place) and (future := submit(place)) is not None:
                    return future
            except BaseException:
                places.give_up(place)
                raise
            places.give_up(place)
        except BaseException:
            places.give_up(place)  # Once more: a signal handler may have raised before it was given back.
            raise
        return None

    def _check_open(self) -> None:
        self._check_process()
        if self._left:
            raise RuntimeError("the task group is over: its block has been left")

    def _cancelled(self) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    def _admit(
        self,
        place: _Place | None,
        submit: Callable[..., Future[Any] | None],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
    ) -> Future[Any] | None:
        """Submits a call, and makes it one of the group; None: the pool is overloaded.

        A signal handler may raise as soon as the pool has accepted the call: it is one of the group all the same, which
        waits for it.
        """
        call = _Call(place)
        try:
            if self._stopped:
                call.accepted.append(self._cancelled())
            else:
                # Python's own iterators make the call and keep the future: no signal handler runs in between.
                submit = functools.partial(submit, **kwargs) if kwargs else submit
                call.accepted.extend(itertools.starmap(submit, ((fn, *args),)))
            return self._enter(call)
        except BaseException:
            if call.accepted:
                self._enter(call)
            raise

    def _enter(self, call: _Call) -> Future[Any] | None:
        """Makes the call one of the group. Where a signal handler raises meanwhile, this is done once more."""
        future = call.accepted[0]
        if future is None:
            return None
        held: list[bool] = []
        try:
            _acquire(self._counting, held)
            # There is no call among these, at whose end a signal handler could raise.
            if call.number < 0:
                call.number = number = self._count
                self._count = number + 1
                self._pending[future] = call
                if call.place is not None:
                    call.place.is_taken = True
                if self._futures is not None:
                    self._futures[number] = future
        finally:
            if held:
                self._counting.release()
        future.add_done_callback(self._note)
        if self._left and future.cancel():
            # The block was left while another thread was submitting.
            raise RuntimeError("the task group is over: its block has been left")
        if self._stopped:
            # It may have come in while the others were being cancelled.
            future.cancel()
        return future

    def _note(self, future: Future[Any]) -> None:
        """When a call is done: keeps its exception and drops the future.

        Called by the thread that completes the call, and by a thread that waits for it and may be faster.
        """
        # Read before the call is looked up: as long as that is pending, these are the failures that the block's end
        # raises. Afterwards they are dropped, and anything noted here too late is dropped with them.
        failures = self._failures
        call = self._pending.get(future)
        if call is None:
            return
        error = None if future.cancelled() else future.exception()
        if error is not None:
            # Before the call is removed: a thread that finds no call pending then finds every failure.
            failures.errors[call.number] = error
            if is_base_error(error) and failures.base_error is None:
                failures.base_error = error
        # Read before the call is removed: a thread that leaves the block finds the call pending, or its failure.
        left = self._left
        if error is not None and not left and (self._fail_fast or is_base_error(error)):
            # Before the place is freed, or the next call would get in after the failure.
            self._stop()
        if self._places is not None and call.place is not None:
            self._places.give(call.place)
        # Last: if a signal handler raises above, a thread that waits for the calls finds this one and does it again.
        if self._pending.pop(future, None) is not None and left and error is not None:
            report_failures([error])

    def _take(self, places: _Places, place: _Place, timeout: float | None = None) -> bool:
        return self._try_take(places, place) or places.take(place, timeout)

    def _try_take(self, places: _Places, place: _Place) -> bool:
        """Takes a place if one is free, or is not only because a signal came while the end of a call was noted."""
        if places.try_take(place):
            return True
        for future in list(self._pending):
            if future.done():
                self._note(future)
        return places.try_take(place)

    def _stop(self) -> None:
        self._stopped = True
        self.cancel()

    def cancel(self) -> int:
        """Cancels the calls that have not started; returns their number."""
        self._check_process()
        # Last first: until the first ones are cancelled they keep workers from reaching the others.
        return sum(not future.done() and future.cancel() for future in reversed(list(self._pending)))

    def results(self) -> list[Any]:
        """Returns what the calls returned, in the order of submission; blocks until all are done.

        Raises:
            RuntimeError: The group was not created with results=True.
            ExceptionGroup: Calls failed.
            CancelledError: A call was cancelled, and none failed.
        """
        if self._futures is None:
            raise RuntimeError("the task group keeps no results: ask for them with group(results=True)")
        self._wait()
        self._raise_failures(None, None)
        return [self._futures[number].result() for number in sorted(self._futures)]

    def _wait(self) -> None:
        self._check_process()
        # The group's calls may submit more meanwhile.
        while pending := list(self._pending):
            for future in pending:
                _wait_for(future)
                self._note(future)

    def _raise_failures(self, own: BaseException | None, interrupt: BaseException | None) -> None:
        """Raises the group's failures as asyncio.TaskGroup does, but not an exception that leaves the block anyhow.

        own: the block's exception. interrupt: the exception that ended the wait for the calls.
        """
        failures = self._failures.in_order()
        # A deadlock is an error of the block. Any other exception that ends the wait comes from a signal handler.
        deadlock = interrupt if isinstance(interrupt, PoolDeadlockError) else None
        bare = self._failures.base_error if interrupt is deadlock else interrupt
        try:
            if bare is None:
                raise_group(failures, self._count, own, deadlock)
            else:
                report_failures(error for error in failures if error is not bare)
                if bare is not own:
                    raise bare
        finally:
            del failures, bare, deadlock, own, interrupt  # Their tracebacks would keep them alive.

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: its calls live in this process")

    def __enter__(self) -> Self:
        return self

    def _leave(self, exc_value: BaseException | None, interrupt: BaseException | None = None) -> None:
        """What `__exit__` does. interrupt: what a signal handler raised as it began, if it is done again for that."""
        if exc_value is not None:
            if is_base_error(exc_value) and self._failures.base_error is None:
                self._failures.base_error = exc_value
            self._stop()
        try:
            if interrupt is not None:
                raise interrupt
            self._wait()
        except BaseException as raised:  # noqa: BLE001 - it is raised again when the calls are done
            interrupt = raised
            self._stop()
            try:
                self._wait()
            except BaseException as again:
                running = sum(not future.done() for future in list(self._pending))
                again.add_note(f"{running} tasks of the group are still running")
                report_failures(self._failures.in_order())
                raise
        finally:
            self._left = True
        try:
            self._raise_failures(exc_value, interrupt)
        finally:
            interrupt = None
            if self._futures is None:
                self._failures = _Failures()  # They were raised or logged, and cannot be asked for again.


class FuncTaskGroup(TaskGroup, Generic[_P]):
    """A TaskGroup on a pool with a function.

    Args:
        executor: The executor that runs the calls.
        func: The pool's function.
        **options: Those of TaskGroup.
    """

    def __init__(self, executor: _Executor, func: Callable[_P, Any], **options: Any) -> None:
        super().__init__(executor, **options)
        self._func = func

    def invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> Future[Any]:
        """As submit(), for a call of the pool's function."""
        return self.submit(self._func, *args, **kwargs)

    def try_invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> Future[Any] | None:
        """As invoke(), but never blocks; returns None if the pool is overloaded or the group's limit is reached."""
        return self.try_submit(self._func, *args, **kwargs)

    def invoke_within(self, timeout: float | timedelta, /, *args: _P.args, **kwargs: _P.kwargs) -> Future[Any]:
        """As invoke(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
        return self.submit_within(timeout, self._func, *args, **kwargs)
