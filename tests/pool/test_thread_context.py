"""The context in which a worker begins: with -X thread_inherit_context a copy of the submitter's, else an empty one."""

from __future__ import annotations

import sys

import pytest
from support import run_program

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(sys.version_info < (3, 14), reason="threads inherit no context before 3.14"),
]


def run(name: str, inherit: int = 1) -> None:
    options = ["-X", f"thread_inherit_context={inherit}", "-X", "context_aware_warnings=1"]
    assert run_program("pool/thread_context.py", name, options=options) == ("", "")


def test_it_is_a_copy_of_that_of_the_submit_that_starts_it() -> None:
    run("a_copy_of_that_of_the_submit")


def test_without_the_flag_it_is_empty() -> None:
    run("empty_without_the_flag", 0)


@pytest.mark.parametrize("inherit", [0, 1])
def test_filters_of_warnings_are_inherited_with_it(inherit: int) -> None:
    run("filters_of_warnings", inherit)


def test_an_initializer_and_every_kind_of_pool() -> None:
    run("an_initializer_and_every_kind_of_pool")


def test_a_context_that_holds_the_pool_does_not_keep_it() -> None:
    run("a_context_that_holds_the_pool_does_not_keep_it")
