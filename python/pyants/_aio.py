"""AsyncPool: blocking calls for asyncio, on the workers of a pool."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import sys
import threading
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pyants._core import Pool, _AsyncPool, _wait_ended
from pyants._default import DEFAULT_CAPACITY
from pyants._errors import PoolError
from pyants._failures import is_base_error, raise_group, report_failures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from types import TracebackType
    from typing import NoReturn, Self, Unpack

    from pyants._core import MultiPool, _Ticket
    from pyants._types import PoolOptions

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")


class AsyncPool(_AsyncPool):
    """A pool for the blocking calls of asyncio programs. It never blocks a loop.

        async with AsyncPool(100) as pool:
            text = await pool.run(path.read_text)
            async for digest in pool.map(file_digest, paths):
                print(digest)

    Several loops, in several threads, may use one AsyncPool. Calls run in the context (contextvars) of the caller, as
    with asyncio.to_thread().

    Cancelling a call that has not started takes it back: it waits no longer, and its arguments are dropped, at once. A
    call that has started cannot be stopped, since a thread cannot; its result is dropped, and its exception goes to
    panic_handler, on a worker's thread, or to the log.

    Args:
        capacity: The largest number of workers; 0 or less for no limit.
        abandon_on_cancel: What cancelling does to the awaiting task if the call has started. False: the task waits
            until the call has ended, and is cancelled then, so that nothing goes on behind its back. True: the task is
            cancelled at once, and the call goes on alone.
        **options: Those of Pool, two with other defaults, which suit workers that keep a connection each:
            expiry_duration is 60 seconds; and retry_initializer is True, so that only a worker whose initializer fails
            is lost. Its call is left to another worker, or raises BrokenPoolError if there is none, and the next call
            tries again.
    """

    def __init__(
        self, capacity: int = DEFAULT_CAPACITY, *, abandon_on_cancel: bool = False, **options: Unpack[PoolOptions]
    ) -> None:
        options.setdefault("expiry_duration", 60.0)
        options.setdefault("retry_initializer", True)
        self._set_up(Pool(capacity, **options), asyncio.get_running_loop, False, abandon_on_cancel)

    @classmethod
    def over(cls, pool: Pool | MultiPool, *, abandon_on_cancel: bool = False) -> Self:
        """Returns an AsyncPool on the workers of a shared pool: closing it waits only for its own calls."""
        self = cls.__new__(cls)
        self._set_up(pool, asyncio.get_running_loop, True, abandon_on_cancel)
        return self

    async def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Waits until the pool admits fn(*args, **kwargs), so that a producer goes no faster than the workers.

        Does not wait if the pool has a permit; otherwise waits, without blocking the loop, until the call starts.

        Returns:
            An awaitable of the result.

        Raises:
            PoolClosedError: The pool is closed.
            PoolOverloadError: The pool is full and the call may not wait.
        """
        call, admission, ticket = self._submit_detached(fn, *args, **kwargs)
        await _admitted(self, fn, call, admission, ticket)
        return call

    async def map(self, fn: Callable[[_T], _R], items: Iterable[_T] | AsyncIterable[_T], /) -> AsyncGenerator[_R, None]:
        """Calls fn(item) for each item and yields the results in the order of the items.

        The first exception ends the iteration and cancels calls that have not started.

        Args:
            fn: The function to call.
            items: An iterable or async iterable, read as workers become free: at most as many calls as the pool's
                capacity are ahead of the results taken.

        Yields:
            The results; raises the exception of a call that failed.
        """
        ahead: collections.deque[asyncio.Future[_R]] = collections.deque()
        most = self._most_ahead()
        async with contextlib.aclosing(_each(items)) as source:
            try:
                async for item in source:
                    ahead.append(self.run(fn, item))
                    if len(ahead) >= most:
                        yield await ahead.popleft()
                while ahead:
                    yield await ahead.popleft()
            finally:
                for call in ahead:
                    _let_go(self, fn, call)

    async def map_unordered(
        self, fn: Callable[[_T], _R], items: Iterable[_T] | AsyncIterable[_T], /
    ) -> AsyncGenerator[_R, None]:
        """As map(), but yields the results in the order of completion."""
        ahead: set[asyncio.Future[_R]] = set()
        done: asyncio.Queue[asyncio.Future[_R]] = asyncio.Queue()
        most = self._most_ahead()

        async def take() -> _R:
            call = await done.get()
            ahead.discard(call)
            return call.result()

        async with contextlib.aclosing(_each(items)) as source:
            try:
                async for item in source:
                    call = self.run(fn, item)
                    ahead.add(call)
                    call.add_done_callback(done.put_nowait)
                    if len(ahead) >= most:
                        yield await take()
                while ahead:
                    yield await take()
            finally:
                for call in ahead:
                    _let_go(self, fn, call)

    def _most_ahead(self) -> int:
        capacity = self.pool.cap()
        return capacity if capacity > 0 else DEFAULT_CAPACITY

    def group(self, *, fail_fast: bool = False, results: bool = False) -> AsyncTaskGroup:
        """Returns an AsyncTaskGroup of calls on this pool, for an async with block that ends when all are done.

        Args:
            fail_fast: After the first failure, cancel the calls that have not started.
            results: Keep what the calls return, for the group's results().
        """
        return AsyncTaskGroup(self, fail_fast=fail_fast, results=results)

    async def aclose(self) -> None:
        """Accepts no more calls; waits until all accepted ones are done and, if it owns the pool, all workers left."""
        self._close()
        await _off_loop(self._wait_closed)

    def reboot(self) -> None:
        """Accepts calls again, after aclose() or after a failing initializer broke the pool.

        Reopens the pool if it is its own; a shared pool, given to over(), stays as it is.
        """
        self._reopen()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: its threads and calls live in this process")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        try:
            pool = self.pool
        except RuntimeError:
            return f"<{type(self).__module__}.{type(self).__qualname__} not initialised>"
        return f"<{type(self).__module__}.{type(self).__qualname__} over {pool!r}>"


class AsyncTaskGroup:
    """Calls on an AsyncPool, waited for together at the end of an async with block.

    The block is left when all calls of the group are done, and raises the exceptions of failed calls as one
    ExceptionGroup.

    As with asyncio.TaskGroup an exception in the block, even a cancellation, cancels the calls that have not started,
    waits for the others, and is raised in one group with the calls' exceptions; a cancellation is raised as it is if no
    call failed. SystemExit and KeyboardInterrupt, of the block or of a call, are raised as they are, and other failures
    are logged then. Cancelled once more while it waits, the block is left at once.

    Args:
        pool: The pool that runs the calls.
        fail_fast: After the first failure, cancel the calls that have not started.
        results: Keep what the calls return, for results(); otherwise only unfinished calls and failures are kept.
    """

    def __init__(self, pool: AsyncPool, *, fail_fast: bool = False, results: bool = False) -> None:
        self._pool = pool
        self._fail_fast = fail_fast
        self._count = 0
        # The unfinished calls, each with its number and the ticket that withdraws it.
        self._pending: dict[asyncio.Future[Any], tuple[int, _Ticket | None]] = {}
        # The calls' exceptions, by the number of the call.
        self._errors: dict[int, BaseException] = {}
        self._base_error: BaseException | None = None
        self._calls: list[asyncio.Future[Any]] | None = [] if results else None
        # The calls waiting for admission: submit() raises if one is refused, and only after that are they noted.
        self._submitting: set[asyncio.Future[Any]] = set()
        self._stopped = False
        self._left = False

    async def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """As AsyncPool.submit(), for a call of the group.

        Raises:
            RuntimeError: The group's block has been left.
        """
        call, admission, ticket = self._submit_detached(fn, *args, **kwargs)
        self._submitting.add(call)
        try:
            await _admitted(self._pool, fn, call, admission, ticket)
        except PoolError:
            # Raised here, and so not again at the block's end.
            del self._pending[call]
            if self._calls is not None:
                self._calls.remove(call)
            raise
        except asyncio.CancelledError:
            if call.done():
                # _admitted() has already reported the outcome.
                self._pending.pop(call, None)
            raise
        finally:
            self._submitting.discard(call)
            if call.done():
                self._note(call)
        return call

    def run(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """As AsyncPool.run(), for a call of the group.

        Raises:
            RuntimeError: The group's block has been left.
        """
        return self._submit_detached(fn, *args, **kwargs)[0]

    def _submit_detached(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> tuple[asyncio.Future[_T], asyncio.Future[bool] | None, _Ticket | None]:
        if self._left:
            raise RuntimeError("the task group is over: its block has been left")
        if self._stopped:
            never: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
            never.cancel()
            return self._enter(never, None), None, None
        call, admission, ticket = self._pool._submit_detached(fn, *args, **kwargs)
        return self._enter(call, ticket), admission, ticket

    def _enter(self, call: asyncio.Future[_T], ticket: _Ticket | None) -> asyncio.Future[_T]:
        self._pending[call] = (self._count, ticket)
        self._count += 1
        if self._calls is not None:
            self._calls.append(call)
        call.add_done_callback(self._note)
        return call

    def _note(self, call: asyncio.Future[Any]) -> None:
        """When a call is done: keeps its exception and drops the call."""
        if call in self._submitting:
            return
        entry = self._pending.pop(call, None)
        # exception() marks it as seen: the group raises it in the end.
        if entry is None or call.cancelled() or (error := call.exception()) is None:
            return
        if self._left:
            report_failures([error])
            return
        self._errors[entry[0]] = error
        if is_base_error(error) and self._base_error is None:
            self._base_error = error
        if self._fail_fast or is_base_error(error):
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        self.cancel()

    def cancel(self) -> int:
        """Cancels the calls that have not started; returns their number."""
        # Last first: until the first ones are cancelled they keep workers from reaching the others.
        return sum(
            not call.done() and ticket is not None and ticket.withdraw() and call.cancel()
            for call, (_, ticket) in reversed(list(self._pending.items()))
        )

    def results(self) -> list[Any]:
        """Returns what the calls returned, in the order of submission; to be called after the block.

        Raises:
            RuntimeError: The group was not created with results=True.
        """
        if self._calls is None:
            raise RuntimeError("the task group keeps no results: ask for them with group(results=True)")
        return [call.result() for call in self._calls]

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: its calls live in this process")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cancellation = exc_value if isinstance(exc_value, asyncio.CancelledError) else None
        if exc_value is not None:
            if is_base_error(exc_value) and self._base_error is None:
                self._base_error = exc_value
            self._stop()
        try:
            await self._wait()
        except asyncio.CancelledError as raised:
            cancellation = raised
            self._stop()
            try:
                await self._wait()
            except asyncio.CancelledError:
                # Cancelled again: abandon the running calls; their exceptions go to panic_handler or the log.
                for call in list(self._pending):
                    call.cancel()
                report_failures(self._failures())
                raise
        finally:
            self._left = True
        try:
            self._raise_failures(exc_value, cancellation)
        finally:
            cancellation = None
            self._errors.clear()
            self._base_error = None

    def _failures(self) -> list[BaseException]:
        return [self._errors[number] for number in sorted(self._errors)]

    def _raise_failures(self, own: BaseException | None, cancellation: BaseException | None) -> None:
        """Raises the group's failures as asyncio.TaskGroup does, but not an exception that leaves the block anyhow.

        own: the block's exception. cancellation: the cancellation of the block or of the wait for the calls.
        """
        failures = self._failures()
        bare = self._base_error
        if bare is None and not failures and (own is None or own is cancellation):
            bare = cancellation
        try:
            if bare is not None:
                report_failures(error for error in failures if error is not bare)
                if bare is not own:
                    raise bare
                return
            task = asyncio.current_task()
            if sys.version_info >= (3, 13) and (failures or own is not None) and task and task.cancelling():
                # Raise the failures first and cancel the task at its next await, which asyncio can do from 3.13 on.
                task.uncancel()
                task.cancel()
            raise_group(failures, self._count, own)
        finally:
            del failures, bare, own, cancellation  # Their tracebacks would keep them alive.

    async def _wait(self) -> None:
        # The group's own tasks may submit others meanwhile.
        while self._pending:
            done, _ = await asyncio.wait(list(self._pending))
            for call in done:
                self._note(call)
            if not done.isdisjoint(self._submitting):
                await asyncio.sleep(0)  # Until their submit() has seen the outcome.


def _let_go(pool: _AsyncPool, fn: Callable[..., Any], call: asyncio.Future[Any]) -> None:
    """Drops a call whose result is not wanted: withdraws it if it has not started, or reports its exception."""
    if call.cancel() or call.cancelled():
        return
    error = call.exception()
    if error is not None and not isinstance(error, PoolError):
        pool._report(fn, error)


async def _admitted(
    pool: AsyncPool,
    fn: Callable[..., Any],
    call: asyncio.Future[Any],
    admission: asyncio.Future[bool] | None,
    ticket: _Ticket | None,
) -> None:
    if admission is None or ticket is None:
        if call.done() and not call.cancelled():
            call.result()  # Refused.
        return
    try:
        is_admitted = await admission
    except asyncio.CancelledError:
        ticket.withdraw()
        _let_go(pool, fn, call)
        raise
    if not is_admitted:
        call.result()


async def _each(items: Iterable[_T] | AsyncIterable[_T]) -> AsyncGenerator[_T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _off_loop(wait: Callable[[], object]) -> None:
    """Waits in a thread of its own, so that the loop goes on."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if over.done():
            return
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            wait()
        except BaseException as raised:  # noqa: BLE001 - it is raised in the loop
            error = raised
        with contextlib.suppress(RuntimeError):  # The loop may have been closed.
            loop.call_soon_threadsafe(settle, error)

    thread = threading.Thread(target=work, name="pyants-close", daemon=True)
    thread.start()
    await over
    # Wait for the thread's end, so that a process that forks now has none of our threads.
    thread.join()
    if thread.native_id is not None:
        _wait_ended(thread.native_id)
