"""Ctrl-C at random instants, in every call in which the main thread waits.

    nox -s signals-3.13 -- [--times N] [--seed S] [--only CALL [--attempt A]]

Each attempt fills a pool with tasks that a gate holds, makes the call, and has a timer interrupt it: as it begins,
while it waits, or just when the gate opens. Then each task must have run once if its call returned, and at most once
otherwise; the pool's counters come to rest, and it has all its permits and workers. When the timer strikes depends on
the seed, the call and the number of the attempt alone.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import faulthandler
import gc
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interrupts import may_raise
from program import keep_locals
from support import Gate, wait_until

import pyants
from pyants import AsyncPool, MultiPool, MultiPoolWithFunc, Pool, PoolExecutor, PoolWithFunc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

CAPACITY = 2
# Only a hang takes so long.
LIMIT = 100.0
FOREVER = 1e6


class Task:
    """A task, and how often it ran."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.runs = 0
        self.ended = 0
        self.is_accepted = False
        self.future: Any = None

    def run(self) -> Task:
        self.runs += 1
        self.gate.hold()
        self.ended += 1
        return self


def run_task(task: Task) -> Task:
    return task.run()


@dataclass
class Call:
    """A call that waits, and what it waits for."""

    name: str
    make: Callable[[], Any]
    call: Callable[[Attempt, Any], object]
    # How many tasks the pool takes at once; None: its queue has no limit.
    room: int | None = CAPACITY
    # It puts tasks into a full pool: interrupted while that is full it has put none.
    submits: bool = False
    # It closes the pool.
    closes: bool = False
    # The first signal does not end the wait: it ends with the tasks that run, or with a second one.
    lasts: bool = False
    second: bool = False
    # A map is one task for each worker, however many calls there are.
    is_map: bool = False
    # Where the signal may raise, if not everywhere.
    raises: Callable[[FrameType | None], bool] = field(default=lambda _: True)
    owner: Any = None


class Opener:
    """A thread that opens gates, after a while."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[tuple[Gate, float]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            gate, seconds = self.queue.get()
            time.sleep(seconds)  # At what instant it opens is drawn from the seed; no outcome depends on it.
            gate.open()


class Attempt:
    """One call that a signal interrupts, or comes too late for."""

    def __init__(self, call: Call, opener: Opener, generator: random.Random) -> None:
        self.kind = call
        self.generator = generator
        self.opener = opener
        self.gate = Gate()
        self.tasks: list[Task] = []
        self.is_armed = False
        self.signals = 0
        self.due = 0.0
        # Whether the gate stays closed until the call is over.
        self.stays_closed = False
        # From the signal to the exception, if nothing else could end the wait.
        self.latency: float | None = None
        # Where it was interrupted.
        self.at: list[str] = []
        # The tasks of a group as its block was left: how often they had run, and whether all that had begun were done.
        self.left: list[tuple[Task, int]] = []
        self.is_over = True

    def task(self) -> Task:
        """A task that has yet to be submitted."""
        task = Task(self.gate)
        self.tasks.append(task)
        return task

    def put(self, submit: Callable[[Task], Any]) -> Any:
        """Submits a task of its own."""
        task = self.task()
        task.future = future = submit(task)
        task.is_accepted = True
        return future

    def handle(self, number: int, frame: FrameType | None) -> None:
        if not self.is_armed:
            return
        handler = signal.getsignal(signal.SIGINT)
        if not self.kind.raises(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.01)
            return
        self.signals += 1
        self.is_armed = self.kind.second and self.signals == 1
        if self.is_armed:
            signal.setitimer(signal.ITIMER_REAL, self.generator.uniform(1e-6, 5e-3))
        elif self.kind.lasts:
            self.opener.queue.put((self.gate, self.generator.uniform(0, 1e-3)))
        assert callable(handler)
        handler(signal.SIGINT, frame)

    def interrupted_in(self, call: Callable[[], object]) -> bool:
        """Makes the call, and the signal at a random instant. Returns whether it was interrupted."""
        generator = self.generator
        when = generator.choice(("at first", "waiting", "at the end"))
        self.stays_closed = when != "at the end"
        if when == "at first":
            seconds = generator.uniform(1e-6, 2e-4)
        elif when == "waiting":
            seconds = generator.uniform(2e-4, 5e-3)
        else:
            opening = generator.uniform(0, 2e-3)
            seconds = max(1e-6, opening + generator.uniform(-2e-4, 5e-4))
            self.opener.queue.put((self.gate, opening))
        try:
            try:
                self.due = time.monotonic() + seconds
                self.is_armed = True
                # A signal that comes just before a wait of CPython's own goes to sleep does not end it: again, then.
                again = 0.01 if self.kind.raises is while_it_waits else 0.0
                signal.setitimer(signal.ITIMER_REAL, seconds, again)
                call()
            finally:
                self.is_armed = False
        except KeyboardInterrupt as error:
            self.at = traceback.format_exception(error)
            if self.stays_closed and not self.kind.lasts and not self.kind.second:
                self.latency = time.monotonic() - self.due
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return False


def pool_of(owner: Any) -> Any:
    return getattr(owner, "pool", owner)


def submitter(owner: Any) -> Callable[[Task], Any]:
    """The blocking submit of a pool of any kind."""
    if hasattr(owner, "invoke"):
        return owner.invoke  # type: ignore[no-any-return]
    return lambda task: owner.submit(run_task, task)


def now(owner: Any) -> Callable[[Task], Any]:
    """The submit that does not block: False or None if the pool is full."""
    if hasattr(owner, "invoke"):
        return owner.try_invoke  # type: ignore[no-any-return]
    return lambda task: owner.try_submit(run_task, task)


def fill(attempt: Attempt, owner: Any, room: int | None) -> None:
    """Fills the pool, or gives each worker a task and leaves some in the queue."""
    put = now(owner)
    for _ in range(CAPACITY + 2 if room is None else room):

        def is_in(task: Task) -> bool:
            task.future = put(task)
            return task.future not in (None, False)

        task = attempt.task()
        # A permit may be given back a little after its task has ended.
        wait_until(lambda task=task: is_in(task), f"a permit for {owner!r}")  # type: ignore[misc]
        task.is_accepted = True
    if room is not None:
        surplus = attempt.task()
        assert now(owner)(surplus) in (None, False), f"a permit too many: {owner!r}"
    attempt.gate.wait_entered(CAPACITY)


def balanced(before: Any, after: Any) -> bool:
    """Whether what was accepted in between has an end."""
    ended = (after.completed + after.failed + after.cancelled) - (before.completed + before.failed + before.cancelled)
    return bool(after.submitted - before.submitted == ended)


def at_rest(pool: Any, before: Any) -> bool:
    after = pool.stats()
    return (
        balanced(before, after)
        and (after.waiting, after.queued, after.busy) == (0, 0, 0)
        and (pool.is_closed() or pool.free() == pool.cap() - pool.running() or pool.stats().running != after.running)
    )


def attempt_once(call: Call, opener: Opener, generator: random.Random) -> Attempt:
    attempt = Attempt(call, opener, generator)
    try:
        try_once(call, attempt)
    except BaseException:
        print(*attempt.at, sep="")
        raise
    return attempt


def try_once(call: Call, attempt: Attempt) -> None:
    if call.owner is None:
        call.owner = call.make()
    owner = call.owner
    pool = pool_of(owner)
    before = pool.stats()
    signal.signal(signal.SIGALRM, attempt.handle)
    is_async = isinstance(owner, AsyncPool)
    if not is_async:
        fill(attempt, owner, call.room)
    held = len(attempt.tasks)
    submitted = pool.stats().submitted
    interrupted = attempt.interrupted_in(lambda: call.call(attempt, owner))
    if call.submits and interrupted and attempt.stays_closed:
        assert pool.waiting() == 0, "the submitter still waits"
        assert pool.stats().submitted == submitted, "an interrupted call was accepted"
        assert not any(task.is_accepted for task in attempt.tasks[held:])
    if not call.submits and not interrupted and attempt.stays_closed and not is_async:
        assert attempt.signals, "the call did not wait"
    attempt.gate.open()
    wait_until(lambda: at_rest(pool, before), f"rest of {pool!r}")
    after = pool.stats()
    for task in attempt.tasks:
        is_cancelled = task.future not in (None, True) and task.future.cancelled()
        assert task.runs <= 1, f"a task ran {task.runs} times"
        assert not task.is_accepted or task.runs == 1 or (is_cancelled and call.room is None), "a task was lost"
        assert not (is_cancelled and task.runs), "a cancelled task ran"
    assert attempt.is_over or attempt.signals > 1, "a task ran on after its group"
    assert all(task.runs == then for task, then in attempt.left) or attempt.signals > 1, "a task ran after its group"
    runs = sum(task.runs for task in attempt.tasks)
    ended = after.completed + after.failed - before.completed - before.failed
    assert call.is_map or runs == ended, f"{runs} runs, {ended} counted"
    if call.closes:
        reopen(call, owner, pool)


def reopen(call: Call, owner: Any, pool: Any) -> None:
    """After a call that closes: it may not have come so far; in the end no worker is left."""
    if isinstance(owner, PoolExecutor):
        # A shared pool stays open.
        is_own = call.make is not shared_executor
        owner.shutdown()
        assert not is_own or pool.running() == 0, pool
        call.owner = None
        if not is_own:
            pool.release_timeout(LIMIT)
        return
    if not pool.is_closed():
        pool.release_timeout(LIMIT)
    wait_until(lambda: pool.running() == 0, "the end of the workers")
    pool.reboot()


# --- the calls ------------------------------------------------------------------------------------------------------


def two_pools() -> MultiPool:
    return MultiPool(2, 1)


def default() -> Pool:
    pyants.tune(CAPACITY)
    return pyants.default_pool()


def executor() -> PoolExecutor:
    return PoolExecutor(CAPACITY)


def bounded_executor() -> PoolExecutor:
    return PoolExecutor(CAPACITY, queue_size=1)


def shared_executor() -> PoolExecutor:
    return PoolExecutor.over(Pool(CAPACITY, queue_size=None))


def with_end(_: Attempt, owner: Any) -> None:
    with owner:
        pass


def submit_many(attempt: Attempt, owner: Any) -> None:
    tasks = [attempt.task() for _ in range(3)]
    if hasattr(owner, "invoke_many"):
        owner.invoke_many(tasks)
    else:
        owner.submit_many(run_task, tasks)
    for task in tasks:
        task.is_accepted = True


def putting(name: str) -> Callable[[Attempt, Any], object]:
    """The call puts a task by a method; one that ends with "_within" gets its time limit first."""

    def call(attempt: Attempt, owner: Any) -> object:
        method = getattr(owner, name)
        before = (FOREVER,) if name.endswith("_within") else ()
        function = () if name.startswith("invoke") else (run_task,)
        return attempt.put(lambda task: method(*before, *function, task))

    return call


def default_submit(attempt: Attempt, _: Any) -> None:
    attempt.put(lambda task: pyants.submit(run_task, task))


def waiting_in(name: str, *arguments: Any) -> Callable[[Attempt, Any], object]:
    return lambda _, owner: getattr(owner, name)(*arguments)


def of_future(name: str, *arguments: Any) -> Callable[[Attempt, Any], object]:
    """A method of the future of a task that runs, or is queued."""
    return lambda attempt, _: getattr(attempt.generator.choice(attempt.tasks).future, name)(*arguments)


def futures_of(attempt: Attempt) -> list[Any]:
    return [task.future for task in attempt.tasks]


def cpython_wait(attempt: Attempt, _: Any) -> None:
    concurrent.futures.wait(futures_of(attempt))


def cpython_as_completed(attempt: Attempt, _: Any) -> None:
    list(concurrent.futures.as_completed(futures_of(attempt)))


def while_it_waits(frame: FrameType | None) -> bool:
    return may_raise(frame, PoolExecutor, "concurrent.futures.wait")


def mapping(name: str, **options: Any) -> Callable[[Attempt, Any], object]:
    def call(attempt: Attempt, owner: Any) -> None:
        tasks = [attempt.task() for _ in range(5)]
        seen = list(getattr(owner, name)(run_task, tasks, **options))
        assert set(seen) == set(tasks)
        for task in tasks:
            task.is_accepted = True

    return call


def in_group(attempt: Attempt, owner: Any, block: Callable[[Any], object], **options: Any) -> None:
    """Runs the block of a group, which leaves nothing behind, unless two signals came."""
    held = len(attempt.tasks)
    try:
        with owner.group(**options) as group:
            block(group)
    finally:
        attempt.left = [(task, task.runs) for task in attempt.tasks[held:]]
        attempt.is_over = all(task.runs == task.ended for task in attempt.tasks[held:])


def group_end(attempt: Attempt, owner: Any) -> None:
    def block(group: Any) -> None:
        for _ in range(3):
            attempt.put(lambda task: group.submit(run_task, task))

    in_group(attempt, owner, block, results=attempt.generator.random() < 0.5)


def group_submit(attempt: Attempt, owner: Any) -> None:
    """Waits for the only place of a group; a submit that is interrupted loses none."""
    goes_on = attempt.generator.random() < 0.5

    def block(group: Any) -> None:
        try:
            for _ in range(2):
                attempt.put(lambda task: group.submit(run_task, task))
        except KeyboardInterrupt:
            if not goes_on:
                raise
            attempt.gate.open()
            for _ in range(2):
                attempt.put(lambda task: group.submit_within(LIMIT, run_task, task))
            raise

    in_group(attempt, owner, block, limit=1)


def group_results(attempt: Attempt, owner: Any) -> None:
    def block(group: Any) -> None:
        attempt.put(lambda task: group.submit(run_task, task))
        group.results()

    in_group(attempt, owner, block, results=True)


def runs_main(frame: FrameType | None) -> bool:
    """Whether asyncio.run() takes the signal to cancel its main task, which runs: otherwise asyncio itself may break.

    Before it has its own handler in place, after that, and for its second signal, KeyboardInterrupt is raised.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return False
    while frame is not None and frame.f_code.co_name != "_run_once":
        frame = frame.f_back
    return frame is not None


def in_loop(main: Callable[[Attempt, AsyncPool], Any]) -> Callable[[Attempt, Any], object]:
    def call(attempt: Attempt, owner: Any) -> None:
        async def whole() -> None:
            if owner.is_closed():
                owner.reboot()
            await main(attempt, owner)

        asyncio.run(whole())

    return call


async def run_some(attempt: Attempt, pool: AsyncPool) -> None:
    tasks = [attempt.task() for _ in range(4)]
    done = await asyncio.gather(*(pool.run(run_task, task) for task in tasks))
    for task in done:
        task.is_accepted = True


async def submit_some(attempt: Attempt, pool: AsyncPool) -> None:
    for _ in range(4):
        task = attempt.task()
        await pool.submit(run_task, task)
        task.is_accepted = True


async def map_some(attempt: Attempt, pool: AsyncPool) -> None:
    tasks = [attempt.task() for _ in range(5)]
    async for task in pool.map(run_task, tasks):
        task.is_accepted = True


async def group_some(attempt: Attempt, pool: AsyncPool) -> None:
    async with pool.group() as group:
        for _ in range(4):
            group.run(run_task, attempt.task())


async def close_some(attempt: Attempt, pool: AsyncPool) -> None:
    calls = [pool.run(run_task, attempt.task()) for _ in range(2)]
    await pool.aclose()
    for call in calls:
        call.result().is_accepted = True


def calls() -> Iterator[Call]:
    pools: list[tuple[str, Callable[[], Any], int | None]] = [
        ("Pool", lambda: Pool(CAPACITY), 2),
        ("Pool with a queue", lambda: Pool(CAPACITY, queue_size=2), 4),
        ("MultiPool", two_pools, 2),
    ]
    for name, make, room in pools:
        for method in ("submit", "submit_within"):
            yield Call(f"{name}: {method}", make, putting(method), room, submits=True)
        yield Call(f"{name}: submit_many", make, submit_many, room, submits=True)
        yield Call(f"{name}: wait_idle", make, waiting_in("wait_idle"), room)
        yield Call(f"{name}: wait_idle(1e6)", make, waiting_in("wait_idle", FOREVER), room)
        yield Call(f"{name}: release_timeout", make, waiting_in("release_timeout", FOREVER), room, closes=True)
        yield Call(f"{name}: end of with", make, with_end, room, closes=True, second=True)
    functions: list[tuple[str, Callable[[], Any]]] = [
        ("PoolWithFunc", lambda: PoolWithFunc(CAPACITY, run_task)),
        ("MultiPoolWithFunc", lambda: MultiPoolWithFunc(2, 1, run_task)),
    ]
    for name, make in functions:
        for method in ("invoke", "invoke_within"):
            yield Call(f"{name}: {method}", make, putting(method), submits=True)
        yield Call(f"{name}: invoke_many", make, submit_many, submits=True)
    yield Call("default pool: submit", default, default_submit, submits=True)
    yield Call("default pool: wait_idle", default, lambda _, __: pyants.wait_idle())

    for method in ("submit", "submit_within"):
        yield Call(f"PoolExecutor: {method}", bounded_executor, putting(method), 3, submits=True)
    yield Call("PoolExecutor: submit_many", bounded_executor, submit_many, 3, submits=True)
    for method in ("result", "exception"):
        yield Call(f"Future: {method}", executor, of_future(method), None)
        yield Call(f"Future: {method}(1e6)", executor, of_future(method, FOREVER), None)
    yield Call("concurrent.futures.wait", executor, cpython_wait, None, raises=while_it_waits)
    yield Call("concurrent.futures.as_completed", executor, cpython_as_completed, None, raises=while_it_waits)
    for method in ("map", "map_unordered"):
        yield Call(f"PoolExecutor: {method}", executor, mapping(method), None, is_map=True)
        yield Call(f"PoolExecutor: {method}, buffersize", executor, mapping(method, buffersize=2), None, is_map=True)
    for name, make_executor in (("own", executor), ("shared", shared_executor)):
        yield Call(f"PoolExecutor: shutdown, {name}", make_executor, waiting_in("shutdown"), None, closes=True)
        yield Call(f"PoolExecutor: end of with, {name}", make_executor, with_end, None, closes=True, second=True)

    for name, make, room in (
        ("Pool", lambda: Pool(CAPACITY, queue_size=None), None),
        ("MultiPool", lambda: MultiPool(2, 1, queue_size=None), None),
        ("PoolExecutor", executor, None),
    ):
        yield Call(f"group of a {name}: end", make, group_end, room, lasts=True)
        yield Call(f"group of a {name}: end, twice", make, group_end, room, second=True)
        yield Call(f"group of a {name}: submit, limit", make, group_submit, room, lasts=True)
        yield Call(f"group of a {name}: results", make, group_results, room, lasts=True)

    for abandons in (False, True):
        more = ", abandoning" if abandons else ""
        for name, main in (
            ("run", run_some),
            ("submit", submit_some),
            ("map", map_some),
            ("group", group_some),
            ("aclose", close_some),
        ):

            def make_async(abandons: bool = abandons) -> AsyncPool:
                return AsyncPool(CAPACITY, abandon_on_cancel=abandons)

            yield Call(f"asyncio.run: {name}{more}", make_async, in_loop(main), lasts=True, raises=runs_main)


# --- the interpreter's exit -----------------------------------------------------------------------------------------


def exit_program(seed: str) -> None:
    """Its tasks end while it waits for them at exit, where a signal comes. Each task writes its number."""
    keep_locals()
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    generator = random.Random(seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    opener = Opener()
    gate = Gate()
    pool: Any = generator.choice((Pool, PoolExecutor))(CAPACITY, queue_size=None)

    def task(number: int) -> None:
        os.write(1, f"{number}\n".encode())
        gate.hold()

    for number in range(6):
        pool.submit(task, number)
    gate.wait_entered(CAPACITY)
    opening = generator.uniform(0, 0.06)
    opener.queue.put((gate, opening))
    signal.signal(signal.SIGALRM, lambda _, frame: signal.default_int_handler(signal.SIGINT, frame))
    signal.setitimer(signal.ITIMER_REAL, max(1e-6, opening + generator.uniform(-0.03, 0.01)))


def check_exit(seed: str) -> None:
    command = [sys.executable, "-P", __file__, "--exit", seed]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT + 20)
    report = f"exit code {process.returncode}\n{process.stdout}\n--- stderr\n{process.stderr}"
    numbers = process.stdout.split()
    # By the signal, if it came while the program itself still ran, or when Python had put the handlers away.
    assert process.returncode in (0, -signal.SIGINT, -signal.SIGALRM), report
    assert "Fatal" not in process.stderr, report
    assert "panicked" not in process.stderr, report
    assert len(set(numbers)) == len(numbers), f"a task ran twice: {report}"
    # A signal at exit ends the wait: then what is queued is cancelled, and that is logged.
    assert len(numbers) == 6 or process.stderr, f"tasks were lost: {report}"


# --- the run --------------------------------------------------------------------------------------------------------


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--exits", type=int, default=None)
    parser.add_argument("--seed", default=str(random.randrange(10**9)))
    parser.add_argument("--only", default="")
    parser.add_argument("--attempt", type=int, default=None)
    parser.add_argument("--exit", default=None)
    options = parser.parse_args()
    faulthandler.enable()
    if options.exit is not None:
        exit_program(options.exit)
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(f"seed {options.seed}", flush=True)
    opener = Opener()
    latencies: list[float] = []
    total = signals = interrupted = 0
    for call in calls():
        if options.only not in call.name:
            continue
        began = len(latencies)
        numbers = range(options.times) if options.attempt is None else [options.attempt] * options.times
        for index, number in enumerate(numbers):
            if index % 50 == 0:
                faulthandler.dump_traceback_later(LIMIT + 50, exit=True)
            try:
                attempt = attempt_once(call, opener, random.Random(f"{options.seed} {call.name} {number}"))
            except BaseException:
                print(f"seed {options.seed}, call {call.name!r}, attempt {number}", flush=True)
                raise
            total += 1
            signals += attempt.signals
            interrupted += attempt.signals > 0
            if attempt.latency is not None:
                latencies.append(attempt.latency)
        owner, call.owner = call.owner, None
        if owner is not None and not isinstance(owner, AsyncPool) and call.make is not default:
            pool_of(owner).release()
        del owner
        own = latencies[began:]
        print(f"  {call.name}: longest {1000 * max(own, default=0):.0f} ms of {len(own)}", flush=True)
    gc.collect()
    exits = 0 if options.only else options.times // 4 if options.exits is None else options.exits
    for number in range(exits):
        faulthandler.dump_traceback_later(LIMIT + 50, exit=True)
        check_exit(f"{options.seed} exit {number}")
    over = sum(latency > 0.15 for latency in latencies)
    print(
        f"{total} calls, {signals} signals, {exits} exits; of {len(latencies)} measured {over} over 150 ms,"
        f" 50 % within {1000 * quantile(latencies, 0.5):.0f} ms, 99 % within {1000 * quantile(latencies, 0.99):.0f} ms,"
        f" longest {1000 * max(latencies, default=0):.0f} ms"
    )


if __name__ == "__main__":
    main()
