"""Hash every file of a directory tree: on a pool of pyants, on a ThreadPoolExecutor, and in a plain loop.

Every file is one task: it is read, hashed (SHA-256) and counted. Each way runs in a process of its own, on the same
list of files, and must come to the same totals; the exit code is 1 if one does not.

    python examples/hash_tree.py [ROOT] [--workers N]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pyants import PoolWithFunc

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 1024  # files that may wait for a worker of the pool
LOOK_EVERY = 64  # files between two looks at the progress and the threads


@dataclass
class Result:
    """What one way of hashing the tree came to, and what it took."""

    tasks: int  # files hashed, counted by the tasks themselves
    unreadable: int
    size: int  # bytes
    digest: str  # the sum of all files' hashes, which does not depend on their order
    seconds: float = 0.0
    threads: int = 0  # most threads at once beyond those that were there before the work began
    memory: int | None = None  # bytes: the most that was resident in the process, interpreter and libraries included

    @property
    def totals(self) -> tuple[int, int, int, str]:
        return self.tasks, self.unreadable, self.size, self.digest


class Totals:
    """Sums that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done = self._unreadable = self._size = self._digest = 0

    def add_file(self, path: str) -> None:
        """The task: read, hash and count one file."""
        try:
            with open(path, "rb") as file:
                digest = int.from_bytes(hashlib.file_digest(file, "sha256").digest())
                size = file.tell()
        except OSError:
            with self._lock:
                self.done += 1
                self._unreadable += 1
            return
        with self._lock:
            self.done += 1
            self._size += size
            self._digest = (self._digest + digest) % 2**256

    def result(self) -> Result:
        return Result(self.done - self._unreadable, self._unreadable, self._size, f"{self._digest:064x}")


class Watch:
    """Shows the progress and notes the highest number of threads."""

    def __init__(self, title: str, total: int, totals: Totals, show: bool) -> None:
        columns = (TextColumn(f"{title:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not show)
        self._bar = self._progress.add_task(title, total=total)
        self._totals = totals
        self._before = self.threads = 0

    def __enter__(self) -> Self:
        self._progress.start()
        self._before = self.threads = count_threads()
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        self._progress.stop()

    def look(self) -> None:
        self.threads = max(self.threads, count_threads())
        self._progress.update(self._bar, completed=self._totals.done)

    @property
    def added_threads(self) -> int:
        return self.threads - self._before


def on_pyants(paths: list[str], totals: Totals, workers: int, watch: Watch) -> None:
    """A bounded pool: when BACKLOG files wait for a worker, `invoke` waits too."""
    with PoolWithFunc(workers, totals.add_file, queue_size=BACKLOG) as pool:
        for number, path in enumerate(paths):
            pool.invoke(path)
            if number % LOOK_EVERY == 0:
                watch.look()
        while not pool.wait_idle(0.05):
            watch.look()


def on_executor(paths: list[str], totals: Totals, workers: int, watch: Watch) -> None:
    """The standard library's pool: its backlog has no bound, and each task makes a Future."""
    with ThreadPoolExecutor(workers) as executor:
        futures: list[Future[None]] = []
        for number, path in enumerate(paths):
            futures.append(executor.submit(totals.add_file, path))
            if number % LOOK_EVERY == 0:
                watch.look()
        while wait(futures[-1:], timeout=0.05).not_done:
            watch.look()


def in_a_loop(paths: list[str], totals: Totals, _workers: int, watch: Watch) -> None:
    """One file after another on the main thread."""
    for number, path in enumerate(paths):
        totals.add_file(path)
        if number % LOOK_EVERY == 0:
            watch.look()


WAYS: dict[str, Callable[[list[str], Totals, int, Watch], None]] = {
    "pyants.PoolWithFunc": on_pyants,
    "ThreadPoolExecutor": on_executor,
    "plain loop": in_a_loop,
}


def process_status(field: str) -> int | None:
    """A number from Linux's account of this process; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)


def count_threads() -> int:
    """The threads of this process, as the system counts them; elsewhere than on Linux, those that Python knows of."""
    return process_status("Threads") or threading.active_count()


def peak_memory() -> int | None:
    kibibytes = process_status("VmHWM")
    return None if kibibytes is None else kibibytes * 1024


def run_way(way: str, paths: list[str], workers: int, show: bool) -> Result:
    """Runs one way in this process."""
    totals = Totals()
    with Watch(way, len(paths), totals, show) as watch:
        start = time.perf_counter()
        WAYS[way](paths, totals, workers, watch)
        seconds = time.perf_counter() - start
    result = totals.result()
    result.seconds, result.threads, result.memory = seconds, watch.added_threads, peak_memory()
    return result


def run_apart(way: str, paths: list[str], workers: int) -> Result:
    """Runs one way in a process of its own, so that its threads and memory are its own."""
    command = [sys.executable, __file__, "--way", way, "--workers", str(workers)]
    done = subprocess.run(command, input=b"\0".join(map(os.fsencode, paths)), stdout=subprocess.PIPE, check=True)
    return Result(**json.loads(done.stdout))


def files_below(root: Path) -> list[str]:
    """Every regular file below root; links are not followed."""
    found: list[str] = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append(path)
    return found


def show_results(console: Console, results: dict[str, Result], root: Path) -> None:
    table = Table(title=f"Every file of {root}, read and hashed")
    for heading in ("", "tasks", "MB", "seconds", "tasks/s", "threads at peak", "peak memory"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for way, result in results.items():
        table.add_row(
            way,
            f"{result.tasks:,}",
            f"{result.size / 1e6:,.1f}",
            f"{result.seconds:.2f}",
            f"{result.tasks / result.seconds:,.0f}",
            str(result.threads),
            "?" if result.memory is None else f"{result.memory / 1e6:.1f} MB",
        )
    console.print(table)
    console.print(
        "Threads: the most seen at once beyond the main thread and the progress bar's: the workers, and with pyants\n"
        "the one that sends idle workers away.\n"
        "Memory: the most resident in the process of that row, interpreter included.\n"
        "All files were read once beforehand, so that the first row does not pay for the disk.",
        soft_wrap=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--workers", type=int, default=8, help="threads of either pool (default: 8)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # how run_apart calls this program
    arguments = parser.parse_args()
    workers: int = arguments.workers
    if arguments.way:
        paths = [os.fsdecode(path) for path in sys.stdin.buffer.read().split(b"\0")]
        print(json.dumps(asdict(run_way(arguments.way, paths, workers, show=sys.stderr.isatty()))))
        return 0

    root: Path = arguments.root
    console = Console()
    paths = files_below(root)
    if not paths:
        console.print(f"There are no files below {root}.", style="red")
        return 1
    warm_up = Totals()
    for path in paths:
        warm_up.add_file(path)
    results = {way: run_apart(way, paths, workers) for way in WAYS}
    show_results(console, results, root)
    if len({result.totals for result in results.values()}) != 1:
        console.print("The totals DIFFER:", {way: result.totals for way, result in results.items()}, style="red")
        return 1
    result = next(iter(results.values()))
    console.print(f"The totals agree: {result.tasks:,} files, {result.size:,} bytes, hashes {result.digest[:8]}…")
    return 0


if __name__ == "__main__":
    sys.exit(main())
