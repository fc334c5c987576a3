"""Executors: what becomes of a map whose results are left half-read, by an exception or in peace."""

from __future__ import annotations

import signal
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest
from executors import EXECUTOR_TYPES, PoolExecutor
from support import Background, Gate, run_script, wait_until
from test_executor_signals import INTERRUPT

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)
in_processes = pytest.mark.thread_unsafe(reason="starts processes")

# The main thread reads five results. The one worker is held by the item after them until the main thread is through,
# and its pool closed: what it then goes on with was not cancelled.
PROGRAM = """
import atexit, concurrent.futures.thread
from concurrent.futures import ThreadPoolExecutor
Executor = {executor}
executor = Executor(1)
closed = threading.Event()
def is_through():
    return executor._shutdown if Executor is PoolExecutor else concurrent.futures.thread._shutdown
def watch():
    wait_until(is_through)
    closed.set()
threading.Thread(target=watch, daemon=True).start()
called = []
def task(number):
    if number >= 5:
        closed.wait(30)
    called.append(number)
    return number
atexit.register(lambda: print(len(called)))
"""


def run_program(executor_type: Executors, code: str, code_expected: int = 0) -> str:
    """Runs a program; gives how many of its items were called."""
    program = PROGRAM.format(executor=executor_type.__name__) + code
    return run_script(program, code_expected=code_expected)[0]


@in_processes
@each_executor_type
@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_ctrl_c_while_a_result_is_waited_for_ends_the_program(executor_type: Executors, method: str) -> None:
    if executor_type is ThreadPoolExecutor and method == "map_unordered":
        pytest.skip("CPython has none")
    # The iterator has a name: it is not the end of it that cancels the rest.
    called = run_program(
        executor_type,
        INTERRUPT
        + f"""
results = executor.{method}(task, range(100))
for _ in range(5):
    next(results)
about_to_wait.set()
for _ in results:
    pass
""",
        code_expected=-signal.SIGINT,
    )
    assert called == "6\n"


IN_THE_BODY = """
for _ in results:
    if len(called) == 5:
        {raising}
"""


@in_processes
@pytest.mark.parametrize("method", ["map", "map_unordered"])
@pytest.mark.parametrize(
    ("raising", "code_expected"),
    [("signal.raise_signal(signal.SIGINT)", -signal.SIGINT), ("raise ValueError", 1)],
    ids=["Ctrl-C", "ValueError"],
)
def test_an_exception_in_the_loop_that_ends_the_program(method: str, raising: str, code_expected: int) -> None:
    # With CPython's executor all items are called here.
    results = f"results = executor.{method}(task, range(100))\nwait_until(lambda: len(called) == 5)\n"
    called = run_program(PoolExecutor, results + IN_THE_BODY.format(raising=raising), code_expected)
    assert called == "6\n"


@in_processes
@pytest.mark.parametrize("where", ["executor", "PoolExecutor.over(executor.pool)"])
def test_an_exception_in_the_loop_in_a_with_block(where: str) -> None:
    # The executor waits for what is being called, and no more.
    called = run_program(
        PoolExecutor,
        f"""
shared = executor
executor = {where}
try:
    with executor:
        results = executor.map(task, range(100))
        wait_until(lambda: len(called) == 5)
"""
        + "\n".join(
            " " * 8 + line for line in IN_THE_BODY.format(raising="signal.raise_signal(signal.SIGINT)").splitlines()
        )
        + """
except KeyboardInterrupt:
    print("interrupted")
print(len(called))
""",
    )
    assert called == "interrupted\n6\n6\n"


@in_processes
@each_executor_type
def test_a_program_that_ends_in_peace_has_everything_called(executor_type: Executors) -> None:
    called = run_program(executor_type, "results = executor.map(task, range(100))\nnext(results)\n")
    assert called == "100\n"


@in_processes
@each_executor_type
def test_results_that_nobody_has_begun_to_read_are_not_left(executor_type: Executors) -> None:
    called = run_program(executor_type, "results = executor.map(task, range(100))\nraise ValueError\n", 1)
    assert called == "100\n"


@in_processes
@each_executor_type
def test_another_thread_that_reads_on_is_not_disturbed(executor_type: Executors) -> None:
    called = run_program(
        executor_type,
        """
results = executor.map(task, range(100))
begun = threading.Event()
def read():
    for _ in results:
        begun.set()
    print("all")
threading.Thread(target=read).start()
begun.wait()
raise ValueError
""",
        1,
    )
    assert called == "all\n100\n"


@in_processes
def test_ctrl_c_arrives_where_results_are_read_though_they_are_there() -> None:
    # list.extend() runs no code of Python's between two results: only the iterator can let the signal in.
    stdout, _ = run_script(
        """
import itertools
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, stop)
COUNT = 20_000
# How long it takes to read so many depends on the machine.
delays = itertools.cycle([1e-4, 2e-4, 4e-4, 8e-4, 16e-4, 32e-4])
with PoolExecutor(2) as executor:
    for delay in delays:
        results = executor.map(int, [1] * COUNT)
        executor.pool.wait_idle(30)
        seen = []
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            seen.extend(results)
            while True:
                time.sleep(0.001)
        except KeyboardInterrupt:
            pass
        # It may as well have come before or after.
        if 0 < len(seen) < COUNT:
            print(next(results, "over"))
            break
"""
    )
    assert stdout == "over\n"


@pytest.mark.parametrize("method", ["map", "map_unordered"])
def test_a_block_that_fails_leaves_the_maps_of_its_thread_only(method: str) -> None:
    called: list[int] = []
    executor: Any = PoolExecutor(1)
    with Gate() as gate:

        def task(number: int) -> int:
            if number:
                gate.hold()
            called.append(number)
            return number

        def body() -> None:
            with executor:
                begun = getattr(executor, method)(task, range(10))
                results.append(begun)
                next(begun)
                gate.wait_entered(1)
                results.append(getattr(executor, method)(called.append, [10, 11]))
                others = getattr(executor, method)(called.append, [12, 13])
                results.append(others)
                reader = Background(lambda: list(others))
                readers.append(reader)
                raise LookupError("of the block")

        results: list[Any] = []
        readers: list[Background[Any]] = []
        block = Background(body)
        wait_until(lambda: executor._shutdown)
        gate.open()
        with pytest.raises(LookupError, match="of the block"):
            block.result()
    # Maps that were never read, and those that another thread reads, go on.
    assert called == [0, 1, 10, 11, 12, 13]
    assert readers[0].result() == [None, None]
    begun, unread, _ = results
    assert next(begun) == 1
    with pytest.raises(CancelledError):
        next(begun)
    assert list(unread) == [None, None]


@each_executor_type
def test_a_block_that_ends_in_peace_leaves_nothing(executor_type: Executors) -> None:
    with executor_type(1) as executor:
        results = executor.map(int, "123")
        assert next(results) == 1
    assert list(results) == [2, 3]
