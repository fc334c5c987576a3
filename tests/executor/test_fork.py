"""os.fork: the child's executors have no tasks and no threads, and are usable; the parent's are untouched."""

from __future__ import annotations

import os

import pytest
from support import IN_CHILD, run_script

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.ants("D8"),
]

FORK = (
    IN_CHILD
    + """
import concurrent.futures

def use(executor):
    futures = [executor.submit(pow, number, 2) for number in range(20)]
    assert [future.result(20) for future in futures] == [number**2 for number in range(20)]
    assert list(executor.map(int, "123")) == [1, 2, 3]
    assert not concurrent.futures.wait(futures, 20).not_done
"""
)


def script(code: str) -> str:
    stdout, stderr = run_script(FORK + code)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize(
    "make",
    [
        "PoolExecutor(2)",
        "PoolExecutor(2, queue_size=5)",
        "PoolExecutor.over(Pool(2, queue_size=None))",
        "PoolExecutor.over(MultiPool(2, 1, queue_size=None))",
    ],
)
def test_fork_with_a_busy_executor(make: str) -> None:
    stdout = script(f"""
executor = {make}
gate = Gate()
held = [executor.submit(gate.hold) for _ in range(2)]
gate.wait_entered(2)
ran = []
queued = [executor.submit(ran.append, number) for number in range(3)]

def child():
    assert executor.pool.queued() == 0
    use(executor)
    executor.shutdown()
    # No task of the parent's ran here.
    print("child", ran)

in_child(child)
gate.open()
concurrent.futures.wait(held + queued)
use(executor)
executor.shutdown()
print("parent", sorted(ran))
""")
    assert stdout == "child []\nparent [0, 1, 2]\n"


def test_fork_with_an_idle_executor_and_one_that_is_shut_down() -> None:
    stdout = script("""
idle, closed = PoolExecutor(2), PoolExecutor(2)
use(idle)
use(closed)
closed.shutdown()

def child():
    use(idle)
    try:
        closed.submit(int)
    except RuntimeError as error:
        print(error)
    idle.shutdown()

in_child(child)
use(idle)
""")
    assert stdout == "cannot schedule new futures after shutdown\n"


def test_results_that_were_there_are_there_in_the_child() -> None:
    stdout = script("""
executor = PoolExecutor(1)
done, failed = executor.submit(int, "7"), executor.submit(int, "no number")
concurrent.futures.wait([done, failed])
made = Future()

def child():
    print(done.result(), type(failed.exception()).__name__)
    made.set_result(5)
    print(made.result())

in_child(child)
assert not made.done()
""")
    assert stdout == "7 ValueError\n5\n"


def test_fork_while_threads_wait_for_results() -> None:
    stdout = script("""
executor = PoolExecutor(1)
gate = Gate()
held = executor.submit(lambda: gate.hold() or 7)
gate.wait_entered(1)
waiting = background(3, held.result)
wait_for_all = Background(lambda: concurrent.futures.wait([held]))

def child():
    # Its worker is not here, so it never comes; but waiting for it can end.
    try:
        held.result(0.01)
    except TimeoutError:
        print("timed out")
    use(executor)

in_child(child)
gate.open()
print([each.result() for each in waiting], len(wait_for_all.result().done))
""")
    assert stdout == "timed out\n[7, 7, 7] 1\n"


def test_fork_from_a_task() -> None:
    stdout = script("""
executor = PoolExecutor(2)

def child():
    use(executor)
    print("child")

assert executor.submit(in_child, child).result(40) is None
use(executor)
print("parent")
""")
    assert stdout == "child\nparent\n"


def test_a_child_that_exits_in_the_usual_way() -> None:
    stdout = script("""
executor = PoolExecutor(2)
gate = Gate()
executor.submit(gate.hold)
gate.wait_entered(1)
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    executor.submit(lambda: (time.sleep(0.05), print("child's task", flush=True)))
    sys.exit(5)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
gate.open()
""")
    assert stdout == "child's task\n5\n"


def test_multiprocessing_with_fork() -> None:
    stdout = script("""
import multiprocessing
context = multiprocessing.get_context("fork")
executor = PoolExecutor(2)
use(executor)
def work(queue):
    use(executor)
    queue.put(sum(executor.map(int, map(str, range(10)))))
queue = context.SimpleQueue()
process = context.Process(target=work, args=(queue,))
process.start()
print(queue.get())
process.join()
print(process.exitcode)
""")
    assert stdout == "45\n0\n"
