"""pyants can be imported again, and only in the main interpreter."""

from __future__ import annotations

import sys

import pytest
from support import run_program

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


def script(name: str, *arguments: str, file: str = "imports") -> str:
    stdout, stderr = run_program(f"process/{file}.py", name, *arguments)
    assert stderr == ""
    return stdout


def test_tasks_of_an_earlier_import_are_run_at_exit() -> None:
    assert script("tasks_of_an_earlier_import_are_run_at_exit") == "done\n" * 20


def test_the_classes_of_all_imports_are_the_same() -> None:
    assert script("the_classes_of_all_imports_are_the_same") == "[]\nTrue True\nTrue\ncaught\n"


def test_a_forked_child_after_a_second_import() -> None:
    assert script("a_child_after_a_second_import", file="fork") == "child\nparent\n"


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
@pytest.mark.parametrize("first", ["main", "other"])
def test_another_interpreter_is_refused_and_leaves_the_main_one_alone(kind: str, first: str) -> None:
    refused, main = script("another_interpreter_is_refused", kind, first).splitlines()
    assert refused.startswith("pyants works in the main interpreter only")
    assert main == "main"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in 3.14")
def test_an_interpreter_pool_executor_gets_the_same_error() -> None:
    stdout, _ = run_program("process/imports.py", "an_interpreter_pool_executor_gets_the_same_error")
    assert "main interpreter only" in stdout
