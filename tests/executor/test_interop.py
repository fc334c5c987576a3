"""Executors and futures used by others: by asyncio, by subclasses, and by libraries that read private attributes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import pickle
import threading
import time
import weakref
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from executors import (
    EXECUTOR_TYPES,
    FUTURE_TYPES,
    REFUSED,
    PoolExecutor,
    PoolFuture,
    attribute,
    pass_through,
)
from support import DEADLINE, TICK, Gate, Sum, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Futures = type[Future[Any]]
Executors = type[ThreadPoolExecutor]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


def run(main: Coroutine[Any, Any, object]) -> object:
    """asyncio.run(), with a time limit: it fails instead of hanging."""
    return asyncio.run(asyncio.wait_for(main, DEADLINE))


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


# --- asyncio ---


@each_executor_type
def test_run_in_executor(executor_type: Executors) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with executor_type(3) as executor:
            here = await loop.run_in_executor(executor, threading.get_ident)
            assert here != threading.get_ident()
            assert await asyncio.gather(*(loop.run_in_executor(executor, pow, number, 2) for number in range(200))) == [
                number**2 for number in range(200)
            ]
            with pytest.raises(ValueError, match="no number"):
                await loop.run_in_executor(executor, int, "no number")

    run(main())


@each_executor_type
def test_it_may_be_the_default_executor(executor_type: Executors) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        assert await loop.run_in_executor(None, lambda: threading.current_thread().name) == "default_0"
        assert (await asyncio.to_thread(lambda: threading.current_thread().name)).startswith("default_")
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    executor = executor_type(2, "default")
    run(main())
    # asyncio.run() shuts the executor down.
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit(int)


@each_executor_type
def test_to_thread_brings_its_context(executor_type: Executors) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor_type(1))
        variable.set("of the loop")
        assert await asyncio.to_thread(variable.get) == "of the loop"

    run(main())


@each_executor_type
def test_shutdown_default_executor_waits(executor_type: Executors) -> None:
    done = Sum()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor_type(1))
        for _ in range(20):
            loop.run_in_executor(None, done.add)
        await loop.shutdown_default_executor()
        assert done.value == 20

    run(main())


@each_executor_type
def test_wrap_future(executor_type: Executors) -> None:
    async def main() -> None:
        with executor_type(2) as executor:
            assert await asyncio.wrap_future(executor.submit(pow, 2, 5)) == 32
            with pytest.raises(ValueError, match="no number"):
                await asyncio.wrap_future(executor.submit(int, "no number"))
            done = executor.submit(int, "7")
            concurrent.futures.wait([done])
            assert await asyncio.wrap_future(done) == 7

    run(main())


@each_executor_type
def test_cancelling_goes_both_ways(executor_type: Executors) -> None:
    async def main() -> None:
        with executor_type(1) as executor, Gate() as gate:
            executor.submit(gate.hold)
            gate.wait_entered(1)
            # The awaiting side cancels the pending task,
            future = executor.submit(int)
            wrapped = asyncio.wrap_future(future)
            assert wrapped.cancel()
            await until(future.cancelled)
            # and is told that the task was cancelled.
            future = executor.submit(int)
            wrapped = asyncio.wrap_future(future)
            assert future.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wrapped
            # A call that runs does not notice.
            gate.open()

    run(main())


@each_executor_type
def test_a_timeout_of_the_loop_leaves_the_task_alone(executor_type: Executors) -> None:
    async def main() -> None:
        with executor_type(1) as executor, Gate() as gate:
            future = executor.submit(gate.hold)
            gate.wait_entered(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(future), 0.001)
            assert future.running()
            gate.open()
            await asyncio.wrap_future(executor.submit(int))
            assert future.result() is None
            assert not future.cancelled()

    run(main())


@each_future_type
def test_wrapping_a_future_of_ones_own(future_type: Futures) -> None:
    async def main() -> None:
        result, error, cancelled = future_type(), future_type(), future_type()
        wrapped = [asyncio.wrap_future(future) for future in (result, error, cancelled)]

        def end() -> None:
            result.set_result(5)
            error.set_exception(LookupError("of the thread"))
            cancelled.cancel()

        thread = threading.Thread(target=end)
        thread.start()
        assert await wrapped[0] == 5
        with pytest.raises(LookupError, match="of the thread"):
            await wrapped[1]
        with pytest.raises(asyncio.CancelledError):
            await wrapped[2]
        thread.join()

    run(main())


def test_coroutines_from_other_threads() -> None:
    # asyncio makes a future of CPython's class; a worker may wait for it.
    if PoolExecutor is None:
        pytest.skip("pyants has no PoolExecutor yet")

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def answer() -> int:
            await asyncio.sleep(0)
            return 42

        with PoolExecutor(1) as executor:
            asked = executor.submit(lambda: asyncio.run_coroutine_threadsafe(answer(), loop).result(DEADLINE))
            assert await asyncio.wrap_future(asked) == 42

    run(main())


# --- classes and objects ---


@each_executor_type
def test_it_is_what_others_check_for(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        assert isinstance(executor, Executor)
        assert isinstance(executor, ThreadPoolExecutor)
        future = executor.submit(int)
        assert isinstance(future, Future)
        assert asyncio.isfuture(future) is False
        assert weakref.ref(executor)() is executor
        assert weakref.ref(future)() is future
        assert executor in {executor}


def test_the_classes_are_at_home_in_pyants() -> None:
    assert ThreadPoolExecutor in PoolExecutor.__mro__
    assert (PoolExecutor.__module__, PoolExecutor.__qualname__) == ("pyants", "PoolExecutor")
    with PoolExecutor(1) as executor:
        futures: list[object] = [
            executor.submit(int),
            executor.try_submit(int),
            executor.submit_within(1, int),
            *executor.submit_many(int, "12"),
        ]
        assert {type(future) for future in futures} == {PoolFuture}


@each_executor_type
def test_it_can_be_neither_pickled_nor_copied_deeply(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        future = executor.submit(int)
        for each in (executor, future):
            # CPython's executor cannot either; its message is another one from 3.14 on.
            with pytest.raises((TypeError, pickle.PicklingError), match=r"(?i)can.t pickle|cannot pickle"):
                pickle.dumps(each)
            with pytest.raises(TypeError, match="cannot pickle"):
                copy.deepcopy(each)


@each_executor_type
def test_a_subclass_that_wraps_submit(executor_type: Executors) -> None:
    class Counting(executor_type):  # type: ignore[valid-type, misc]
        def __init__(self, workers: int, label: str) -> None:
            super().__init__(workers, thread_name_prefix=label)
            self.count = 0

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(2, "counting") as executor:
        assert executor.submit(pow, 2, 5).result(DEADLINE) == 32
        assert executor.count == 1
        # CPython's map() calls submit(), on which such a class relies.
        assert list(executor.map(int, "123")) == [1, 2, 3]
        assert executor.count == 4


@each_executor_type
def test_a_subclass_that_wraps_shutdown(executor_type: Executors) -> None:
    class Noting(executor_type):  # type: ignore[valid-type, misc]
        calls: list[object]

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            self.calls.append((wait, cancel_futures))
            super().shutdown(wait, cancel_futures=cancel_futures)

    with Noting(1) as executor:
        executor.calls = []
        future = executor.submit(int)
    assert executor.calls == [(True, False)]
    assert future.done()


@each_executor_type
def test_attributes_that_others_add(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        anything: Any = executor
        anything.label = "mine"
        assert anything.label == "mine"


# --- what libraries look at ---


@each_executor_type
def test_the_private_attributes(executor_type: Executors) -> None:
    with executor_type(2, "looked-at") as executor, Gate() as gate:
        assert attribute(executor, "_max_workers") == 2
        assert attribute(executor, "_thread_name_prefix") == "looked-at"
        assert not attribute(executor, "_shutdown")
        assert not attribute(executor, "_broken")
        assert len(attribute(executor, "_threads")) == 0
        assert attribute(executor, "_work_queue").qsize() == 0
        for _ in range(5):
            executor.submit(gate.hold)
        gate.wait_entered(2)
        assert len(attribute(executor, "_threads")) == 2
        # Some libraries look at each thread.
        assert {thread.name for thread in attribute(executor, "_threads")} == {"looked-at_0", "looked-at_1"}
        assert all(thread.is_alive() for thread in attribute(executor, "_threads"))
        assert attribute(executor, "_work_queue").qsize() == 3
        gate.open()
    assert attribute(executor, "_shutdown")


@each_executor_type
def test_the_threads_of_one_are_not_those_of_another(executor_type: Executors) -> None:
    with executor_type(1, "shared") as first, executor_type(1, "shared_too") as second, Gate() as gate:
        first.submit(gate.hold)
        second.submit(gate.hold)
        gate.wait_entered(2)
        names = [[thread.name for thread in attribute(executor, "_threads")] for executor in (first, second)]
        assert names == [["shared_0"], ["shared_too_0"]]
        gate.open()


@each_executor_type
def test_the_private_attributes_of_a_future(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as gate:
        held = executor.submit(pass_through, gate, 5)
        gate.wait_entered(1)
        failing = executor.submit(int, "no number")
        assert [attribute(future, "_state") for future in (held, failing)] == ["RUNNING", "PENDING"]
        assert [attribute(future, "_result") for future in (held, failing)] == [None, None]
        gate.open()
        concurrent.futures.wait([held, failing], DEADLINE)
        assert [attribute(future, "_state") for future in (held, failing)] == ["FINISHED", "FINISHED"]
        assert attribute(held, "_result") == 5
        assert attribute(held, "_exception") is None
        assert isinstance(attribute(failing, "_exception"), ValueError)


@each_future_type
def test_the_condition_of_a_future_is_its_lock(future_type: Futures) -> None:
    # wait() and as_completed() hold the condition while they look at a future and add their waiter.
    future = future_type()
    condition: threading.Condition = attribute(future, "_condition")
    assert attribute(future, "_condition") is condition
    with condition:
        # Its holder may acquire it again.
        assert not future.done()
        attribute(future, "_waiters").append(waiter := _Waiter())
        thread = threading.Thread(target=future.set_result, args=(5,), daemon=True)
        thread.start()
        # The future gets no result meanwhile, however long that takes.
        for _ in range(10):
            time.sleep(TICK)
            assert waiter.seen == []
            assert attribute(future, "_state") == "PENDING"
    thread.join(DEADLINE)
    assert waiter.seen == [future]
    assert future.result(0) == 5


class _Waiter:
    """The waiter that wait() adds to a future."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def add_result(self, future: object) -> None:
        self.seen.append(future)

    add_exception = add_cancelled = add_result


@each_future_type
def test_the_condition_is_notified_at_the_end(future_type: Futures) -> None:
    for end in ("result", "exception", "cancel"):
        future = future_type()
        condition: threading.Condition = attribute(future, "_condition")
        entered = threading.Event()
        woken: list[bool] = []

        def wait(
            future: Future[Any] = future,
            condition: threading.Condition = condition,
            entered: threading.Event = entered,
            woken: list[bool] = woken,
        ) -> None:
            with condition:
                entered.set()
                woken.append(condition.wait_for(future.done, DEADLINE))

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert entered.wait(DEADLINE)
        match end:
            case "result":
                future.set_result(1)
            case "exception":
                future.set_exception(ValueError())
            case _:
                assert future.cancel()
        wait_until(lambda woken=woken: woken == [True])  # type: ignore[misc]


@each_executor_type
def test_an_executor_that_drives_futures_of_its_own(executor_type: Executors) -> None:
    # Libraries that wrap an executor do this: a future of their own mirrors one of the executor's.
    class Following(Executor):
        def __init__(self, inner: Executor) -> None:
            self.inner = inner

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            outer: Future[Any] = (PoolFuture or Future)()

            def copy_outcome(inner: Future[Any]) -> None:
                if outer.set_running_or_notify_cancel():
                    error = inner.exception()
                    if error is None:
                        outer.set_result(inner.result())
                    else:
                        outer.set_exception(error)

            self.inner.submit(fn, *args, **kwargs).add_done_callback(copy_outcome)
            return outer

    with executor_type(2) as inner, Following(inner) as executor:
        assert list(executor.map(int, "123", timeout=DEADLINE)) == [1, 2, 3]
        assert isinstance(executor.submit(int, "no number").exception(DEADLINE), ValueError)
