"""Ctrl-C and other signals while the main thread waits for a pool."""

from __future__ import annotations

import pytest
from support import run_program

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D5")]


def script(name: str, *arguments: str) -> str:
    stdout, stderr = run_program("process/signals.py", name, *arguments)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize(
    ("make", "fill", "call"),
    [
        ("Pool(1)", "pool.submit(gate.hold)", "pool.submit(ran.append, 1)"),
        ("Pool(1)", "pool.submit(gate.hold)", "pool.submit_within(1e6, ran.append, 1)"),
        ("Pool(1)", "pool.submit(gate.hold)", "pool.submit_many(ran.append, [1, 2, 3])"),
        (
            "PoolWithFunc(1, lambda item: gate.hold() if item == 0 else ran.append(item))",
            "pool.invoke(0)",
            "pool.invoke(1)",
        ),
        (
            "PoolWithFunc(1, lambda item: gate.hold() if item == 0 else ran.append(item))",
            "pool.invoke(0)",
            "pool.invoke_within(1e6, 1)",
        ),
        (
            "PoolWithFunc(1, lambda item: gate.hold() if item == 0 else ran.append(item))",
            "pool.invoke(0)",
            "pool.invoke_many([1, 2])",
        ),
        ("MultiPool(1, 1)", "pool.submit(gate.hold)", "pool.submit(ran.append, 1)"),
        (
            "MultiPoolWithFunc(1, 1, lambda item: gate.hold() if item == 0 else ran.append(item))",
            "pool.invoke(0)",
            "pool.invoke(1)",
        ),
    ],
)
def test_an_interrupted_submit_did_not_submit(make: str, fill: str, call: str) -> None:
    assert script("an_interrupted_submit_did_not_submit", make, fill, call) == "interrupted\n[]\n"


def test_submit_many_keeps_what_was_accepted() -> None:
    assert script("submit_many_keeps_what_was_accepted") == "interrupted\n[0, 1]\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
@pytest.mark.parametrize("call", ["pool.wait_idle()", "pool.wait_idle(1e6)"])
def test_wait_idle(make: str, call: str) -> None:
    assert script("wait_idle", make, call) == "interrupted\nTrue\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
def test_release_timeout(make: str) -> None:
    assert script("release_timeout", make) == "interrupted\nTrue\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
def test_the_end_of_a_with_block(make: str) -> None:
    assert script("the_end_of_a_with_block", make) == "interrupted\nTrue\n"


def test_those_behind_an_interrupted_submitter_are_served() -> None:
    assert script("those_behind_an_interrupted_submitter_are_served") == "interrupted\n['behind']\n"


def test_the_place_of_an_interrupted_submitter_is_free_again() -> None:
    assert script("the_place_of_an_interrupted_submitter_is_free_again") == "interrupted\n" * 3 + "[2]\n"


def test_a_signal_handler_that_returns_does_not_end_the_wait() -> None:
    # The handler itself ends the wait: it runs while the main thread waits.
    assert script("a_signal_handler_that_returns_does_not_end_the_wait") == "['handled', 'submitted']\n"


def test_a_handler_may_use_the_pool() -> None:
    assert script("a_handler_may_use_the_pool") == "['from the handler']\n"


def test_the_exception_of_a_handler_is_the_one_raised() -> None:
    assert script("the_exception_of_a_handler_is_the_one_raised") == "stopped now\n[] 0\n"


def test_signals_do_not_disturb_workers_and_other_submitters() -> None:
    assert script("signals_do_not_disturb_workers_and_other_submitters") == "interrupted\n['other']\n"


def test_interrupts_that_race_with_free_workers_lose_and_double_nothing() -> None:
    assert script("interrupts_that_race_with_free_workers_lose_and_double_nothing") == "1 True\nTrue 0\n"


def test_an_unhandled_interrupt_ends_the_process_and_tasks_finish() -> None:
    # Without a handler of its own, SIGINT ends the process by the signal, after the usual work at exit.
    stdout, stderr = run_program(
        "process/signals.py", "an_unhandled_interrupt_ends_the_process_and_tasks_finish", code_expected=-2
    )
    assert stdout == "done\n"
    assert "KeyboardInterrupt" in stderr
