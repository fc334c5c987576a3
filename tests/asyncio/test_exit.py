"""AsyncPool and its process: the modules that it imports, the interpreter's exit, Ctrl-C, forks."""

from __future__ import annotations

import os
import sys

import pytest
from support import run_program, run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


def script(name: str, *arguments: object, code_expected: int = 0, file: str = "exit") -> str:
    stdout, stderr = run_program(f"asyncio/{file}.py", name, *arguments, code_expected=code_expected)
    assert stderr == ""
    return stdout


def test_importing_pyants_does_not_import_asyncio() -> None:
    stdout, stderr = run_program("asyncio/lazy.py")
    assert stdout == "module 'pyants' has no attribute 'AsyncPond'\n"
    assert stderr == ""


def test_from_pyants_import_everything() -> None:
    stdout, stderr = run_script("from pyants import *; AsyncPool(1); TaskGroup", prelude=False)
    assert (stdout, stderr) == ("", "")


# --- the interpreter's exit ---


def test_the_interpreter_ends_once_running_calls_are_done() -> None:
    assert script("the_interpreter_ends_once_running_calls_are_done") == "main ends\ndone\n"


def test_it_ends_with_a_pool_that_nobody_keeps() -> None:
    assert script("it_ends_with_a_pool_that_nobody_keeps") == "main ends\ndone\n"


def test_it_ends_with_waiting_and_queued_calls() -> None:
    assert script("it_ends_with_waiting_and_queued_calls") == "main ends\n"


def test_what_a_call_raises_at_exit_is_reported() -> None:
    assert script("what_a_call_raises_at_exit_is_reported") == "told ValueError('mine')\n"


@pytest.mark.parametrize("daemon", [True, False])
def test_it_ends_while_loops_run_in_other_threads(daemon: bool) -> None:
    assert script("it_ends_while_loops_run_in_other_threads", daemon) == "main ends\n"


def test_sys_exit_in_a_coroutine() -> None:
    assert script("sys_exit_in_a_coroutine", code_expected=5) == "done\n"


def test_a_call_that_raises_system_exit_ends_a_program_that_does_not_catch_it() -> None:
    assert script("a_call_that_raises_system_exit_ends_a_program_that_does_not_catch_it", code_expected=5) == ""


# --- Ctrl-C ---


@pytest.mark.parametrize("wait", ["run", "submit", "room", "map", "sleep"])
def test_ctrl_c_while_it_waits(wait: str) -> None:
    assert script("ctrl_c_while_it_waits", wait) == "cancelled\ndone\ninterrupted []\n"


@pytest.mark.parametrize("where", ["block", "end"])
def test_ctrl_c_in_a_group(where: str) -> None:
    stdout = script("ctrl_c_in_a_group", where)
    # As in asyncio.TaskGroup: failures come first, and from 3.13 on the task is cancelled again after them.
    assert stdout == "done\nfailed (ValueError('mine'),)\n" + (
        "interrupted []\n" if sys.version_info >= (3, 13) else ""
    )


# --- forks ---

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.parametrize("make", ["AsyncPool(2)", "AsyncPool.over(Pool(2))", "AsyncPool.over(MultiPool(2, 1))"])
def test_a_child_can_use_the_pool(make: str) -> None:
    assert script("a_child_can_use_the_pool", make, file="fork") == "child\nparent\n"


@needs_fork
def test_a_child_of_a_busy_loop() -> None:
    assert script("a_child_of_a_busy_loop", file="fork") == "child\nparent\n"


@needs_fork
def test_a_child_of_a_closed_pool() -> None:
    assert script("a_child_of_a_closed_pool", file="fork") == "closed\n"


def test_what_the_last_collection_finds_is_reported_whole() -> None:
    # As the interpreter ends, the collector runs once more, and frees calls whose exceptions nobody has asked for.
    _, err = run_program("asyncio/exit.py", "what_the_last_collection_finds_is_reported_whole")
    assert err.count("ValueError: number") == 40
