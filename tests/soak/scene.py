"""A pool of a soak with random options: what disturbs it, and what must hold when everything is done."""

from __future__ import annotations

import gc
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ledger import ACCEPTED, REFUSED, UNKNOWN, Ledger, Task, run_task
from support import wait_until

import pyants
from pyants import (
    LoadBalancingStrategy,
    MultiPool,
    MultiPoolWithFunc,
    Pool,
    PoolClosedError,
    PoolError,
    PoolExecutor,
    PoolOverloadError,
    PoolSpawnError,
    PoolTimeoutError,
    PoolWithFunc,
)

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable, Iterable

KINDS = (
    "Pool",
    "Pool",
    "PoolWithFunc",
    "MultiPool",
    "MultiPoolWithFunc",
    "PoolExecutor",
    "AsyncPool",
    "default",
)
# Only a hang reaches it.
DEADLINE = 80.0


class Interruption(BaseException):
    """What the signal handler raises."""


class InitializerError(Exception):
    pass


class HandlerError(Exception):
    pass


class _Log(logging.Handler):
    def __init__(self, told: list[BaseException]) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._told.append(record.exc_info[1])


class Scene:
    """A pool of any kind, and its ledger."""

    def __init__(self, kind: str, generator: random.Random, number: str, *, is_to_break: bool = True) -> None:
        self.kind = kind
        self.number = number
        self.generator = generator
        self.ledger = Ledger()
        # Whether its initializer may fail, so that tasks are cancelled.
        self.is_to_break = is_to_break
        self.is_multi = kind.startswith("Multi")
        self.options = self._options()
        self.capacity: int = generator.choice((1, 1, 2, 3, 4, 6, -1))
        if self.options.get("pre_alloc") and self.capacity < 1:
            self.capacity = 2
        self.executor: PoolExecutor | None = None
        self.async_pool: pyants.AsyncPool | None = None
        # Any: the pools have different types, but the same methods.
        self.pool: Any = self._make()
        # The ways in which the pool itself takes a task.
        self.put: Callable[..., object]
        self.put_now: Callable[..., bool]
        self.put_within: Callable[..., object]
        self.put_many: Callable[[Iterable[Task]], int]
        self._find_ways()
        self.before: Any = self.pool.stats()

    def _options(self) -> dict[str, Any]:
        generator = self.generator
        if self.kind == "default":
            return {}
        logger = logging.Logger("a soak's own")
        logger.addHandler(_Log(self.ledger.told))
        options: dict[str, Any] = {
            "logger": logger,
            "queue_size": generator.choice((0, 0, 1, 3, 16, None)),
            "expiry_duration": generator.choice((0.001, 0.01, 0.05, 1.0)),
            "disable_purge": generator.random() < 0.2,
            "nonblocking": generator.random() < 0.15,
            "max_blocking_tasks": generator.choice((0, 0, 0, 1, 2)),
        }
        if generator.random() < 0.1:
            options["stack_size"] = 512 * 1024
        if generator.random() < 0.1:
            options["daemon"] = True
        if generator.random() < 0.3:
            options["initializer"] = self._initialize
            self._initializer_failures = generator.choice((0.0, 0.0, 0.05, 0.3)) if self.is_to_break else 0.0
            self._initializer_generator = generator.__class__(generator.random())
        if self.kind == "PoolExecutor":
            return options
        options["panic_handler"] = generator.choice((None, self._handle, self._handle_and_raise, self._handle_and_use))
        options["pre_alloc"] = generator.random() < 0.15
        options["retry_initializer"] = generator.random() < 0.5
        return options

    def _make(self) -> Any:
        capacity, options, generator = self.capacity, self.options, self.generator
        strategy = generator.choice(tuple(LoadBalancingStrategy))
        size = generator.randint(1, 3)
        match self.kind:
            case "Pool":
                return Pool(capacity, **options)
            case "PoolWithFunc":
                return PoolWithFunc(capacity, run_task, **options)
            case "MultiPool":
                return MultiPool(size, capacity, strategy, **options)
            case "MultiPoolWithFunc":
                return MultiPoolWithFunc(size, capacity, run_task, strategy, **options)
            case "PoolExecutor":
                self.executor = PoolExecutor(capacity if capacity > 0 else None, f"soak-{self.number}", **options)
                return self.executor.pool
            case "AsyncPool":
                abandon = generator.random() < 0.5
                self.async_pool = pyants.AsyncPool(capacity, abandon_on_cancel=abandon, **options)
                return self.async_pool.pool
            case _:
                return pyants.default_pool()

    def _find_ways(self) -> None:
        pool = self.pool
        if self.kind in ("PoolWithFunc", "MultiPoolWithFunc"):
            self.put, self.put_now, self.put_within = pool.invoke, pool.try_invoke, pool.invoke_within
            self.put_many = pool.invoke_many
            return
        # Python functions, bound methods, callable objects, and functions of C are called in different ways.
        way = self.generator.randrange(3)

        def callee(task: Task) -> Callable[..., object]:
            return (run_task, Task.run, Task.__call__)[way] if way < 2 else task.run

        def arguments(task: Task) -> tuple[Task, ...]:
            return (task,) if way < 2 else ()

        submit, try_submit = pool.submit, pool.try_submit
        if self.kind == "default":
            submit, try_submit = pyants.submit, pyants.try_submit

        def put(task: Task) -> object:
            return submit(callee(task), *arguments(task))

        def put_now(task: Task) -> bool:
            return bool(try_submit(callee(task), *arguments(task)))

        def put_within(timeout: float, task: Task) -> object:
            return pool.submit_within(timeout, callee(task), *arguments(task))

        self.put, self.put_now, self.put_within = put, put_now, put_within
        self.put_many = lambda tasks: pool.submit_many(run_task, tasks)

    # What the pool calls besides its tasks.

    def _initialize(self) -> None:
        if self._initializer_generator.random() < self._initializer_failures:
            raise InitializerError

    def _handle(self, error: BaseException) -> None:
        self.ledger.told.append(error)

    def _handle_and_raise(self, error: BaseException) -> None:
        self.ledger.told.append(error)
        raise HandlerError

    def _handle_and_use(self, error: BaseException) -> None:
        self.ledger.told.append(error)
        if not isinstance(error, InitializerError):
            task = self.ledger.enter("by the handler", _nothing)
            self.offer(task, self.put_now)

    # How a task gets into the pool, and into the ledger.

    def offer(
        self, task: Task, put: Callable[..., object], *arguments: object, call: Callable[..., Any] | None = None
    ) -> bool:
        """Submits a task whose result nobody gets; returns whether it was accepted."""
        task.is_to_be_told = True
        if self.kind == "default":
            task.is_to_be_told = None
        answer = self.answer(task, lambda: put(*arguments, task), call)
        if answer is False:
            task.events.append(REFUSED)
            self.ledger.rejections.append(task)
            return False
        if answer is not Ellipsis:
            task.events.append(ACCEPTED)
            return True
        return False

    def answer(
        self,
        task: Task,
        submit: Callable[[], Any],
        call: Callable[..., Any] | None = None,
        *,
        is_counted: bool = True,
    ) -> Any:
        """Calls `submit`, by `call` if signals may interrupt it; Ellipsis: it raised, and the ledger has the reason."""
        try:
            return call(submit) if call else submit()
        except Interruption:
            task.events.append(UNKNOWN)
            self.ledger.has_unknown_rejections = True
        except (PoolOverloadError, PoolTimeoutError):
            task.events.append(REFUSED)
            if is_counted:
                self.ledger.rejections.append(task)
        except (PoolClosedError, PoolSpawnError, pyants.BrokenPoolError):
            task.events.append(REFUSED)
        except RuntimeError as error:
            # An executor's BrokenThreadPool, which is no PoolError.
            if type(error).__name__ != "BrokenThreadPool":
                raise
            task.events.append(REFUSED)
        return ...

    # The disturbances.

    def disturb(self, generator: random.Random, is_over: threading.Event) -> None:
        """Tunes, releases, reboots, waits and looks until the scene is over."""
        pool = self.pool
        while not is_over.wait(generator.expovariate(400)):
            match generator.randrange(16):
                case 0:
                    pool.release()
                    pool.reboot()
                case 1:
                    with suppress(PoolTimeoutError, PoolClosedError):
                        pool.release_timeout(generator.choice((0, 0.001, DEADLINE)))
                    pool.reboot()
                case 2:
                    pool.wait_idle(generator.choice((0, 0.001)))
                case 3:
                    gc.collect(0)
                case 4 | 5 | 6:
                    self._look()
                case 7:
                    self._look_at_counters()
                case _:
                    pool.tune(generator.randint(1, 6))

    def _look(self) -> None:
        stats = self.pool.stats()
        wrong = self.ledger.wrong
        if stats.submitted != stats.completed + stats.failed + stats.cancelled + stats.queued + stats.busy:
            wrong.append(f"does not add up: {stats}")
        if min(stats[1:]) < 0:
            wrong.append(f"less than none: {stats}")

    def _look_at_counters(self) -> None:
        pool = self.pool
        for look in (pool.running, pool.waiting, pool.queued):
            if look() < 0:
                self.ledger.wrong.append(f"less than none: {look}")
        pool.free()
        repr(pool)
        pool.is_closed()

    # The end.

    def settle(self) -> None:
        """Waits until the pool is at rest, compares its counters with the ledger, and lets the workers leave."""
        stats = self._rest()
        for fault in self.ledger.faults_of_stats(stats, self.before):
            self.ledger.wrong.append(f"{fault}: {stats}, before {self.before}")
        try:
            wait_until(self._is_all_told, "the reports of exceptions", DEADLINE)
        except AssertionError:
            self.ledger.wrong.extend(f"never reported: {task}" for task in self.ledger.untold())
        self._leave()
        self.ledger.wrong.extend(self.ledger.faults())

    def _rest(self) -> pyants.PoolStats:
        """The numbers of the pool at rest. Objects that submit when they are freed may do so after everything else."""
        while True:
            count = len(self.ledger.tasks)
            gc.collect()
            if not self.pool.wait_idle(DEADLINE):
                raise AssertionError(f"not at rest within {DEADLINE} s: {self.pool.stats()}")
            stats: pyants.PoolStats = self.pool.stats()
            if len(self.ledger.tasks) == count and self.ledger.is_settled():
                return stats

    def _is_all_told(self) -> bool:
        gc.collect()  # A call that nobody refers to any more reports its exception.
        return self.ledger.has_signals or not self.ledger.untold()

    def _leave(self) -> None:
        pool = self.pool
        way = self.generator.randrange(5)
        if self.kind == "default":
            if not pool.is_closed():
                pyants.release_timeout(DEADLINE)
            pyants.reboot()
            pyants.tune(pyants.DEFAULT_CAPACITY)
            return
        if self.executor is not None and way < 3:
            self.executor.shutdown(wait=way > 0, cancel_futures=way > 1)
        elif way < 2:
            with pool:
                pass
        elif way < 3:
            with suppress(PoolClosedError):
                pool.release_timeout(DEADLINE)
        elif way < 4:
            pool.release()
        if way < 4:
            wait_until(lambda: pool.running() == 0, "the end of the workers", DEADLINE)
            self.ledger.wrong.extend([f"{pool}: running after the end"] if pool.stats().idle else [])
        # Otherwise it is dropped as it is.

    def __repr__(self) -> str:
        options = {name: getattr(value, "__name__", value) for name, value in self.options.items() if name != "logger"}
        return f"<scene {self.number}: {self.kind}({self.capacity}, {options})>"


def _nothing(_: Task) -> None:
    """A task that does nothing."""


__all__ = ["DEADLINE", "KINDS", "Interruption", "PoolError", "Scene"]
