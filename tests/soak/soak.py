"""The soak: random episodes with all faces of pyants, until the time is over, with a ledger that must balance.

    nox -s soak-3.13 -- [--minutes N] [--seed S] [--episode E [--times T]]

Each episode makes pools with random options, has threads use and disturb them, and checks afterwards what became of
every task. Which steps it takes depends on the seed and the number of the episode alone; in which order its threads get
to them does not. So a failure prints both, and `--episode` runs that one again and again. On Linux only: threads and
descriptors are counted in /proc.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import Actor
from census import Census, descriptors, threads
from scene import DEADLINE, KINDS, Interruption, Scene
from support import wait_until

from pyants import _core

if TYPE_CHECKING:
    from collections.abc import Callable

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()

# A hang: no episode takes longer than seconds, on however busy a machine.
LIMIT = 120.0


class Signals:
    """SIGINT to the main thread at random instants; its handler raises in those calls that may be interrupted."""

    def __init__(self) -> None:
        self.raised = 0
        self._is_armed = False
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, *_: object) -> None:
        if self._is_armed:
            self._is_armed = False
            self.raised += 1
            raise Interruption

    def interruptible(self, call: Callable[[], Any]) -> Any:
        """Makes a call; a signal that comes meanwhile raises Interruption, if it comes too late for the call, too."""
        self._is_armed = True
        try:
            return call()
        finally:
            self._is_armed = False

    @staticmethod
    def send(generator: random.Random, until: threading.Event) -> None:
        """For a thread."""
        ident = threading.main_thread().ident or 0
        while not until.wait(generator.expovariate(1000)):
            signal.pthread_kill(ident, signal.SIGINT)


class Complaints:
    """What Python reports when there is nobody to raise it to."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._was_interrupted = False
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._in_thread
        # What pools without a logger of their own say is not for the terminal.
        for name in ("pyants", "concurrent.futures", "asyncio"):
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False

    def _unraisable(self, unraisable: Any) -> None:
        was_interrupted, self._was_interrupted = self._was_interrupted, unraisable.exc_type is Interruption
        if was_interrupted and unraisable.object is None and threading.current_thread() is threading.main_thread():
            return  # A signal came while an exception that nobody asked for was being logged: it is reported like this.
        if unraisable.exc_type is not Interruption:
            self.found.append(f"{unraisable.err_msg} {unraisable.object!r}: {unraisable.exc_value!r}")

    def _in_thread(self, args: Any) -> None:
        self.found.append("".join(traceback.format_exception(args.exc_value)))


class Crew:
    """The threads of an episode. They begin and end together, so that no fork finds one of them starting or ending."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self._begin = threading.Event()
        self._leave = threading.Event()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._actors = 0
        self._threads: list[threading.Thread] = []

    def enlist(self, target: Callable[..., object], *arguments: object, is_actor: bool = False) -> None:
        """is_actor: the episode is over when it is done; the others go on until then."""
        self._actors += is_actor

        def live() -> None:
            self._begin.wait()
            try:
                target(*arguments)
            finally:
                self._done.put(None)
                self._leave.wait()

        self._threads.append(threading.Thread(target=live))

    def go(self, own: Callable[[], object]) -> None:
        """Has them work while this thread does `own`."""
        for thread in self._threads:
            thread.start()
        self._begin.set()
        own()
        # Only actors are done before it is over.
        for _ in range(self._actors):
            self._done.get()
        self.is_over.set()
        for _ in range(len(self._threads) - self._actors):
            self._done.get()
        self._leave.set()
        for thread in self._threads:
            thread.join()


class Episode:
    """Some pools, used and disturbed at the same time."""

    def __init__(self, seed: int, number: int, signals: Signals) -> None:
        self.number = number
        self.signals = signals
        self.generator = random.Random(f"{seed}/{number}")
        self.tasks = 0

    def run(self) -> list[str]:
        """Runs it; returns what was wrong."""
        generator = self.generator
        kinds = generator.sample(KINDS, generator.choice((1, 1, 2, 3)))
        scenes = [Scene(kind, self._part(), f"{self.number}{'abc'[i]}") for i, kind in enumerate(kinds)]
        own = Actor(scenes[0], self._part(), f"{scenes[0].number}m", self.signals.interruptible)
        actors = [
            Actor(scene, self._part(), f"{scene.number}{number}", None)
            for scene in scenes
            for number in range(generator.randint(1, 3))
        ]
        is_with_signals = generator.random() < 0.4
        for scene in scenes:
            scene.ledger.has_signals = is_with_signals
        may_fork = HAS_GIL and generator.random() < 0.3
        for actor in (own, *actors):
            actor.may_fork = actor.deeds.may_fork = may_fork
        steps = generator.randint(5, 25)
        crew = Crew()
        for actor in actors:
            crew.enlist(actor.act, steps, is_actor=True)
        for scene in scenes:
            if generator.random() < 0.7:
                crew.enlist(scene.disturb, self._part(), crew.is_over)
        if generator.random() < 0.15:
            crew.enlist(self._refuse_threads, self._part(), crew.is_over)
        if is_with_signals:
            crew.enlist(self.signals.send, self._part(), crew.is_over)
        own_steps = steps if is_with_signals else generator.choice((0, steps))
        crew.go(lambda: own.act(own_steps))
        _core._fail_spawns(0)
        wrong = list[str]()
        for ledger in (ledger for actor in (own, *actors) for ledger in actor.litters):
            self.tasks += len(ledger.tasks)
            wait_until(ledger.is_done, "the end of the tasks of a pool that was dropped", DEADLINE)
            wrong += ledger.faults()
        for scene in scenes:
            scene.settle()
            self.tasks += len(scene.ledger.tasks)
            wrong += [f"{scene}: {fault}" for fault in scene.ledger.wrong]
        return wrong

    def _part(self) -> random.Random:
        """A generator for a part of it, whose numbers do not depend on when the others are asked for theirs."""
        return random.Random(self.generator.random())

    @staticmethod
    def _refuse_threads(generator: random.Random, is_over: threading.Event) -> None:
        """The system refuses some thread starts now and then."""
        while not is_over.wait(generator.expovariate(200)):
            _core._fail_spawns(generator.randint(1, 3))


class Soak:
    """Episodes, and what they leave behind."""

    def __init__(self, seed: int, progress: str | None) -> None:
        self.seed = seed
        self.signals = Signals()
        self.complaints = Complaints()
        self.census = Census()
        self.tasks = 0
        self.episodes = 0
        self._progress = progress

    def run(self, number: int) -> None:
        """Runs an episode; exits if something is wrong."""
        if self._progress is not None:
            Path(self._progress).write_text(str(number))
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        before = descriptors()
        episode = Episode(self.seed, number, self.signals)
        try:
            wrong = episode.run()
        except BaseException:
            # The episode's threads are still there.
            traceback.print_exc()
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)
        self.tasks += episode.tasks
        self.episodes += 1
        del episode
        wrong += self.complaints.found
        # Before the threads are counted: a pool that is garbage ends when it is found.
        gc.collect()
        # The main thread and the one of faulthandler's timer.
        wait_until(lambda: threads() <= 2, "the end of all threads", DEADLINE)
        if descriptors() > before:
            wrong.append(f"{descriptors()} descriptors are open, {before} were")
        if wrong:
            print(*wrong[:20], sep="\n", flush=True)
            sys.exit(1)

    def until(self, end: float) -> None:
        """Runs episodes until then."""
        sample, number = 0.0, 0
        interval = (end - time.monotonic()) / 60
        while time.monotonic() < end:
            number += 1
            self.run(number)
            if time.monotonic() >= sample:
                self.census.take()
                sample = time.monotonic() + interval
        if faults := self.census.faults():
            print(*faults, sep="\n", flush=True)
            sys.exit(1)
        print(self.census.summary())

    def summary(self) -> str:
        return f"{self.episodes} episodes, {self.tasks} tasks, {self.signals.raised} interrupted calls"


def work(arguments: argparse.Namespace) -> None:
    """The process that soaks."""
    faulthandler.enable()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    # A forked child that hangs tells where it is.
    faulthandler.register(signal.SIGALRM, chain=True)
    soak = Soak(arguments.seed, arguments.progress)
    if arguments.episode is not None:
        for _ in range(arguments.times):
            soak.run(arguments.episode)
    else:
        soak.until(time.monotonic() + 60 * arguments.minutes)
    faulthandler.cancel_dump_traceback_later()
    print(soak.summary())


def supervise(arguments: argparse.Namespace) -> int:
    """Runs the soak in a process of its own, so that however that ends the seed and the episode are told."""
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder, "episode")
        command = [sys.executable, "-P", "-u", __file__, *sys.argv[1:]]
        command += ["--seed", str(arguments.seed), "--progress", str(progress)]
        print(f"seed {arguments.seed}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code != 0:
            episode = progress.read_text() if progress.exists() else "none"
            again = f"--seed {arguments.seed} --episode {episode} --times 100"
            print(f"FAILED ({code}) in episode {episode} of seed {arguments.seed}; again: {again}")
        return 0 if code == 0 else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--episode", type=int, default=None)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.progress is not None:
        work(arguments)
        return
    if arguments.seed is None:
        arguments.seed = random.randrange(2**32)
    sys.exit(supervise(arguments))


if __name__ == "__main__":
    main()
