# The native half of pyants. Its signatures and docstrings are those of the built module, which the tests check.
import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context
from datetime import timedelta
from logging import Logger
from types import GenericAlias, ModuleType, TracebackType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar, Unpack, final

from typing_extensions import disjoint_base

from pyants._future import Future
from pyants._group import FuncTaskGroup, TaskGroup
from pyants._types import LoadBalancingStrategy, PoolOptions, PoolStats

__all__ = [
    "AsyncCall",
    "MultiPool",
    "MultiPoolWithFunc",
    "Pool",
    "PoolWithFunc",
    "_AsyncPool",
    "_Base",
    "_Block",
    "_Executor",
    "_Exit",
    "_Feed",
    "_Future",
    "_Invoker",
    "_Results",
    "_Submitter",
    "_Ticket",
    "_fail_spawns",
    "_fork_count",
    "_modules",
    "_wait_ended",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")

@disjoint_base
class _Base:
    """The methods that all pools of pyants have in common."""

    def running(self) -> int:
        """The number of live workers, idle ones included."""
    def free(self) -> int:
        """The number of workers that may still be started: cap() - running(), or -1 without a limit.

        It is negative for a while after the capacity was lowered below the number of running tasks.
        """
    def waiting(self) -> int:
        """The number of threads that are blocked in submit() or invoke(), waiting for a permit."""
    def cap(self) -> int:
        """The capacity: the largest number of workers, or -1 without a limit."""
    def queued(self) -> int:
        """The number of accepted tasks that wait for a worker; always 0 with queue_size=0."""
    def is_closed(self) -> bool:
        """Whether the pool is closed."""
    def stats(self) -> PoolStats:
        """Returns a PoolStats: all numbers of the pool, taken in one go."""
    def tune(self, capacity: int) -> None:
        """Changes the capacity at once, without waiting for a task.

        If it grows, as many blocked submitters as now fit are admitted. If it shrinks, surplus workers leave: idle ones
        now, busy ones when their task is done. Ignored, as in ants, by an unlimited pool and with pre_alloc.

        Args:
            capacity: The new capacity, of each pool in a MultiPool; ignored if it is 0 or less.
        """
    def wait_idle(self, timeout: float | timedelta | None = None) -> bool:
        """Blocks until all accepted tasks are done, those accepted meanwhile too.

        Args:
            timeout: Seconds, or a timedelta; None for no limit.

        Returns:
            True when all tasks are done, False when the time is over.

        Raises:
            PoolDeadlockError: The caller is a task of the pool, and would block for ever.
        """
    def release(self) -> None:
        """Closes the pool and returns at once; does nothing on a closed pool.

        Blocked submitters get PoolClosedError, idle workers leave, and accepted tasks still run.
        """
    def release_timeout(self, timeout: float | timedelta) -> None:
        """Closes the pool and blocks until every accepted task is done and every worker has left.

        Args:
            timeout: Seconds, or a timedelta.

        Raises:
            PoolClosedError: The pool is closed already.
            PoolTimeoutError: The time is over; the pool stays closed, and its tasks go on.
        """
    def reboot(self) -> None:
        """Reopens a closed pool; does nothing on an open one.

        Options, the tuned capacity and the counters are kept. Workers are started on demand.
        """
    def _start_workers(self) -> None:
        """Starts the workers that the tasks in flight would get if none ended meanwhile.

        Blocks until they are registered with threading.
        """
    def __del__(self) -> None:
        """Closes the pool, and keeps it alive until its last worker has left."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None:
        """Closes the pool and blocks, without limit, until every accepted task is done and every worker has left."""
    def __reduce__(self) -> NoReturn: ...

class _Submitter(_Base):
    """The methods of the pools to which callables are submitted."""

    def submit(self, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Runs fn(*args, **kwargs) on a worker; blocks while the pool is full.

        Returns when a worker has the task or, with a queue, when the task is accepted.

        Raises:
            PoolClosedError: The pool is closed, or closes while this blocks.
            PoolOverloadError: The pool is full, and the call may not block.
            PoolDeadlockError: It would block for ever, because every worker is blocked like this.
            PoolSpawnError: No thread can be started, and no worker is alive.
        """
    def try_submit(self, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """As submit(), but never blocks; returns False if the pool is overloaded."""
    def submit_within(
        self, timeout: float | timedelta, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """As submit(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def submit_many(self, fn: Callable[[_T], object], iterable: Iterable[_T], /) -> int:
        """Submits fn(item) for each item of iterable; blocks as submit() does.

        The iterable is read lazily: each item only when the one before was accepted.

        Returns:
            The number of tasks.

        Raises:
            PoolError: As from submit(); its attribute submitted is the number of tasks accepted before.
        """
    def group(self, *, fail_fast: bool = False, limit: int | None = None, results: bool = False) -> TaskGroup:
        """Returns a TaskGroup of calls on this pool, for a with block that ends when all of them are done.

        Args:
            fail_fast: After the first failure, cancel the calls that have not started.
            limit: How many calls of the group may be waiting or running at once; None for no limit.
            results: Keep what the calls return, for the group's results().
        """

class _Invoker(_Base, Generic[_P]):
    """The methods of the pools with one function for all tasks."""

    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @property
    def func(self) -> Callable[_P, object]:
        """The function that every task calls."""
    def invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Runs func(*args, **kwargs) on a worker; blocks while the pool is full.

        Returns when a worker has the task or, with a queue, when the task is accepted.

        Raises:
            PoolClosedError: The pool is closed, or closes while this blocks.
            PoolOverloadError: The pool is full, and the call may not block.
            PoolDeadlockError: It would block for ever, because every worker is blocked like this.
            PoolSpawnError: No thread can be started, and no worker is alive.
        """
    def try_invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """As invoke(), but never blocks; returns False if the pool is overloaded."""
    def invoke_within(self, timeout: float | timedelta, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """As invoke(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def invoke_many(self, iterable: Iterable[Any], /) -> int:
        """Submits func(item) for each item of iterable; blocks as invoke() does.

        The iterable is read lazily: each item only when the one before was accepted.

        Returns:
            The number of tasks.

        Raises:
            PoolError: As from invoke(); its attribute submitted is the number of tasks accepted before.
        """
    def group(self, *, fail_fast: bool = False, limit: int | None = None, results: bool = False) -> FuncTaskGroup[_P]:
        """Returns a TaskGroup of calls on this pool, for a with block that ends when all of them are done.

        Besides submit() it has invoke(), which calls the pool's function.

        Args:
            fail_fast: After the first failure, cancel the calls that have not started.
            limit: How many calls of the group may be waiting or running at once; None for no limit.
            results: Keep what the calls return, for the group's results().
        """

class Pool(_Submitter):
    """A pool of worker threads in the manner of Go's ants.

    No thread is started before the first task. As a context manager the pool is closed at the end of the block, which
    then blocks until every accepted task is done and every worker has left.

    Args:
        capacity: The largest number of workers; 0 or less for no limit.
        expiry_duration: Seconds (or a timedelta) after which an idle worker leaves; 0 means 1.0.
        pre_alloc: Reserve the slots of all workers now; the capacity cannot be tuned then.
        max_blocking_tasks: How many threads may block in submit() at once; 0 for no limit.
        nonblocking: Whether submit() raises PoolOverloadError instead of blocking.
        panic_handler: Called with the exception of a task, on the worker's thread.
        logger: Gets a task's exception if there is no panic_handler; None for logging.getLogger("pyants").
        disable_purge: Keep idle workers until the pool is released.
        queue_size: How many accepted tasks may wait for a worker; None for no limit.
        name: Threads are named "{name}_{n}".
        initializer: Called in each worker thread before its first task. If it fails the pool breaks: it closes itself,
            and tasks that have not started are cancelled.
        initargs: The arguments for initializer.
        retry_initializer: If initializer fails only that worker is lost, and the next start tries again. Its task is
            left to another worker, or cancelled if there is none.
        stack_size: The stack of a worker thread, in bytes.
        daemon: Whether the interpreter exits without waiting for the pool: it cancels queued tasks, not running ones.
    """

    def __init__(
        self,
        capacity: int = -1,
        *,
        expiry_duration: float | timedelta = 1.0,
        pre_alloc: bool = False,
        max_blocking_tasks: int = 0,
        nonblocking: bool = False,
        panic_handler: Callable[[BaseException], object] | None = None,
        logger: Logger | None = None,
        disable_purge: bool = False,
        queue_size: int | None = 0,
        name: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        retry_initializer: bool = False,
        stack_size: int | None = None,
        daemon: bool = False,
    ) -> None: ...

class PoolWithFunc(_Invoker[_P]):
    """A pool of worker threads that all call the same function.

    Args:
        capacity: The largest number of workers; 0 or less for no limit.
        func: The function that every task calls.
        **options: Those of Pool.
    """

    def __init__(
        self,
        capacity: int,
        func: Callable[_P, object],
        **options: Unpack[PoolOptions],
    ) -> None: ...

class MultiPool(_Submitter):
    """Several pools behind one front: less contention between submitters.

    A task goes to the pool that the strategy chooses or, if that one is full, to another with a permit. If all are
    full, submit() blocks until one of them has a permit.

    Args:
        size: The number of pools.
        capacity_per_pool: The largest number of workers of each pool; 0 or less for no limit.
        strategy: A LoadBalancingStrategy.
        **options: Those of Pool, for each of the pools.
    """

    def __init__(
        self,
        size: int,
        capacity_per_pool: int,
        strategy: LoadBalancingStrategy = ...,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    def running_by_index(self, index: int) -> int:
        """running() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def free_by_index(self, index: int) -> int:
        """free() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def waiting_by_index(self, index: int) -> int:
        """waiting() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def queued_by_index(self, index: int) -> int:
        """queued() of the pool with this index; raises InvalidPoolIndexError if there is none."""

class MultiPoolWithFunc(_Invoker[_P]):
    """Several pools behind one front, whose workers all call the same function.

    Args:
        size: The number of pools.
        capacity_per_pool: The largest number of workers of each pool; 0 or less for no limit.
        func: The function that every task calls.
        strategy: A LoadBalancingStrategy.
        **options: Those of Pool, for each of the pools.
    """

    def __init__(
        self,
        size: int,
        capacity_per_pool: int,
        func: Callable[_P, object],
        strategy: LoadBalancingStrategy = ...,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    def running_by_index(self, index: int) -> int:
        """running() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def free_by_index(self, index: int) -> int:
        """free() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def waiting_by_index(self, index: int) -> int:
        """waiting() of the pool with this index; raises InvalidPoolIndexError if there is none."""
    def queued_by_index(self, index: int) -> int:
        """queued() of the pool with this index; raises InvalidPoolIndexError if there is none."""

@disjoint_base
class _Future(Generic[_T]):
    """The native half of `pyants.Future`."""

    def __init__(self) -> None: ...
    def cancel(self) -> bool:
        """Cancels the call if it has not started; returns whether it is cancelled."""
    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
    def running(self) -> bool:
        """Whether the call is running."""
    def done(self) -> bool:
        """Whether the call was cancelled, has returned or has raised."""
    def result(self, timeout: float | None = None) -> _T:
        """Returns what the call returned, or raises its exception; blocks until the call is done.

        Args:
            timeout: Seconds; None for no limit.

        Raises:
            TimeoutError: The time is over.
            CancelledError: The call was cancelled.
            PoolDeadlockError: A worker would block for ever, waiting for its own pool.
        """
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Returns the call's exception, or None; blocks, and raises, as result() does."""
    def add_done_callback(self, fn: Callable[[Future[_T]], object]) -> None:
        """Has fn(future) called when the future is done: by the thread that completes it, or at once if it is done.

        Callbacks are called in the order in which they were added; an exception in one is logged.
        """
    def set_running_or_notify_cancel(self) -> bool:
        """For executors and tests: marks the call as running; returns False, and notifies waiters, if cancelled."""
    def set_result(self, result: _T) -> None:
        """For executors and tests: sets the result of the call."""
    def set_exception(self, exception: BaseException | None) -> None:
        """For executors and tests: sets the exception of the call."""
    def _wait(self, timeout: float | None = None) -> None:
        """Blocks as result() does until the future is done, with whatever outcome."""
    @property
    def _dict(self) -> dict[str, Any]:
        """The `__dict__` of a subclass."""
    @_dict.setter
    def _dict(self, value: dict[str, Any]) -> None:
        """The `__dict__` of a subclass."""
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...

class _Block:
    """The native half of `pyants.TaskGroup`: the end of its block.

    A signal handler may raise as a function of Python begins, before its first statement: an `__exit__` of Python would
    then have done nothing.
    """

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Calls _leave(exc_value); and again, with the exception of a signal handler that kept it from beginning."""

@disjoint_base
class _Executor:
    """The native half of `pyants.PoolExecutor`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _set_up(self, pool: _Base, future_class: type[Future[Any]], thread_name_prefix: str | None) -> None:
        """The body of __init__. thread_name_prefix is None if the pool is shared."""
    @property
    def _given_prefix(self) -> str:
        """The prefix of the names of the executor's threads; empty if the pool is shared."""
    @property
    def pool(self) -> _Base:
        """The pool whose workers run the calls."""
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedules fn(*args, **kwargs) and returns the Future of its result.

        With a limit on the backlog it blocks while the backlog is full.

        Raises:
            RuntimeError: The executor is shut down, or the interpreter exits.
            BrokenThreadPool: An initializer failed.
            PoolError: As from Pool.submit().
        """
    def try_submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T] | None:
        """As submit(), but never blocks; returns None if the pool is overloaded."""
    def submit_within(
        self, timeout: float | timedelta, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """As submit(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def _submit_call(self, fn: Callable[..., _R], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Future[_R]:
        """Submits a call for CPython's own submit()."""
    def _check_open(self) -> None:
        """Raises as submit() does if the executor accepts no more calls."""
    def _is_submit_replaced(self) -> bool:
        """Whether submit() was replaced: on this executor, in its class, or in CPython's."""
    def _feed(
        self, fn: Callable[..., _R], items: list[Any], star: bool, ordered: bool, timeout: float | None
    ) -> _Feed[_R]:
        """Begins a map: returns the feed that takes further items and has the results. The calls for these items begin
        at once: fn gets each item or, if star, the items of each tuple as its arguments.
        """
    def _leave_maps(self) -> None:
        """Cancels calls that have not started of the maps whose results this thread has begun to read."""
    def _take_queued(self) -> tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None:
        """Takes the oldest call that waits for a worker out of the queue: returns its future, fn, args and kwargs."""
    def _close(self, cancel_futures: bool) -> None:
        """Accepts no more calls; with cancel_futures, cancels those that have not started."""
    def _wait_closed(self) -> None:
        """Blocks until every accepted call is done and, if the pool is its own, every worker has left."""
    def _pool_id(self) -> int:
        """The id of the pool; the thread object of a worker has it as its attribute _pyants_pool."""
    def _place(self) -> Future[None]:
        """Returns a future to wait for a place with: a worker's wait for it counts when deadlocks are detected."""
    def _seconds(self, timeout: float | timedelta) -> float:
        """Returns a timeout in seconds, checked as by submit_within()."""
    def _is_broken(self) -> bool:
        """Whether a worker's initializer failed."""

@final
class _Feed(Generic[_R]):
    """Passes items to a map while Python code reads its input."""

    def add(self, item: Any) -> None:
        """Adds an item and has its call begun."""
    def results(self) -> _Results[_R]:
        """Returns the results of the items that were added."""

@final
class _Results(Iterator[_R]):
    """The results of a map, in order."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> _R: ...
    def _leave(self) -> None:
        """Cancels calls that have not started if this thread has begun to read the results and is not at their end."""
    def close(self) -> None:
        """Ends the iteration and cancels calls that have not started."""

@disjoint_base
class _AsyncPool:
    """The native half of `pyants.AsyncPool`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _set_up(
        self,
        pool: Pool | MultiPool,
        get_running_loop: Callable[[], asyncio.AbstractEventLoop],
        shared: bool,
        abandon_on_cancel: bool,
    ) -> None:
        """The body of __init__."""
    @property
    def pool(self) -> Pool | MultiPool:
        """The pool whose workers run the calls."""
    def run(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Runs fn(*args, **kwargs) on a worker, in the caller's context, and returns an awaitable of its result.

        Never blocks: if the pool is full the call itself waits for a permit, in its turn. Cancelling takes the call
        back if it has not started; otherwise see abandon_on_cancel. Awaiting raises the exception of fn,
        PoolClosedError if the pool is closed, and PoolOverloadError if it is full and the call may not wait.
        """
    def _submit_detached(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> tuple[asyncio.Future[_T], asyncio.Future[bool] | None, _Ticket]:
        """As run(); also returns an awaitable of the admission, if it waits for one, and a ticket to withdraw it."""
    def _reopen(self) -> None:
        """Accepts calls again; reopens the pool if it is its own."""
    def _close(self) -> None:
        """Accepts no more calls."""
    def _wait_closed(self) -> None:
        """Blocks (not on a loop's thread) until every call is done and, if it owns the pool, all workers have left."""
    def _report(self, fn: Callable[..., object], exception: BaseException) -> None:
        """Reports an exception of fn that no caller will see."""
    def is_closed(self) -> bool:
        """Whether no more calls are accepted."""

# Not derived from asyncio's Future, but taken for one by asyncio and isinstance(), and so by type checkers.
@final
class AsyncCall(asyncio.Future[_T]):
    """A call made by AsyncPool.run(): a future to asyncio, and to isinstance(call, asyncio.Future).

    Like those of asyncio's own futures, its methods may be called only on the thread of its loop.
    """

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that waits for the call."""
    def done(self) -> bool:
        """Whether the call was cancelled, has returned or has raised."""
    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
    def cancel(self, msg: Any | None = None) -> bool:
        """Cancels the call: takes it back if it has not started. Returns False if it is done.

        A call that has started goes on, since a thread cannot be stopped. Like an asyncio task that takes its time to
        be cancelled, it is pending until it ends, and then cancelled; with abandon_on_cancel it is cancelled now.
        """
    def result(self) -> _T:
        """Returns what the call returned, or raises its exception; never blocks.

        Raises:
            CancelledError: The call was cancelled.
            InvalidStateError: The call is not done.
        """
    def exception(self) -> BaseException | None:
        """Returns the call's exception, or None; raises as result() does if the call is not done or was cancelled."""
    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Has the loop call fn(call) when the call is done."""
    def remove_done_callback(self, fn: Callable[[Self], object], /) -> int:
        """Removes a callback; returns how many times it had been added."""
    def __await__(self) -> Generator[Any, None, _T]: ...
    def __iter__(self) -> Generator[Any, None, _T]: ...

@final
class _Ticket:
    """A handle by which a call that has not begun is withdrawn."""

    def withdraw(self) -> bool:
        """Withdraws the call, which the caller then cancels; returns False if it has begun or is over."""

@final
class _Exit:
    """The end of a worker's thread, for its thread object."""

    def has_left(self) -> bool:
        """Whether the worker has left, or belongs to a process from which this one was forked."""
    def wait(self, timeout: float | None, /) -> None:
        """Blocks until the thread has ended, but for at most timeout seconds."""

# The modules of the package's first import, for the later ones.
_modules: dict[str, ModuleType]

def _fork_count() -> int:
    """As `generation`, for `pyants._group`."""

def _fail_spawns(count: int) -> None:
    """For tests: the next `count` thread starts of the process fail; if negative, all until called with 0."""

def _wait_ended(native_id: int, /) -> None:
    """Blocks until the kernel has ended a joined thread of this process."""
