"""Every program in examples/ runs, and prints what it promises."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"

# Regular expressions that each program's output must match.
PROMISES = {
    "ants_readme.py": [
        "default pool: 1000 tasks done",
        r"pool of ten: 1000 tasks done, (10|[1-9]) workers at most, the sum is 499500",
    ],
    "backpressure.py": ["taken in: 6 of 10", "submit_within gave up: ", "and then was taken in", "done: 7, refused: 5"],
    "crawl.py": ["pages: 10000, without an answer: 10", r"tasks: [1-9]\d*, at most [1-8] workers, failed: 0"],
    "multi_pool.py": [r"pool by pool: \[2, 2, 2, 2\]", "capacity in all: 8, free: 0", "done: 8"],
    "task_group.py": [
        r"counted: \[900, 40, 3\]",
        r"unknown: \['elves', 'orcs'\]",
        "and yet known: {'ants': 900, 'bees': 40}",
        r"the source is gone; cancelled: [1-9]\d* of 1000",
        "twenty visits, [12] at a time",
    ],
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
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        *PROMISES,
        "check_links.py",
        "hash_tree.py",
        "web_service.py",
    }


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


IMPORT = re.compile(r"^from pyants import PoolExecutor as ThreadPoolExecutor  # before: (.*)$", flags=re.MULTILINE)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serves a web site of 60 pages with some broken links; yields its address."""
    root = tmp_path / "site"
    (root / "pages").mkdir(parents=True)
    (root / "index.html").write_text("".join(f'<a href="/pages/{number}.html">' for number in range(60)))
    for number in range(60):
        links = [f"{(number + step) % 60}.html#top" for step in range(5)]
        links += ["/gone.png"] if number % 20 == 7 else ["../index.html"]
        links += [f"lost{number}.html"] if number % 10 == 3 else []
        text = "".join(f"<a href='{link}'>" for link in links)
        (root / "pages" / f"{number}.html").write_text(text)
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="site")
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_check_links_differs_in_the_import_alone_and_says_the_same(site: str, tmp_path: Path) -> None:
    ours = (EXAMPLES / "check_links.py").read_text(encoding="utf-8")
    theirs, count = IMPORT.subn(r"\1", ours)
    assert count == 1
    assert "pyants" not in theirs.split("from __future__")[1]
    changed = [pair for pair in zip(ours.splitlines(), theirs.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    before = tmp_path / "before.py"
    before.write_text(theirs, encoding="utf-8")

    said = [run(str(program), site) for program in (before, EXAMPLES / "check_links.py")]
    for done in said:
        assert done.returncode == 1, done.stderr
        assert done.stderr == ""
        *broken, summary = done.stdout.splitlines()
        assert summary == "69 addresses, 486 links, 7 broken"
        assert all(": 404 File not found, linked from " in line for line in broken)
    # The page that is named as the first with a broken link depends on the order of the answers.
    assert len({re.sub("linked from .*", "", done.stdout) for done in said}) == 1


async def ask(address: tuple[str, int], paths: list[str]) -> list[Any]:
    """GETs the paths one after another on one connection; returns the answers, which must be JSON with status 200."""
    reader, writer = await asyncio.open_connection(*address)
    answers: list[Any] = []
    for path in paths:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), head
        length = re.search(r"(?im)^content-length: (\d+)", head)
        assert length is not None, head
        answers.append(json.loads(await reader.readexactly(int(length[1]))))
    writer.close()
    await writer.wait_closed()
    return answers


async def load(address: tuple[str, int], requests: int, connections: int, label: str) -> None:
    """Makes so many requests over so many connections at once, each with an answer of its own."""
    passwords = [f"{label}{number}" for number in range(requests)]
    shares = [passwords[first::connections] for first in range(connections)]
    asked = (ask(address, [f"/key/{password}" for password in share]) for share in shares)
    for share, answers in zip(shares, await asyncio.gather(*asked), strict=True):
        for password, answer in zip(share, answers, strict=True):
            key = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 500).hex()
            assert answer == {"password": password, "key": key}


def test_web_service_answers_thousands_of_requests() -> None:
    command = [sys.executable, "-X", "faulthandler", str(EXAMPLES / "web_service.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            address = re.match(r"http://(.*):(\d+)", service.stdout.readline())
            assert address is not None
            where = (address[1], int(address[2]))
            process = psutil.Process(service.pid)

            asyncio.run(load(where, 1000, 50, "warm"))
            before = process.memory_info().rss
            asyncio.run(load(where, 4000, 50, "load"))
            grown = process.memory_info().rss - before
            (stats,) = asyncio.run(ask(where, ["/stats"]))
            service.send_signal(signal.SIGINT)
            out, err = service.communicate(timeout=60)
        finally:
            service.kill()
    assert (service.returncode, err) == (0, "")
    assert out == "completed: 5000, workers: 0\n"
    assert (stats["submitted"], stats["failed"], stats["rejected"], stats["waiting"]) == (5000, 0, 0, 0)
    assert 1 <= stats["most_at_work"] <= 4
    assert stats["peak_running"] <= 4
    # If anything of each request and its call were kept, it would be 1 KB at least.
    assert grown < 4 << 20, f"{grown} bytes more after 4000 requests"
