"""Executors: a submitted call runs, and its future has the outcome."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, Thing, attribute, thread_count, wait_idle_worker
from support import DEADLINE, Background, Gate, Sum, background, wait_equal

pytestmark = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)

Executors = type[ThreadPoolExecutor]


def test_the_result_comes_with_the_future(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        future = executor.submit(pow, 2, 8)
        assert isinstance(future, concurrent.futures.Future)
        assert future.result(DEADLINE) == 256
        assert future.exception() is None
        assert future.done()
        assert not future.running()
        assert not future.cancelled()


def capture(*args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return args, kwargs


def test_arguments_arrive_as_they_are(executor_type: Executors) -> None:
    thing = Thing()
    with executor_type(2) as executor:
        assert executor.submit(capture).result(DEADLINE) == ((), {})
        # Every keyword is free for the call, even the names of submit()'s own parameters.
        names: dict[str, Any] = {"self": 1, "fn": 2, "args": 3, "kwargs": 4, "timeout": 5, "executor": 6}
        assert executor.submit(capture, thing, None, **names).result(DEADLINE) == ((thing, None), names)
        many = tuple(range(300))
        assert executor.submit(capture, *many).result(DEADLINE) == (many, {})
        keywords = {f"name{number}": number for number in many}
        assert executor.submit(capture, **keywords).result(DEADLINE) == ((), keywords)


def test_the_arguments_are_those_at_the_time_of_submit(executor_type: Executors) -> None:
    args, kwargs = [1, 2], {"key": 3}
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        future = executor.submit(capture, *args, **kwargs)
        args.clear()
        kwargs.clear()
        gate.open()
        assert future.result(DEADLINE) == ((1, 2), {"key": 3})


def test_the_function_is_needed_and_positional(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        submit: Any = executor.submit
        wrong: list[dict[str, Any]] = [{}, {"fn": len}, {"arg": 1}]
        for keywords in wrong:
            with pytest.raises(TypeError):
                submit(**keywords)
        # None of this broke the executor.
        assert executor.submit(len, "four").result(DEADLINE) == 4


@pytest.mark.parametrize("result", [None, False, 0, "", (), ValueError("returned, not raised"), StopIteration()])
def test_any_value_is_a_result(executor_type: Executors, result: object) -> None:
    with executor_type(1) as executor:
        future = executor.submit(lambda: result)
        assert future.result(DEADLINE) is result
        assert future.exception(DEADLINE) is None
        assert future.result() is result


def test_an_exception_comes_out_of_result_as_it_was_raised(executor_type: Executors) -> None:
    error = ValueError("of the task")

    def raising_function() -> None:
        raise error

    with executor_type(1) as executor:
        future = executor.submit(raising_function)
        assert future.exception(DEADLINE) is error
        with pytest.raises(ValueError, match="of the task") as caught:
            future.result()
        assert caught.value is error
        # The traceback leads from the line that asked to the line that raised.
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names[0] == "test_an_exception_comes_out_of_result_as_it_was_raised"
        assert names[-1] == "raising_function"
        # The same a second time.
        with pytest.raises(ValueError, match="of the task"):
            future.result()


def test_causes_and_contexts_are_kept(executor_type: Executors) -> None:
    def task() -> None:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner

    with executor_type(1) as executor:
        error = executor.submit(task).exception(DEADLINE)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__ is error.__context__


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base")], ids=repr
)
def test_not_even_a_base_exception_ends_the_worker(executor_type: Executors, error: BaseException) -> None:
    def task() -> None:
        raise error

    with executor_type(1) as executor:
        before = executor.submit(threading.get_native_id).result(DEADLINE)
        future = executor.submit(task)
        after = executor.submit(threading.get_native_id)
        assert future.exception(DEADLINE) is error
        with pytest.raises(type(error)) as caught:
            future.result()
        assert caught.value is error
        assert after.result(DEADLINE) == before


def test_what_cannot_be_called_is_told_by_the_future(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        nothing: Any = 3
        assert isinstance(executor.submit(nothing).exception(DEADLINE), TypeError)
        function: Any = len
        assert isinstance(executor.submit(function).exception(DEADLINE), TypeError)
        assert isinstance(executor.submit(function, key=1).exception(DEADLINE), TypeError)


def test_one_worker_takes_tasks_in_the_order_of_submission(executor_type: Executors) -> None:
    seen: list[int] = []
    with executor_type(1) as executor, Gate() as gate:
        executor.submit(gate.hold)
        for number in range(100):
            executor.submit(seen.append, number)
        gate.open()
    assert seen == list(range(100))


def test_tasks_run_on_threads_of_the_executor(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        thread = executor.submit(threading.current_thread).result(DEADLINE)
        assert thread is not threading.current_thread()
        assert executor.submit(threading.get_ident).result(DEADLINE) == thread.ident


def test_no_thread_is_started_before_it_is_needed(executor_type: Executors) -> None:
    with executor_type(3) as executor, Gate() as gate:
        assert thread_count(executor) == 0
        for count in (1, 2, 3, 3, 3):
            executor.submit(gate.hold)
            wait_equal(lambda: thread_count(executor), count)
        gate.wait_entered(3)
        assert gate.inside == 3
        gate.open()


def test_never_more_tasks_at_once_than_workers(executor_type: Executors) -> None:
    with executor_type(4) as executor:
        with Gate() as gate:
            futures = [executor.submit(gate.hold) for _ in range(60)]
            gate.wait_entered(4)
            assert thread_count(executor) == 4
            assert attribute(executor, "_work_queue").qsize() == 56
            gate.let(30)
            gate.wait_entered(34)
        assert concurrent.futures.wait(futures, DEADLINE).not_done == set()
    assert gate.peak == 4


def test_idle_workers_are_used_before_new_ones_are_started(executor_type: Executors) -> None:
    tasks = 50
    with executor_type(1000) as executor:
        for _ in range(tasks):
            executor.submit(int).result(DEADLINE)
            wait_idle_worker(executor)
        # A worker that has just ended its task, and does not look for another yet, may be missed, but not every time.
        assert thread_count(executor) <= (1 if executor_type is ThreadPoolExecutor else tasks // 2)


def test_all_workers_work_at_once(executor_type: Executors) -> None:
    together = threading.Barrier(5, timeout=DEADLINE)
    with executor_type(5) as executor:
        futures = [executor.submit(together.wait) for _ in range(5)]
        assert sorted(future.result(DEADLINE) for future in futures) == [0, 1, 2, 3, 4]


def test_a_task_may_submit_to_its_own_executor(executor_type: Executors) -> None:
    done = Sum()
    with executor_type(1) as executor:

        def split(depth: int) -> list[concurrent.futures.Future[Any]]:
            done.add()
            return [executor.submit(split, depth - 1) for _ in range(2)] if depth else []

        level = [executor.submit(split, 6)]
        while level:
            level = [child for future in level for child in future.result(DEADLINE)]
    assert done.value == 2**7 - 1


def test_a_task_may_wait_for_one_that_another_worker_runs(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        assert executor.submit(lambda: executor.submit(pow, 2, 5).result(DEADLINE) + 1).result(DEADLINE) == 33


def test_many_threads_submit_at_once(executor_type: Executors) -> None:
    start = threading.Barrier(4, timeout=DEADLINE)
    with executor_type(3) as executor:

        def submit_all() -> bool:
            start.wait()
            futures = [executor.submit(pow, number, 2) for number in range(500)]
            return [future.result(DEADLINE) for future in futures] == [number**2 for number in range(500)]

        assert [each.result() for each in background(4, submit_all)] == [True] * 4


def test_each_task_has_a_future_of_its_own(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        futures = [executor.submit(int) for _ in range(50)]
        assert len(set(futures)) == 50
        assert futures[0] == futures[0]
        assert futures[0] != futures[1]


def test_a_future_that_nobody_keeps_runs_all_the_same(executor_type: Executors) -> None:
    done = Sum()
    with executor_type(2) as executor:
        for _ in range(100):
            executor.submit(done.add)
    assert done.value == 100


@pytest.mark.thread_unsafe(reason="reads the process's stderr")
def test_an_exception_that_nobody_asks_for_disturbs_nobody(
    executor_type: Executors, capfd: pytest.CaptureFixture[str]
) -> None:
    with executor_type(1) as executor:
        executor.submit(int, "no number")
        assert executor.submit(int, "7").result(DEADLINE) == 7
    assert capfd.readouterr().err == ""


def test_a_task_may_wait_for_anything_else(executor_type: Executors) -> None:
    # It is no deadlock if a worker waits for something other than a task of its own pool.
    with executor_type(1) as executor, executor_type(1) as other, Gate() as gate:
        held = other.submit(gate.hold)
        own: concurrent.futures.Future[int] = concurrent.futures.Future()
        waits = executor.submit(lambda: (held.result(DEADLINE), own.result(DEADLINE)))
        asked = Background(lambda: waits.result(DEADLINE))
        gate.wait_entered(1)
        gate.open()
        own.set_result(5)
        assert asked.result() == (None, 5)
