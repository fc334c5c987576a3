"""Every private name of CPython that pyants uses is in the list of pyants/_threads.py, and may be missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support import run_program

ROOT = Path(__file__).parents[2]
LIST = ROOT / "python" / "pyants" / "_threads.py"

PYTHON = sorted((ROOT / "python" / "pyants").glob("*.py"))
RUST = sorted((ROOT / "src" / "python").rglob("*.rs"))

NAME = r"(_[A-Za-z]\w*)\b"
# Uses of a name: as an attribute, in a string, as a module, and as a C function.
USES = re.compile(rf"""\.{NAME} | ["']{NAME}["'] | \b(?:from|import)\s+{NAME} | \bfn\s+(_Py\w+)""", re.VERBOSE)
# Definitions of our own names.
OWN = re.compile(
    rf"""\bdef\s+{NAME} | \bself\.{NAME}\s*[:=] | ^\s*{NAME}\s*[:=] | \bclass\s+{NAME} | \bfn\s+(_[a-z]\w*)
    | [gs]etter\({NAME}\) | \bname\s*=\s*"{NAME}" | module\.add\("{NAME}" | ^\s*\#\[pyo3\(name\s*=\s*"{NAME}""",
    re.VERBOSE | re.MULTILINE,
)


def names(pattern: re.Pattern[str], text: str) -> set[str]:
    return {name for found in pattern.finditer(text) for name in found.groups() if name is not None}


def code(path: Path) -> str:
    """The text of a file without comments and docstrings."""
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
        assert used - known - {"_exit"} == set(), path.name  # os._exit is documented.


def test_the_search_finds_what_it_is_for() -> None:
    for line in ("threading._shutdown()", 'getattr(x, "_limbo")', "import _thread", "fn _PyFoo() -> c_int;"):
        assert names(USES, line), line
    for name in ("_active", "_register_atexit", "_ready", "_interpreters", "_make_thread_handle", "_Py_IsFinalizing"):
        assert name in listed()
        assert name not in own()


def script(name: str, *arguments: str) -> str:
    stdout, stderr = run_program("project/private_names.py", name, *arguments)
    assert stderr == ""
    return stdout


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("name", ["_active", "_active_limbo_lock", "_started", "_ident", "_native_id"])
def test_without_it_a_worker_is_a_dummy(name: str) -> None:
    assert name in listed()
    assert script("a_worker", name) == "_DummyThread mine_0\n"


@pytest.mark.thread_unsafe(reason="starts a process")
def test_with_all_of_them_it_is_none() -> None:
    assert script("a_worker", "_nothing") == "WorkerThread mine_0\n"


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("changed", ["gone", "another"])
def test_without_register_atexit_tasks_are_waited_for_all_the_same(changed: str) -> None:
    assert sorted("".join(script("tasks_are_waited_for", changed).split())) == list("001122")


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.skipif(sys.version_info < (3, 13), reason="it is there from 3.13 on")
def test_without_make_thread_handle_a_worker_may_fork() -> None:
    assert script("a_worker_may_fork", "_make_thread_handle") == "in the child\n"


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("name", ["_run_once", "_ready"])
def test_loops_of_asyncio_without_it(name: str) -> None:
    assert script("a_loop", name) == ""
