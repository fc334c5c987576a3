"""TaskGroup: the exceptions that a block raises when its calls, or the block itself, fail."""

from __future__ import annotations

import gc
import signal
import threading
import traceback
import weakref
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

import pytest
from executors import logged, pass_through, wait_freed
from groups import each_owner, hold_and_fail, pyants_log
from loops import fail
from support import DEADLINE, Background, Gate, Sum, background, run_script, wait_equal, wait_until

import pyants
from pyants import Pool

if TYPE_CHECKING:
    from collections.abc import Generator


@each_owner
@pytest.mark.parametrize("limit", [None, 2])
def test_failures_come_out_as_one_group_with_every_traceback(make: Any, limit: int | None) -> None:
    errors = [ValueError("one"), KeyError("two"), OSError("three")]
    with make(2) as owner:
        with pytest.raises(ExceptionGroup, match=r"^3 of 5 tasks failed") as raised, owner.group(limit=limit) as group:
            group.submit(int)
            for error in errors:
                group.submit(fail, error)
            group.submit(int)
        # The exceptions are in the order of submission.
        assert list(raised.value.exceptions) == errors
        for error in errors:
            assert "fail" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        # A single exception is in a group, too, and except* takes the group apart.
        caught: list[BaseException] = []
        try:
            with owner.group() as single:
                single.submit(fail, errors[0])
        except* ValueError as found:
            caught += found.exceptions
        assert caught == [errors[0]]


def test_failures_do_not_stop_the_others() -> None:
    done = Sum()
    with Pool(1, queue_size=None) as pool:
        with pytest.raises(ExceptionGroup), pool.group() as group:
            group.submit(fail, ValueError())
            for _ in range(20):
                group.submit(done.add)
        assert done.value == 20


@each_owner
@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), SystemExit(3)], ids=repr)
def test_what_ends_programs_comes_out_bare(make: Any, limit: int | None, error: BaseException) -> None:
    others = [ValueError("before"), KeyError("after")]
    with make(1, queue_size=None) as owner, pyants_log() as records:
        group = owner.group(limit=limit)

        def block() -> None:
            with group:
                for failure in (others[0], error, others[1]):
                    futures.append(group.submit(fail, failure))

        futures: list[Future[Any]] = []
        with pytest.raises(type(error)) as raised:
            block()
        assert raised.value is error
        # The other failures are logged, and calls that had not started were cancelled.
        assert len(logged(records, others[0])) == 1
        assert len(logged(records, others[1])) == (0 if futures[-1].cancelled() else 1)


def test_what_ends_programs_cancels_what_has_not_started() -> None:
    ran = Sum()
    with Pool(1, queue_size=None) as pool, Gate() as gate:
        with pytest.raises(SystemExit), pool.group() as group:
            group.submit(hold_and_fail, gate, SystemExit(3))
            queued = [group.submit(ran.add) for _ in range(10)]
            gate.open()
            wait_until(lambda: all(future.cancelled() for future in queued), "the cancellation")
            assert group.submit(ran.add).cancelled()
        assert ran.value == 0


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("how", ["sys.exit(3)", "os.kill(os.getpid(), signal.SIGINT)", "raise KeyboardInterrupt"])
def test_the_status_of_a_program_that_a_call_ends(how: str) -> None:
    run_script(
        f"""
        def call():
            {how}
        with Pool(2) as pool, pool.group() as group:
            group.submit(call)
        """,
        code_expected=3 if "exit" in how else -signal.SIGINT,
    )


def test_other_base_exceptions_make_a_base_exception_group() -> None:
    errors: list[BaseException] = [GeneratorExit(), ValueError()]
    with Pool(2) as pool:
        with pytest.raises(BaseExceptionGroup) as raised, pool.group() as group:
            for error in errors:
                group.submit(fail, error)
        assert not isinstance(raised.value, ExceptionGroup)
        assert list(raised.value.exceptions) == errors


def test_results_raise_them_too() -> None:
    with Pool(2) as pool:
        error = ValueError()
        with pytest.raises(ExceptionGroup), pool.group(results=True) as group:
            group.submit(fail, error)
            with pytest.raises(ExceptionGroup) as early:
                group.results()
            assert early.value.exceptions == (error,)
        for _ in range(2):
            with pytest.raises(ExceptionGroup) as late:
                group.results()
            assert late.value.exceptions == (error,)


def test_the_panic_handler_is_not_told_of_what_is_raised() -> None:
    told: list[BaseException] = []
    with Pool(2, panic_handler=told.append) as pool:
        error = ValueError()
        with pyants_log() as records, pytest.raises(ExceptionGroup), pool.group() as group:
            group.submit(fail, error)
        assert pool.wait_idle(DEADLINE)
        assert logged(records, error) == []
    assert told == []


def test_a_cancelled_call_is_no_failure() -> None:
    with Pool(1, queue_size=None) as pool, Gate() as gate:
        with pool.group(results=True) as group:
            group.submit(gate.hold)
            assert group.submit(int).cancel()
            gate.open()
        with pytest.raises(CancelledError):
            group.results()


# --- fail_fast ---


@each_owner
def test_the_first_failure_cancels_what_has_not_started(make: Any) -> None:
    ran = Sum()
    with make(1, queue_size=None) as owner, Gate() as gate:
        error = ValueError("mine")
        with (
            pytest.raises(ExceptionGroup, match=r"^1 of 12 tasks failed") as raised,
            owner.group(results=True, fail_fast=True) as group,
        ):
            group.submit(hold_and_fail, gate, error)
            queued = [group.submit(ran.add) for _ in range(10)]
            gate.open()
            wait_until(lambda: all(future.cancelled() for future in queued), "the cancellation")
            # No call starts later either.
            assert group.submit(ran.add).cancelled()
        assert raised.value.exceptions == (error,)
        assert ran.value == 0
        # The pool still works.
        with owner.group(results=True, fail_fast=True) as again:
            again.submit(int, "7")
        assert again.results() == [7]


def test_what_has_started_is_waited_for() -> None:
    with Pool(2, queue_size=None) as pool, Gate() as gate:
        group = pool.group(fail_fast=True)

        def block() -> None:
            with group:
                futures.append(group.submit(pass_through, gate, 7))
                gate.wait_entered(1)
                futures.append(group.submit(fail, ValueError()))

        futures: list[Any] = []
        waiting = Background(block)
        wait_until(lambda: len(futures) == 2 and futures[1].done(), "the failure")
        assert waiting.is_alive()
        gate.open()
        with pytest.raises(ExceptionGroup):
            waiting.result()
        assert futures[0].result(DEADLINE) == 7


def test_a_submitter_that_waits_for_a_place_is_let_go() -> None:
    ran = Sum()
    with Pool(2) as pool, Gate() as gate:
        with pytest.raises(ExceptionGroup), pool.group(fail_fast=True, limit=1) as group:
            group.submit(hold_and_fail, gate, ValueError())
            waiting = background(3, lambda: group.submit(ran.add))
            gate.open()
            assert all(waiter.result().cancelled() for waiter in waiting)
        assert ran.value == 0


def test_without_a_failure_it_changes_nothing() -> None:
    with Pool(2) as pool:
        with pool.group(results=True, fail_fast=True) as group:
            for number in range(20):
                group.submit(int, str(number))
        assert group.results() == list(range(20))


def test_many_threads_submit_while_it_fails() -> None:
    # A call that was submitted while the others were cancelled has run or is cancelled, too: none is left.
    with Pool(2, queue_size=None) as pool:
        for _ in range(20):
            group = pool.group(fail_fast=True)
            futures: list[Future[int]] = []
            with pytest.raises(ExceptionGroup), group:
                threads = background(3, lambda: [group.submit(int) for _ in range(20)])  # noqa: B023
                group.submit(fail, ValueError())
                futures += [future for thread in threads for future in thread.result()]
            assert all(future.done() for future in futures)
        # A worker takes the calls that were cancelled as they were submitted.
        wait_equal(pool.queued, 0)


# --- an exception in the block ---


class Mine(Exception):
    pass


@each_owner
def test_it_cancels_what_has_not_started_and_comes_out_with_what_calls_raised(make: Any) -> None:
    ran = Sum()
    with make(1, queue_size=None) as owner, Gate() as gate, pyants_log() as records:
        group = owner.group()
        failure, mine = ValueError("of a call"), Mine("in the block")

        def block() -> None:
            with group:
                futures.append(group.submit(hold_and_fail, gate, failure))
                futures.extend(group.submit(ran.add) for _ in range(10))
                gate.wait_entered(1)
                raise mine

        futures: list[Any] = []
        waiting = Background(block)
        wait_until(lambda: len(futures) == 11 and all(future.cancelled() for future in futures[1:]), "the cancellation")
        # The block waits for calls that have started.
        assert waiting.is_alive()
        gate.open()
        with pytest.raises(ExceptionGroup, match=r"^1 of 11 tasks and the group's block failed") as raised:
            waiting.result()
        assert raised.value.exceptions == (failure, mine)
        assert raised.value.__suppress_context__
        assert raised.value.__cause__ is None
        for error in (failure, mine):
            assert logged(records, error) == []
            assert traceback.extract_tb(error.__traceback__)
        assert ran.value == 0


@each_owner
def test_it_comes_out_as_a_group_also_alone(make: Any) -> None:
    # As in asyncio.TaskGroup: the exception to catch does not depend on whether a call fails meanwhile.
    mine = Mine()
    with (
        make(1) as owner,
        pytest.raises(ExceptionGroup, match=r"^the group's block failed") as raised,
        owner.group() as group,
    ):
        group.submit(int)
        raise mine
    assert raised.value.exceptions == (mine,)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_what_ends_programs_comes_out_of_the_block_bare(error: BaseException) -> None:
    failure = ValueError("of a call")
    with Pool(1) as pool, pyants_log() as records:
        with pytest.raises(type(error)) as raised, pool.group() as group:
            group.submit(fail, failure).exception(DEADLINE)
            raise error
        assert raised.value is error
        assert len(logged(records, failure)) == 1


@pytest.mark.parametrize("how", ["result", "results"])
def test_a_failure_that_the_block_passes_on_is_one(how: str) -> None:
    error = ValueError("mine")
    with (
        Pool(1) as pool,
        pytest.raises(ExceptionGroup, match=r"^1 of 1 tasks failed") as raised,
        pool.group(results=True) as group,
    ):
        future = group.submit(fail, error)
        if how == "result":
            future.result(DEADLINE)
        group.results()
    assert raised.value.exceptions == (error,)


@pytest.mark.parametrize("failing", [False, True])
def test_a_generator_that_is_closed_in_its_block(failing: bool) -> None:
    failure = ValueError("of a call")
    with Pool(1) as pool:

        def generator() -> Generator[Future[Any]]:
            with pool.group() as group:
                while True:
                    yield group.submit(fail, failure) if failing else group.submit(int)

        steps = generator()
        wait_until(next(steps).done)
        if not failing:
            steps.close()
            return
        with pytest.raises(ExceptionGroup, match=r"^1 of 1 tasks failed") as raised:
            steps.close()
        assert raised.value.exceptions == (failure,)


def test_submissions_after_it_are_cancelled() -> None:
    ran = Sum()
    with Pool(4) as pool, Gate() as gate:
        group = pool.group()

        def call() -> None:
            gate.hold()
            late.append(group.submit(ran.add))

        late: list[Any] = []
        futures: list[Any] = []

        def block() -> None:
            with group:
                futures.append(group.submit(call))
                gate.wait_entered(1)
                raise Mine

        waiting = Background(block)
        gate.wait_entered(1)
        other = Background(lambda: group.submit(gate.hold))
        other.result()
        gate.open()
        with pytest.raises(ExceptionGroup):
            waiting.result()
        assert len(late) == 1
    assert ran.value in (0, 1)


def test_a_block_that_catches_it_goes_on() -> None:
    with Pool(1) as pool:
        error = ValueError("mine")
        fine: list[Future[int]] = []
        with pytest.raises(ExceptionGroup) as raised, pool.group() as group:
            with pytest.raises(ValueError, match="mine"):
                group.submit(fail, error).result(DEADLINE)
            fine.append(group.submit(int, "7"))
        assert raised.value.exceptions == (error,)
        assert fine[0].result(DEADLINE) == 7


def test_a_nested_block_passes_failures_on() -> None:
    with Pool(2) as pool:
        inner_error, outer_error = ValueError("inner"), KeyError("outer")
        with (
            pytest.raises(ExceptionGroup, match=r"^1 of 1 tasks and the group's block failed") as raised,
            pool.group() as outer,
        ):
            outer.submit(fail, outer_error).exception(DEADLINE)
            with pool.group() as inner:
                inner.submit(fail, inner_error)
        # The outer block sees the inner group's exception as one of its own.
        assert raised.value.exceptions[0] is outer_error
        nested: Any = raised.value.exceptions[1]
        assert type(nested) is ExceptionGroup
        assert nested.exceptions == (inner_error,)


def test_a_nested_block_passes_on_what_ends_programs() -> None:
    with Pool(2) as pool, pytest.raises(SystemExit) as raised, pool.group() as outer:
        outer.submit(int)
        with pool.group() as inner:
            inner.submit(fail, SystemExit(3))
    assert raised.value.code == 3


def test_failures_of_a_group_inside_of_a_worker() -> None:
    error = ValueError("deep")
    with Pool(4) as pool:

        def call() -> None:
            with pool.group() as inner:
                inner.submit(fail, error)

        with pytest.raises(ExceptionGroup) as raised, pool.group() as outer:
            outer.submit(call)
        nested: Any = raised.value.exceptions[0]
        assert type(nested) is ExceptionGroup
        assert nested.exceptions == (error,)


def test_exceptions_are_freed() -> None:
    class Traceable(Exception):
        pass

    references: list[weakref.ref[BaseException]] = []

    def make() -> BaseException:
        error = Traceable()
        references.append(weakref.ref(error))
        return error

    def call() -> None:
        # No frame may have a name for the exception, or the traceback would hold it.
        raise make()

    def block(pool: Pool) -> None:
        with pytest.raises(ExceptionGroup), pool.group(fail_fast=True, limit=2) as group:
            group.submit(call)
            group.submit(call)

    with Pool(1) as pool:
        block(pool)
        assert pool.wait_idle(DEADLINE)
        gc.collect()
        wait_freed(*references)


@pytest.mark.parametrize("base", [Exception, SystemExit])
def test_a_worker_that_is_late_to_note_a_failure_leaves_nothing_behind(base: type[BaseException]) -> None:
    class Bad(base):  # type: ignore[misc, valid-type]
        pass

    gate = Gate()

    class Late(pyants.Future[None]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            if threading.current_thread() is not owner:
                gate.hold()
            return super().exception(timeout)

    futures = [Late()]

    class Executor(pyants.PoolExecutor):
        def submit(self, *_args: Any, **_kwargs: Any) -> Any:
            return futures[0]

    def fail_now() -> None:
        futures[0].set_exception(reference())

    owner = threading.current_thread()
    error = Bad()
    reference = weakref.ref(error)
    with Executor(1) as executor:
        group = executor.group()
        late: Background[None] | None = None
        with pytest.raises(BaseException), group:
            group.submit(int)
            late = Background(fail_now)
            gate.wait_entered(1)
            del error
        # The failure is raised while another thread is still about to record it.
        gate.open()
        assert late is not None
        late.result()
        futures.clear()
        wait_freed(reference)
        assert not group.cancel()
