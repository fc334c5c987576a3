"""What the tasks of a soak do: return, take a while, raise whatever can be raised, and use their own pool."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from forking import fork

from pyants import MultiPool, Pool, PoolError, PoolExecutor

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ledger import Task
    from scene import Scene


class Deliberate(Exception):
    """An ordinary exception."""


class Unprintable(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise Deliberate("no text")

    __repr__ = __str__


class Strange(BaseException):
    """An exception that is none of the usual ones."""


class SubmittingError(Exception):
    """An exception that submits when it is freed."""

    def __init__(self, spore: Spore) -> None:
        super().__init__()
        self.spore = spore


# What a map, a group or a loop takes for something else than a failure is apart.
ORDINARY: tuple[Callable[[], BaseException], ...] = (
    Deliberate,
    Unprintable,
    Strange,
    MemoryError,
    partial(OSError, 5, "an error"),
    partial(UnicodeDecodeError, "utf-8", b"\xff", 0, 1, "no"),
    partial(ExceptionGroup, "several", [Deliberate(), ValueError()]),
    StopAsyncIteration,
    TimeoutError,
)
FATAL: tuple[Callable[[], BaseException], ...] = (SystemExit, KeyboardInterrupt)
ODD: tuple[Callable[[], BaseException], ...] = (
    GeneratorExit,
    StopIteration,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
)


def returns(task: Task) -> object:
    task.result = object()
    return task.result


def takes_a_while(seconds: float, task: Task) -> object:
    time.sleep(seconds)
    return returns(task)


def computes(rounds: int, task: Task) -> object:
    sum(range(rounds))
    return returns(task)


def raises(make: Callable[[], BaseException], _: Task) -> object:
    raise make()


def recurses(_: Task) -> object:
    def deeper(depth: int) -> int:
        return deeper(depth + 1) + 1

    return deeper(0)


def forks(scene: Scene, task: Task) -> object:
    fork(scene)
    return returns(task)


class Spore:
    """Uses a pool when it is freed, on whatever thread that is, with whatever exception pending."""

    def __init__(self, use: Callable[[], object]) -> None:
        self._use = use

    def __del__(self) -> None:
        self._use()


class Cycle:
    """Garbage that only the collector frees."""

    def __init__(self, content: object) -> None:
        self.content = content
        self.itself = self


class Deeds:
    """Chooses what a task does. All choices are made here, not when it runs."""

    def __init__(self, scene: Scene, generator: random.Random) -> None:
        self.scene = scene
        self.generator = generator
        self.may_fork = False

    def choose(self, *, odd: bool = True, fatal: bool = True, depth: int = 0) -> Callable[[Task], object]:
        generator = self.generator
        chance = generator.random()
        if chance < 0.4:
            return returns
        if chance < 0.5:
            return partial(takes_a_while, generator.choice((0.0, 0.0002, 0.002)))
        if chance < 0.6:
            return partial(computes, generator.choice((100, 10_000, 100_000)))
        if chance < 0.75:
            kinds = ORDINARY + (ODD if odd else ()) + (FATAL if fatal else ())
            return partial(raises, generator.choice(kinds))
        if chance < 0.76:
            return recurses
        if depth > 1:
            return returns
        if chance < 0.82:
            return self._with_spore(depth)
        if chance < 0.92:
            return self._with_child(depth)
        if chance < 0.95 and isinstance(self.scene.pool, (Pool, MultiPool)):
            return self._with_awaited_child(depth)
        if chance < 0.99 or not self.may_fork:
            return partial(self._meddle, generator.randrange(6))
        return partial(forks, self.scene)

    def _child(self, depth: int) -> Task:
        number = f"{self.scene.number}.{len(self.scene.ledger.tasks)}, a child"
        return self.scene.ledger.enter(number, self.choose(depth=depth + 1))

    def spore(self, depth: int = 0) -> Spore:
        scene = self.scene
        if self.generator.random() < 0.2:
            return Spore(scene.pool.release)
        child = self._child(depth + 1)
        return Spore(partial(scene.offer, child, scene.put_now))

    def _with_spore(self, depth: int) -> Callable[[Task], object]:
        generator = self.generator
        spores: list[Any] = [self.spore(depth)]
        if generator.random() < 0.3:
            spores = [Cycle(spores.pop())]
        if generator.random() < 0.4:
            return lambda _: raises(partial(SubmittingError, spores.pop()), _)
        return lambda _: spores.pop()

    def _with_child(self, depth: int) -> Callable[[Task], object]:
        scene = self.scene
        children = [self._child(depth) for _ in range(self.generator.randint(1, 3))]
        puts = [
            self.generator.choice(
                ((scene.put_now,), (scene.put_now,), (scene.put,), (scene.put_within, 0.001), (scene.put_within, 0.0))
                if scene.kind != "default"
                else ((scene.put_now,), (scene.put,))
            )
            for _ in children
        ]

        def submit(task: Task) -> object:
            for child, (put, *arguments) in zip(children, puts, strict=True):
                scene.offer(child, put, *arguments)
            return returns(task)

        return submit

    def _with_awaited_child(self, depth: int) -> Callable[[Task], object]:
        """Waits for the result of a task on its own pool: for ever only where a deadlock would be noticed."""
        scene, child = self.scene, self._child(depth)
        timeout = 0.01 if scene.is_multi or self.generator.random() < 0.3 else None

        def await_child(task: Task) -> object:
            executor = PoolExecutor.over(scene.pool)
            future = scene.answer(child, lambda: executor.submit(child.run))
            if future is not ...:
                child.events.append("accepted")
                child.future = future
                with contextlib.suppress(BaseException):
                    future.result(timeout)
            executor.shutdown(wait=False)
            return returns(task)

        return await_child

    def _meddle(self, choice: int, task: Task) -> object:
        pool = self.scene.pool
        try:
            match choice:
                case 0:
                    pool.release()
                case 1:
                    pool.reboot()
                case 2:
                    pool.tune(3)
                case 3:
                    pool.wait_idle(0.001)
                case 4:
                    pool.release_timeout(0.0005)
                case _:
                    pool.stats()
        except PoolError:
            pass
        return returns(task)
