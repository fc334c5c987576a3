"""An event loop of a soak: it makes calls by an AsyncPool, and mostly ends with some of them in flight."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from deeds import Deliberate
from ledger import UNKNOWN, Task, ids, run_task

import pyants
from pyants import AsyncPool, PoolError

if TYPE_CHECKING:
    from typing import Self

    from actors import Actor


class Looper:
    """A loop in the thread of an actor."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.generator = actor.generator
        self.scene = actor.scene
        self.is_own = self.scene.async_pool is not None
        self.pool = self.scene.async_pool or AsyncPool.over(
            self.scene.pool, abandon_on_cancel=self.generator.random() < 0.5
        )
        self.scene.ledger.has_loops = True
        self.scene.ledger.has_unknown_rejections = True
        # Calls that the loop may end with.
        self.left: list[asyncio.Future[Any]] = []
        self.made: list[Task] = []

    def run(self) -> None:
        """Runs the loop to its end."""
        generator = self.generator
        main = self.main(generator.randint(1, 6), is_to_close=self._is_to_close())
        try:
            if generator.random() < 0.5:
                asyncio.run(main, debug=generator.random() < 0.05)
                return
            # It ends at once, whatever goes on.
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(main)
            finally:
                loop.close()
        finally:
            # The ledger keeps exceptions, whose tracebacks would keep the calls of the frames in them.
            self.left.clear()
            for error in [task.error for task in self.made if task.error is not None]:
                error.__traceback__ = error.__context__ = None

    def _is_to_close(self) -> bool:
        # Closing starts a thread, which a fork is not to find starting or ending.
        return not self.is_own and not self.actor.may_fork and self.generator.random() < 0.3

    async def main(self, steps: int, *, is_to_close: bool) -> None:
        asyncio.get_running_loop().set_exception_handler(_ignore)
        for _ in range(steps):
            step = self.generator.choice(
                (self.run_one, self.gather, self.cancel, self.submit, self.wait_for, self.map, self.group, self.leave)
            )
            await step()
        if is_to_close:
            await self.pool.aclose()
            if pending := [call for call in self.left if not call.done()]:
                # The loop gets the results in its next turn.
                await asyncio.wait(pending, timeout=60)
            if any(not call.done() for call in self.left):
                self.actor.wrong(f"calls are not done after aclose(): {self.left}")
        if self.generator.random() < 0.5:
            self.left.clear()

    def task(self, **choice: Any) -> Task:
        # asyncio has no place for the odd ones: it throws what an awaitable raises into coroutines.
        task = self.actor.task(odd=False, **choice)
        task.events.append(UNKNOWN)
        task.is_to_be_told = None
        task.is_of_loop = self.scene.kind != "default"
        self.made.append(task)
        return task

    def tasks(self, most: int, **choice: Any) -> list[Task]:
        return [self.task(**choice) for _ in range(self.generator.randint(1, most))]

    async def receive(self, task: Task, call: Any) -> None:
        """Awaits a call, and notes what it gave."""
        try:
            result = await call
        except BaseException as error:
            self.note(task, error)
            if isinstance(error, asyncio.CancelledError) and error is not task.error:
                raise
        else:
            self.note(task, result)

    def note(self, task: Task, outcome: object) -> None:
        if isinstance(outcome, BaseException):
            if outcome is task.error or (outcome.__cause__ is task.error is not None):
                task.is_received = True
            elif task.error is not None and not isinstance(outcome, asyncio.CancelledError):
                self.actor.wrong(f"a call gave {outcome!r}: {task}")
        elif task.result is not None and task.result is not outcome:
            self.actor.wrong(f"a call gave {outcome!r}, not {task.result!r}: {task}")

    # The steps.

    async def run_one(self) -> None:
        for task in self.tasks(4):
            await self.receive(task, self.pool.run(task.run))

    async def gather(self) -> None:
        tasks = self.tasks(12)
        calls = [self.pool.run(run_task, task) for task in tasks]
        for task, outcome in zip(tasks, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            self.note(task, outcome)

    async def cancel(self) -> None:
        for task in self.tasks(5):
            way = self.generator.randrange(4)
            if way < 2:
                call: asyncio.Future[Any] = self.pool.run(task.run)
            else:
                call = asyncio.ensure_future(self.receive(task, self.pool.run(task)))
            if way % 2:
                await asyncio.sleep(0)
            call.cancel()
            if self.generator.random() < 0.5:
                self.left.append(call)
                continue
            with contextlib.suppress(asyncio.CancelledError):
                if way < 2:
                    await self.receive(task, call)
                else:
                    await call

    async def submit(self) -> None:
        for task in self.tasks(6):
            try:
                call = await self.pool.submit(task.run)
            except PoolError:
                continue
            if self.generator.random() < 0.7:
                await self.receive(task, call)
            else:
                self.left.append(call)

    async def wait_for(self) -> None:
        for task in self.tasks(4):
            seconds = self.generator.choice((0, 0.0005, 0.003, 60))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.receive(task, self.pool.run(task.run)), seconds)

    async def map(self) -> None:
        tasks = self.tasks(20, fatal=False)
        most = len(tasks) if self.generator.random() < 0.6 else self.generator.randrange(len(tasks))
        maps = self.pool.map if self.generator.random() < 0.5 else self.pool.map_unordered
        items: Any = tasks if self.generator.random() < 0.5 else _Input(tasks)
        results = list[object]()
        async with contextlib.aclosing(maps(run_task, items)) as iterator:
            try:
                async for result in iterator:
                    results.append(result)
                    if len(results) >= most:
                        break
            except BaseException as error:
                # An asynchronous generator raises StopAsyncIteration as the cause of a RuntimeError.
                for task in tasks:
                    task.is_received |= task.error is not None and task.error in (error, error.__cause__)
            else:
                if most == len(tasks) != len(results):
                    self.actor.wrong(f"a map gave {len(results)} results for {tasks}")

    async def group(self) -> None:
        generator = self.generator
        tasks = self.tasks(8, fatal=False)
        block_error = Deliberate() if generator.random() < 0.1 else None
        error: BaseException | None = None
        calls = list[tuple[Task, Any]]()
        try:
            async with self.pool.group(fail_fast=generator.random() < 0.3, results=generator.random() < 0.3) as group:
                for task in tasks:
                    if generator.random() < 0.5:
                        calls.append((task, group.run(task.run)))
                    else:
                        with contextlib.suppress(PoolError):
                            calls.append((task, await group.submit(task.run)))
                if block_error is not None:
                    raise block_error
        except BaseException as raised:
            error = raised
        expected = [each for each in (self._error_of(call) for _, call in calls) if each is not None]
        for task, call in calls:
            task.is_received |= task.error is not None and self._error_of(call) is task.error
        expected += [block_error] if block_error is not None else []
        given: Any = [error] if error else []
        if isinstance(error, BaseExceptionGroup):
            given = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if ids(given) != ids(expected):
            self.actor.wrong(f"a group raised {error!r}, not a group of {expected}")

    @staticmethod
    def _error_of(call: asyncio.Future[Any]) -> BaseException | None:
        return None if call.cancelled() else call.exception()

    async def leave(self) -> None:
        for task in self.tasks(6):
            call = self.pool.run(task.run)
            if self.generator.random() < 0.5:
                self.left.append(call)


def _ignore(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a loop says of tasks that it leaves behind."""


class _Input:
    """Tasks with a turn of the loop before each. Not a generator, which a loop that is closed cannot close."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = iter(tasks)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Task:
        await asyncio.sleep(0)
        for task in self._tasks:
            return task
        raise StopAsyncIteration


def can_loop(pool: object) -> bool:
    """Whether an AsyncPool may be made of a pool."""
    return isinstance(pool, (pyants.Pool, pyants.MultiPool))
