"""TaskGroup: makes calls on a pool, and waits for all of them."""

from __future__ import annotations

import pickle
import threading
import weakref
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from typing import Any

import pytest
from executors import Thing, pass_through, wait_freed
from groups import each_owner
from loops import fail
from support import DEADLINE, Background, Gate, Latch, Sum, background, wait_equal, wait_until

from pyants import (
    FuncTaskGroup,
    MultiPoolWithFunc,
    Pool,
    PoolClosedError,
    PoolDeadlockError,
    PoolExecutor,
    PoolOverloadError,
    PoolTimeoutError,
    PoolWithFunc,
    TaskGroup,
)


@each_owner
def test_the_block_is_left_when_all_calls_are_done(make: Any) -> None:
    done = Sum()
    with make(2) as owner, Gate() as gate:

        def call() -> None:
            gate.hold()
            done.add()

        def block() -> int:
            with owner.group() as group:
                for _ in range(2):
                    group.submit(call)
                left.count_down()
            return done.value

        left = Latch(1)
        waiting = Background(block)
        left.wait()
        gate.wait_entered(2)
        gate.let(1)
        wait_equal(lambda: done.value, 1)
        assert waiting.is_alive()
        gate.open()
        assert waiting.result() == 2


@each_owner
def test_results_are_in_the_order_of_submission(make: Any) -> None:
    with make(4) as owner:
        with owner.group(results=True) as group:
            for number in range(50):
                group.submit(pow, number, 2)
        assert group.results() == [number**2 for number in range(50)]
        # Again, and without any call.
        assert group.results() == [number**2 for number in range(50)]
        with owner.group(results=True) as empty:
            pass
        assert empty.results() == []


@each_owner
def test_submit_gives_a_future(make: Any) -> None:
    with make(1) as owner, owner.group() as group:
        future = group.submit(int, "ff", base=16)
        assert isinstance(future, Future)
        assert future.result(DEADLINE) == 255
        assert group.submit(dict, fn=1, self=2).result(DEADLINE) == {"fn": 1, "self": 2}


@pytest.mark.parametrize("kind", ["PoolWithFunc", "MultiPoolWithFunc"])
def test_a_pool_with_a_function_has_invoke(kind: str) -> None:
    def parse(text: str, base: int = 10) -> int:
        return int(text, base)

    with PoolWithFunc(2, parse) if kind == "PoolWithFunc" else MultiPoolWithFunc(2, 1, parse) as pool:
        with pool.group(results=True, limit=3) as group:
            assert isinstance(group, FuncTaskGroup)
            futures = [group.invoke(text, base=16) for text in ("1", "f", "ff")]
            assert futures[2].result(DEADLINE) == 255
            group.submit(pow, 2, 5)
        assert group.results() == [1, 15, 255, 32]
    with Pool(1) as plain:
        assert not hasattr(plain.group(results=True), "invoke")


@each_owner
def test_results_before_the_end_wait(make: Any) -> None:
    with make(2) as owner, Gate() as gate, owner.group(results=True) as group:
        group.submit(pass_through, gate, 7)
        asked = Background(group.results)
        gate.wait_entered(1)
        assert asked.is_alive()
        gate.open()
        assert asked.result() == [7]
        # More calls may follow.
        group.submit(int, "8")
        assert group.results() == [7, 8]


@each_owner
def test_two_groups_do_not_wait_for_each_other(make: Any) -> None:
    with make(2) as owner, Gate() as gate, owner.group(results=True) as held:
        future = held.submit(gate.hold)
        with owner.group(results=True) as other:
            other.submit(int, "7")
        assert other.results() == [7]
        assert not future.done()
        gate.open()


@each_owner
def test_the_pool_goes_on_after_a_group(make: Any) -> None:
    with make(2) as owner:
        for number in range(5):
            with owner.group(results=True) as group:
                group.submit(int, str(number))
            assert group.results() == [number]
        assert getattr(owner, "pool", owner).is_closed() is False


def test_calls_come_from_several_threads() -> None:
    done = Sum()
    with Pool(4) as pool, pool.group(results=True) as group:
        threads = background(4, lambda: [group.submit(done.add) for _ in range(100)])
        for thread in threads:
            thread.result()
    assert done.value == 400
    assert len(group.results()) == 400


@pytest.mark.parametrize("limit", [None, 50])
def test_calls_come_from_the_groups_own_calls(limit: int | None) -> None:
    done = Sum()
    with Pool(4, queue_size=None) as pool:
        with pool.group(results=True, limit=limit) as group:

            def spread(depth: int) -> None:
                done.add()
                if depth:
                    for _ in range(2):
                        group.submit(spread, depth - 1)

            group.submit(spread, 4)
        # The group waited for all, although the block had submitted only one.
        assert done.value == 31
        assert len(group.results()) == 31


def test_a_group_that_was_left_refuses() -> None:
    with Pool(2) as pool:
        with pool.group(limit=2) as group:
            group.submit(int)
        ran = Sum()
        with pytest.raises(RuntimeError, match="left"):
            group.submit(ran.add)
        with pytest.raises(RuntimeError, match="left"), PoolWithFunc(1, ran.add) as other:
            with other.group() as fixed:
                pass
            fixed.invoke()
        assert pool.stats().submitted == 1
        assert ran.value == 0


@each_owner
def test_a_closed_pool_refuses(make: Any) -> None:
    with make(1) as owner:
        group = owner.group(results=True, limit=1)
        with group:
            group.submit(int, "7")
            wait_until(lambda: group.results() == [7])
            getattr(owner, "pool", owner).release()
            for _ in range(2):
                with pytest.raises(PoolClosedError):
                    group.submit(int)
        assert group.results() == [7]


def test_a_pool_that_refuses_to_wait() -> None:
    with Pool(1, nonblocking=True) as pool, Gate() as gate:
        with pool.group(results=True, limit=5) as group:
            group.submit(pass_through, gate, 7)
            for _ in range(10):
                # A refused call takes no place of the limit.
                with pytest.raises(PoolOverloadError):
                    group.submit(int)
            gate.open()
        assert group.results() == [7]


# --- what it keeps ---


def each_done(group: Any, count: int, call: Any) -> None:
    """Makes calls one after another, without keeping their futures."""
    for _ in range(count):
        done = Latch(1)
        group.submit(call).add_done_callback(done.count_down)
        done.wait()


@each_owner
@pytest.mark.parametrize("options", [{}, {"fail_fast": True}, {"limit": 3}], ids=repr)
def test_a_group_that_never_ends_lets_go_of_what_is_done(make: Any, options: dict[str, Any]) -> None:
    references: list[weakref.ref[Any]] = []

    def call() -> Thing:
        thing = Thing()
        references.append(weakref.ref(thing))
        return thing

    with make(2) as owner, owner.group(**options) as group:
        each_done(group, 200, call)
        future = group.submit(call)
        future.result(DEADLINE)
        references.append(weakref.ref(future))
        del future
        # All are freed while the group is still open.
        wait_freed(*references)
        assert len(references) == 202
        assert len(group._pending) == 0


def test_a_group_that_never_ends_keeps_failures() -> None:
    errors = [ValueError(str(number)) for number in range(3)]
    with (
        Pool(1) as pool,
        pytest.raises(ExceptionGroup, match=r"^3 of 153 tasks failed") as raised,
        pool.group() as group,
    ):
        for error in errors:
            each_done(group, 50, int)
            group.submit(fail, error)
    assert list(raised.value.exceptions) == errors


def test_results_are_kept_for_who_asked_for_them_up_front() -> None:
    with Pool(1) as pool:
        with pool.group() as group:
            group.submit(int)
            for _ in range(2):
                with pytest.raises(RuntimeError, match=r"results=True"):
                    group.results()
        with pytest.raises(RuntimeError, match=r"results=True"):
            group.results()
        with pool.group(results=True) as asked:
            each_done(asked, 50, lambda: 7)
            assert asked.results() == [7] * 50
        assert asked.results() == [7] * 50


def test_what_was_cancelled_is_let_go_of() -> None:
    with Pool(1, queue_size=None) as pool, Gate() as gate, pool.group() as group:
        group.submit(gate.hold)
        gate.wait_entered(1)
        futures = [group.submit(int) for _ in range(20)]
        futures[0].cancel()
        assert group.cancel() == 19
        gate.open()


# --- without waiting ---


@each_owner
def test_try_submit_never_waits(make: Any) -> None:
    with make(1, queue_size=1) as owner, Gate() as gate:
        with owner.group(results=True) as group:
            held = group.try_submit(pass_through, gate, 1)
            gate.wait_entered(1)
            queued = group.try_submit(int, "2")
            assert held is not None
            assert queued is not None
            assert group.try_submit(int, "3") is None
            gate.open()
            assert queued.result(DEADLINE) == 2
            assert group.submit(int, "ff", base=16).result(DEADLINE) == 255
        # A refused call is not one of the group.
        assert group.results() == [1, 2, 255]
        with pytest.raises(RuntimeError, match="left"):
            group.try_submit(int)


@each_owner
def test_submit_within_waits_for_so_long(make: Any) -> None:
    with make(1, queue_size=0) as owner, Gate() as gate:
        with owner.group(results=True) as group:
            group.submit_within(DEADLINE, pass_through, gate, 1)
            gate.wait_entered(1)
            with pytest.raises(PoolTimeoutError):
                group.submit_within(0.01, int, "2")
            waiting = Background(lambda: group.submit_within(timedelta(seconds=DEADLINE), int, "ff", base=16))
            gate.open()
            assert waiting.result().result(DEADLINE) == 255
        assert group.results() == [1, 255]
        with pytest.raises(RuntimeError, match="left"):
            group.submit_within(1, int)


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", None], ids=repr)
def test_a_time_out_is_checked(limit: int | None, timeout: Any) -> None:
    with Pool(1) as pool, pool.group(limit=limit) as group:
        with pytest.raises((TypeError, ValueError), match=r"^timeout must be "):
            group.submit_within(timeout, int)
        # No place is lost.
        for _ in range(10):
            group.submit_within(DEADLINE, int)


def test_the_limit_without_waiting() -> None:
    with Pool(4) as pool, Gate() as gate:
        with pool.group(limit=2, results=True) as group:
            for number in range(2):
                assert group.try_submit(pass_through, gate, number) is not None
            assert group.try_submit(int) is None
            with pytest.raises(PoolTimeoutError, match="limit"):
                group.submit_within(0.01, int)
            waiting = Background(lambda: group.submit_within(DEADLINE, int, "7"))
            gate.open()
            assert waiting.result().result(DEADLINE) == 7
            # A refusal of the pool takes no place of the limit.
            with Pool(1, nonblocking=True) as small, small.group(limit=2) as other, Gate() as second:
                other.submit(second.hold)
                for _ in range(5):
                    assert other.try_submit(int) is None
                    with pytest.raises(PoolOverloadError):
                        other.submit_within(DEADLINE, int)
                second.open()
                wait_until(lambda: other.try_submit(int) is not None)
        assert group.results() == [0, 1, 7]


@pytest.mark.parametrize("limit", [None, 3])
def test_a_group_that_was_stopped_submits_nothing(limit: int | None) -> None:
    ran = Sum()
    with Pool(2) as pool, pytest.raises(ExceptionGroup), pool.group(fail_fast=True, limit=limit) as group:
        group.submit(fail, ValueError()).exception(DEADLINE)
        # The group is notified right after the future.
        wait_until(lambda: group.submit(int).cancelled())
        future = group.try_submit(ran.add)
        assert future is not None
        assert future.cancelled()
        assert group.submit_within(DEADLINE, ran.add).cancelled()
    assert ran.value == 0


def test_invoke_without_waiting() -> None:
    with PoolWithFunc(1, pass_through) as pool, Gate() as gate:
        with pool.group(results=True) as group:
            assert group.try_invoke(gate, 1) is not None
            gate.wait_entered(1)
            assert group.try_invoke(gate, 2) is None
            with pytest.raises(PoolTimeoutError):
                group.invoke_within(0.01, gate, 2)
            gate.open()
            group.invoke_within(DEADLINE, gate, 3)
        assert group.results() == [1, 3]


def test_tasks_that_submit_tasks_on_a_bounded_pool() -> None:
    """A submitter runs a refused task itself: nothing blocks, so there is no deadlock, and no task is lost."""
    done = Sum()

    def visit(number: int) -> None:
        todo = [number]
        while todo:
            number = todo.pop()
            done.add()
            todo += [other for other in (2 * number + 1, 2 * number + 2) if other < 1000]
            while len(todo) > 1 and group.try_submit(visit, todo[-1]) is not None:
                todo.pop()

    with Pool(3, queue_size=4) as pool, pool.group() as group:
        group.submit(visit, 0)
    assert done.value == 1000


# --- the limit ---


@pytest.mark.parametrize("limit", [True, 1.0, "1", [], object], ids=repr)
def test_a_limit_is_an_int(limit: Any) -> None:
    with Pool(1) as pool, PoolExecutor.over(pool) as executor, PoolWithFunc(1, int) as fixed:
        for owner in (pool, executor, fixed):
            with pytest.raises(TypeError, match="limit must be None or an int, not "):
                owner.group(limit=limit)


@pytest.mark.parametrize("limit", [0, -1, -(10**30)])
def test_a_limit_is_above_0(limit: int) -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match=f"limit must be above 0, not {limit}"):
        pool.group(limit=limit)


def test_options_are_named() -> None:
    with Pool(1) as pool:
        untyped: Any = pool
        with pytest.raises(TypeError):
            untyped.group(True)
        with pytest.raises(TypeError):
            untyped.group(nonsense=1)


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("queue_size", [0, None])
def test_never_more_than_the_limit_are_waiting_or_running(limit: int, queue_size: int | None) -> None:
    with Pool(2, queue_size=queue_size) as pool, Gate() as gate:
        submitted = Sum()

        def block() -> None:
            with pool.group(limit=limit) as group:
                for _ in range(20):
                    group.submit(gate.hold)
                    submitted.add()

        waiting = Background(block)
        most = limit if queue_size is None else min(limit, 2)
        wait_equal(lambda: submitted.value, most)
        gate.wait_entered(min(limit, 2))
        stats = pool.stats()
        assert stats.busy + stats.queued == most
        gate.let(1)
        wait_equal(lambda: submitted.value, most + 1)
        assert gate.inside + pool.queued() <= limit
        gate.open()
        waiting.result()
        assert gate.peak <= limit
        assert gate.entered == 20


def test_a_limit_is_of_one_group() -> None:
    with Pool(4) as pool, Gate() as gate, pool.group(limit=1) as one, pool.group(limit=1) as other:
        held = one.submit(gate.hold)
        gate.wait_entered(1)
        assert other.submit(int, "7").result(DEADLINE) == 7
        assert not held.done()
        gate.open()


@pytest.mark.parametrize("ending", ["returns", "raises", "is cancelled"])
def test_a_place_is_free_when_its_call_is_over(ending: str) -> None:
    with Pool(1, queue_size=None) as pool, Gate() as gate:
        pool.submit(gate.hold)
        gate.wait_entered(1)
        group = pool.group(limit=1)
        first = group.submit(int, "no number" if ending == "raises" else "7")
        waiting = Background(lambda: group.submit(int, "8"))
        if ending == "is cancelled":
            assert first.cancel()
            # The call never ran, and its place is free at once.
            assert waiting.result().done() is False
        gate.open()
        assert waiting.result().result(DEADLINE) == 8


def test_several_threads_have_one_limit_and_none_is_forgotten() -> None:
    done = Sum()
    running = Gate()
    with Pool(8) as pool, running, pool.group(limit=3) as group:
        threads = background(5, lambda: [group.submit(done.add) for _ in range(100)])
        for thread in threads:
            thread.result()
        for _ in range(3):
            group.submit(running.hold)
        running.wait_entered(3)
        waiting = Background(lambda: group.submit(done.add))
        running.open()
        waiting.result().result(DEADLINE)
    assert done.value == 501
    assert running.peak == 3


@pytest.mark.parametrize("limit", [1, 3])
def test_calls_that_all_wait_for_a_place_are_told(limit: int) -> None:
    ready = threading.Barrier(limit, timeout=DEADLINE)
    with Pool(8) as pool:
        group = pool.group(results=True, limit=limit)

        def call() -> str:
            ready.wait()
            try:
                return str(group.submit(int, "7").result(DEADLINE))
            except PoolDeadlockError as error:
                messages.append(str(error))
                return "told"

        messages: list[str] = []
        with group:
            for _ in range(limit):
                group.submit(call)
        told = [result for result in group.results() if result == "told"]
        assert len(told) >= 1
        assert all("limit" in message for message in messages)
        assert len(group.results()) == limit + (limit - len(told))


def test_a_worker_that_waits_for_a_place_behind_its_own_pool_is_told() -> None:
    with Pool(1, queue_size=None) as pool:
        with pool.group(results=True, limit=2) as group:

            def call() -> None:
                held.hold()
                # The call that takes up the place is one that only this worker could run.
                with pytest.raises(PoolDeadlockError):
                    group.submit(int)

            held = Gate()
            group.submit(call)
            group.submit(int, "7")
            held.open()
        assert group.results()[1] == 7


# --- groups in groups ---


def test_nested_blocks() -> None:
    order: list[str] = []
    with Pool(4) as pool, pool.group() as outer:
        with pool.group() as inner:
            inner.submit(order.append, "inner")
        outer.submit(order.append, "outer")
        assert order[0] == "inner"
    assert order == ["inner", "outer"]


def test_groups_inside_of_workers() -> None:
    with Pool(8) as pool:

        def total(numbers: range) -> int:
            if len(numbers) <= 10:
                return sum(numbers)
            middle = len(numbers) // 2
            with pool.group(results=True) as group:
                group.submit(total, numbers[:middle])
                group.submit(total, numbers[middle:])
            return sum(group.results())

        with pool.group(results=True) as outer:
            outer.submit(total, range(40))
        assert outer.results() == [sum(range(40))]


@pytest.mark.parametrize("queue_size", [0, 10, None])
@each_owner
def test_a_worker_that_waits_for_a_group_on_its_own_full_pool_is_told(make: Any, queue_size: int | None) -> None:
    with make(1, queue_size=queue_size) as owner:
        ran = Sum()

        def outer() -> str:
            told: list[BaseException] = []
            try:
                with owner.group() as group:
                    group.submit(ran.add)
            except* PoolDeadlockError as error:
                told += error.exceptions
            return f"told {len(told)} times"

        with owner.group(results=True) as group:
            group.submit(outer)
        assert group.results() == ["told 1 times"]
        # Calls that could not start were cancelled.
        assert ran.value == 0
        with owner.group(results=True) as again:
            again.submit(int, "7")
        assert again.results() == [7]


def test_results_inside_of_a_worker_of_a_full_pool() -> None:
    with Pool(1, queue_size=None) as pool, pool.group(results=True) as outer:
        inner = pool.group(results=True)

        def call() -> None:
            inner.submit(int, "7")
            with pytest.raises(PoolDeadlockError):
                inner.results()

        outer.submit(call).result(DEADLINE)
        assert inner.results() == [7]


# --- the object ---


def test_cancel() -> None:
    with Pool(1, queue_size=None) as pool, Gate() as gate:
        with pool.group(results=True) as group:
            done = group.submit(int)
            done.result(DEADLINE)
            held = group.submit(gate.hold)
            gate.wait_entered(1)
            queued = [group.submit(int) for _ in range(3)]
            foreign = Sum()
            pool.submit(foreign.add)
            assert group.cancel() == 3
            assert group.cancel() == 0
            assert all(future.cancelled() for future in queued)
            assert not held.done()
            gate.open()
            # The group is still usable.
            assert group.submit(int, "7").result(DEADLINE) == 7
        with pytest.raises(CancelledError):
            group.results()
        assert pool.wait_idle(DEADLINE)
    assert foreign.value == 1


def test_it_cannot_be_pickled() -> None:
    with Pool(1) as pool, PoolWithFunc(1, int) as fixed:
        for owner, name in ((pool, "TaskGroup"), (fixed, "FuncTaskGroup")):
            with pytest.raises(TypeError, match=f"^cannot pickle '{name}' object: .* in this process$"):
                pickle.dumps(owner.group())


def test_it_is_public() -> None:
    assert TaskGroup.__module__ == FuncTaskGroup.__module__ == "pyants"
    assert issubclass(FuncTaskGroup, TaskGroup)


def test_arguments_results_and_pools_are_freed_with_it() -> None:
    references: list[weakref.ref[Any]] = []

    def call(thing: Thing) -> Thing:
        references.append(weakref.ref(thing))
        result = Thing()
        references.append(weakref.ref(result))
        return result

    pool = Pool(2)
    with pool.group(fail_fast=True, limit=2) as group:
        for _ in range(10):
            group.submit(call, Thing())
    assert len(references) == 20
    pool.release_timeout(DEADLINE)
    references += [weakref.ref(group), weakref.ref(pool)]
    del group, pool
    wait_freed(*references)


def test_a_call_on_its_way_in_when_the_block_is_left() -> None:
    ran = Sum()
    with Gate() as gate, Pool(1) as pool:
        pool.submit(gate.hold)
        gate.wait_entered(1)
        with pool.group() as group:
            late = Background(lambda: group.submit(ran.add))
            wait_until(lambda: pool.waiting() == 1)
        gate.open()
        try:
            late.result().result()
            expected = 1  # The call had begun before it could be cancelled.
        except RuntimeError:
            expected = 0
        assert ran.value == expected
