"""PoolExecutor with a bounded queue: submit() waits for a place, is refused, or waits with a time limit."""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import weakref
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from executors import REFUSED, PoolExecutor, Thing, attribute, same, wait_freed
from support import DEADLINE, Background, Gate, Sum, background, wait_equal, wait_until

from pyants import PoolOverloadError, PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator


def full(gate: Gate, queue_size: int = 1, **options: Any) -> Any:
    """An executor of one worker, which the gate holds, and whose queue is full."""
    executor = PoolExecutor(1, queue_size=queue_size, **options)
    executor.submit(gate.hold)
    gate.wait_entered(1)
    for _ in range(queue_size):
        executor.submit(int)
    return executor


def test_by_default_the_backlog_has_no_limit() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        futures = [executor.submit(int) for _ in range(5000)]
        assert executor.pool.queued() == attribute(executor, "_work_queue").qsize() == 5000
        gate.open()
        assert concurrent.futures.wait(futures, DEADLINE).not_done == set()


@pytest.mark.parametrize("queue_size", [0, 1, 3])
def test_submit_waits_while_it_is_full(queue_size: int) -> None:
    with Gate() as gate, full(gate, queue_size) as executor:
        submitted = Background(lambda: executor.submit(int, "7"))
        wait_equal(executor.pool.waiting, 1)
        assert submitted.is_alive()
        assert executor.pool.queued() == queue_size
        gate.open()
        assert submitted.result().result(DEADLINE) == 7


def test_those_who_wait_are_served_in_turn() -> None:
    seen: list[int] = []
    with Gate() as gate, full(gate) as executor:
        waiting: list[Background[Any]] = []
        for number in range(5):
            waiting.append(Background(lambda number=number: executor.submit(seen.append, number)))  # type: ignore[misc]
            wait_equal(executor.pool.waiting, number + 1)
        gate.open()
        for each in waiting:
            each.result()
    assert seen == list(range(5))


def test_there_is_never_more_in_the_queue_than_its_limit() -> None:
    most = Sum()
    with PoolExecutor(2, queue_size=3) as executor:

        def task() -> None:
            if executor.pool.queued() > 3:
                most.add()

        def submit_all() -> None:
            for _ in range(200):
                executor.submit(task)

        for each in background(3, submit_all):
            each.result()
    assert most.value == 0
    assert executor.pool.stats().completed == 600


def test_nonblocking_refuses_at_once() -> None:
    with Gate() as gate, full(gate, nonblocking=True) as executor:
        with pytest.raises(PoolOverloadError):
            executor.submit(int)
        with pytest.raises(PoolOverloadError):
            executor.submit_within(1e6, int)
        with pytest.raises(PoolOverloadError):
            executor.submit_many(int, "123")
        assert executor.try_submit(int) is None
        assert executor.pool.stats().submitted == 2
        gate.open()
        executor.pool.wait_idle(DEADLINE)
        assert executor.submit(int, "7").result(DEADLINE) == 7


def test_so_many_may_wait_and_others_are_refused() -> None:
    with Gate() as gate, full(gate, max_blocking_tasks=1) as executor:
        waiting = Background(lambda: executor.submit(int, "7"))
        wait_equal(executor.pool.waiting, 1)
        with pytest.raises(PoolOverloadError):
            executor.submit(int)
        gate.open()
        assert waiting.result().result(DEADLINE) == 7


def test_try_submit_never_waits() -> None:
    with Gate() as gate, full(gate) as executor:
        assert executor.try_submit(int) is None
        assert executor.pool.waiting() == 0
        assert executor.pool.stats().submitted == 2
        gate.open()
        executor.pool.wait_idle(DEADLINE)
        future = executor.try_submit(pow, 2, 5)
        assert isinstance(future, Future)
        assert future.result(DEADLINE) == 32
        assert executor.try_submit(dict, fn=1, self=2).result(DEADLINE) == {"fn": 1, "self": 2}


@pytest.mark.parametrize("timeout", [0, 0.01, timedelta(milliseconds=10)])
def test_submit_within_waits_for_so_long(timeout: float | timedelta) -> None:
    with Gate() as gate, full(gate) as executor:
        with pytest.raises(PoolTimeoutError):
            executor.submit_within(timeout, int)
        assert executor.pool.waiting() == 0
        assert executor.pool.stats().submitted == 2
        gate.open()
        executor.pool.wait_idle(DEADLINE)
        assert executor.submit_within(timeout, int, "7").result(DEADLINE) == 7
        assert executor.submit_within(DEADLINE, dict, fn=1, timeout=2).result(DEADLINE) == {"fn": 1, "timeout": 2}


def test_submit_within_is_served_by_a_permit_in_time() -> None:
    with Gate() as gate, full(gate) as executor:
        waiting = Background(lambda: executor.submit_within(1e6, int, "7"))
        wait_equal(executor.pool.waiting, 1)
        gate.open()
        assert waiting.result().result(DEADLINE) == 7


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError)])
def test_nonsense_for_a_timeout(timeout: Any, error: type[Exception]) -> None:
    with PoolExecutor(1, queue_size=1) as executor, pytest.raises(error):
        executor.submit_within(timeout, int)


def test_a_refused_task_is_let_go_of() -> None:
    with Gate() as gate, full(gate, nonblocking=True) as executor:
        things = [Thing(), Thing()]
        references = [weakref.ref(thing) for thing in things]
        assert executor.try_submit(id, things[0]) is None
        with pytest.raises(PoolOverloadError):
            executor.submit(id, things.pop())
        things.clear()
        wait_freed(*references)
        gate.open()


def test_shutdown_refuses_those_who_wait() -> None:
    ran = Sum()
    with Gate() as gate:
        executor = full(gate)
        waiting = [Background(lambda: executor.submit(ran.add)) for _ in range(3)]
        waiting.append(Background(lambda: executor.submit_within(1e6, ran.add)))
        wait_equal(executor.pool.waiting, 4)
        executor.shutdown(wait=False)
        for each in waiting:
            with pytest.raises(RuntimeError):
                each.result()
        gate.open()
        executor.shutdown()
    assert ran.value == 0


def test_calls_refused_after_a_shutdown() -> None:
    executor = PoolExecutor(1, queue_size=1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit(int)
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.try_submit(int)
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit_within(1, int)
    with pytest.raises(RuntimeError, match=REFUSED):
        executor.submit_many(int, "123")


def test_cancelled_tasks_give_their_permits_back() -> None:
    ran = Sum()
    with Gate() as gate, PoolExecutor(1, queue_size=2) as executor:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        queued = [executor.submit(ran.add) for _ in range(2)]
        waiting = Background(lambda: executor.submit(int, "7"))
        wait_equal(executor.pool.waiting, 1)
        assert all(future.cancel() for future in queued)
        # Their places are free at the latest when the worker comes to them.
        gate.open()
        assert waiting.result().result(DEADLINE) == 7
    assert ran.value == 0


def test_map_on_a_bounded_queue_waits_and_gives_everything() -> None:
    with PoolExecutor(2, queue_size=3) as executor:
        assert list(executor.map(int, map(str, range(200)))) == list(range(200))
        assert sorted(executor.map_unordered(int, map(str, range(200)))) == list(range(200))


# --- submit_many ---


@pytest.mark.parametrize("options", [{}, {"queue_size": 3}, {"queue_size": 0}], ids=repr)
def test_submit_many_gives_the_futures_in_order(options: dict[str, Any]) -> None:
    with PoolExecutor(2, **options) as executor:
        futures: list[Future[int]] = executor.submit_many(int, map(str, range(200)))
        assert isinstance(futures, list)
        assert all(isinstance(future, Future) for future in futures)
        assert [future.result(DEADLINE) for future in futures] == list(range(200))
        assert executor.submit_many(int, []) == []


def test_the_futures_of_submit_many_are_independent() -> None:
    with PoolExecutor(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        gate.wait_entered(1)
        futures = executor.submit_many(partial(divmod, 10), range(4))
        assert futures[2].cancel()
        gate.open()
        assert concurrent.futures.wait(futures, DEADLINE).not_done == set()
        assert isinstance(futures[0].exception(), ZeroDivisionError)
        assert (futures[1].result(), futures[3].result()) == ((10, 0), (3, 1))
        assert futures[2].cancelled()


def test_submit_many_passes_each_item_as_it_is() -> None:
    items: list[Any] = [(1, 2), {"a": 1}, None, []]
    with PoolExecutor(2) as executor:
        assert [future.result(DEADLINE) for future in executor.submit_many(same, items)] == items


def test_submit_many_reads_no_further_than_it_has_permits_for() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    with Gate() as gate:
        executor = full(gate, 2)
        waiting = Background(lambda: executor.submit_many(int, numbers()))
        wait_equal(executor.pool.waiting, 1)
        assert taken == [0]
        executor.shutdown(wait=False)
        with pytest.raises(RuntimeError):
            waiting.result()
        gate.open()
        executor.shutdown()


def test_submit_many_of_an_input_that_raises() -> None:
    ran: list[int] = []

    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("of the input")

    with PoolExecutor(1) as executor, pytest.raises(LookupError, match="of the input"):
        executor.submit_many(ran.append, numbers())
    assert ran == [1, 2]


def test_submit_many_from_many_threads() -> None:
    with PoolExecutor(3, queue_size=10) as executor:

        def submit() -> list[int]:
            return [future.result(DEADLINE) for future in executor.submit_many(abs, range(-300, 0))]

        assert [each.result() for each in background(4, submit)] == [list(range(300, 0, -1))] * 4


def test_submit_many_runs_callbacks_added_later() -> None:
    done = Sum()

    def add_result(future: Future[int]) -> None:
        done.add(future.result())

    with PoolExecutor(2) as executor:
        for future in executor.submit_many(int, map(str, range(100))):
            future.add_done_callback(add_result)
        wait_until(lambda: done.value == 4950)
