"""Futures: add_done_callback."""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, FUTURE_TYPES, futures_log, logged, pass_through
from support import DEADLINE, Background, Gate, Sum, background, nap, wait_equal, wait_until

Futures = type[Future[Any]]
Executors = type[ThreadPoolExecutor]

each_future_type = pytest.mark.parametrize("future_type", FUTURE_TYPES)
each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
each_outcome = pytest.mark.parametrize("outcome", ["result", "exception", "cancel"])


def end(future: Future[Any], outcome: str) -> None:
    match outcome:
        case "result":
            future.set_result(5)
        case "exception":
            future.set_exception(ValueError("of the future"))
        case _:
            assert future.cancel()


@each_future_type
@each_outcome
def test_callbacks_get_the_future_in_the_order_they_were_added(future_type: Futures, outcome: str) -> None:
    future = future_type()
    seen: list[tuple[int, Future[Any], bool]] = []
    for number in range(10):
        future.add_done_callback(lambda each, number=number: seen.append((number, each, each.done())))  # type: ignore[misc]
    assert seen == []
    end(future, outcome)
    assert seen == [(number, future, True) for number in range(10)]


@each_future_type
@each_outcome
def test_on_a_future_that_is_done_it_is_called_at_once_by_the_caller(future_type: Futures, outcome: str) -> None:
    future = future_type()
    end(future, outcome)
    seen: list[tuple[Future[Any], int]] = []
    for count in (1, 2):
        future.add_done_callback(lambda each: seen.append((each, threading.get_ident())))
        assert seen == [(future, threading.get_ident())] * count


@each_future_type
def test_the_thread_that_ends_the_future_calls(future_type: Futures) -> None:
    for outcome in ("result", "exception", "cancel"):
        future = future_type()
        seen: list[int] = []
        future.add_done_callback(lambda _, seen=seen: seen.append(threading.get_ident()))  # type: ignore[misc]
        thread = threading.Thread(target=end, args=(future, outcome))
        thread.start()
        ident = thread.ident
        thread.join(DEADLINE)
        assert seen == [ident]


@each_future_type
def test_each_is_called_once(future_type: Futures) -> None:
    future = future_type()
    calls = Sum()

    def callback(_: Future[Any]) -> None:
        calls.add()

    # The same callback added twice is called twice.
    future.add_done_callback(callback)
    future.add_done_callback(callback)
    assert future.cancel()
    assert future.cancel()
    assert calls.value == 2
    # They are not called again when a worker takes the cancelled call.
    assert not future.set_running_or_notify_cancel()
    assert calls.value == 2


@each_future_type
def test_running_is_no_end(future_type: Futures) -> None:
    future = future_type()
    calls = Sum()
    future.add_done_callback(lambda _: calls.add())
    assert future.set_running_or_notify_cancel()
    assert not future.cancel()
    assert calls.value == 0
    future.set_result(1)
    assert calls.value == 1


@each_future_type
@each_outcome
def test_an_exception_of_a_callback_is_logged_and_disturbs_nobody(future_type: Futures, outcome: str) -> None:
    future = future_type()
    error = LookupError("of the callback")
    calls = Sum()

    def failing(_: Future[Any]) -> None:
        raise error

    with futures_log() as records:
        future.add_done_callback(failing)
        future.add_done_callback(lambda _: calls.add())
        end(future, outcome)
        assert calls.value == 1
        # The same if the future is done already.
        future.add_done_callback(failing)
    assert len(logged(records, error)) == 2
    for record in logged(records, error):
        assert record.levelno == logging.ERROR
        assert record.getMessage() == f"exception calling callback for {future!r}"


@each_future_type
def test_a_base_exception_of_a_callback_reaches_who_ended_the_future(future_type: Futures) -> None:
    def failing(_: Future[Any]) -> None:
        raise KeyboardInterrupt

    future = future_type()
    future.add_done_callback(failing)
    with pytest.raises(KeyboardInterrupt):
        future.set_result(1)
    assert future.result(0) == 1
    with pytest.raises(KeyboardInterrupt):
        future.add_done_callback(failing)


@each_future_type
def test_a_callback_may_use_its_future(future_type: Futures) -> None:
    future = future_type()
    seen: list[object] = []

    def callback(each: Future[Any]) -> None:
        seen.append(each.result())
        seen.append(each.cancel())
        each.add_done_callback(lambda _: seen.append("nested"))
        seen.append("after")

    future.add_done_callback(callback)
    future.add_done_callback(lambda _: seen.append("second"))
    future.set_result(1)
    assert seen == [1, False, "nested", "after", "second"]


@each_future_type
def test_waiters_need_not_wait_for_the_callbacks(future_type: Futures) -> None:
    future = future_type()
    with Gate() as gate:
        future.add_done_callback(gate.hold)
        thread = threading.Thread(target=future.set_result, args=(7,), daemon=True)
        thread.start()
        gate.wait_entered(1)
        assert future.done()
        assert future.result(0) == 7
        gate.open()
    thread.join(DEADLINE)


@each_future_type
@each_outcome
def test_waiters_are_woken_before_the_callbacks_are_called(future_type: Futures, outcome: str) -> None:
    # A callback may wait for a thread that has got the result.
    future = future_type()
    with Gate() as gate:
        future.add_done_callback(gate.hold)
        waiting = background(3, future.exception)
        # The longer this is, the surer that the threads sleep. If one does not, it tests nothing, but does not fail.
        nap(0.05)
        ending = Background(partial(end, future, outcome))
        gate.wait_entered(1)
        wait_until(lambda: not any(each.is_alive() for each in waiting), "the wake-up", DEADLINE / 3)
        for each in waiting:
            if outcome == "cancel":
                with pytest.raises(CancelledError):
                    each.result()
            else:
                assert type(each.result()) is (ValueError if outcome == "exception" else type(None))
        gate.open()
        ending.result()


@each_executor_type
def test_a_worker_wakes_who_waits_before_it_calls_the_callbacks(executor_type: Executors) -> None:
    with executor_type(1) as executor, Gate() as running, Gate() as gate:
        future = executor.submit(pass_through, running, 7)
        future.add_done_callback(gate.hold)
        waiting = background(3, future.result)
        running.wait_entered(1)
        nap(0.05)
        running.open()
        gate.wait_entered(1)
        wait_until(lambda: not any(each.is_alive() for each in waiting), "the wake-up", DEADLINE / 3)
        assert [each.result() for each in waiting] == [7] * 3
        gate.open()


@each_future_type
def test_callbacks_added_while_the_future_ends_are_called_once(future_type: Futures) -> None:
    for _ in range(50):
        future = future_type()
        calls = Sum()

        def add(future: Future[Any] = future, calls: Sum = calls) -> None:
            for _ in range(20):
                future.add_done_callback(lambda _: calls.add())

        threads = background(2, add)
        future.set_result(None)
        for thread in threads:
            thread.result()
        wait_equal(lambda calls=calls: calls.value, 40)  # type: ignore[misc]


@each_executor_type
def test_a_worker_calls_the_callbacks_of_its_task(executor_type: Executors) -> None:
    seen: list[tuple[object, int]] = []
    with executor_type(1) as executor:
        with Gate() as gate:
            executor.submit(gate.hold)
            ident = executor.submit(threading.get_ident)
            ident.add_done_callback(lambda future: seen.append((future.result(), threading.get_ident())))
            failing = executor.submit(int, "no number")
            failing.add_done_callback(lambda future: seen.append((type(future.exception()), threading.get_ident())))
        worker = ident.result(DEADLINE)
    assert seen == [(worker, worker), (ValueError, worker)]


@each_executor_type
def test_the_thread_that_cancels_calls_the_callbacks(executor_type: Executors) -> None:
    seen: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        pending = executor.submit(int)
        pending.add_done_callback(lambda _: seen.append(threading.get_ident()))
        assert pending.cancel()
        assert seen == [threading.get_ident()]
        gate.open()
    # The worker that took the call later called no callback again.
    assert seen == [threading.get_ident()]


@each_executor_type
@pytest.mark.parametrize("error", [ValueError("of the callback"), SystemExit(1)], ids=repr)
def test_a_worker_survives_its_callbacks(executor_type: Executors, error: BaseException) -> None:
    def failing(_: Future[Any]) -> None:
        raise error

    # In CPython a BaseException ends the worker and skips the other callbacks, which no document promises.
    if executor_type is ThreadPoolExecutor and not isinstance(error, Exception):
        pytest.skip("ends a worker of CPython's")
    calls = Sum()
    with futures_log() as records, executor_type(1) as executor:
        with Gate() as gate:
            executor.submit(gate.hold)
            future = executor.submit(int)
            future.add_done_callback(failing)
            later = executor.submit(int, "7")
            later.add_done_callback(lambda _: calls.add())
        assert future.result(DEADLINE) == 0
        assert later.result(DEADLINE) == 7
        wait_until(lambda: bool(logged(records, error)), "the record")
    assert calls.value == 1


@each_executor_type
def test_callbacks_may_submit(executor_type: Executors) -> None:
    done = Sum()
    ended = threading.Event()
    with executor_type(1) as executor:

        def again(future: Future[int]) -> None:
            done.add()
            left = future.result() - 1
            if left:
                executor.submit(int, str(left)).add_done_callback(again)
            else:
                ended.set()

        executor.submit(int, "100").add_done_callback(again)
        assert ended.wait(DEADLINE)
    assert done.value == 100


@each_executor_type
def test_shutdown_waits_for_callbacks_too(executor_type: Executors) -> None:
    # The callbacks run on the worker, before it leaves.
    done = Sum()
    with executor_type(2) as executor, Gate() as gate:
        executor.submit(gate.hold)
        for _ in range(20):
            executor.submit(int).add_done_callback(lambda _: done.add())
        gate.open()
    assert done.value == 20


@each_future_type
@pytest.mark.parametrize("count", [200, 20_000])
def test_futures_that_set_one_another(future_type: Any, count: int) -> None:
    # There is no Python frame in between, so Python's recursion limit comes too late for the stack, or never.
    def chain() -> int:
        futures = [future_type() for _ in range(count)]
        for one, other in itertools.pairwise(futures):
            one.add_done_callback(other.set_result)
        futures[0].set_result(None)
        return sum(future.done() for future in futures)

    with futures_log() as records:
        done = Background(chain).result()
    assert done == count if count == 200 else 200 < done < count
    if count > 200:
        assert any(record.exc_info and record.exc_info[0] is RecursionError for record in list(records.records))
