"""Executors: shutdown() with all its options, the with block, and executors that nobody refers to."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from executors import EXECUTOR_TYPES, REFUSED, Thing, attribute, wait_freed
from support import DEADLINE, Background, Gate, Sum, background, wait_gone, wait_until

pytestmark = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

Executors = type[ThreadPoolExecutor]


def filled(executor: ThreadPoolExecutor, gate: Gate, pending: int = 5) -> tuple[Future[None], list[Future[int]]]:
    """Submits a task that the gate holds, and others behind it, which are pending if there is one worker."""
    held = executor.submit(gate.hold)
    gate.wait_entered(1)
    return held, [executor.submit(int, str(number)) for number in range(pending)]


def test_nothing_is_accepted_afterwards(executor_type: Executors) -> None:
    executor = executor_type(2)
    assert not attribute(executor, "_shutdown")
    assert executor.submit(int).result(DEADLINE) == 0
    executor.shutdown()
    assert attribute(executor, "_shutdown")
    for _ in range(2):
        with pytest.raises(RuntimeError, match=REFUSED):
            executor.submit(int)
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.map(int, "123")


def test_an_executor_that_was_never_used(executor_type: Executors) -> None:
    for wait, cancel in itertools.product((True, False), repeat=2):
        executor = executor_type(2)
        executor.shutdown(wait, cancel_futures=cancel)
        with pytest.raises(RuntimeError, match=REFUSED):
            executor.submit(int)


def test_by_default_it_waits_for_everything(executor_type: Executors) -> None:
    done = Sum()
    executor = executor_type(2)
    with Gate() as gate:
        held = [executor.submit(gate.hold) for _ in range(2)]
        pending = [executor.submit(done.add) for _ in range(50)]
        shutdown = Background(executor.shutdown)
        wait_until(lambda: attribute(executor, "_shutdown"), "the shutdown")
        assert shutdown.is_alive()
        assert not any(future.done() for future in pending)
        gate.open()
        shutdown.result()
    # All are done: no wait is needed.
    assert all(future.done() and not future.cancelled() for future in held + pending)
    assert done.value == 50


def test_it_waits_for_the_threads_too(executor_type: Executors) -> None:
    executor = executor_type(3)
    with Gate() as gate:
        for _ in range(3):
            executor.submit(gate.hold)
        gate.wait_entered(3)
    executor.shutdown()
    wait_gone(gate.ids)


def test_without_waiting_it_returns_at_once_and_the_rest_is_done(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        held, pending = filled(executor, gate)
        executor.shutdown(wait=False)
        # The gate is still closed, so it did not wait.
        assert not held.done()
        with pytest.raises(RuntimeError, match=REFUSED):
            executor.submit(int)
        gate.open()
        assert [future.result(DEADLINE) for future in pending] == [0, 1, 2, 3, 4]
        assert held.result() is None


def test_cancelling_spares_what_is_running(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        held, pending = filled(executor, gate)
        executor.shutdown(wait=False, cancel_futures=True)
        assert [future.cancelled() for future in pending] == [True] * 5
        assert held.running()
        gate.open()
        assert held.result(DEADLINE) is None
    for future in pending:
        assert future.done()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()


def test_cancelling_and_waiting(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        held, pending = filled(executor, gate)
        shutdown = Background(lambda: executor.shutdown(wait=True, cancel_futures=True))
        wait_until(lambda: all(future.cancelled() for future in pending), "the cancellation")
        assert shutdown.is_alive()
        gate.open()
        shutdown.result()
    assert held.done()
    assert not held.cancelled()


def test_cancelled_tasks_never_run_and_their_callbacks_are_called(executor_type: Executors) -> None:
    ran, heard = Sum(), Sum()
    executor = executor_type(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        for _ in range(10):
            executor.submit(ran.add).add_done_callback(lambda future: heard.add(future.cancelled()))
        executor.shutdown(wait=False, cancel_futures=True)
        assert heard.value == 10
        gate.open()
    executor.shutdown()
    assert ran.value == 0


def test_the_arguments_of_cancelled_tasks_are_let_go_of(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        thing = Thing()
        executor.submit(id, thing)
        reference = weakref.ref(thing)
        del thing
        executor.shutdown(wait=False, cancel_futures=True)
        wait_freed(reference)
        gate.open()
    executor.shutdown()


@pytest.mark.parametrize("first", [(True, False), (True, True), (False, False), (False, True)])
@pytest.mark.parametrize("second", [(True, False), (True, True), (False, False), (False, True)])
def test_twice_in_every_combination(
    executor_type: Executors, first: tuple[bool, bool], second: tuple[bool, bool]
) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        held, pending = filled(executor, gate)
        if first[0]:
            gate.open()
        executor.shutdown(first[0], cancel_futures=first[1])
        gate.open()
        executor.shutdown(second[0], cancel_futures=second[1])
        executor.shutdown()
    assert held.result() is None
    for number, future in enumerate(pending):
        assert future.done()
        assert future.cancelled() or future.result() == number
        if not (first[1] or second[1]):
            assert not future.cancelled()


def test_the_second_may_still_cancel(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        held, pending = filled(executor, gate)
        executor.shutdown(wait=False)
        assert not any(future.done() for future in pending)
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in pending)
        gate.open()
        executor.shutdown()
    assert held.done()


def test_many_threads_shut_down_at_once(executor_type: Executors) -> None:
    done = Sum()
    executor = executor_type(2)
    with Gate() as gate:
        executor.submit(gate.hold)
        for _ in range(20):
            executor.submit(done.add)
        waiting = background(4, executor.shutdown)
        wait_until(lambda: attribute(executor, "_shutdown"), "the shutdown")
        gate.open()
        for each in waiting:
            each.result()
    assert done.value == 20


def test_submitting_against_a_shutdown_loses_nothing(executor_type: Executors) -> None:
    done = Sum()
    executor = executor_type(2)
    accepted: list[Future[None]] = []

    def flood() -> None:
        while True:
            accepted.append(executor.submit(done.add))

    flooding = background(2, flood)
    wait_until(lambda: done.value > 100, "some tasks")
    executor.shutdown()
    for each in flooding:
        with pytest.raises(RuntimeError, match=REFUSED):
            each.result()
    assert all(future.done() for future in accepted)
    assert done.value == len(accepted)


def test_a_task_that_is_cancelled_just_before(executor_type: Executors) -> None:
    executor = executor_type(1)
    assert executor.submit(int).result(DEADLINE) == 0
    executor.submit(int).cancel()
    Background(executor.shutdown).result()


def test_a_task_may_shut_down_its_executor(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        executor.submit(gate.hold)
        shutdown = executor.submit(executor.shutdown, wait=False)
        later = executor.submit(int, "5")
        gate.open()
        assert shutdown.result(DEADLINE) is None
        assert later.result(DEADLINE) == 5
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit(int)


def test_the_executor_is_what_with_gives(executor_type: Executors) -> None:
    executor = executor_type(2)
    with executor as same:
        assert same is executor
        futures = [executor.submit(pow, 2, number) for number in range(20)]
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == [2**number for number in range(20)]
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit(int)
    # The block may be entered again, which does not open the executor.
    with executor, pytest.raises(RuntimeError, match=REFUSED):
        executor.submit(int)


def test_a_with_block_that_raises_waits_too_and_hides_nothing(executor_type: Executors) -> None:
    done = Sum()
    error = ValueError("of the block")

    def block() -> None:
        with executor_type(1) as executor:
            for _ in range(20):
                executor.submit(done.add)
            raise error

    with pytest.raises(ValueError, match="of the block") as caught:
        block()
    assert caught.value is error
    assert done.value == 20


def test_the_parameters(executor_type: Executors) -> None:
    executor = executor_type(1)
    # wait may be positional, cancel_futures may not.
    executor.shutdown(False)
    with pytest.raises(TypeError):
        executor.shutdown(True, True)  # type: ignore[call-arg]
    assert executor.shutdown() is None  # type: ignore[func-returns-value]


def test_an_executor_that_nobody_keeps_finishes_its_work(executor_type: Executors) -> None:
    done = Sum()
    gate = Gate()
    executor = executor_type(1)
    executor.submit(gate.hold)
    futures = [executor.submit(done.add) for _ in range(20)]
    gate.wait_entered(1)
    reference = weakref.ref(executor)
    del executor
    wait_freed(reference)
    assert done.value == 0
    gate.open()
    assert concurrent.futures.wait(futures, DEADLINE).not_done == set()
    assert done.value == 20
    # Its thread leaves, too.
    wait_gone(gate.ids)


def test_idle_workers_of_an_executor_that_nobody_keeps_leave(executor_type: Executors) -> None:
    executor = executor_type(3)
    with Gate() as gate:
        futures = [executor.submit(gate.hold) for _ in range(3)]
        gate.wait_entered(3)
    assert not concurrent.futures.wait(futures, DEADLINE).not_done
    del executor
    gc.collect()
    wait_gone(gate.ids)


def test_futures_do_not_keep_the_executor(executor_type: Executors) -> None:
    executor = executor_type(1)
    with Gate() as gate:
        futures: list[Future[object]] = [executor.submit(gate.hold), executor.submit(int)]
        results = executor.map(int, "123")
        reference = weakref.ref(executor)
        del executor
        wait_freed(reference)
        gate.open()
        assert [future.result(DEADLINE) for future in futures] == [None, 0]
        assert list(results) == [1, 2, 3]
