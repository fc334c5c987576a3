"""Every program in examples/ runs, and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

# What stands in each program's output, as regular expressions.
PROMISES = {
    "ants_readme.py": [
        "default pool: 1000 tasks done",
        "pool of ten: 1000 tasks done, 10 workers at most, the sum is 499500",
    ],
    "backpressure.py": ["taken in: 6 of 10", "submit_within gave up: ", "and then was taken in", "done: 7, refused: 5"],
    "multi_pool.py": [r"pool by pool: \[2, 2, 2, 2\]", "capacity in all: 8, free: 0", "done: 8"],
    "tune_while_running.py": [
        "capacity 2: 0 of 6 can finish",
        "capacity 6: 6 done, 6 workers",
        "capacity 1: one worker",
    ],
}

pytestmark = pytest.mark.thread_unsafe(reason="each test runs a program, which has a process of its own")


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*PROMISES, "hash_tree.py"}


@pytest.mark.parametrize("name", PROMISES)
def test_example_prints_what_it_promises(name: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for promise in PROMISES[name]:
        assert re.search(promise, done.stdout), f"{promise!r} is not in:\n{done.stdout}"


def test_hash_tree_agrees_on_a_small_tree(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number % 7}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 7}" / f"{number} ü\n.bin").write_bytes(bytes(number))
    (tmp_path / "link").symlink_to(tmp_path / "0")
    done = run("hash_tree.py", str(tmp_path), "--workers", "3")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for way in ("pyants.PoolWithFunc", "ThreadPoolExecutor", "plain loop"):
        assert re.search(rf"{way}\W+300\W", done.stdout), f"no row of {way} with 300 tasks in:\n{done.stdout}"
    assert f"The totals agree: 300 files, {sum(range(300)):,} bytes" in done.stdout


def test_hash_tree_says_that_a_tree_is_empty(tmp_path: Path) -> None:
    done = run("hash_tree.py", str(tmp_path))
    assert done.returncode == 1
    assert "There are no files" in done.stdout


def test_hash_tree_fails_when_totals_differ(tmp_path: Path) -> None:
    """The plain loop is given one file less: the program must notice."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import hash_tree\n"
        "honest = hash_tree.run_apart\n"
        "def lossy(way, paths, workers): return honest(way, paths[1:] if way == 'plain loop' else paths, workers)\n"
        "hash_tree.run_apart = lossy\n"
        "sys.exit(hash_tree.main())\n"
    )
    command = [sys.executable, "-c", script, str(EXAMPLES), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stderr
    assert "The totals DIFFER" in done.stdout
