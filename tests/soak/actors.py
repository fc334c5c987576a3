"""The threads of a soak that submit: each with one face of the pool after another."""

from __future__ import annotations

import concurrent.futures
import itertools
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from deeds import Deeds, Deliberate, computes, raises, returns, takes_a_while
from forking import fork
from ledger import ACCEPTED, RAISED, REFUSED, RETURNED, UNKNOWN, Ledger, Task, ids, run_task
from looping import Looper, can_loop
from scene import DEADLINE, Interruption, Scene
from support import wait_until

from pyants import PoolClosedError, PoolError, PoolExecutor, PoolSpawnError, TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Actor:
    """A thread that submits."""

    def __init__(
        self, scene: Scene, generator: random.Random, number: str, call: Callable[[Callable[[], Any]], Any] | None
    ) -> None:
        self.scene = scene
        self.generator = generator
        self.number = number
        self.deeds = Deeds(scene, generator)
        self._numbers = itertools.count()
        # Makes a call that signals may interrupt; None: no signals come.
        self._interruptible = call
        self._executors: list[PoolExecutor] = []
        # Pools that were dropped with tasks.
        self.litters: list[Ledger] = []
        self.may_fork = False

    def act(self, steps: int) -> None:
        seeds = self.generator
        for _ in range(steps):
            # Each step has a generator of its own: what was refused in one does not change what the next ones are.
            self.generator = self.deeds.generator = random.Random(seeds.random())
            self.step()
        for executor in self._executors:
            executor.shutdown(wait=self.generator.random() < 0.5)

    def step(self) -> None:
        chance = self.generator.random()
        if chance < 0.35:
            self.put()
        elif chance < 0.45:
            self.put_many()
        elif chance < 0.6:
            self.futures()
        elif chance < 0.7:
            self.group()
        elif chance < 0.8:
            self.map()
        elif chance < 0.93:
            if can_loop(self.scene.pool):
                Looper(self).run()
        elif chance < 0.98:
            self.litter()
        elif self.may_fork:
            fork(self.scene)

    # What all of them need.

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._interruptible is None:
            return function(*arguments)
        return self._interruptible(partial(function, *arguments))

    def task(self, **choice: Any) -> Task:
        return self.scene.ledger.enter(f"{self.number}.{next(self._numbers)}", self.deeds.choose(**choice))

    def tasks(self, most: int, **choice: Any) -> list[Task]:
        return [self.task(**choice) for _ in range(self.generator.randint(1, most))]

    def wrong(self, what: str) -> None:
        self.scene.ledger.wrong.append(f"{self.number}: {what}")

    # The pool itself.

    def put(self) -> None:
        scene, generator = self.scene, self.generator
        for task in self.tasks(8):
            chance = generator.random()
            if chance < 0.5:
                scene.offer(task, scene.put, call=self._interruptible)
            elif chance < 0.8 or scene.kind == "default":
                scene.offer(task, scene.put_now, call=self._interruptible)
            else:
                timeout = generator.choice((0, 0.001, DEADLINE))
                scene.offer(task, scene.put_within, timeout, call=self._interruptible)

    def put_many(self) -> None:
        scene, generator = self.scene, self.generator
        tasks = self.tasks(30)
        for task in tasks:
            task.is_to_be_told = None if scene.kind == "default" else True
        end = generator.randint(0, len(tasks)) if generator.random() < 0.2 else None
        taken = list[Task]()

        def feed() -> Iterator[Task]:
            for number, task in enumerate(tasks):
                if number == end:
                    raise Deliberate
                taken.append(task)
                yield task

        items: Any = feed() if end is not None or generator.random() < 0.5 else tasks
        accepted = None
        try:
            accepted = self.call(scene.put_many, items)
        except Deliberate:
            accepted = len(taken)
        except Interruption:
            scene.ledger.has_unknown_rejections = True
        except PoolError as error:
            accepted = error.submitted
            if not isinstance(error, (PoolClosedError, PoolSpawnError)):
                scene.ledger.rejections.append(tasks[accepted])
        for number, task in enumerate(tasks):
            if accepted is None:
                task.events.append(UNKNOWN)
            else:
                task.events.append(ACCEPTED if number < accepted else REFUSED)

    def litter(self) -> None:
        """Drops a pool with its tasks, which run all the same."""
        generator = self.generator
        kind = generator.choice(("Pool", "PoolWithFunc", "MultiPool", "MultiPoolWithFunc", "PoolExecutor"))
        scene = Scene(kind, generator, f"{self.number}.{next(self._numbers)}", is_to_break=False)
        simple = (returns, partial(computes, 1000), partial(takes_a_while, 0.001), partial(raises, Deliberate))
        for number in range(generator.randint(1, 6)):
            task = scene.ledger.enter(f"{scene.number}.{number}", generator.choice(simple))
            scene.offer(task, scene.put, call=self._interruptible)
        self.litters.append(scene.ledger)
        if generator.random() < 0.3:
            scene.pool.release()

    # Executors and their futures.

    def executor(self) -> PoolExecutor:
        scene, generator = self.scene, self.generator
        if scene.executor is not None and generator.random() < 0.8:
            return scene.executor
        if not self._executors or generator.random() < 0.3:
            self._executors.append(PoolExecutor.over(scene.pool))
        return generator.choice(self._executors)

    def futures(self) -> None:
        generator, scene = self.generator, self.scene
        executor = self.executor()
        tasks = self.tasks(10)
        ways = [generator.randrange(4) for _ in tasks]
        cancelling = [generator.random() < 0.15 for _ in tasks]
        for task, way, is_to_be_cancelled in zip(tasks, ways, cancelling, strict=True):
            submits: tuple[Callable[[], Any], ...] = (
                partial(executor.submit, task.run),
                partial(executor.submit, run_task, task),
                partial(executor.try_submit, task),
                partial(executor.submit_within, 0.001, task.run),
            )
            future = scene.answer(task, submits[way], self._interruptible)
            if future is None:
                task.events.append(REFUSED)
                scene.ledger.rejections.append(task)
            elif future is not ...:
                task.events.append(ACCEPTED)
                task.future = future
                if is_to_be_cancelled:
                    future.cancel()
        self._await([task.future for task in tasks if task.future is not None])
        if generator.random() < 0.2 and executor is not scene.executor:
            self._executors.remove(executor)
            waits, cancels = generator.random() < 0.7, generator.random() < 0.5
            try:
                self.call(partial(executor.shutdown, wait=waits, cancel_futures=cancels))
            except Interruption:
                executor.shutdown()

    def _await(self, futures: list[concurrent.futures.Future[Any]]) -> None:
        way = self.generator.randrange(6)
        # An interrupted wait of CPython's own leaves its locks taken.
        if way in (2, 3) and self._interruptible is None:
            if way == 2:
                done, _ = concurrent.futures.wait(futures, DEADLINE)
                count = len(done)
            else:
                count = sum(1 for _ in concurrent.futures.as_completed(futures, DEADLINE))
            if count != len(set(futures)):
                self.wrong(f"{count} of {len(futures)} futures done")
        elif way == 4:
            called = list[object]()
            for future in futures:
                future.add_done_callback(called.append)
        elif way < 4:
            for future in futures:
                self._get(future, (None, DEADLINE, 0.001)[way] if way < 3 else None)

    def _get(self, future: concurrent.futures.Future[Any], timeout: float | None) -> None:
        get = self.generator.choice((future.result, future.exception))
        with suppress(BaseException):  # The ledger has the outcome.
            self.call(get, timeout)

    # Groups.

    def group(self) -> None:
        generator = self.generator
        limit = generator.choice((None, None, 1, 2, 4))
        options: dict[str, Any] = {
            "fail_fast": generator.random() < 0.3,
            "limit": limit,
            "results": generator.random() < 0.3,
        }
        source = self.executor() if generator.random() < 0.3 else self.scene.pool
        is_with_fatal = generator.random() < 0.1
        tasks = self.tasks(10, odd=False, fatal=is_with_fatal)
        ways = [generator.randrange(4) for _ in tasks]
        block_error = Deliberate() if generator.random() < 0.1 else None
        group: TaskGroup = source.group(**options)
        with_group = _Block(group)
        for task, way in zip(tasks, ways, strict=True):
            self._submit_to(group, task, way, limit)
        try:
            self.call(with_group.leave, block_error)
        except Interruption:
            pass  # It may have come before the end began, or have left other calls to the log.
        except BaseException as error:
            self._check_group(group, tasks, error, block_error)
        else:
            self._check_group(group, tasks, None, block_error)

    def _submit_to(self, group: TaskGroup, task: Task, way: int, limit: int | None) -> None:
        submits: tuple[Callable[[], Any], ...] = (
            partial(group.submit, task.run),
            partial(group.submit, run_task, task),
            partial(group.try_submit, task),
            partial(group.submit_within, 0.002, task.run),
        )
        if limit is not None and way > 1:
            # It may be the group's own limit that refuses.
            self.scene.ledger.has_unknown_rejections = True
        future = self.scene.answer(task, submits[way], self._interruptible, is_counted=limit is None or way < 2)
        if future is None:
            task.events.append(REFUSED)
            if limit is None:
                self.scene.ledger.rejections.append(task)
        elif future is not ...:
            # In a group that has failed fast it is cancelled, and never gets to the pool.
            task.events.append(UNKNOWN if future.cancelled() else ACCEPTED)
            task.future = future

    def _check_group(
        self,
        group: TaskGroup,
        tasks: list[Task],
        error: BaseException | None,
        block_error: BaseException | None,
    ) -> None:
        try:
            group.submit(int)
        except RuntimeError:
            pass
        else:
            self.wrong("a group takes a call after its end")
        for task in tasks:
            if task.future is not None and not task.future.done():
                self.wrong(f"a group was left before {task}")
        places: Any = vars(group)["_places"]
        if places is not None:
            # Each call that has ended has given its place back, or will soon.
            wait_until(lambda: _are_free(places), "the places of a group")
        # Of a call whose submit was interrupted it is not known whether it is in the group.
        if any(task.has(UNKNOWN) and task.future is None for task in tasks):
            return
        futures = [task.future for task in tasks if task.future is not None and not task.future.cancelled()]
        raised = [each for each in (future.exception() for future in futures) if each is not None]
        fatal = [each for each in raised if isinstance(each, (SystemExit, KeyboardInterrupt))]
        expected = raised + ([block_error] if block_error is not None else [])
        if fatal:
            if not any(error is each for each in fatal):
                self.wrong(f"a group raised {error!r}, not one of {fatal}")
        elif isinstance(error, BaseExceptionGroup):
            given: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if ids(given) != ids(expected):
                self.wrong(f"a group raised {given}, not {expected}")
        elif error is not None or expected:
            self.wrong(f"a group raised {error!r}, not a group of {expected}")

    # Maps.

    def map(self) -> None:
        generator, scene = self.generator, self.scene
        executor = self.executor()
        tasks = self.tasks(40, odd=False, fatal=False)
        buffersize = generator.choice((None, None, None, 1, 3))
        ordered = generator.random() < 0.6
        timeout = generator.choice((None, None, None, DEADLINE, 0.001))
        scene.ledger.has_maps |= buffersize is None
        scene.ledger.has_unknown_rejections = True
        for task in tasks:
            task.is_counted = buffersize is not None
            task.events.append(UNKNOWN)
        start = executor.map if ordered else executor.map_unordered
        items: Any = generator.choice((tasks, tuple(tasks), iter(tasks), (task for task in tasks)))
        most = len(tasks) + 1 if generator.random() < 0.6 else generator.randrange(len(tasks))
        results = list[object]()
        iterator: Any = None
        try:
            iterator = self.call(partial(start, run_task, items, timeout=timeout, buffersize=buffersize))
            while len(results) < most:
                results.append(self.call(next, iterator))
        except StopIteration:
            self._check_map(tasks, results, ordered=ordered)
        except BaseException:
            pass  # Of a task, a timeout, a refusal, a signal handler.
        if iterator is not None and generator.random() < 0.5:
            try:
                self.call(iterator.close)
            except Interruption:
                iterator.close()

    def _check_map(self, tasks: list[Task], results: list[object], *, ordered: bool) -> None:
        if not all(task.has(RETURNED) and not task.has(RAISED) for task in tasks):
            self.wrong(f"a map is at its end, but not all its tasks have returned: {tasks}")
            return
        expected = [task.result for task in tasks]
        known = [result for result in results if any(result is each for each in expected if each is not None)]
        wanted = [each for each in expected if each is not None]
        if len(results) != len(tasks) or (
            known != wanted
            if ordered
            else list(map(id, sorted(known, key=id))) != list(map(id, sorted(wanted, key=id)))
        ):
            self.wrong(f"a map gave {results}, not {expected}")


def _are_free(places: Any) -> bool:
    """Whether all places of a group are free."""
    free: int = places._free
    limit: int = places._limit
    return free == limit


class _Block:
    """The with block of a group, whose end can be called."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        group.__enter__()

    def leave(self, error: BaseException | None) -> None:
        self._group.__exit__(None if error is None else type(error), error, None)
        if error is not None:
            raise error
