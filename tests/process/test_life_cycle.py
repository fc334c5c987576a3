"""The life-cycle matrix: every moment × every state × every face, each case in a process with a deadline.

tests/scripts/process/life_cycle.py is the program and says what the names mean. The outcome has to be that of
concurrent.futures' ThreadPoolExecutor where it knows the moment and the state, and to obey the rules below anywhere.
`make test` runs a few cases, with each exit, kind of fork, state and face in one of them, `make life-cycle` all.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import Counter
from dataclasses import dataclass

import pytest
from support import end_of_program

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

# The moments, with the status that the process ends with.
EXITS = {
    "end": 0,
    "sys_exit": 3,
    "exception": 1,
    "os_exit": 4,
    "sigint": -2,
    "sigint_twice": -2,
    "sigterm": -15,
    "sigterm_raises": 5,
}
# After these the program goes on to its end.
EVENTS = {
    "fork_in_main": 0,
    "fork_in_a_worker": 0,
    "fork_in_a_handler": 0,
    "multiprocessing_fork": 0,
    "multiprocessing_forkserver": 0,
    "multiprocessing_spawn": 0,
    "reload": 0,
    "another_interpreter": 0,
}
MOMENTS = EXITS | EVENTS
STATES = [
    "idle",
    "busy_in_python",
    "busy_in_c",
    "blocked",
    "result",
    "map",
    "group",
    "wait_idle",
    "loop",
    "tasks_submit",
    "never",
    "never_of_a_daemon",
    "tasks_start_threads",
]
FACES = ["Pool", "PoolExecutor", "TaskGroup", "AsyncPool", "MultiPool", "default"]
# What ThreadPoolExecutor has not.
NOT_A_PEERS = {"blocked", "group", "wait_idle", "never_of_a_daemon"}

# What ThreadPoolExecutor does with its tasks in these does not depend on who is faster.
PREDICTABLE = {"idle", "busy_in_python", "busy_in_c", "result", "loop"}
# The process ends at once.
ABRUPT = ("os_exit", "sigterm")
SIGNALS = {"sigint": 1, "sigint_twice": 2, "sigterm_raises": 1, "fork_in_a_handler": 1}

Case = tuple[str, str, str]


def slice_of_all() -> list[Case]:
    """Few cases: each exit, fork, state and face is in one of them, or in more."""
    moments = [*EXITS, "fork_in_main", "fork_in_a_worker", "fork_in_a_handler"]
    return [(moments[number % len(moments)], state, FACES[number % len(FACES)]) for number, state in enumerate(STATES)]


WHOLE = bool(os.environ.get("PYANTS_LIFE_CYCLE"))
CASES: list[Case] = list(itertools.product(MOMENTS, STATES, FACES)) if WHOLE else slice_of_all()

# What stderr may tell, in kind.
KINDS = {
    "KeyboardInterrupt": "Ctrl-C",
    "ValueError: of the program": "the program's exception",
    "accepted tasks are cancelled": "cancelled at exit",
    "accepted task is cancelled": "cancelled at exit",
    "Exception ignored": "an exception at exit",
}


@dataclass
class Outcome:
    status: int
    tasks: dict[str, Counter[int]]
    told: set[str]
    text: str

    def count(self, kind: str) -> int:
        return self.tasks.get(kind, Counter()).total()

    def of(self, kind: str) -> set[int]:
        return set(self.tasks.get(kind, ()))


def run(moment: str, state: str, face: str) -> Outcome:
    status, stdout, stderr = end_of_program("process/life_cycle.py", "run", moment, state, face)
    tasks: dict[str, Counter[int]] = {}
    for line in stdout.splitlines():
        kind, *words = line.split()
        tasks.setdefault(kind, Counter())[int(words[0]) if words and words[0].isdigit() else 0] += 1
    told = {kind for text, kind in KINDS.items() if text in stderr}
    text = f"{moment} {state} {face}: status {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
    return Outcome(status, tasks, told, text)


@functools.cache
def peer(moment: str, state: str) -> Outcome:
    return run(moment, state, "ThreadPoolExecutor")


@pytest.mark.parametrize(("moment", "state", "face"), CASES, ids=map("-".join, CASES))
def test_life_cycle(moment: str, state: str, face: str) -> None:
    outcome = run(moment, state, face)
    check(outcome, moment, state, face)
    if WHOLE and moment in EXITS and state not in NOT_A_PEERS:
        theirs = peer(moment, state)
        check(theirs, moment, state, "ThreadPoolExecutor")
        compare(outcome, theirs, moment, state, face)


def status_of(moment: str, state: str, face: str) -> int:
    # Ctrl-C ends the wait for calls that never end, and with it the block.
    ends_a_block = face == "TaskGroup" and state.startswith("never") and moment not in ("os_exit", "sigterm")
    return -2 if ends_a_block else MOMENTS[moment]


def check(outcome: Outcome, moment: str, state: str, face: str) -> None:
    """What holds of every case, and of ThreadPoolExecutor too."""
    text = outcome.text
    assert outcome.status == status_of(moment, state, face), text
    if moment in EVENTS:
        assert "child ended with 0\n" in text, text
    begun, ran, cancelled = outcome.of("begun"), outcome.of("ran"), outcome.of("cancelled")
    accepted, held = outcome.of("accepted"), outcome.of("held")
    # Never twice.
    for kind in ("begun", "ran", "cancelled"):
        assert outcome.count(kind) == len(outcome.of(kind)), text
    assert not outcome.of("refused") & begun, text
    assert not cancelled & begun, text
    if moment in ABRUPT:
        return
    # Nothing is lost silently.
    if face != "ThreadPoolExecutor":
        assert accepted <= begun | cancelled or "cancelled at exit" in outcome.told, text
    if state.startswith("never"):
        # The process ends as soon as its user wants it to: in a block that waits, a second time for its calls.
        most = SIGNALS.get(moment, 0) + (3 if face in ("TaskGroup", "AsyncPool") else 1)
        assert outcome.count("signal") <= most, text
    elif moment != "sigint_twice":
        # A task that begins ends, one that was accepted is run or cancelled, and one that was not does not run.
        assert ran == begun, text
        assert accepted <= ran | cancelled, text
        assert begun <= accepted | held, text


def compare(ours: Outcome, theirs: Outcome, moment: str, state: str, face: str) -> None:
    """Holds one of ours against ThreadPoolExecutor, which does not say what it leaves undone at exit."""
    both = f"{ours.text}\n\n=== and\n\n{theirs.text}"
    if not (face == "TaskGroup" and state == "never"):
        assert ours.status == theirs.status, both
    # Where ours waits for its calls at the end of a block, or of a loop, the second Ctrl-C ends that wait.
    if moment != "sigint_twice" or (face not in ("TaskGroup", "AsyncPool") and state != "loop"):
        assert ours.told - {"cancelled at exit"} == theirs.told, both
    if face == "PoolExecutor" and moment not in ("sigint_twice", *ABRUPT) and state in PREDICTABLE:
        for kind in ("accepted", "refused", "begun", "ran", "cancelled", "got", "missed"):
            assert ours.count(kind) == theirs.count(kind), f"{kind}: {both}"
