"""The programs of tests/executor/test_gevent.py. Each first patches Python, in the order that its argument names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from program import main

if TYPE_CHECKING:
    from collections.abc import Callable

kept: list[object] = []


def patch(order: str) -> Any:
    """Patches Python before pyants is imported, after that, or after it was used; returns the module gevent."""

    def patch_all() -> None:
        importlib.import_module("gevent.monkey").patch_all()

    if order == "before the import":
        patch_all()
    import pyants

    if order == "after the use":
        import asyncio

        executor = pyants.PoolExecutor(2)
        executor.submit(int).result()
        kept.extend([asyncio, executor])
    if order != "before the import":
        patch_all()
    gevent = importlib.import_module("gevent")
    gevent.get_hub()  # Otherwise the first uses of gevent in several workers may hang in its imports.
    return gevent


def what_works(order: str) -> None:
    gevent = patch(order)
    import asyncio
    import concurrent.futures
    import time

    import pyants

    get_ident: Callable[[], int] = gevent.monkey.get_original("threading", "get_ident")
    with pyants.Pool(4) as pool:
        idents: list[int] = []
        for _ in range(8):
            pool.submit(lambda: idents.append(get_ident()))
        pool.wait_idle()
        assert len(idents) == 8
        assert get_ident() not in idents
        with pool.group(results=True) as group:
            for number in range(10):
                group.submit(pow, number, 2)
        assert group.results() == [number**2 for number in range(10)]

    def nap(number: int) -> int:
        time.sleep(0.001)
        return number

    with pyants.PoolExecutor(4) as executor:
        futures = [executor.submit(nap, number) for number in range(20)]
        done, _ = concurrent.futures.wait(futures, timeout=60)
        assert len(done) == 20
        completed = concurrent.futures.as_completed(futures, timeout=60)
        assert sorted(future.result() for future in completed) == list(range(20))
        assert list(executor.map(nap, range(20))) == list(range(20))
        assert sorted(executor.map_unordered(nap, range(20))) == list(range(20))
        failed = executor.submit(int, "no number")
        assert isinstance(failed.exception(), ValueError)

    async def main() -> None:
        async with pyants.AsyncPool(4) as pool:
            assert await asyncio.gather(*(pool.run(nap, number) for number in range(20))) == list(range(20))

    asyncio.run(main())
    print("done")


def a_wait_in_gevents_own_threads(order: str) -> None:
    gevent = patch(order)
    from pyants import PoolExecutor

    gate = gevent.monkey.get_original("threading", "Event")()
    ticks: list[int] = []

    def open_it() -> None:
        gevent.sleep(0.01)
        ticks.append(1)
        gate.set()

    with PoolExecutor(2) as executor:
        future = executor.submit(gate.wait, 30)
        gevent.spawn(open_it)
        # Here future.result() would stop the greenlet that opens the gate, for ever.
        assert gevent.get_hub().threadpool.apply(future.result)
        assert ticks == [1]
    print("done")


def greenlets_go_on_while_cpythons_wait_waits(order: str) -> None:
    gevent = patch(order)
    import concurrent.futures

    from pyants import PoolExecutor

    gate = gevent.monkey.get_original("threading", "Event")()

    def open_it() -> None:
        gevent.sleep(0.01)
        gate.set()

    with PoolExecutor(2) as executor:
        futures = [executor.submit(gate.wait, 30) for _ in range(4)]
        gevent.spawn(open_it)
        # Without a time-out gevent would say that nothing can wake it once the greenlet has ended.
        done, _ = concurrent.futures.wait(futures, timeout=60)
        assert len(done) == 4
    print("done")


def a_native_wait_stops_all_greenlets_of_its_thread(order: str) -> None:
    gevent = patch(order)
    from pyants import PoolExecutor

    ticks: list[int] = []

    def tick() -> None:
        while True:
            ticks.append(1)
            gevent.sleep(0)

    ticker = gevent.spawn(tick)
    gevent.sleep(0.01)
    with PoolExecutor(1) as executor:
        future = executor.submit(gevent.monkey.get_original("time", "sleep"), 0.05)
        before = len(ticks)
        future.result()
        assert len(ticks) == before
    gevent.sleep(0.01)
    assert len(ticks) > before
    ticker.kill()
    print("done")


if __name__ == "__main__":
    main(globals())
