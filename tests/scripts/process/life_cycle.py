"""One case of the life-cycle matrix: a moment, the state that a pool is in then, and the face by which it is used.

The moment is an end of the interpreter, or something else that happens to the process. What the program prints is
judged by tests/process/test_life_cycle.py:

    accepted 3    the task was submitted; also `refused 3`, or neither if its submit was interrupted
    begun 3       it runs; then `ran 3`
    cancelled 3   its future was cancelled
    held 3        it is submitted by a thread that waits for it, or is a daemon, and may get no further
    got 3         a thread of the program that is no daemon got what it waited for; or `missed 3`
    signal        a signal was sent

One thread directs the program. When the state is reached, it sends the signals if the moment is one, waits until the
main thread sleeps, at the exit for example, and lets the tasks end. If they never end it is the user who loses
patience: it sends Ctrl-C, again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

from program import import_again, keep_locals, main, own_interpreters
from support import wait_until

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 2
SECONDS = 40

numbers = itertools.count(1)


def say(*words: object) -> None:
    """Prints a line at once, without a lock, which a forked child could find taken."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


# --- tasks ----------------------------------------------------------------------------------------------------------


class Gate:
    """What holds the tasks, in three ways."""

    def __init__(self) -> None:
        self.is_open = False
        self.event = threading.Event()
        self.ends = os.pipe()

    def in_python(self) -> None:
        while not self.is_open:
            sum(range(100))

    def in_c(self) -> None:
        os.read(self.ends[0], 1)

    def at_a_lock(self) -> None:
        self.event.wait()

    def never(self) -> None:
        while True:
            sum(range(100))

    def never_in_c(self) -> None:
        while True:
            time.sleep(1e6)  # Longer than any case: only the end of the process ends it.

    def open(self) -> None:
        self.is_open = True
        os.close(self.ends[1])
        self.event.set()


gate = Gate()
begun = threading.Semaphore(0)


class Task:
    def __init__(self, action: Callable[[], object] = int, counts: bool = False) -> None:
        self.number = next(numbers)
        self.action = action
        self.counts = counts

    def __call__(self, *_: object) -> int:
        say("begun", self.number)
        if self.counts:
            begun.release()
        self.action()
        if not scene.is_child:
            say("ran", self.number)
        return self.number

    def note(self, future: Any) -> None:
        if future.cancelled() and not scene.is_child:
            say("cancelled", self.number)


def offer(put: Callable[[Task], object], action: Callable[[], object] = int, counts: bool = False) -> bool:
    """Submits a task, and says what became of it. No `finally`: an interrupted submit did neither."""
    task = Task(action, counts)
    if threading.current_thread().daemon:
        say("held", task.number)  # The end of the interpreter may keep it from saying more.
    try:
        put(task)
    except (RuntimeError, pyants.PoolError):
        say("refused", task.number)
        return False
    say("accepted", task.number)
    return True


def held() -> Task:
    """A task that a wait of the program submits for itself."""
    task = Task(gate.at_a_lock, counts=True)
    say("held", task.number)
    return task


# --- the faces ------------------------------------------------------------------------------------------------------


class Face:
    """What a state does with a pool, whichever way it is used."""

    def __init__(self, *, queued: bool = True, daemon: bool = False) -> None:
        self.options: Any = {"queue_size": None if queued else 0, "daemon": daemon}
        self.make()

    pool: Any
    executor: Any

    def make(self) -> None:
        self.pool = pyants.Pool(WORKERS, **self.options)
        self.executor = pyants.PoolExecutor.over(self.pool)

    def run(self, body: Callable[[], object], wait: str) -> None:
        """Brings the state about, in which a signal finds the main thread, too; then `body`, with which it leaves."""
        scene.set_up()
        if scene.by_signal:
            self.wait(wait)
        body()

    def put(self, task: Task) -> None:
        self.pool.submit(task)

    def put_with_future(self, executor: Any, task: Task) -> Any:
        future = executor.submit(task)
        future.add_done_callback(task.note)
        return future

    def wait(self, kind: str) -> None:
        getattr(self, kind)()

    def nothing(self) -> None:
        scene.over.wait()

    def blocked(self) -> None:
        offer(self.put)

    def result(self) -> None:
        self.put_with_future(self.executor, held()).result()

    def map(self) -> None:
        for _ in self.executor.map(gate_of_map, range(3)):
            pass

    def group(self) -> None:
        with self.pool.group() as group:
            for _ in range(3):
                self.put_with_future(group, held())

    def wait_idle(self) -> None:
        offer(self.put, gate.at_a_lock, counts=True)
        self.pool.wait_idle()

    def loop(self) -> None:
        asyncio.run(self.in_loop())

    async def in_loop(self) -> None:
        pool = pyants.AsyncPool.over(self.pool)
        await asyncio.gather(*[pool.run(held()) for _ in range(3)])

    def use(self, line: str) -> None:
        """Uses it from its start to its end, all of it."""
        done: list[int] = []
        for number in range(5):
            self.pool.submit(done.append, number)
        assert self.pool.wait_idle(SECONDS)
        assert len(done) == 5, done
        say(line)


def gate_of_map(_: int) -> int:
    begun.release()
    gate.at_a_lock()
    return 1


class MultiPoolFace(Face):
    def make(self) -> None:
        self.pool = pyants.MultiPool(2, WORKERS // 2, **self.options)
        self.executor = pyants.PoolExecutor.over(self.pool)


class DefaultPoolFace(Face):
    """It is unbounded, as far as these few tasks go, and no daemon."""

    def make(self) -> None:
        self.pool = pyants.default_pool()
        if self.options["queue_size"] == 0:
            pyants.tune(WORKERS)
        self.executor = pyants.PoolExecutor.over(self.pool)

    def put(self, task: Task) -> None:
        pyants.submit(task)


class ExecutorFace(Face):
    def make(self) -> None:
        self.executor = pyants.PoolExecutor(WORKERS, **self.options)
        self.pool = self.executor.pool

    def put(self, task: Task) -> None:
        self.put_with_future(self.executor, task)

    def group(self) -> None:
        with self.executor.group() as group:
            for _ in range(3):
                self.put_with_future(group, held())

    async def in_loop(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[loop.run_in_executor(self.executor, held()) for _ in range(3)])

    def use(self, line: str) -> None:
        assert self.executor.submit(int, "7").result(SECONDS) == 7
        assert list(self.executor.map(int, "123")) == [1, 2, 3]
        say(line)


class PeerFace(ExecutorFace):
    """concurrent.futures' own, as far as it goes."""

    def make(self) -> None:
        self.executor = ThreadPoolExecutor(WORKERS)


class GroupFace(Face):
    """The program is in a group's block when it happens."""

    def run(self, body: Callable[[], object], wait: str) -> None:
        with self.pool.group() as self.group_:
            super().run(body, wait)

    def put(self, task: Task) -> None:
        self.put_with_future(self.group_, task)

    def result(self) -> None:
        self.put_with_future(self.group_, held()).result()

    async def in_loop(self) -> None:
        futures = [self.put_with_future(self.group_, held()) for _ in range(3)]
        await asyncio.gather(*map(asyncio.wrap_future, futures))

    def use(self, line: str) -> None:
        with self.pool.group(results=True) as group:
            for number in "123":
                group.submit(int, number)
        assert group.results() == [1, 2, 3]
        say(line)


class AsyncFace(Face):
    """The main thread runs a loop all the time; other threads have loops of their own."""

    def make(self) -> None:
        self.async_pool: Any = pyants.AsyncPool(WORKERS, **self.options)
        self.pool = self.async_pool.pool
        self.executor = None

    def run(self, body: Callable[[], object], wait: str) -> None:
        async def run() -> None:
            scene.set_up()
            if scene.by_signal:
                await getattr(self, f"a_{wait}")()
            body()

        asyncio.run(run())

    def put(self, task: Task) -> None:
        async def submit() -> None:
            await self.async_pool.submit(task)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(submit())
        else:
            self.async_pool.run(task).add_done_callback(task.note)

    def wait(self, kind: str) -> None:
        asyncio.run(getattr(self, f"a_{kind}")())

    async def a_nothing(self) -> None:
        while not scene.over.is_set():
            await asyncio.sleep(0.01)  # The event is a thread's, for which a loop cannot wait.

    async def a_blocked(self) -> None:
        task = Task()
        try:
            await self.async_pool.submit(task)
        except pyants.PoolError:
            say("refused", task.number)
            raise
        say("accepted", task.number)

    async def a_result(self) -> None:
        await self.async_pool.run(held())

    async def a_map(self) -> None:
        async for _ in self.async_pool.map(gate_of_map, range(3)):
            pass

    async def a_group(self) -> None:
        async with self.async_pool.group() as group:
            for _ in range(3):
                group.run(held())

    async def a_wait_idle(self) -> None:
        offer(self.pool.submit, gate.at_a_lock, counts=True)
        self.pool.wait_idle()

    async def a_loop(self) -> None:
        await asyncio.gather(*[self.async_pool.run(held()) for _ in range(3)])

    def use(self, line: str) -> None:
        async def use() -> None:
            assert await asyncio.gather(*[self.async_pool.run(int, number) for number in "123"]) == [1, 2, 3]

        # In a thread: this one may be running a loop.
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(use())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert not failures, failures
        say(line)


FACES: dict[str, type[Face]] = {
    "Pool": Face,
    "PoolExecutor": ExecutorFace,
    "TaskGroup": GroupFace,
    "AsyncPool": AsyncFace,
    "MultiPool": MultiPoolFace,
    "default": DefaultPoolFace,
    "ThreadPoolExecutor": PeerFace,
}

# --- the states -----------------------------------------------------------------------------------------------------


class Scene:
    def __init__(self, moment: str, state: str, face: str) -> None:
        self.moment, self.state = moment, state
        self.by_signal = moment in SIGNALS
        self.leaving = threading.Event()
        self.over = threading.Event()
        self.fork_now = threading.Event()
        self.forked = threading.Event()
        self.waits = WAITS.get(state)
        self.is_child = False
        self.main = threading.get_native_id()
        self.face = FACES[face](queued=state != "blocked", daemon=state == "never_of_a_daemon")

    def set_up(self) -> None:
        """Brings about the state."""
        face = self.face
        count = 0
        if self.moment == "fork_in_a_worker":
            face.pool.tune(face.pool.cap() + 1)
            offer(face.put, self.fork_in_a_worker)
        if self.state == "idle":
            for _ in range(4):
                offer(face.put, counts=True)
            count = 4
        elif self.state in HOLDS:
            for action in HOLDS[self.state]:
                offer(face.put, action, counts=True)
            count = WORKERS
            if self.state != "blocked":
                for _ in range(4):
                    offer(face.put)
        if self.waits is not None:
            for daemon in (False, True):
                threading.Thread(target=self.wait_in_thread, daemon=daemon).start()
            count = max(count, 1)
        for _ in range(count):
            begun.acquire()
        threading.Thread(target=self.direct, daemon=True).start()

    def wait_in_thread(self) -> None:
        number = next(numbers)
        outcome = "got"
        try:
            self.face.wait(self.waits or "nothing")
        except BaseException:
            outcome = "missed"
        if not threading.current_thread().daemon:
            say(outcome, number)

    # --- the moments

    def direct(self) -> None:
        try:
            for number in SIGNALS.get(self.moment, ()):
                wait_asleep(self.main)
                say("signal")
                os.kill(os.getpid(), number)
                wait_passed()
            if not self.by_signal:
                self.leaving.wait()
            wait_asleep(self.main)
            self.over.set()
            gate.open()
            while self.state.startswith("never"):
                wait_asleep(self.main)
                say("signal")
                os.kill(os.getpid(), signal.SIGINT)
                wait_passed()
        except BaseException:
            traceback.print_exc()
            os._exit(99)

    def leave(self) -> None:
        """What the main thread does in the end."""
        if act := getattr(self, self.moment, None):
            act()
        self.leaving.set()
        if self.is_child:
            sys.exit(0)
        if self.moment == "sys_exit":
            sys.exit(3)
        if self.moment == "exception":
            raise ValueError("of the program")
        if self.moment == "os_exit":
            os._exit(4)

    def fork(self) -> None:
        """Forks. The child uses the pool; the parent waits for its end."""
        pid = os.fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            say("child ended with", os.waitstatus_to_exitcode(status))
            return
        self.is_child = True
        try:
            signal.alarm(SECONDS)
            self.face.use("child")
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def fork_in_main(self) -> None:
        self.fork()

    def fork_in_a_worker(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.fork_now.set()
            self.forked.wait()
            return
        self.fork_now.wait()
        self.fork()
        if not self.is_child:
            self.forked.set()

    def fork_in_a_handler(self) -> None:
        pass

    def handle(self, *_: object) -> None:
        self.fork()
        if self.is_child:
            os._exit(0)

    def process(self, method: str) -> None:
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=in_another_process, args=(type(self.face),))
        process.start()
        process.join()
        say("child ended with", process.exitcode)

    def multiprocessing_fork(self) -> None:
        self.process("fork")

    def multiprocessing_forkserver(self) -> None:
        self.process("forkserver")

    def multiprocessing_spawn(self) -> None:
        self.process("spawn")

    def reload(self) -> None:
        again = import_again()
        assert again.Pool is pyants.Pool
        with again.Pool(1) as pool:
            pool.submit(say, "child")
        importlib.reload(again)
        say("child ended with 0")

    def another_interpreter(self) -> None:
        interpreters = own_interpreters()
        if interpreters.__name__ == "_interpreters":
            number = interpreters.create("legacy")
        else:
            number = interpreters.create(isolated=False)
        interpreters.run_string(number, ANOTHER)
        interpreters.destroy(number)
        say("child ended with 0")


ANOTHER = """
try:
    import pyants
except ImportError:
    print("child", flush=True)
"""


def in_another_process(face: type[Face]) -> None:
    # By the fork method it is the parent's, which is empty here.
    inherited = globals().get("scene")
    made = inherited.face if inherited else face()
    made.use("child")


def look_at(native_id: int) -> tuple[object, ...]:
    """Where the main thread is, and whether it sleeps; its times change when it does anything."""
    with open(f"/proc/self/task/{native_id}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    frame = sys._current_frames().get(  # pyright: ignore[reportPrivateUsage]
        threading.main_thread().ident or 0
    )
    return fields[0], fields[11], fields[12], id(frame), frame and frame.f_lasti


def wait_asleep(native_id: int) -> None:
    """Waits until the main thread has not done anything for a while, or for 2 seconds: only the pace depends on it."""
    seen: list[tuple[object, ...]] = []
    end = time.monotonic() + 2

    def is_asleep() -> bool:
        seen.append(look_at(native_id))
        time.sleep(0.01)
        is_still = len(seen) >= 4 and seen[-1][0] == "S" and len({look[3:] for look in seen[-4:]}) == 1
        return is_still or time.monotonic() > end

    wait_until(is_asleep, "a main thread that sleeps")


def wait_passed() -> None:
    """Gives the main thread the time to see a signal. Only the pace depends on it."""
    time.sleep(0.1)


def goes_on_submitting() -> None:
    """A task, or a thread of one, that submits until it is refused, or has had enough."""
    gate.at_a_lock()
    for _ in range(50):
        if not offer(scene.face.put):
            return
        time.sleep(0.001)


def starts_threads() -> None:
    for daemon in (False, True):
        with contextlib.suppress(RuntimeError):  # From 3.12 on no thread may be started when the exit has begun.
            threading.Thread(target=goes_on_submitting, daemon=daemon).start()


# What the tasks do that keep all workers busy.
HOLDS: dict[str, list[Callable[[], object]]] = {
    "busy_in_python": [gate.in_python] * WORKERS,
    "busy_in_c": [gate.in_c] * WORKERS,
    "blocked": [gate.at_a_lock] * WORKERS,
    "tasks_submit": [goes_on_submitting] * WORKERS,
    "never": [gate.never, gate.never_in_c],
    "never_of_a_daemon": [gate.never, gate.never_in_c],
    "tasks_start_threads": [starts_threads] * WORKERS,
}
# In what the program's threads wait, and the main one, if a signal is to interrupt it.
WAITS = {name: name for name in ("blocked", "result", "map", "group", "wait_idle", "loop")}
SIGNALS = {
    "sigint": [signal.SIGINT],
    "sigint_twice": [signal.SIGINT] * 2,
    "sigterm": [signal.SIGTERM],
    "sigterm_raises": [signal.SIGTERM],
    "fork_in_a_handler": [signal.SIGUSR1],
}


scene: Scene


def run(moment: str, state: str, face: str) -> None:
    keep_locals()
    global scene
    scene = Scene(moment, state, face)
    if moment == "sigterm_raises":
        signal.signal(signal.SIGTERM, functools.partial(exit_with, 5))
    signal.signal(signal.SIGUSR1, scene.handle)
    scene.face.run(scene.leave, scene.waits or "nothing")


def exit_with(status: int, *_: object) -> NoReturn:
    sys.exit(status)


if __name__ == "__main__":
    main({"run": run}, forks=any(word in sys.argv[2] for word in ("fork", "multi")))
