"""The programs of tests/executor/test_fork.py."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
from typing import Any

from program import evaluate, in_child, keep_locals, main, print_after
from support import Background, Gate, background

from pyants import Future, PoolExecutor


def use(executor: Any) -> None:
    futures = [executor.submit(pow, number, 2) for number in range(20)]
    assert [future.result(20) for future in futures] == [number**2 for number in range(20)]
    assert list(executor.map(int, "123")) == [1, 2, 3]
    assert not concurrent.futures.wait(futures, 20).not_done


def fork_with_a_busy_executor(make: str) -> None:
    executor: Any = evaluate(make)
    gate = Gate()
    held = [executor.submit(gate.hold) for _ in range(2)]
    gate.wait_entered(2)
    ran: list[Any] = []
    queued = [executor.submit(ran.append, number) for number in range(3)]

    def child() -> None:
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


def fork_with_an_idle_executor_and_one_that_is_shut_down() -> None:
    idle, closed = PoolExecutor(2), PoolExecutor(2)
    use(idle)
    use(closed)
    closed.shutdown()

    def child() -> None:
        use(idle)
        try:
            closed.submit(int)
        except RuntimeError as error:
            print(error)
        idle.shutdown()

    in_child(child)
    use(idle)


def results_that_were_there_are_there_in_the_child() -> None:
    executor = PoolExecutor(1)
    done, failed = executor.submit(int, "7"), executor.submit(int, "no number")
    concurrent.futures.wait([done, failed])
    made = Future[int]()

    def child() -> None:
        print(done.result(), type(failed.exception()).__name__)
        made.set_result(5)
        print(made.result())

    in_child(child)
    assert not made.done()


def fork_while_threads_wait_for_results() -> None:
    executor = PoolExecutor(1)
    gate = Gate()

    def task() -> int:
        gate.hold()
        return 7

    held = executor.submit(task)
    gate.wait_entered(1)
    waiting = background(3, held.result)
    wait_for_all = Background(lambda: concurrent.futures.wait([held]))

    def child() -> None:
        # Its worker is not here, so it never comes; but waiting for it can end.
        try:
            held.result(0.01)
        except TimeoutError:
            print("timed out")
        use(executor)

    in_child(child)
    gate.open()
    print([each.result() for each in waiting], len(wait_for_all.result().done))


def fork_from_a_task() -> None:
    executor = PoolExecutor(2)

    def child() -> None:
        use(executor)
        print("child")

    assert executor.submit(in_child, child).result(40) is None
    use(executor)
    print("parent")


def a_child_that_exits_in_the_usual_way() -> None:
    keep_locals()
    executor = PoolExecutor(2)
    gate = Gate()
    executor.submit(gate.hold)
    gate.wait_entered(1)
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        executor.submit(print_after, 0.05, "child's task")
        sys.exit(5)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status))
    gate.open()


def multiprocessing_with_fork() -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    executor = PoolExecutor(2)
    use(executor)

    def work(queue: Any) -> None:
        use(executor)
        queue.put(sum(executor.map(int, map(str, range(10)))))

    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    main(globals(), forks=True)
