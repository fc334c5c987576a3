"""gevent's monkey-patching: all that docs/executor.md promises works, and a native wait stops all greenlets."""

from __future__ import annotations

import importlib.util
import sysconfig

import pytest
from support import run_program

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(FREE_THREADED, reason="gevent has no wheels for free-threaded Python"),
    pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed"),
]

ORDERS = ["before the import", "after the import", "after the use"]


def check(name: str, order: str) -> None:
    """Runs the program, which patches in this order, in a process of its own, to its end."""
    stdout, stderr = run_program("executor/gevent.py", name, order)
    assert stdout == "done\n", stderr


@pytest.mark.parametrize("order", ORDERS)
def test_what_works(order: str) -> None:
    check("what_works", order)


@pytest.mark.parametrize("order", ORDERS)
def test_a_wait_in_gevents_own_threads_lets_greenlets_go_on(order: str) -> None:
    check("a_wait_in_gevents_own_threads", order)


@pytest.mark.parametrize("order", ORDERS)
def test_greenlets_go_on_while_cpythons_wait_waits(order: str) -> None:
    check("greenlets_go_on_while_cpythons_wait_waits", order)


def test_a_native_wait_stops_all_greenlets_of_its_thread() -> None:
    check("a_native_wait_stops_all_greenlets_of_its_thread", ORDERS[0])
