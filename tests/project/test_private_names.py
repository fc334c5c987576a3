"""The private names of CPython that pyants uses: all are in the list of pyants/_threads.py, and can be done without."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support import IN_CHILD, run_script

ROOT = Path(__file__).parents[2]
LIST = ROOT / "python" / "pyants" / "_threads.py"

PYTHON = sorted((ROOT / "python" / "pyants").glob("*.py"))
RUST = sorted((ROOT / "src" / "python").rglob("*.rs"))

NAME = r"(_[A-Za-z]\w*)\b"
# Where a name is used: as an attribute, in a string, or as a module; and as a C function.
USES = re.compile(rf"""\.{NAME} | ["']{NAME}["'] | \b(?:from|import)\s+{NAME} | \bfn\s+(_Py\w+)""", re.VERBOSE)
# Where one of our own is made.
OWN = re.compile(
    rf"""\bdef\s+{NAME} | \bself\.{NAME}\s*[:=] | ^\s*{NAME}\s*[:=] | \bclass\s+{NAME} | \bfn\s+(_[a-z]\w*)
    | [gs]etter\({NAME}\) | \bname\s*=\s*"{NAME}" | module\.add\("{NAME}" | ^\s*\#\[pyo3\(name\s*=\s*"{NAME}""",
    re.VERBOSE | re.MULTILINE,
)


def names(pattern: re.Pattern[str], text: str) -> set[str]:
    return {name for found in pattern.finditer(text) for name in found.groups() if name is not None}


def code(path: Path) -> str:
    """Without comments and docstrings."""
    text = path.read_text()
    if path.suffix == ".rs":
        return re.sub(r"//.*", "", text)
    return re.sub(r'"""(?s:.*?)"""|#.*', "", text)


def listed() -> set[str]:
    docstring = LIST.read_text().split('"""')[1]
    return names(re.compile(rf"\b{NAME}"), docstring)


def own() -> set[str]:
    found = {path.stem for path in PYTHON} | {"_core", "_end"}
    for path in PYTHON + RUST:
        # That file assigns to fields of threading's own.
        if path != LIST:
            found |= names(OWN, code(path))
    return found


def test_every_private_name_is_in_the_list() -> None:
    assert PYTHON
    assert RUST
    known = listed() | own()
    for path in PYTHON + RUST:
        used = {name for name in names(USES, code(path)) if not name.startswith(("_pyants", "__"))}
        assert used - known == set(), path.name


def test_the_search_finds_what_it_is_for() -> None:
    for line in ("threading._shutdown()", 'getattr(x, "_limbo")', "import _thread", "fn _PyFoo() -> c_int;"):
        assert names(USES, line), line
    for name in ("_active", "_register_atexit", "_ready", "_interpreters", "_make_thread_handle", "_Py_IsFinalizing"):
        assert name in listed()
        assert name not in own()


# Has pyants find a module, and what threading.Thread's __init__ makes, without the name.
WITHOUT = """
import sys, types, threading, concurrent.futures.thread

def hide(module, name):
    class Without(types.ModuleType):
        def __getattribute__(self, other):
            if other == name:
                raise AttributeError(other)
            return getattr(module, other)
    return Without(module.__name__)

def import_without(name):
    init = threading.Thread.__init__
    def shorter(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if type(self).__name__ == "WorkerThread":
            self.__dict__.pop(name, None)
    threading.Thread.__init__ = shorter
    sys.modules["threading"] = hide(threading, name)
    import pyants
    sys.modules["threading"] = threading
    return pyants

def check(pyants, is_dummy):
    pool = pyants.Pool(1, name="mine")
    seen = []
    with pool:
        pool.submit(lambda: seen.append(threading.current_thread()))
    assert seen[0].name == "mine_0", seen
    assert isinstance(seen[0], threading._DummyThread) == is_dummy, seen
    # Until 3.13 nobody takes a dummy away.
    assert threading.active_count() == 1 or (is_dummy and sys.version_info < (3, 13)), threading.enumerate()
"""

DUMMIES = ["_active", "_active_limbo_lock", "_started", "_ident", "_native_id"]


@pytest.mark.parametrize("name", DUMMIES)
def test_without_it_a_worker_is_a_dummy(name: str) -> None:
    assert name in listed()
    run_script(f"{WITHOUT}\ncheck(import_without({name!r}), True)", prelude=False)


def test_with_all_of_them_it_is_none() -> None:
    run_script(f"{WITHOUT}\ncheck(import_without('_nothing'), False)", prelude=False)


@pytest.mark.parametrize("changed", ["gone", "another"])
def test_without_register_atexit_tasks_are_waited_for_all_the_same(changed: str) -> None:
    another = "threading._register_atexit = lambda: None" if changed == "another" else ""
    stdout, stderr = run_script(
        f"""{WITHOUT}
{another}
import time
pyants = import_without({"_register_atexit" if changed == "gone" else "_nothing"!r})
pool = pyants.Pool(1, queue_size=None)
executor = pyants.PoolExecutor(1)
def late(what):
    time.sleep(0.05)
    print(what, flush=True)
for number in range(3):
    pool.submit(late, number)
    executor.submit(late, number)
""",
        prelude=False,
    )
    assert sorted("".join(stdout.split())) == list("001122")
    assert stderr == ""


@pytest.mark.skipif(sys.version_info < (3, 13), reason="it is there from 3.13 on")
def test_without_make_thread_handle_a_worker_may_fork() -> None:
    stdout, stderr = run_script(
        f"""{WITHOUT}
import faulthandler, os, signal
pyants = import_without("_make_thread_handle")
{IN_CHILD}
def child():
    assert threading.current_thread() is threading.main_thread()
    with pyants.Pool(1) as pool:
        pool.submit(print, "in the child", flush=True)
failures = []
with pyants.Pool(1, panic_handler=failures.append) as pool:
    pool.submit(in_child, child)
assert not failures, failures
""",
        prelude=False,
    )
    assert (stdout, stderr) == ("in the child\n", "")


@pytest.mark.parametrize("name", ["_run_once", "_ready"])
def test_loops_of_asyncio_without_it(name: str) -> None:
    run_script(
        f"""
import asyncio

class Loop(asyncio.SelectorEventLoop):
    if {name!r} == "_run_once":
        def _run_once(self):
            super()._run_once()
    else:
        def __getattribute__(self, name):
            if name == "_ready" and "base_events" not in sys._getframe(1).f_code.co_filename:
                raise AttributeError(name)
            return super().__getattribute__(name)

async def main():
    async with AsyncPool(2) as pool:
        assert await asyncio.gather(*(pool.run(int, str(n)) for n in range(100))) == list(range(100))

with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())
"""
    )
