"""A web service of asyncio whose answers take blocking calls: an AsyncPool makes them, so many at a time and no more.

    python examples/web_service.py [PORT]        # needs starlette and uvicorn; Ctrl-C ends it

/key/PASSWORD derives a key, which takes a while and would block the loop; /stats shows the pool's counters. When more
calls wait than BACKLOG the service answers 503 instead of keeping all clients waiting.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import sys
import threading
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyants import AsyncPool, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

WORKERS = 4  # blocking calls at a time
BACKLOG = 256  # calls that may wait for a worker

at_work: set[str] = set()
most_at_work = 0
lock = threading.Lock()


def derive(password: str) -> str:
    """The blocking call. It also notes how many are made at a time."""
    global most_at_work
    with lock:
        at_work.add(threading.current_thread().name)
        most_at_work = max(most_at_work, len(at_work))
    try:
        return hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 500).hex()
    finally:
        with lock:
            at_work.remove(threading.current_thread().name)


async def key(request: Request) -> JSONResponse:
    pool: AsyncPool = request.state.pool
    password: str = request.path_params["password"]
    try:
        return JSONResponse({"password": password, "key": await pool.run(derive, password)})
    except PoolOverloadError:
        return JSONResponse({"error": "too much to do"}, status_code=503, headers={"Retry-After": "1"})


async def stats(request: Request) -> JSONResponse:
    pool: AsyncPool = request.state.pool
    return JSONResponse({**pool.pool.stats()._asdict(), "most_at_work": most_at_work})


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, AsyncPool], None]:
    async with AsyncPool(WORKERS, max_blocking_tasks=BACKLOG, name="derive") as pool:
        yield {"pool": pool}
    # Left: every call is done, and every worker gone.
    print(f"completed: {pool.pool.stats().completed}, workers: {pool.pool.running()}", flush=True)


app = Starlette(routes=[Route("/key/{password}", key), Route("/stats", stats)], lifespan=lifespan)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


if __name__ == "__main__":
    main()
