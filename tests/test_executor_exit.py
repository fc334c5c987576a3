"""Executors and the interpreter's exit: what was accepted is done, nothing is accepted any more, nothing hangs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from executors import EXECUTOR_TYPES, run_executor_script
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D6")]

Executors = type[ThreadPoolExecutor]

each_executor_type = pytest.mark.parametrize("executor_type", EXECUTOR_TYPES)


@each_executor_type
def test_everything_is_done_first(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(2)
def task(number):
    time.sleep(0.002)
    print(f"done {number}\\n", end="")
for number in range(50):
    executor.submit(task, number)
print("main ends\\n", end="")
""",
    )
    assert sorted(stdout.splitlines()) == sorted(["main ends", *(f"done {number}" for number in range(50))])


@each_executor_type
@pytest.mark.parametrize("shutdown", ["", "executor.shutdown(wait=False)", "del executor; gc.collect()"])
def test_a_running_task_finishes(executor_type: Executors, shutdown: str) -> None:
    stdout = run_executor_script(
        executor_type,
        f"""
executor = Executor(3)
entered = threading.Event()
executor.submit(lambda: (entered.set(), time.sleep(0.1), print("done\\n", end="")))
executor.submit(lambda: (time.sleep(0.1), print("done\\n", end="")))
entered.wait()
{shutdown}
""",
    )
    assert stdout == "done\n" * 2


@each_executor_type
def test_callbacks_are_called_at_exit(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(1)
future = executor.submit(lambda: time.sleep(0.1) or 5)
future.add_done_callback(lambda future: print("result", future.result()))
""",
    )
    assert stdout == "result 5\n"


@each_executor_type
def test_idle_workers_do_not_keep_the_process(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(4)
with Gate() as gate:
    futures = [executor.submit(gate.hold) for _ in range(4)]
    gate.wait_entered(4)
concurrent.futures.wait(futures)
print("main ends")
""",
    )
    assert stdout == "main ends\n"


@each_executor_type
def test_cancelling_at_the_end(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(1)
gate = Gate()
held = executor.submit(gate.hold)
gate.wait_entered(1)
futures = [executor.submit(print, "never") for _ in range(5)]
executor.shutdown(wait=False, cancel_futures=True)
gate.open()
print(all(future.cancelled() for future in futures))
""",
    )
    assert stdout == "True\n"


@each_executor_type
@pytest.mark.parametrize("used", [True, False])
def test_an_exit_handler_is_refused(executor_type: Executors, used: bool) -> None:
    stdout = run_executor_script(
        executor_type,
        f"""
executor = Executor(2)
if {used}:
    executor.submit(int).result()
@atexit.register
def late():
    for call in (lambda: executor.submit(int), lambda: executor.map(int, "123")):
        try:
            call()
        except RuntimeError as error:
            print(error)
    executor.shutdown()
""",
    )
    # One that was never used has no worker who would have told it that all is over.
    said = {
        "cannot schedule new futures after interpreter shutdown",
        *(["cannot schedule new futures after shutdown"] if used else []),
    }
    first, second = stdout.splitlines()
    assert {first, second} <= said


@each_executor_type
def test_an_exit_handler_that_makes_an_executor(executor_type: Executors) -> None:
    # Too late for its threads to be waited for: it is refused.
    stdout = run_executor_script(
        executor_type,
        """
@atexit.register
def late():
    with Executor(2) as executor:
        try:
            executor.submit(int)
        except RuntimeError as error:
            print(error)
""",
    )
    assert stdout == "cannot schedule new futures after interpreter shutdown\n"


@each_executor_type
def test_a_thread_that_goes_on_is_refused_in_the_end(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(2)
accepted = []
def go_on():
    try:
        while True:
            accepted.append(executor.submit(int))
            time.sleep(TICK)
    except RuntimeError as error:
        print(error)
    # What was accepted is done all the same.
    print(len(accepted) > 0, not concurrent.futures.wait(accepted, 30).not_done)
threading.Thread(target=go_on).start()
wait_until(lambda: len(accepted) > 10)
""",
    )
    error, done = stdout.splitlines()
    assert error.startswith("cannot schedule new futures after ")
    assert done == "True True"


@each_executor_type
def test_a_task_that_goes_on_is_refused_in_the_end(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(2)
started = threading.Event()
def task():
    started.set()
    try:
        while True:
            executor.submit(int)
            time.sleep(TICK)
    except RuntimeError as error:
        print(error)
executor.submit(task)
started.wait()
""",
    )
    # CPython's own may just have been about to start a thread.
    own = ("can't create new thread at interpreter shutdown",) if executor_type is ThreadPoolExecutor else ()
    assert stdout.startswith(("cannot schedule new futures after ", *own))


@each_executor_type
def test_a_task_may_wait_for_another_at_exit(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(2)
inner = executor.submit(lambda: time.sleep(0.1) or 5)
executor.submit(lambda: print(inner.result()))
""",
    )
    assert stdout == "5\n"


@each_executor_type
def test_results_may_be_asked_for_by_an_exit_handler(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(1)
futures = [executor.submit(lambda number=number: time.sleep(0.01) or number) for number in range(5)]
atexit.register(lambda: print([future.result(0) for future in futures]))
""",
    )
    assert stdout == "[0, 1, 2, 3, 4]\n"


@each_executor_type
def test_a_daemon_that_waits_for_a_result_keeps_nobody(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
future = concurrent.futures.Future() if Executor is ThreadPoolExecutor else Future()
threading.Thread(target=future.result, daemon=True).start()
executor = Executor(1)
executor.submit(print, "done")
""",
    )
    assert stdout == "done\n"


@each_executor_type
def test_the_exit_code_and_the_exception_of_the_main_thread(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
executor = Executor(1)
executor.submit(lambda: (time.sleep(0.05), print("done")))
sys.exit(3)
""",
        code_expected=3,
    )
    assert stdout == "done\n"


@each_executor_type
def test_system_exit_in_a_task_ends_no_process(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
with Executor(1) as executor:
    future = executor.submit(sys.exit, 3)
    print(repr(future.exception()))
""",
    )
    assert stdout == "SystemExit(3)\n"


@each_executor_type
def test_an_executor_in_a_cycle_and_one_in_a_module(executor_type: Executors) -> None:
    stdout = run_executor_script(
        executor_type,
        """
class Owner:
    def __init__(self):
        self.executor = Executor(1)
        self.future = self.executor.submit(self.work)
    def work(self):
        time.sleep(0.05)
        print("done\\n", end="")
owner = Owner()
sys.keep = Owner()
""",
    )
    assert stdout == "done\n" * 2


def test_workers_who_wait_for_each_other_and_blocked_submitters() -> None:
    stdout, stderr = run_script("""
        executor = PoolExecutor(1, queue_size=1)
        gate = Gate()
        executor.submit(gate.hold)
        gate.wait_entered(1)
        executor.submit(sys.stdout.write, "queued\\n")
        def block():
            try:
                executor.submit(print, "never")
            except RuntimeError:
                sys.stdout.write("refused\\n")
        threading.Thread(target=block).start()
        wait_until(lambda: executor.pool.waiting() == 1)
        threading.Thread(target=open_when_nobody_waits, args=(executor.pool, gate)).start()
    """)
    # Two threads write, whichever is sooner.
    assert sorted(stdout.split()) == ["queued", "refused"]
    assert stderr == ""


def test_an_executor_over_a_pool() -> None:
    stdout, stderr = run_script("""
        pool = Pool(1, queue_size=None)
        executor = PoolExecutor.over(pool)
        for number in range(20):
            executor.submit(lambda: (time.sleep(0.002), print("done")))
    """)
    assert stdout == "done\n" * 20
    assert stderr == ""


@pytest.mark.parametrize("options", ["expiry_duration=1e6", "disable_purge=True", "expiry_duration=0.001"])
def test_idle_workers_that_would_stay_long(options: str) -> None:
    _, stderr = run_script(f"""
        executor = PoolExecutor(4, {options})
        with Gate() as gate:
            futures = [executor.submit(gate.hold) for _ in range(4)]
            gate.wait_entered(4)
    """)
    assert stderr == ""
