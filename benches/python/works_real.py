"""Work that people do in threads: hash files, compress, parse, query, fetch."""

from __future__ import annotations

import hashlib
import http.client
import json
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from meter import Result

SERVER = """
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.005)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket.listen(128)
print(server.server_port, flush=True)
server.serve_forever()
"""


def hash_file(path: Path) -> None:
    """Reads and hashes one file."""
    hashlib.sha256(path.read_bytes()).hexdigest()


def hash_files(count: int, _stack: ExitStack) -> list[Callable[[], object]]:
    """Files of the standard library."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    return [partial(hash_file, path) for path in paths[:count]]


def compress(count: int, _stack: ExitStack) -> list[Callable[[], object]]:
    """64 KiB of text, compressed."""
    text = "".join(f"{number}: {number * number % 9973}\n" for number in range(8_000)).encode()[: 1 << 16]
    return [partial(zlib.compress, text)] * count


def parse(count: int, _stack: ExitStack) -> list[Callable[[], object]]:
    """JSON of a few kilobytes, parsed and written again."""
    text = json.dumps([{"id": number, "name": f"ant {number}", "legs": [1, 2, 3, 4, 5, 6]} for number in range(60)])

    def work() -> None:
        json.dumps(json.loads(text))

    return [work] * count


def query(count: int, stack: ExitStack) -> list[Callable[[], object]]:
    """An aggregate over a few thousand rows of an SQLite file, a connection for each thread."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "ants.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table ants (name text, weight int)")
        connection.executemany("insert into ants values (?, ?)", ((f"ant {n % 97}", n) for n in range(3_000)))
    connection.close()
    local = threading.local()

    def work() -> None:
        if not hasattr(local, "connection"):
            local.connection = sqlite3.connect(path, check_same_thread=False)
        local.connection.execute("select name, sum(weight) from ants group by name order by 2").fetchall()

    return [work] * count


def fetch(count: int, stack: ExitStack) -> list[Callable[[], object]]:
    """An HTTP request on this machine; the server, another process, takes 5 ms to answer."""
    server = stack.enter_context(subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    assert server.stdout is not None
    port = int(server.stdout.readline())

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        connection.close()

    return [work] * count


def hash_small_files(count: int, stack: ExitStack) -> list[Callable[[], object]]:
    """Files of 4 KiB: to open, read and close one takes longer than to hash it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(bytes(range(256)) * 16)
    return [partial(hash_file, path) for path in paths]


def wait(count: int, _stack: ExitStack) -> list[Callable[[], object]]:
    """Tasks that wait for 2 ms."""
    return [partial(time.sleep, 0.002)] * count


WORKS = {
    "hash files": hash_files,
    "small files": hash_small_files,
    "waiting": wait,
    "zlib": compress,
    "JSON": parse,
    "SQLite": query,
    "HTTP": fetch,
}


def real(peer: str, workers: int, tasks: int, *, kind: str) -> Result:
    """So many tasks of this kind."""
    with ExitStack() as stack:
        work = WORKS[kind](tasks, stack)
        if peer == "one after another":
            meter = Meter()
            for task in work:
                task()
            return meter.stop(len(work))
        pool = peers.make(peer, workers, None)
        meter = Meter()
        for task in work:
            pool.submit(task)
        pool.finish()
        result = meter.stop(len(work))
        pool.close()
        return result
