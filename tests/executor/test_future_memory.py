"""Executors and futures keep no reference to anything that they do not need any more."""

from __future__ import annotations

import gc
import sys
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, FUTURE_TYPES, HAS_GIL, Thing, wait_freed, without_collector
from support import DEADLINE, Gate, wait_until

Futures = type[Future[Any]]
Executors = type[ThreadPoolExecutor]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

owns_the_collector = pytest.mark.thread_unsafe(reason="turns the garbage collector off")
by_reference_counts = pytest.mark.skipif(not HAS_GIL, reason="reference counts free at once with the GIL only")


def use(*_: object, **__: object) -> None:
    """A task that does nothing with its arguments."""


def collect(thing: Thing, *, key: Thing) -> list[Thing]:
    return [thing, key]


def ask(future: Future[Any]) -> None:
    """Asks for the result, and keeps neither the result, nor the exception, nor a cycle through this frame."""
    try:
        future.result(DEADLINE)
    except Exception:
        pass
    finally:
        del future


@each_executor_type
def test_arguments_and_function_are_let_go_of_when_the_task_is_done(executor_type: Executors) -> None:
    class Callable(Thing):
        def __call__(self, thing: Thing, *, key: Thing) -> None: ...

    with executor_type(2) as executor:
        fn, thing, key = Callable(), Thing(), Thing()
        references = [weakref.ref(each) for each in (fn, thing, key)]
        future = executor.submit(fn, thing, key=key)
        del fn, thing, key
        future.result(DEADLINE)
        # The future and the worker are still alive.
        wait_freed(*references)


@each_executor_type
def test_a_bound_method_keeps_its_object_only_as_long(executor_type: Executors) -> None:
    class Owner(Thing):
        def method(self) -> None: ...

    with executor_type(1) as executor:
        owner = Owner()
        reference = weakref.ref(owner)
        executor.submit(owner.method)
        del owner
        wait_freed(reference)


@each_executor_type
def test_the_result_lives_as_long_as_its_future(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        future = executor.submit(Thing)
        reference = weakref.ref(future.result(DEADLINE))
        gc.collect()
        assert reference() is not None
        assert future.result() is reference()
        del future
        wait_freed(reference)


@each_executor_type
def test_the_result_that_nobody_wanted_is_let_go_of(executor_type: Executors) -> None:
    references: list[weakref.ref[Thing]] = []

    def task() -> Thing:
        thing = Thing()
        references.append(weakref.ref(thing))
        return thing

    with executor_type(1) as executor:
        executor.submit(task)
        wait_until(lambda: bool(references))
        wait_freed(*references)


@each_executor_type
def test_a_future_that_is_done_is_kept_by_nobody(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        for text in ("7", "no number"):
            future = executor.submit(int, text)
            ask(future)
            reference = weakref.ref(future)
            del future
            wait_freed(reference)


@each_executor_type
def test_callbacks_are_let_go_of_with_their_future(executor_type: Executors) -> None:
    class Callback(Thing):
        def __call__(self, _: Future[Any]) -> None: ...

    with executor_type(1) as executor:
        callback = Callback()
        reference = weakref.ref(callback)
        future = executor.submit(int)
        future.add_done_callback(callback)
        del callback
        future.result(DEADLINE)
        del future
        wait_freed(reference)


@each_executor_type
def test_a_cancelled_task_lets_go_of_its_arguments_once_a_worker_came_by(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        with Gate() as gate:
            executor.submit(gate.hold)
            gate.wait_entered(1)
            thing = Thing()
            reference = weakref.ref(thing)
            future = executor.submit(use, thing)
            assert future.cancel()
            del thing
        # The future is still alive.
        wait_freed(reference)
        assert future.cancelled()


@each_executor_type
def test_an_idle_worker_keeps_nothing_of_its_last_task(executor_type: Executors) -> None:
    def fail(thing: Thing) -> None:
        raise ValueError(thing)

    with executor_type(1) as executor:
        thing, raised = Thing(), Thing()
        references = [weakref.ref(thing), weakref.ref(raised)]
        executor.submit(use, thing)
        ask(executor.submit(fail, raised))
        del thing, raised
        wait_freed(*references)


@owns_the_collector
@by_reference_counts
@each_executor_type
def test_nothing_of_a_task_is_in_a_cycle(executor_type: Executors) -> None:
    with without_collector(), executor_type(1) as executor:
        thing, key = Thing(), Thing()
        references: list[weakref.ref[Any]] = [weakref.ref(thing), weakref.ref(key)]
        future = executor.submit(collect, thing, key=key)
        references.append(weakref.ref(future))
        ask(future)
        del thing, key, future
        wait_freed(*references)


@owns_the_collector
@by_reference_counts
@each_executor_type
def test_nothing_of_a_task_that_raised_is_in_a_cycle(executor_type: Executors) -> None:
    class Failure(Exception):
        pass

    def fail(thing: Thing) -> None:
        raise Failure

    with without_collector(), executor_type(1) as executor:
        thing = Thing()
        future = executor.submit(fail, thing)
        references: list[weakref.ref[Any]] = [weakref.ref(thing), weakref.ref(future)]
        error = future.exception(DEADLINE)
        assert isinstance(error, Failure)
        references.append(weakref.ref(error))
        del error
        # result() raises it several times.
        ask(future)
        ask(future)
        del thing
        assert references[0]() is not None, "the traceback has it"
        del future
        wait_freed(*references)


@owns_the_collector
@by_reference_counts
@each_executor_type
def test_nothing_of_a_map_is_in_a_cycle(executor_type: Executors) -> None:
    references: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    def task(thing: Thing) -> Thing:
        if len(references) == 3:
            raise Failure
        return thing

    def consume(executor: ThreadPoolExecutor) -> None:
        things = [Thing() for _ in range(3)]
        references.extend(map(weakref.ref, things))
        try:
            for _ in executor.map(task, things):
                pass
        except Failure as error:
            references.append(weakref.ref(error))

    with without_collector(), executor_type(1) as executor:
        consume(executor)
        assert len(references) == 4
        wait_freed(*references)


@owns_the_collector
@by_reference_counts
@each_future_type
def test_nothing_of_a_future_is_in_a_cycle(future_type: Futures) -> None:
    with without_collector():
        for outcome in ("pending", "result", "exception", "cancel"):
            future, thing = future_type(), Thing()
            references: list[weakref.ref[Any]] = [weakref.ref(future), weakref.ref(thing)]
            with pytest.raises(TimeoutError):
                future.result(0)
            future.add_done_callback(lambda _, thing=thing: None)  # type: ignore[misc]
            match outcome:
                case "result":
                    future.set_result(thing)
                case "exception":
                    future.set_exception(ValueError(thing))
                case "cancel":
                    future.cancel()
                case _:
                    pass
            if outcome != "pending":
                ask(future)
            del future, thing
            wait_freed(*references)


@each_future_type
def test_a_future_in_a_cycle_is_collected(future_type: Futures) -> None:
    for how in ("result", "exception", "callback", "attribute"):
        future: Any = future_type()
        match how:
            case "result":
                future.set_result(future)
            case "exception":
                future.set_exception(ValueError(future))
            case "callback":
                future.add_done_callback(partial(use, future))
            case _:
                future.itself = future
        reference = weakref.ref(future)
        del future

        def is_gone(reference: weakref.ref[Any] = reference) -> bool:
            gc.collect()
            return reference() is None

        wait_until(is_gone)


@each_executor_type
def test_an_executor_in_a_cycle_is_collected(executor_type: Executors) -> None:
    class Owner(Thing):
        def __init__(self) -> None:
            self.executor = executor_type(1, initializer=self.work)
            self.future = self.executor.submit(self.work)

        def work(self) -> None: ...

    owner = Owner()
    owner.future.result(DEADLINE)
    owner.executor.shutdown()
    reference = weakref.ref(owner)
    del owner

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)


@each_executor_type
@pytest.mark.parametrize("read", [0, 1, 3])
def test_results_of_a_map_in_a_cycle_are_collected(executor_type: Executors, read: int) -> None:
    class Owner(Thing):
        """Keeps the results of a map over its own method, which refers back to it."""

        def __init__(self, executor: ThreadPoolExecutor) -> None:
            self.results = executor.map(self.work, [Thing(), Thing(), Thing()])
            for _ in range(read):
                next(self.results)

        def work(self, thing: Thing) -> tuple[Owner, Thing]:
            return self, thing

    with executor_type(1) as executor:
        owner = Owner(executor)
        # Waits until the worker has dropped it.
        executor.submit(int).result(DEADLINE)
        reference = weakref.ref(owner)
        del owner

        def is_gone() -> bool:
            gc.collect()
            return reference() is None

        wait_until(is_gone, deadline=10)


@each_executor_type
def test_unread_results_of_a_map_are_let_go_of(executor_type: Executors) -> None:
    references: list[weakref.ref[Thing]] = []

    def task(_: int) -> Thing:
        thing = Thing()
        references.append(weakref.ref(thing))
        return thing

    with executor_type(2) as executor:
        results = executor.map(task, range(5))
        next(results)
        wait_until(lambda: len(references) == 5)
        del results
        wait_freed(*references)


@each_executor_type
def test_the_items_of_a_map_are_let_go_of_when_they_are_done(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        things = [Thing() for _ in range(3)]
        references = [weakref.ref(thing) for thing in things]
        last = references[2]

        def task(thing: Thing) -> None:
            if thing is last():
                gate.hold()

        results = executor.map(task, things)
        gate.wait_entered(1)
        del things
        wait_freed(references[0], references[1])
        gate.open()
        assert list(results) == [None] * 3


@pytest.mark.thread_unsafe(reason="counts references")
@by_reference_counts
@each_executor_type
def test_reference_counts_are_as_before(executor_type: Executors) -> None:
    thing = Thing()
    with executor_type(2) as executor:
        before = sys.getrefcount(thing), sys.getrefcount(use)
        for _ in range(500):
            executor.submit(use, thing, key=thing)
            executor.submit(use, thing).cancel()
            executor.submit(lambda: thing).add_done_callback(use)
        list(executor.map(use, [thing] * 500))
        wait_until(lambda: (sys.getrefcount(thing), sys.getrefcount(use)) == before)
