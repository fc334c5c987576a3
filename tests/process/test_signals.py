"""Ctrl-C and other signals while the main thread waits for a pool."""

from __future__ import annotations

import pytest
from support import run_script

pytestmark = [pytest.mark.thread_unsafe(reason="starts processes"), pytest.mark.ants("D5")]

# Sends Ctrl-C to the main thread once `condition` holds.
INTERRUPT = """
def interrupt_when(condition):
    def send():
        wait_until(condition)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    threading.Thread(target=send, daemon=True).start()
ran = []
gate = Gate()
"""


def script(code: str) -> str:
    stdout, stderr = run_script(INTERRUPT + code)
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
    stdout = script(f"""
pool = {make}
{fill}
interrupt_when(lambda: pool.waiting() == 1)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted")
assert pool.waiting() == 0, pool
assert pool.stats().submitted == 1
gate.open()
assert pool.wait_idle(10)
assert pool.stats().completed == 1
print(ran)
pool.release_timeout(10)
""")
    assert stdout == "interrupted\n[]\n"


def test_submit_many_keeps_what_was_accepted() -> None:
    stdout = script("""
pool = Pool(1, queue_size=2)
pool.submit(gate.hold)
interrupt_when(lambda: pool.waiting() == 1)
try:
    pool.submit_many(ran.append, range(10))
except KeyboardInterrupt:
    print("interrupted")
gate.open()
assert pool.wait_idle(10)
print(ran)
""")
    assert stdout == "interrupted\n[0, 1]\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
@pytest.mark.parametrize("call", ["pool.wait_idle()", "pool.wait_idle(1e6)"])
def test_wait_idle(make: str, call: str) -> None:
    stdout = script(f"""
pool = {make}
pool.submit(gate.hold)
about_to_wait = threading.Event()
interrupt_when(about_to_wait.is_set)
try:
    about_to_wait.set()
    {call}
except KeyboardInterrupt:
    print("interrupted")
assert not pool.is_closed()
gate.open()
print(pool.wait_idle())
""")
    assert stdout == "interrupted\nTrue\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
def test_release_timeout(make: str) -> None:
    stdout = script(f"""
pool = {make}
pool.submit(gate.hold)
interrupt_when(pool.is_closed)
try:
    pool.release_timeout(1e6)
except KeyboardInterrupt:
    print("interrupted")
assert pool.is_closed()
gate.open()
print(pool.wait_idle())
wait_until(lambda: pool.running() == 0)
""")
    assert stdout == "interrupted\nTrue\n"


@pytest.mark.parametrize("make", ["Pool(1)", "MultiPool(2, 1)"])
def test_the_end_of_a_with_block(make: str) -> None:
    stdout = script(f"""
pool = {make}
interrupt_when(pool.is_closed)
try:
    with pool:
        pool.submit(gate.hold)
except KeyboardInterrupt:
    print("interrupted")
assert pool.is_closed()
gate.open()
print(pool.wait_idle())
""")
    assert stdout == "interrupted\nTrue\n"


def test_those_behind_an_interrupted_submitter_are_served() -> None:
    stdout = script("""
pool = Pool(1)
pool.submit(gate.hold)
def follow():
    wait_until(lambda: pool.waiting() == 1)
    pool.submit(ran.append, "behind")
follower = threading.Thread(target=follow)
follower.start()
interrupt_when(lambda: pool.waiting() == 2)
try:
    pool.submit(ran.append, "interrupted")
except KeyboardInterrupt:
    print("interrupted")
assert pool.waiting() == 1
gate.open()
follower.join()
assert pool.wait_idle(10)
print(ran)
""")
    assert stdout == "interrupted\n['behind']\n"


def test_the_place_of_an_interrupted_submitter_is_free_again() -> None:
    stdout = script("""
pool = Pool(1, max_blocking_tasks=1)
pool.submit(gate.hold)
for _ in range(3):
    interrupt_when(lambda: pool.waiting() == 1)
    try:
        pool.submit(ran.append, 1)
    except KeyboardInterrupt:
        print("interrupted")
gate.open()
pool.submit(ran.append, 2)
assert pool.wait_idle(10)
print(ran)
""")
    assert stdout == "interrupted\n" * 3 + "[2]\n"


def test_a_signal_handler_that_returns_does_not_end_the_wait() -> None:
    # The handler itself makes the wait come to its end: it runs while the main thread waits.
    stdout = script("""
def handler(*_):
    ran.append("handled")
    gate.open()
signal.signal(signal.SIGUSR1, handler)
pool = Pool(1)
pool.submit(gate.hold)
def send():
    wait_until(lambda: pool.waiting() == 1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
threading.Thread(target=send).start()
pool.submit(ran.append, "submitted")
assert pool.wait_idle()
print(ran)
""")
    assert stdout == "['handled', 'submitted']\n"


def test_a_handler_may_use_the_pool() -> None:
    stdout = script("""
pool = Pool(1, queue_size=5)
pool.submit(gate.hold)
def handler(*_):
    pool.submit(ran.append, "from the handler")
    gate.open()
signal.signal(signal.SIGUSR1, handler)
about_to_wait = threading.Event()
def send():
    about_to_wait.wait()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
threading.Thread(target=send).start()
about_to_wait.set()
assert pool.wait_idle(30)
print(ran)
""")
    assert stdout == "['from the handler']\n"


def test_the_exception_of_a_handler_is_the_one_raised() -> None:
    stdout = script("""
class Stop(Exception): pass
def handler(*_): raise Stop("now")
signal.signal(signal.SIGUSR1, handler)
pool = Pool(1)
pool.submit(gate.hold)
def send():
    wait_until(lambda: pool.waiting() == 1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
threading.Thread(target=send).start()
try:
    pool.submit(ran.append, 1)
except Stop as stop:
    print("stopped", stop)
gate.open()
assert pool.wait_idle(10)
print(ran, pool.waiting())
""")
    assert stdout == "stopped now\n[] 0\n"


def test_signals_do_not_disturb_workers_and_other_submitters() -> None:
    stdout = script("""
pool = Pool(1)
pool.submit(gate.hold)
other = threading.Thread(target=pool.submit, args=(ran.append, "other"))
other.start()
wait_until(lambda: pool.waiting() == 1)
about_to_wait = threading.Event()
interrupt_when(about_to_wait.is_set)
try:
    about_to_wait.set()
    pool.wait_idle()
except KeyboardInterrupt:
    print("interrupted")
assert pool.waiting() == 1
gate.open()
other.join()
assert pool.wait_idle(10)
print(ran)
""")
    assert stdout == "interrupted\n['other']\n"


def test_interrupts_that_race_with_free_workers_lose_and_double_nothing() -> None:
    stdout = script("""
class Stop(Exception): pass
armed = False
def handler(*_):
    global armed
    if armed:
        armed = False  # Or the next would come while this one is being caught.
        raise Stop
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
runs = [0] * 1000
def run(index):
    time.sleep(0.0005)
    runs[index] += 1
pool = Pool(1)
accepted, stopped = set(), 0
for index in range(1000):
    try:
        armed = True
        pool.submit(run, index)
        armed = False
        accepted.add(index)
    except Stop:
        # It may have come just after submit returned: then the task runs all the same.
        stopped += 1
assert stopped
signal.setitimer(signal.ITIMER_REAL, 0)
assert pool.wait_idle(30)
stats = pool.stats()
print(max(runs), all(runs[index] for index in accepted))
print(sum(runs) == stats.completed == stats.submitted, pool.waiting())
assert sum(runs) >= len(accepted)
""")
    assert stdout == "1 True\nTrue 0\n"


def test_an_unhandled_interrupt_ends_the_process_and_tasks_finish() -> None:
    # SIGINT left to Python's default ends the process by the signal, after the usual exit work.
    stdout, stderr = run_script(
        INTERRUPT
        + """
pool = Pool(1)
pool.submit(lambda: (gate.hold(), print("done")))
interrupt_when(lambda: pool.waiting() == 1)
try:
    pool.submit(print, "never")
finally:
    gate.open()
""",
        code_expected=-2,
    )
    assert stdout == "done\n"
    assert "KeyboardInterrupt" in stderr
