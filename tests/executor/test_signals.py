"""Ctrl-C and other signals while the main thread waits for a future or for an executor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from executors import BUFFERING_TYPES, EXECUTOR_TYPES, INTERRUPT, run_executor_script
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D5")]

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


@each_executor_type
@pytest.mark.parametrize(
    "call",
    [
        "held.result()",
        "held.result(1e6)",
        "held.exception()",
        "queued.result()",
        "concurrent.futures.wait([held, queued])",
        "list(concurrent.futures.as_completed([held, queued], 1e6))",
        "next(results)",
    ],
)
def test_a_wait_is_interrupted_and_the_task_is_not(executor_type: Executors, call: str) -> None:
    stdout = run_executor_script(
        executor_type,
        f"CALL = {call!r}"
        + INTERRUPT
        + f"""
executor = Executor(1)
held = executor.submit(gate.hold)
gate.wait_entered(1)
queued = executor.submit(ran.append, 1)
results = executor.map(gate.hold, range(3), timeout=1e6)
try:
    about_to_wait.set()
    {call}
except KeyboardInterrupt:
    print("interrupted")
assert held.running()
assert not queued.done()
gate.open()
# It can be asked again.
assert held.result(30) is None
assert queued.result(30) is None
executor.shutdown()
print(ran)
""",
    )
    assert stdout == "interrupted\n[1]\n"


@pytest.mark.parametrize(
    ("executor_type", "buffersize"),
    [
        *(pytest.param(*param.values, "", id=f"{param.id}", marks=param.marks) for param in EXECUTOR_TYPES),
        *(
            pytest.param(*param.values, ", buffersize=2", id=f"{param.id}, buffersize", marks=param.marks)
            for param in BUFFERING_TYPES
        ),
    ],
)
def test_an_interrupted_map_cancels_what_has_not_started(executor_type: Executors, buffersize: str) -> None:
    stdout = run_executor_script(
        executor_type,
        INTERRUPT
        + f"""
executor = Executor(1)
held = executor.submit(gate.hold)
gate.wait_entered(1)
results = executor.map(ran.append, range(3){buffersize})
try:
    about_to_wait.set()
    next(results)
except KeyboardInterrupt:
    print("interrupted")
print(next(results, "over"))
gate.open()
executor.shutdown()
# The one that was waited for did not start either.
print(ran)
""",
    )
    assert stdout == "interrupted\nover\n[]\n"


@each_executor_type
def test_a_shutdown_that_waits_is_interrupted(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        INTERRUPT
        + """
executor = Executor(1)
held = executor.submit(gate.hold)
gate.wait_entered(1)
queued = executor.submit(ran.append, 1)
try:
    about_to_wait.set()
    executor.shutdown()
except KeyboardInterrupt:
    print("interrupted")
try:
    executor.submit(int)
except RuntimeError as error:
    print(error)
gate.open()
print(queued.result(30), ran)
""",
    )
    assert stdout == "interrupted\ncannot schedule new futures after shutdown\nNone [1]\n"


@each_executor_type
def test_a_handler_that_returns_does_not_end_the_wait(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
gate = Gate()
handled = []
def handler(*_):
    if not handled:
        handled.append(True)
        print("handled")
        gate.open()
def send():
    # A signal that comes just before CPython's own wait goes to sleep does not wake it: again, until it is handled.
    # (The sleep is the pace of that: nothing counts on how long it takes.)
    while not handled:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        time.sleep(0.01)
signal.signal(signal.SIGUSR1, handler)
executor = Executor(1)
held = executor.submit(lambda: gate.hold() or 5)
gate.wait_entered(1)
threading.Thread(target=send).start()
print(held.result())
executor.shutdown()
""",
    )
    assert stdout == "handled\n5\n"


@each_executor_type
def test_the_exception_of_a_handler_is_the_one_raised(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        INTERRUPT
        + """
class Stop(Exception): pass
def stop(_, frame):
    if not taken and may_raise(frame):
        taken.append(True)
        interrupted.set()
        raise Stop("now")
signal.signal(signal.SIGINT, stop)
executor = Executor(1)
held = executor.submit(gate.hold)
gate.wait_entered(1)
try:
    about_to_wait.set()
    held.result()
except Stop as error:
    print("stopped", error)
gate.open()
""",
    )
    assert stdout == "stopped now\n"


@each_executor_type
def test_other_threads_that_wait_are_not_disturbed(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        INTERRUPT
        + """
executor = Executor(1)
held = executor.submit(lambda: gate.hold() or 5)
others = background(3, held.result)
try:
    about_to_wait.set()
    held.result()
except KeyboardInterrupt:
    print("interrupted")
gate.open()
print([other.result() for other in others])
""",
    )
    assert stdout == "interrupted\n[5, 5, 5]\n"


@each_executor_type
def test_ctrl_c_ends_a_program_once_its_tasks_are_done(executor_type: Executors) -> None:
    # As in any program that waits in its main thread.
    stdout = run_executor_script(
        executor_type,
        INTERRUPT
        + """
executor = Executor(1)
executor.submit(lambda: (interrupted.wait(), print("done\\n", end="")))
queued = executor.submit(print, "queued\\n", end="")
try:
    about_to_wait.set()
    with executor:
        queued.result()
except KeyboardInterrupt:
    print("interrupted\\n", end="")
""",
    )
    assert sorted(stdout.split()) == ["done", "interrupted", "queued"]


@pytest.mark.parametrize("call", ["submit(ran.append, 1)", "submit_within(1e6, ran.append, 1)"])
def test_an_interrupted_submit_did_not_submit(call: str) -> None:
    stdout, stderr = run_script(
        INTERRUPT
        + f"""
executor = PoolExecutor(1, queue_size=1)
executor.submit(gate.hold)
gate.wait_entered(1)
queued = executor.submit(ran.append, 0)
try:
    about_to_wait.set()
    executor.{call}
except KeyboardInterrupt:
    print("interrupted")
assert executor.pool.waiting() == 0
gate.open()
executor.shutdown()
print(ran)
"""
    )
    assert stdout == "interrupted\n[0]\n"
    assert stderr == ""


@pytest.mark.parametrize("call", ["next(results)", "list(results)"])
def test_map_unordered_is_interrupted(call: str) -> None:
    stdout, stderr = run_script(
        INTERRUPT
        + f"""
executor = PoolExecutor(1)
results = executor.map_unordered(gate.hold, range(3))
gate.wait_entered(1)
try:
    about_to_wait.set()
    {call}
except KeyboardInterrupt:
    print("interrupted")
gate.open()
executor.shutdown()
"""
    )
    assert stdout == "interrupted\n"
    assert stderr == ""
