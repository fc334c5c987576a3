"""gevent's monkey-patching: what docs/executor.md says that works does, and what waits natively stops greenlets."""

from __future__ import annotations

import importlib.util
import sysconfig

import pytest
from support import run_script

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

pytestmark = [
    pytest.mark.skipif(FREE_THREADED, reason="gevent has no wheels for free-threaded Python"),
    pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed"),
]

# The process of the test is not patched: all is done in others.
BEFORE = """
import gevent.monkey
gevent.monkey.patch_all()
import faulthandler, sys
faulthandler.enable()
faulthandler.dump_traceback_later(60, exit=True)
import pyants
"""
AFTER_IMPORT = """
import faulthandler, sys
faulthandler.enable()
faulthandler.dump_traceback_later(60, exit=True)
import pyants, gevent.monkey
gevent.monkey.patch_all()
"""
AFTER_USE = """
import faulthandler, sys
faulthandler.enable()
faulthandler.dump_traceback_later(60, exit=True)
import pyants, asyncio
used = pyants.PoolExecutor(2)
used.submit(int).result()
import gevent.monkey
gevent.monkey.patch_all()
"""
HUB = """
import gevent
gevent.get_hub()  # Or the first uses of gevent in several workers may hang in its imports.
real_get_ident = gevent.monkey.get_original("threading", "get_ident")
main_thread = real_get_ident()
"""


def run_patched(patched: str, code: str) -> None:
    """Runs the code after the patch, in a process of its own, to its end."""
    out, err = run_script(patched + HUB + code + 'print("done")\n', prelude=False)
    assert out.split() == ["done"], err


each_order = pytest.mark.parametrize(
    "patched", [BEFORE, AFTER_IMPORT, AFTER_USE], ids=["before the import", "after the import", "after the use"]
)


@each_order
def test_what_works(patched: str) -> None:
    run_patched(
        patched,
        """
import asyncio, concurrent.futures, time

with pyants.Pool(4) as pool:
    idents = []
    for _ in range(8):
        pool.submit(lambda: idents.append(real_get_ident()))
    pool.wait_idle()
    assert len(idents) == 8 and main_thread not in idents
    with pool.group(results=True) as group:
        for number in range(10):
            group.submit(pow, number, 2)
    assert group.results() == [number ** 2 for number in range(10)]

def nap(number):
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

async def main():
    async with pyants.AsyncPool(4) as pool:
        assert await asyncio.gather(*(pool.run(nap, number) for number in range(20))) == list(range(20))

asyncio.run(main())
""",
    )


@each_order
def test_a_wait_in_gevent_s_own_threads_lets_greenlets_go_on(patched: str) -> None:
    run_patched(
        patched,
        """
Event = gevent.monkey.get_original("threading", "Event")
gate = Event()

def open_it():
    gevent.sleep(0.01)
    ticks.append(1)
    gate.set()

ticks = []
with pyants.PoolExecutor(2) as executor:
    future = executor.submit(gate.wait, 30)
    gevent.spawn(open_it)
    # future.result() here would stop the greenlet that opens the gate, for ever.
    assert gevent.get_hub().threadpool.apply(future.result)
    assert ticks == [1]
""",
    )


@each_order
def test_greenlets_go_on_while_cpython_s_wait_waits(patched: str) -> None:
    run_patched(
        patched,
        """
import concurrent.futures
gate = gevent.monkey.get_original("threading", "Event")()

def open_it():
    gevent.sleep(0.01)
    gate.set()

with pyants.PoolExecutor(2) as executor:
    futures = [executor.submit(gate.wait, 30) for _ in range(4)]
    gevent.spawn(open_it)
    # Without a time-out gevent would say that nothing can wake it once the greenlet has ended.
    done, _ = concurrent.futures.wait(futures, timeout=60)
    assert len(done) == 4
""",
    )


def test_a_native_wait_stops_all_greenlets_of_its_thread() -> None:
    run_patched(
        BEFORE,
        """
import time
ticks = []

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0)

ticker = gevent.spawn(tick)
gevent.sleep(0.01)
with pyants.PoolExecutor(1) as executor:
    future = executor.submit(gevent.monkey.get_original("time", "sleep"), 0.05)
    before = len(ticks)
    future.result()
    assert len(ticks) == before
gevent.sleep(0.01)
assert len(ticks) > before
ticker.kill()
""",
    )
