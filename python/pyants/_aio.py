"""AsyncPool: blocking calls for asyncio, on the workers of a pool."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import threading
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pyants._core import Pool, _AsyncPool
from pyants._default import DEFAULT_CAPACITY
from pyants._errors import PoolError
from pyants._types import report_failures

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

    capacity and the other options are those of Pool. Several loops, in several threads, may use one AsyncPool. Calls
    are made in the context (contextvars) of the caller, as asyncio.to_thread() does.

    Cancelling takes a call back that has not started: it leaves the line, and its arguments are let go of, at once. One
    that has started cannot be stopped, since a thread cannot. abandon_on_cancel says what becomes of who awaits it:
    False, it waits until the call has ended, and is cancelled then, so that nothing goes on behind its back; True, it is
    cancelled at once, and the call goes on alone. Either way the result is dropped, and an exception goes to
    panic_handler, on a worker's thread, or to the log.
    """

    def __init__(
        self, capacity: int = DEFAULT_CAPACITY, *, abandon_on_cancel: bool = False, **options: Unpack[PoolOptions]
    ) -> None:
        self._set_up(Pool(capacity, **options), asyncio.get_running_loop, False, abandon_on_cancel)

    @classmethod
    def over(cls, pool: Pool | MultiPool, *, abandon_on_cancel: bool = False) -> Self:
        """An AsyncPool on the workers of a pool that others use too: closing it waits for its own calls only."""
        self = cls.__new__(cls)
        self._set_up(pool, asyncio.get_running_loop, True, abandon_on_cancel)
        return self

    async def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Waits until the pool takes fn(*args, **kwargs) up, then returns an awaitable of its result.

        So a producer goes no faster than the workers. Where the pool has room this does not wait; else it does until
        the call starts. Raises PoolClosedError on a closed pool, and PoolOverloadError where the call may not wait.
        """
        call, admission, ticket = self._enlist(fn, *args, **kwargs)
        await _admitted(self, fn, call, admission, ticket)
        return call

    async def map(self, fn: Callable[[_T], _R], items: Iterable[_T] | AsyncIterable[_T], /) -> AsyncGenerator[_R, None]:
        """Yields fn(item) for each item, in order.

        items, which may be an async iterable, are read as workers become free: at most as many calls as the pool has
        capacity are ahead of the results taken. The first exception ends it, and cancels what has not started.
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
        """As map(), with the results in the order in which they come."""
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

    def group(self, *, fail_fast: bool = False) -> AsyncTaskGroup:
        """An AsyncTaskGroup of calls on this pool, for an async with block that ends when all of them are done."""
        return AsyncTaskGroup(self, fail_fast=fail_fast)

    async def aclose(self) -> None:
        """Accepts no more calls; waits until those accepted are done and, with a pool of its own, the workers gone."""
        self._close()
        await _off_loop(self._wait_closed)

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
    """Calls on an AsyncPool that are waited for together.

    The block is left when all calls of the group are done. Those that failed come out as one ExceptionGroup. fail_fast:
    after the first failure cancels what has not started. An exception in the block, its cancellation too, cancels what
    has not started, waits for what has, and is passed on as it is; failures of the calls are logged then.
    """

    def __init__(self, pool: AsyncPool, *, fail_fast: bool = False) -> None:
        self._pool = pool
        self._fail_fast = fail_fast
        self._calls: list[tuple[asyncio.Future[Any], _Ticket | None]] = []
        self._stopped = False
        self._left = False

    async def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """As AsyncPool.submit(), as a call of the group."""
        call, admission, ticket = self._enlist(fn, *args, **kwargs)
        try:
            await _admitted(self._pool, fn, call, admission, ticket)
        except PoolError:
            # It is told here, and so not once more at the block's end.
            self._calls.remove((call, ticket))
            raise
        return call

    def run(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """As AsyncPool.run(), as a call of the group. Raises RuntimeError when the block has been left."""
        return self._enlist(fn, *args, **kwargs)[0]

    def _enlist(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> tuple[asyncio.Future[_T], asyncio.Future[bool] | None, _Ticket | None]:
        if self._left:
            raise RuntimeError("the task group is over: its block has been left")
        if self._stopped:
            never: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
            never.cancel()
            self._calls.append((never, None))
            return never, None, None
        call, admission, ticket = self._pool._enlist(fn, *args, **kwargs)
        self._calls.append((call, ticket))
        if self._fail_fast:
            call.add_done_callback(self._note)
        return call, admission, ticket

    def _note(self, call: asyncio.Future[Any]) -> None:
        # Looking at the exception counts as asking for it: the group raises it in the end.
        if not call.cancelled() and call.exception() is not None:
            self._stopped = True
            self.cancel()

    def cancel(self) -> int:
        """Cancels the calls that have not started; how many."""
        # The last first: those that workers are about to start are still in their way meanwhile.
        return sum(
            not call.done() and ticket is not None and ticket.withdraw() and call.cancel()
            for call, ticket in reversed(self._calls)
        )

    def results(self) -> list[Any]:
        """What the calls returned, in the order of their submission; for after the block."""
        return [call.result() for call, _ in self._calls]

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
        interrupt: BaseException | None = None
        if exc_value is not None:
            self._stopped = True
            self.cancel()
        try:
            await self._wait()
        except asyncio.CancelledError as raised:
            interrupt = raised
            self._stopped = True
            self.cancel()
            try:
                await self._wait()
            except asyncio.CancelledError:
                # Once more: what is still running is let go of, and what it raises goes to panic_handler or the log.
                for call, _ in self._calls:
                    call.cancel()
                report_failures(self._failures())
                raise
        finally:
            self._left = True
        failures = self._failures()
        if exc_value is not None or interrupt is not None:
            report_failures(failures)
            if interrupt is not None:
                try:
                    raise interrupt
                finally:
                    interrupt = None
            return
        if failures:
            raise BaseExceptionGroup(f"{len(failures)} of {len(self._calls)} tasks failed", failures)

    def _failures(self) -> list[BaseException]:
        done = [call for call, _ in self._calls if call.done() and not call.cancelled()]
        return [error for error in (call.exception() for call in done) if error is not None]

    async def _wait(self) -> None:
        # The group's own tasks may submit others meanwhile.
        while pending := [call for call, _ in self._calls if not call.done()]:
            await asyncio.wait(pending)


def _let_go(pool: _AsyncPool, fn: Callable[..., Any], call: asyncio.Future[Any]) -> None:
    """Nobody will ask for the call's result: takes it back if it has not started, and reports what it raised."""
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
        with contextlib.suppress(RuntimeError):  # The loop was closed and does not care.
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="pyants-close", daemon=True).start()
    await over
