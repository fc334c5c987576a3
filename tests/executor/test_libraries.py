"""Libraries that take an executor work with a PoolExecutor as with a ThreadPoolExecutor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import http.server
import importlib
import operator
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support import DEADLINE

from pyants import PoolExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# These tests do not care about the libraries' types.
aiofiles: Any = importlib.import_module("aiofiles")
aiofiles_os: Any = importlib.import_module("aiofiles.os")
asgiref_sync: Any = importlib.import_module("asgiref.sync")
dask: Any = importlib.import_module("dask")
dask_bag: Any = importlib.import_module("dask.bag")
requests_futures: Any = importlib.import_module("requests_futures.sessions")

Executors = type[ThreadPoolExecutor]

both = pytest.mark.parametrize("executor_type", [ThreadPoolExecutor, PoolExecutor], ids=lambda kind: kind.__name__)


def thread_name() -> str:
    return threading.current_thread().name


# --- dask's threaded scheduler ---------------------------------------------------------------------------------------


@both
def test_dask_computes_a_graph(executor_type: Executors) -> None:
    with executor_type(4, "dasker") as executor:
        squares = [dask.delayed(operator.mul)(number, number) for number in range(200)]
        names = dask.delayed(thread_name)()
        total, name = dask.compute(dask.delayed(sum)(squares), names, scheduler="threads", pool=executor)
    assert total == sum(number * number for number in range(200))
    assert name.startswith("dasker")


@both
def test_dask_folds_a_bag(executor_type: Executors) -> None:
    with executor_type(4) as executor:
        words = dask_bag.from_sequence(["ant", "bee", "ant", "wasp", "ant", "bee"] * 50, npartitions=12)
        counted = words.frequencies().compute(scheduler="threads", pool=executor)
    assert sorted(counted) == [("ant", 150), ("bee", 100), ("wasp", 50)]


@both
def test_dask_raises_what_a_task_raises(executor_type: Executors) -> None:
    with executor_type(2) as executor:
        parts = [dask.delayed(int)(text) for text in ("1", "two", "3")]
        with pytest.raises(ValueError, match="'two'"):
            dask.delayed(sum)(parts).compute(scheduler="threads", pool=executor)
        assert dask.delayed(int)("4").compute(scheduler="threads", pool=executor) == 4


@pytest.mark.thread_unsafe(reason="dask's configuration is that of the process")
def test_dask_takes_its_pool_from_the_configuration() -> None:
    with PoolExecutor(4, "configured") as executor, dask.config.set(pool=executor):
        assert dask.delayed(thread_name)().compute().startswith("configured")
        assert executor.pool.stats().submitted > 0


# --- aiofiles --------------------------------------------------------------------------------------------------------


@both
def test_aiofiles_writes_and_reads(executor_type: Executors, tmp_path: Path) -> None:
    async def copy(executor: ThreadPoolExecutor, number: int) -> str:
        path = tmp_path / f"{executor_type.__name__} {threading.get_ident()} {number}"
        async with aiofiles.open(path, "w", executor=executor) as file:
            await file.writelines(f"line {line}\n" for line in range(number))
        assert (await aiofiles_os.stat(path, executor=executor)).st_size == path.stat().st_size
        async with aiofiles.open(path, executor=executor) as file:
            return "".join([line async for line in file])

    async def main() -> list[str]:
        with executor_type(4) as executor:
            return await asyncio.gather(*(copy(executor, number) for number in range(30)))

    expected = ["".join(f"line {line}\n" for line in range(number)) for number in range(30)]
    assert asyncio.run(main()) == expected


@both
def test_aiofiles_raises_what_the_file_does(executor_type: Executors, tmp_path: Path) -> None:
    async def main() -> None:
        with executor_type(1) as executor, pytest.raises(FileNotFoundError):
            async with aiofiles.open(tmp_path / "none", executor=executor):
                pass

    asyncio.run(main())


# --- asgiref ---------------------------------------------------------------------------------------------------------

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


@both
def test_asgiref_makes_functions_awaitable(executor_type: Executors) -> None:
    def work(number: int) -> tuple[int, int, str]:
        return number, variable.get(), thread_name()

    async def call(executor: ThreadPoolExecutor, number: int) -> tuple[int, int, str]:
        variable.set(-number)
        result: tuple[int, int, str] = await asgiref_sync.sync_to_async(
            work, thread_sensitive=False, executor=executor
        )(number)
        return result

    async def main() -> list[tuple[int, int, str]]:
        with executor_type(4, "asgi") as executor:
            return await asyncio.gather(*(call(executor, number) for number in range(100)))

    results = asyncio.run(main())
    assert [(number, var) for number, var, _ in results] == [(number, -number) for number in range(100)]
    assert all(name.startswith("asgi") for _, _, name in results)


@both
def test_asgiref_calls_back_into_the_loop(executor_type: Executors) -> None:
    """A task that waits for a coroutine of the loop that waits for it."""

    async def answer(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    def work(number: int) -> int:
        result: int = asgiref_sync.async_to_sync(answer)(number) + 1
        return result

    async def main() -> list[int]:
        with executor_type(2) as executor:
            call = asgiref_sync.sync_to_async(work, thread_sensitive=False, executor=executor)
            return await asyncio.wait_for(asyncio.gather(*(call(number) for number in range(20))), DEADLINE)

    assert asyncio.run(main()) == [number * 2 + 1 for number in range(20)]


# --- requests-futures ------------------------------------------------------------------------------------------------


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, name="echo")
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@both
def test_requests_futures_asks_for_many(executor_type: Executors, echo: str) -> None:
    def note(response: Any, *_: Any, **__: Any) -> None:
        response.noted = thread_name()

    with executor_type(4, "asker") as executor, requests_futures.FuturesSession(executor=executor) as session:
        session.trust_env = False
        asked = {session.get(f"{echo}/{number}", hooks={"response": note}): number for number in range(50)}
        for future in concurrent.futures.as_completed(asked, timeout=DEADLINE):
            response = future.result()
            assert response.text == f"/{asked[future]}"
            assert response.noted.startswith("asker")
        assert session.get(f"{echo}/missing").result(DEADLINE).status_code == 404


@both
def test_requests_futures_tells_of_failures(executor_type: Executors) -> None:
    with executor_type(2) as executor, requests_futures.FuturesSession(executor=executor) as session:
        failed = session.get("nonsense://nowhere").exception(DEADLINE)
    assert type(failed).__name__ == "InvalidSchema"
