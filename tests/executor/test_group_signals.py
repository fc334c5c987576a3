"""Ctrl-C in the block of a TaskGroup, and while it waits at its end."""

from __future__ import annotations

import signal

import pytest
from support import run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

# Sends Ctrl-C to the main thread for as long as it has not been interrupted so often: it may only be about to wait.
INTERRUPT = """
import logging
ran = []
gate = Gate()
times = 0
wanted = 0
about_to_wait = threading.Event()
def handler(*_):
    global times
    if times < wanted:
        times += 1
        raise KeyboardInterrupt(times)
signal.signal(signal.SIGINT, handler)
def interrupt():
    while times < wanted:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.01)
def send():
    about_to_wait.wait()
    global wanted
    wanted = 1
    interrupt()
    then()
def then():
    # Once what had not started is cancelled.
    wait_until(lambda: all(future.cancelled() for future in queued))
    gate.open()
queued = []
records = Records()
logging.getLogger("pyants").addHandler(records)
def logged():
    return [record.exc_info[1] for record in records.records]
threading.Thread(target=send, daemon=True).start()
def held():
    gate.hold()
    print("done")
    raise ValueError("mine")
"""

MAKES = ["Pool(1, queue_size=None)", "MultiPool(1, 1, queue_size=None)", "PoolExecutor(1)"]


def script(code: str) -> str:
    stdout, stderr = run_script(INTERRUPT + code)
    assert stderr == ""
    return stdout


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("wait", ["about_to_wait.set(); threading.Event().wait()", "about_to_wait.set()"])
def test_it_leaves_nothing_running_and_nothing_unreported(make: str, wait: str) -> None:
    stdout = script(f"""
owner = {make}
try:
    with owner.group() as group:
        first = group.submit(held)
        gate.wait_entered(1)
        for number in range(5):
            queued.append(group.submit(ran.append, number))
        {wait}
except KeyboardInterrupt as error:
    print("interrupted", error, first.done(), ran, logged())
""")
    assert stdout == "done\ninterrupted 1 True [] [ValueError('mine')]\n"


@pytest.mark.parametrize("submit", ["submit(ran.append, 1)", "submit(int)"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_submit_that_waits(submit: str, limit: int | None) -> None:
    stdout = script(f"""
pool = Pool({1 if limit is None else 5})
try:
    with pool.group(results=True, limit={limit}) as group:
        first = group.submit(held)
        gate.wait_entered(1)
        about_to_wait.set()
        group.{submit}
except KeyboardInterrupt as error:
    print("interrupted", first.done(), ran, logged())
assert pool.waiting() == 0
# No place of the limit is lost.
with pool.group(results=True, limit={limit}) as again:
    for _ in range(5):
        again.submit(int)
print(again.results())
""")
    assert stdout == "done\ninterrupted True [] [ValueError('mine')]\n[0, 0, 0, 0, 0]\n"


def test_a_place_is_not_lost_to_a_submit_that_was_interrupted() -> None:
    stdout = script("""
pool = Pool(5)
def then():
    gate.let(1)
with pool.group(results=True, limit=1) as group:
    first = group.submit(gate.hold)
    gate.wait_entered(1)
    about_to_wait.set()
    try:
        group.submit(ran.append, 1)
    except KeyboardInterrupt:
        print("interrupted")
    for _ in range(3):
        group.submit(int)
print(ran, group.results())
""")
    assert stdout == "interrupted\n[] [None, 0, 0, 0]\n"


def test_a_second_one_leaves_at_once_and_says_what_is_running() -> None:
    stdout = script("""
def then():
    global wanted
    wait_until(lambda: all(future.cancelled() for future in queued))
    wanted = 2
    interrupt()
pool = Pool(2, queue_size=None)
try:
    with pool.group() as group:
        for _ in range(2):
            group.submit(gate.hold)
        gate.wait_entered(2)
        for number in range(5):
            queued.append(group.submit(ran.append, number))
        about_to_wait.set()
except KeyboardInterrupt as error:
    print("interrupted", error, error.__notes__, repr(error.__context__))
    assert gate.inside == 2
gate.open()
pool.release_timeout(20)
print(ran)
""")
    assert stdout == ("interrupted 2 ['2 tasks of the group are still running'] KeyboardInterrupt(1)\n[]\n")


def test_without_a_second_one_the_program_ends_when_what_runs_is_done() -> None:
    stdout, stderr = run_script(
        INTERRUPT
        + """
pool = Pool(1, queue_size=None)
with pool.group() as group:
    group.submit(held)
    gate.wait_entered(1)
    for number in range(5):
        queued.append(group.submit(ran.append, number))
    about_to_wait.set()
""",
        code_expected=-signal.SIGINT,
    )
    assert stdout == "done\n"
    assert stderr.endswith("KeyboardInterrupt: 1\n")


def test_results_are_interrupted() -> None:
    stdout = script("""
def then():
    gate.open()
pool = Pool(1)
with pool.group(results=True) as group:
    group.submit(lambda: gate.hold() or 5)
    gate.wait_entered(1)
    about_to_wait.set()
    try:
        group.results()
    except KeyboardInterrupt:
        print("interrupted")
    # The group goes on.
    print(group.results())
""")
    assert stdout == "interrupted\n[5]\n"


def test_a_handler_that_returns_does_not_end_the_wait() -> None:
    stdout = script("""
signal.signal(signal.SIGUSR1, lambda *_: (print("handled"), gate.open()))
pool = Pool(1)
with pool.group(results=True) as group:
    group.submit(lambda: gate.hold() or 5)
    gate.wait_entered(1)
    threading.Thread(target=signal.pthread_kill, args=(threading.main_thread().ident, signal.SIGUSR1)).start()
print(group.results())
""")
    assert stdout == "handled\n[5]\n"


def test_nested_groups() -> None:
    stdout = script("""
pool = Pool(1, queue_size=None)
try:
    with pool.group() as outer:
        with pool.group() as inner:
            inner.submit(held)
            gate.wait_entered(1)
            for number in range(5):
                queued.append(inner.submit(ran.append, number))
            queued.append(outer.submit(ran.append, 5))
            last = queued.pop()
            about_to_wait.set()
except KeyboardInterrupt as error:
    assert last.done()
    print("interrupted", error, [number for number in ran if number != 5], logged())
""")
    assert stdout == "done\ninterrupted 1 [] [ValueError('mine')]\n"
