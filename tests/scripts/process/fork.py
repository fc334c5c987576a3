"""The programs of tests/process/test_fork.py, and that of test_import.py that forks."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from program import evaluate, import_again, in_child, keep_locals, main, print_after
from support import Background, Gate, Sum, background, nap, wait_equal, wait_until

from pyants import Future, Pool, PoolClosedError, PoolExecutor, _threads

if TYPE_CHECKING:
    from collections.abc import Callable


def pool_of(pool: Any) -> Any:
    """The pool of an executor, or the pool itself."""
    return pool.pool if isinstance(pool, PoolExecutor) else pool


def use(pool: Any, count: int = 20) -> None:
    done = Sum()
    for _ in range(count):
        pool.submit(done.add)
    assert pool_of(pool).wait_idle(20)
    assert done.value == count
    if isinstance(pool, PoolExecutor):
        use_futures(pool)


def use_futures(executor: PoolExecutor) -> None:
    futures = [executor.submit(pow, number, 2) for number in range(20)]
    assert [future.result(20) for future in futures] == [number**2 for number in range(20)]
    assert list(executor.map(int, "123")) == [1, 2, 3]
    assert not concurrent.futures.wait(futures, 20).not_done


def run_in_worker(pool: Any, function: Callable[..., object], *arguments: object) -> None:
    """Submits the call, waits for its end, and fails if it failed."""
    future = pool.submit(function, *arguments)
    assert pool_of(pool).wait_idle(30)
    if future is None:
        assert pool_of(pool).stats().failed == 0
    else:
        assert future.result(30) is None


def fork_with_a_busy_pool(make: str) -> None:
    pool = evaluate(make)
    gate = Gate()
    for _ in range(3):
        pool.submit(gate.hold)
    gate.wait_entered(3)

    def child() -> None:
        assert not pool.is_closed()
        assert (pool.running(), pool.waiting(), pool.queued()) == (0, 0, 0), pool
        assert pool.stats().busy == 0
        use(pool)
        pool.release_timeout(20)
        assert pool.running() == 0
        pool.reboot()
        use(pool)
        print("child")

    in_child(child)
    assert pool.running() == 3
    assert pool.stats().busy == 3
    gate.open()
    assert pool.wait_idle(10)
    assert pool.stats().completed == 3
    use(pool)
    pool.release_timeout(10)
    print("parent")


def no_task_of_the_parent_runs_again(make: str) -> None:
    pool = evaluate(make)
    gate = Gate()
    ran: list[int] = []
    for _ in range(2):
        pool.submit(gate.hold)
    gate.wait_entered(2)
    for number in range(3):
        pool.submit(ran.append, number)

    def child() -> None:
        assert pool_of(pool).queued() == 0
        with pool:
            use(pool)
        print("child", ran)

    in_child(child)
    gate.open()
    with pool:
        use(pool)
    print("parent", sorted(ran))


def fork_with_idle_workers_and_blocked_submitters() -> None:
    idle, full = Pool(4, disable_purge=True), Pool(1)
    with Gate() as first:
        for _ in range(4):
            idle.submit(first.hold)
        first.wait_entered(4)
    idle.wait_idle()
    gate = Gate()
    full.submit(gate.hold)
    blocked = [threading.Thread(target=full.submit, args=(int,)) for _ in range(2)]
    for thread in blocked:
        thread.start()
    wait_until(lambda: full.waiting() == 2)

    def child() -> None:
        assert (idle.running(), full.running(), full.waiting()) == (0, 0, 0)
        use(idle)
        use(full)

    in_child(child)
    assert (idle.running(), full.waiting()) == (4, 2)
    gate.open()
    for thread in blocked:
        thread.join()
    use(idle)
    use(full)
    print("parent")


def a_child_has_an_expiry_thread_of_its_own() -> None:
    resting, brief = Pool(2, expiry_duration=1000), Pool(2, expiry_duration=0.01)
    resting.submit(int)
    stop = threading.Event()

    def come_and_go() -> None:
        # Forks happen at every step of the expiry thread.
        while not stop.is_set():
            brief.submit(int)
            nap(0.005)

    thread = threading.Thread(target=come_and_go)
    thread.start()

    def child() -> None:
        own = Pool(2, expiry_duration=0.01)
        for pool in (brief, own):
            pool.submit(int)
            wait_equal(pool.running, 0)
            assert pool.stats().expired == 1
        resting.submit(int)
        # With no worker at rest there is one thread again.
        for pool in (resting, brief, own):
            pool.release_timeout(10)
        if sys.platform == "linux":
            assert len(os.listdir("/proc/self/task")) == 1

    for _ in range(20):
        in_child(child)
    stop.set()
    thread.join()
    assert resting.running() == 1
    print("parent")


def open_stays_open_and_closed_stays_closed() -> None:
    open_pool, closed, tuned = Pool(2), Pool(2), Pool(2, nonblocking=True, name="forked")
    closed.release()
    tuned.tune(3)

    def child() -> None:
        assert not open_pool.is_closed()
        assert closed.is_closed()
        try:
            closed.submit(int)
        except PoolClosedError:
            print("closed")
        closed.reboot()
        use(closed)
        # Options and the tuned capacity are kept.
        assert tuned.cap() == 3
        names: set[str] = set()
        gate = Gate()

        def task() -> None:
            names.add(threading.current_thread().name)
            gate.hold()

        for _ in range(3):
            tuned.submit(task)
        gate.wait_entered(3)
        assert not tuned.try_submit(int)
        gate.open()
        print(sorted(names))

    in_child(child)
    assert closed.is_closed()


def purging_works_in_the_child() -> None:
    pool = Pool(3, expiry_duration=0.02)
    use(pool)

    def child() -> None:
        use(pool)
        wait_until(lambda: pool.running() == 0)
        print("purged")

    in_child(child)
    use(pool)
    wait_until(lambda: pool.running() == 0)


def fork_from_a_task(make: str) -> None:
    pool, other = evaluate(make), Pool(2)

    def child() -> None:
        assert pool_of(pool).running() == 0
        use(pool)
        use(other)
        print("child")

    run_in_worker(pool, in_child, child)
    use(pool)
    use(other)
    print("parent")


def fork_under_load() -> None:
    pool = Pool(4, expiry_duration=0.001)
    stop = threading.Event()
    done = Sum()

    def flood() -> None:
        while not stop.is_set():
            pool.submit(done.add)

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        # A thread that the child lacks may hold the lock of `done`, unlike the pool's: so use() makes a new Sum.
        in_child(lambda: use(pool))
    stop.set()
    for thread in threads:
        thread.join()
    assert pool.wait_idle(30)
    assert pool.stats().completed == done.value
    print("parent")


def a_fork_waits_for_a_worker_that_is_just_arriving() -> None:
    forking = threading.Event()
    os.register_at_fork(before=forking.set)  # This hook runs before the module's own.
    arrived: list[Any] = []
    threads: Any = _threads

    init = threads._init

    def slow(thread: Any, **options: Any) -> None:
        init(thread, **options)
        # While this thread is being registered with `threading`, another one forks, or has had time to.
        arrived.append(Background(lambda: in_child(lambda: print("child", len(arrived), flush=True))))
        assert forking.wait(10)
        time.sleep(0.02)
        arrived.append(thread)

    threads._init = slow
    pool = Pool(1)
    use(pool)
    arrived[0].result()
    print("parent", len(arrived))


def a_fork_waits_for_a_worker_that_is_just_leaving() -> None:
    forking = threading.Event()
    os.register_at_fork(before=forking.set)  # This hook runs before the module's own.
    left: list[Any] = []
    local = threading.local()

    class Last:
        def __del__(self) -> None:
            left.append(Background(lambda: in_child(lambda: print("child", len(left), flush=True))))
            assert forking.wait(10)
            time.sleep(0.02)
            left.append(self)

    def task() -> None:
        local.last = Last()

    pool = Pool(1)
    pool.submit(task)
    pool.release_timeout(10)
    left[0].result()
    print("parent", len(left))


def with_a_worker_that_leaves_at(go: threading.Event) -> Pool:
    """A released pool: its worker frees a thread-local object, which waits for the event."""
    local = threading.local()
    leaving = threading.Event()

    class Last:
        def __del__(self) -> None:
            leaving.set()
            assert go.wait(30)

    def task() -> None:
        local.last = Last()

    pool = Pool(1)
    pool.submit(task)
    pool.release()
    assert leaving.wait(10)
    return pool


def a_fork_does_not_wait_for_ever_for_a_worker_that_waits_for_the_forking_thread() -> None:
    forked = threading.Event()
    _stuck, other = with_a_worker_that_leaves_at(forked), Pool(1)
    in_child(lambda: use(other))
    forked.set()
    print("parent")


def a_worker_that_does_not_get_away_does_not_keep_the_others() -> None:
    go = threading.Event()
    stuck, other = with_a_worker_that_leaves_at(go), Pool(40)
    with Gate() as gate:
        for _ in range(40):
            other.submit(gate.hold)
    other.release_timeout(20)
    go.set()
    stuck.reboot()
    stuck.release_timeout(10)
    print("parent")


def a_child_of_a_child() -> None:
    pool = Pool(2)
    use(pool)

    def grandchild() -> None:
        use(pool)
        print("grandchild", flush=True)

    def child() -> None:
        use(pool)
        in_child(grandchild)
        use(pool)
        print("child")

    in_child(child)
    use(pool)
    print("parent")


def a_child_that_exits_in_the_usual_way(make: str) -> None:
    keep_locals()
    pool = evaluate(make)
    gate = Gate()
    pool.submit(gate.hold)
    gate.wait_entered(1)
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        pool.submit(print_after, 0.05, "child's task")
        sys.exit(5)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status))
    gate.open()


def a_child_that_leaves_the_task_that_forked_it(make: str) -> None:
    keep_locals()
    pool = evaluate(make)
    pids: list[int] = []

    def task() -> None:
        pids.append(os.fork())
        if pids == [0]:
            signal.alarm(30)
            use(pool)
            pool.submit(print_after, 0.05, "child's task")
            threading.Thread(target=print_after, args=(0.1, "child's thread")).start()
            sys.stdout.write("and what it has printed\n")

    run_in_worker(pool, task)
    if pids != [0]:
        _, status = os.waitpid(pids[0], 0)
        print(os.waitstatus_to_exitcode(status))


def multiprocessing_with_fork(make: str) -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    pool = evaluate(make)
    use(pool)

    def work(queue: Any) -> None:
        use(pool)
        done = Sum()
        for number in range(10):
            pool.submit(done.add, number)
        pool_of(pool).wait_idle()
        queue.put(done.value)

    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode)


def the_default_pool_in_a_child() -> None:
    import pyants

    done = Sum()
    pyants.submit(done.add)
    assert pyants.wait_idle()
    in_child(lambda: use(pyants))
    use(pyants)
    print("parent")


def a_pool_dropped_in_the_child() -> None:
    import gc

    pools = [Pool(2)]
    gate = Gate()
    pools[0].submit(gate.hold)

    def child() -> None:
        pools.clear()
        gc.collect()
        use(Pool(2))

    in_child(child)
    gate.open()
    assert pools[0].wait_idle(10)
    print("parent")


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


def a_group_is_empty_in_the_child(limit: str) -> None:
    gate = Gate()
    pids: list[int] = []
    status = 1
    with Pool(2, queue_size=None) as pool:
        with pool.group(limit=evaluate(limit), results=True) as group:
            group.submit(int, "1").result()
            for _ in range(2):
                group.submit(gate.hold)
            gate.wait_entered(2)
            pids.append(os.fork())
            if pids == [0]:
                signal.alarm(30)
                for number in "23":
                    group.submit(int, number)
            else:
                _, status = os.waitpid(pids[0], 0)
                gate.open()
        print(group.results())
    if pids == [0]:
        os._exit(0)
    print(status)


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
        # The child lacks the worker, so the result never comes; but a wait with a time limit ends.
        try:
            held.result(0.01)
        except TimeoutError:
            print("timed out")
        use(executor)

    in_child(child)
    gate.open()
    print([each.result() for each in waiting], len(wait_for_all.result().done))


def a_child_after_a_second_import() -> None:
    pool = Pool(1)
    use(pool)
    import_again()

    def child() -> None:
        with pool:
            use(pool)
        print("child")

    in_child(child)
    with pool:
        use(pool)
    print("parent")


if __name__ == "__main__":
    main(globals(), forks=True)
