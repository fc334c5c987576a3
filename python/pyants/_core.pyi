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
    "_Executor",
    "_Exit",
    "_Feed",
    "_Future",
    "_Invoker",
    "_Results",
    "_Submitter",
    "_Ticket",
    "_fail_spawns",
    "_modules",
    "_wait_ended",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")

@disjoint_base
class _Base:
    """What all pools of pyants have in common."""

    def running(self) -> int:
        """The number of live workers, idle ones included."""
    def free(self) -> int:
        """The number of workers that may still be started: cap() - running(), or -1 without a limit.

        Below 0 for a while after the capacity was lowered under running tasks.
        """
    def waiting(self) -> int:
        """The number of threads that wait in submit() or invoke() for room."""
    def cap(self) -> int:
        """The capacity: how many workers there may be, or -1 without a limit."""
    def queued(self) -> int:
        """The number of accepted tasks that wait for a worker; always 0 with queue_size=0."""
    def is_closed(self) -> bool:
        """Whether the pool is closed."""
    def stats(self) -> PoolStats:
        """A PoolStats with all numbers of the pool, taken in one go."""
    def tune(self, capacity: int) -> None:
        """Changes the capacity at once.

        More: as many waiting submitters as fit are let in. Fewer: surplus workers leave, idle ones now and busy ones
        when their task is done. Ignored, as in ants, by an unlimited pool, with pre_alloc, and where capacity <= 0.
        For a MultiPool it is the capacity of each pool. Never waits for a task.
        """
    def wait_idle(self, timeout: float | timedelta | None = None) -> bool:
        """Waits until everything that was accepted, before or meanwhile, is done; whether that came true.

        timeout is in seconds or a timedelta, None waits for ever. Raises PoolDeadlockError where a task would wait so,
        for ever, for its own pool.
        """
    def release(self) -> None:
        """Closes the pool and returns at once.

        Submitters that wait get PoolClosedError, idle workers leave, accepted tasks still run to their end. Does
        nothing on a closed pool.
        """
    def release_timeout(self, timeout: float | timedelta) -> None:
        """Closes the pool and waits until every accepted task is done and every worker has left.

        timeout is in seconds or a timedelta. Raises PoolClosedError on a closed pool, and PoolTimeoutError when the
        time runs out: the pool stays closed then, and its tasks go on.
        """
    def reboot(self) -> None:
        """Opens a closed pool; does nothing on an open one.

        Options, the tuned capacity and counters are kept. Workers are started on demand.
        """
    def _muster(self) -> None:
        """Starts the workers that the tasks in flight would get if none ended meanwhile.

        Returns when threading knows them.
        """
    def __del__(self) -> None:
        """Closes the pool, and keeps it until its last worker leaves."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None:
        """Closes the pool and waits, without limit, until every accepted task is done and every worker has left."""
    def __reduce__(self) -> NoReturn: ...

class _Submitter(_Base):
    """The pools that a callable is submitted to."""

    def submit(self, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Runs fn(*args, **kwargs) on a worker.

        Returns when a worker has the task or, with a queue, when it is accepted; waits while the pool is full.
        Raises PoolClosedError if the pool is closed, or closes while this waits; PoolOverloadError if it may not wait;
        PoolDeadlockError where it would wait for ever, because every worker waits like this; PoolSpawnError if no
        thread can be started and none is alive.
        """
    def try_submit(self, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """As submit(), but never waits; False if the pool is overloaded."""
    def submit_within(
        self, timeout: float | timedelta, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """As submit(), but waits for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def submit_many(self, fn: Callable[[_T], object], iterable: Iterable[_T], /) -> int:
        """Submits fn(item) for each item of iterable, and returns how many.

        The iterable is read lazily: one item only when the one before was accepted. An error of the pool carries the
        number of accepted tasks as its attribute submitted.
        """
    def group(self, *, fail_fast: bool = False, limit: int | None = None, results: bool = False) -> TaskGroup:
        """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

        fail_fast: after the first failure cancels what has not started. limit: how many calls of the group may be
        waiting or running at once. results: keeps what the calls return, for the group's results().
        """

class _Invoker(_Base, Generic[_P]):
    """The pools that have one function for all tasks."""

    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @property
    def func(self) -> Callable[_P, object]:
        """The function that every task calls."""
    def invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Runs func(*args, **kwargs) on a worker.

        Returns when a worker has the task or, with a queue, when it is accepted; waits while the pool is full.
        Raises PoolClosedError if the pool is closed, or closes while this waits; PoolOverloadError if it may not wait;
        PoolDeadlockError where it would wait for ever, because every worker waits like this; PoolSpawnError if no
        thread can be started and none is alive.
        """
    def try_invoke(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """As invoke(), but never waits; False if the pool is overloaded."""
    def invoke_within(self, timeout: float | timedelta, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """As invoke(), but waits for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def invoke_many(self, iterable: Iterable[Any], /) -> int:
        """Submits func(item) for each item of iterable, and returns how many.

        The iterable is read lazily: one item only when the one before was accepted. An error of the pool carries the
        number of accepted tasks as its attribute submitted.
        """
    def group(self, *, fail_fast: bool = False, limit: int | None = None, results: bool = False) -> FuncTaskGroup[_P]:
        """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

        Besides submit() it has invoke(), which calls the pool's function. fail_fast: after the first failure cancels
        what has not started. limit: how many calls of the group may be waiting or running at once. results: keeps what
        the calls return, for the group's results().
        """

class Pool(_Submitter):
    """A pool of worker threads in the manner of Go's ants.

    capacity: how many workers there may be; 0 or less: as many as there are tasks.

    Keyword options:
      expiry_duration: seconds (or a timedelta) after which an idle worker leaves; 0 means 1.0.
      pre_alloc: reserve the seats of all workers now; the capacity cannot be tuned then.
      max_blocking_tasks: how many threads may wait in submit() at once; 0: any number.
      nonblocking: submit() never waits, it raises PoolOverloadError.
      panic_handler: called with the exception of a task, on the worker's thread.
      logger: gets a task's exception where there is no panic_handler; default logging.getLogger("pyants").
      disable_purge: idle workers stay until the pool is released.
      queue_size: how many accepted tasks may wait for a worker; None: any number.
      name: thread names are "{name}_{n}".
      initializer, initargs: called in each worker thread before its first task. Where it fails the pool breaks: it
        closes itself, and what has not started is cancelled.
      retry_initializer: then only that worker is lost, and the next start tries again. Its task is left to another
        worker; where there is none it is cancelled.
      stack_size: the stack of a worker thread, in bytes.
      daemon: the interpreter's exit does not wait for the pool: it cancels what is queued, and leaves what is running.

    No thread is started before the first task. As a context manager the pool is released, and waited for, at the end of
    the block.
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

    capacity: how many workers there may be; 0 or less: as many as there are tasks. func: what every task calls. The
    keyword options are those of Pool.
    """

    def __init__(
        self,
        capacity: int,
        func: Callable[_P, object],
        **options: Unpack[PoolOptions],
    ) -> None: ...

class MultiPool(_Submitter):
    """Several pools behind one front: less contention between submitters.

    size: how many pools. capacity_per_pool: how many workers each may have; 0 or less: as many as there are tasks.
    strategy: a LoadBalancingStrategy. The keyword options are those of Pool, and each pool has them.

    A task goes to the pool that the strategy chooses, or to another that has room where that one is full; where none
    has, submit() waits until one does.
    """

    def __init__(
        self,
        size: int,
        capacity_per_pool: int,
        strategy: LoadBalancingStrategy = ...,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    def running_by_index(self, index: int) -> int:
        """running() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def free_by_index(self, index: int) -> int:
        """free() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def waiting_by_index(self, index: int) -> int:
        """waiting() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def queued_by_index(self, index: int) -> int:
        """queued() of the pool with this index. Raises InvalidPoolIndexError where there is none."""

class MultiPoolWithFunc(_Invoker[_P]):
    """Several pools behind one front, whose workers all call the same function.

    size: how many pools. capacity_per_pool: how many workers each may have; 0 or less: as many as there are tasks.
    func: what every task calls. strategy: a LoadBalancingStrategy. The keyword options are those of Pool.
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
        """running() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def free_by_index(self, index: int) -> int:
        """free() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def waiting_by_index(self, index: int) -> int:
        """waiting() of the pool with this index. Raises InvalidPoolIndexError where there is none."""
    def queued_by_index(self, index: int) -> int:
        """queued() of the pool with this index. Raises InvalidPoolIndexError where there is none."""

@disjoint_base
class _Future(Generic[_T]):
    """The native half of `pyants.Future`."""

    def __init__(self) -> None: ...
    def cancel(self) -> bool:
        """Cancels the call if it has not started; whether it is cancelled."""
    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
    def running(self) -> bool:
        """Whether the call is being run."""
    def done(self) -> bool:
        """Whether the call was cancelled, or is at its end."""
    def result(self, timeout: float | None = None) -> _T:
        """What the call returned; raises what it raised.

        Waits for at most timeout seconds, None: without limit. Raises TimeoutError when they are over, CancelledError
        if the call was cancelled, and PoolDeadlockError where a worker would wait for its own pool for ever.
        """
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, or None. Waits, and raises, as result() does."""
    def add_done_callback(self, fn: Callable[[Future[_T]], object]) -> None:
        """Has fn(future) called when the future is done: by the thread that brings it about, or at once if it is done.

        Callbacks are called in the order in which they were added; an exception in one is logged.
        """
    def set_running_or_notify_cancel(self) -> bool:
        """For executors and tests: whether the call may run; False: it was cancelled, and those who wait are told."""
    def set_result(self, result: _T) -> None:
        """For executors and tests: the call returned this."""
    def set_exception(self, exception: BaseException | None) -> None:
        """For executors and tests: the call raised this."""
    def _wait(self, timeout: float | None = None) -> None:
        """Waits as result() does, until the future is done in whatever way."""
    @property
    def _dict(self) -> dict[str, Any]:
        """The `__dict__` of a subclass."""
    @_dict.setter
    def _dict(self, value: dict[str, Any]) -> None:
        """The `__dict__` of a subclass."""
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...

@disjoint_base
class _Executor:
    """The native half of `pyants.PoolExecutor`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _set_up(self, pool: _Base, future_class: type[Future[Any]], thread_name_prefix: str | None) -> None:
        """What __init__ does: the pool, the class of futures, and the threads' prefix (None: others use it)."""
    @property
    def _given_prefix(self) -> str:
        """What the names of the executor's threads begin with; empty where others use the pool too."""
    @property
    def pool(self) -> _Base:
        """The pool whose workers run the calls."""
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedules fn(*args, **kwargs) and returns the Future of its result.

        With a bound on the backlog it waits for room. Raises RuntimeError after shutdown() and at interpreter exit,
        BrokenThreadPool if an initializer failed, and what Pool.submit() raises.
        """
    def try_submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T] | None:
        """As submit(), but never waits; None if the pool is overloaded."""
    def submit_within(
        self, timeout: float | timedelta, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """As submit(), but waits for at most timeout seconds (or a timedelta), then raises PoolTimeoutError."""
    def _submit_call(self, fn: Callable[..., _R], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Future[_R]:
        """What CPython's own submit() comes to on this executor."""
    def _check_open(self) -> None:
        """Raises what submit() raises once no call is accepted any more."""
    def _is_submit_replaced(self) -> bool:
        """Whether submit() was replaced: on this executor, in its class, or in CPython's."""
    def _feed(
        self, fn: Callable[..., _R], items: list[Any], star: bool, ordered: bool, timeout: float | None
    ) -> _Feed[_R]:
        """The way of items into map(), and how its results are had. These items are begun at once: fn is called with
        each or, if star, with the items of the tuple that it is.
        """
    def _leave_maps(self) -> None:
        """Cancels what has not started of the maps whose results this thread has begun to read."""
    def _take_queued(self) -> tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None:
        """Takes the oldest call that waits for a worker out of the queue: its future, and fn, args and kwargs."""
    def _close(self, cancel_futures: bool) -> None:
        """Accepts no more calls; takes back those that have not started, if asked to."""
    def _wait_closed(self) -> None:
        """Waits until every accepted call is done and, with a pool of its own, every worker has left."""
    def _pool_id(self) -> int:
        """What tells the pool from every other; a worker's thread has it as its attribute _pyants_pool."""
    def _place(self) -> Future[None]:
        """A future that a worker of the pool must not wait for where only another of its tasks would set it."""
    def _seconds(self, timeout: float | timedelta) -> float:
        """A time-out in seconds, checked as submit_within() does."""
    def _is_broken(self) -> bool:
        """A worker's initializer failed."""

@final
class _Feed(Generic[_R]):
    """Hands the items of a map over while its input is read by Python code."""

    def add(self, item: Any) -> None:
        """Adds an item, and has it begun."""
    def results(self) -> _Results[_R]:
        """The results of the items that were added."""

@final
class _Results(Iterator[_R]):
    """The results of a map, in order."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> _R: ...
    def _leave(self) -> None:
        """Cancels what has not started if this thread has begun to read the results and is not at their end."""
    def close(self) -> None:
        """Ends the iteration: what has not started is cancelled."""

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
        """What __init__ does."""
    @property
    def pool(self) -> Pool | MultiPool:
        """The pool whose workers run the calls."""
    def run(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Runs fn(*args, **kwargs) on a worker, in the caller's context, and returns an awaitable of its result.

        Never blocks: where the pool is full the call stands in line, and is taken up in its turn. Awaiting it raises
        what fn raised, PoolClosedError on a closed pool, and PoolOverloadError where the call may not wait. Cancelling
        takes the call back if it has not started; else see abandon_on_cancel.
        """
    def _submit_detached(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> tuple[asyncio.Future[_T], asyncio.Future[bool] | None, _Ticket]:
        """As run(), with an awaitable of the admission where the call has to stand in line, and what takes it back."""
    def _reopen(self) -> None:
        """Accepts calls again; opens the pool again if it is its own."""
    def _close(self) -> None:
        """Accepts no more calls."""
    def _wait_closed(self) -> None:
        """Waits, not on a loop's thread, until every call is done and, with a pool of its own, the workers are gone."""
    def _report(self, fn: Callable[..., object], exception: BaseException) -> None:
        """Reports an exception of fn that nobody will ask for."""
    def is_closed(self) -> bool:
        """No call is accepted any more."""

# Not derived from asyncio's Future, but taken for one by asyncio and isinstance(), and so by type checkers.
@final
class AsyncCall(asyncio.Future[_T]):
    """A call that AsyncPool.run() has made: a future to asyncio, and to isinstance(call, asyncio.Future).

    As with asyncio's own, its methods are for the thread of its loop.
    """

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that waits for the call."""
    def done(self) -> bool:
        """Whether the call was cancelled, or is at its end."""
    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
    def cancel(self, msg: Any | None = None) -> bool:
        """Cancels the call: takes it back if it has not started. False if it is done.

        One that has started goes on, since a thread cannot be stopped. As with a task of asyncio that takes its time to
        be cancelled, this call is pending until then, and cancelled after; with abandon_on_cancel it is cancelled now.
        """
    def result(self) -> _T:
        """What the call returned.

        Raises what it raised, CancelledError if it was cancelled, and InvalidStateError if it is not done.
        """
    def exception(self) -> BaseException | None:
        """What the call raised, or None; raises as result() where it is not done or was cancelled."""
    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Has fn(call) called by the loop when the call is done."""
    def remove_done_callback(self, fn: Callable[[Self], object], /) -> int:
        """Takes a callback back; how many there were of it."""
    def __await__(self) -> Generator[Any, None, _T]: ...
    def __iter__(self) -> Generator[Any, None, _T]: ...

@final
class _Ticket:
    """A handle that takes a call back that has not begun."""

    def withdraw(self) -> bool:
        """Takes the call back, which is then to be cancelled; False: it has begun, or is over."""

@final
class _Exit:
    """The end of a worker's thread, for its thread object."""

    def has_left(self) -> bool:
        """The worker has left, or is one of the process that this one was forked from."""
    def wait(self, timeout: float | None, /) -> None:
        """Waits until the thread has ended, for at most timeout seconds."""

# The modules of the package's first import, for the later ones.
_modules: dict[str, ModuleType]

def _fail_spawns(count: int) -> None:
    """For tests: the next `count` thread starts of the process fail; if negative all of them, until called with 0."""

def _wait_ended(native_id: int, /) -> None:
    """Waits until the kernel has ended a thread of this process that was joined."""
