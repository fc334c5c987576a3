"""A sequential model of a pool, for the state machines of test_machine.py, and what those have in common.

After each step everything comes to rest: a call is over, or held by its gate, or it waits. What a pool looks like then
does not depend on how its threads took turns, so the model knows it: which calls run, are queued, wait, are done, and
the numbers of `stats()`. Each rule does one step to the pool and to the model, and waits until they agree.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)
from support import DEADLINE, TICK, Background

from pyants import (
    PoolClosedError,
    PoolDeadlockError,
    PoolOverloadError,
    PoolTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# The runs of each machine: few in the suite, and the same each time; PYANTS_MACHINE=2000 makes so many, at random.
RUNS = int(os.environ.get("PYANTS_MACHINE", "0"))
STEPS = int(os.environ.get("PYANTS_MACHINE_STEPS", "40"))
# How long a step may take to come to rest. A failure is repeated many times while it is made smaller.
PATIENCE = float(os.environ.get("PYANTS_MACHINE_PATIENCE", DEADLINE))

TINY = 0.0005
UNLIMITED = 1 << 40


class OnPurpose(Exception):
    """What calls raise that are to fail."""


State = Literal["new", "waiting", "queued", "running", "blocked", "done", "failed", "cancelled", "refused"]
# What the caller of a submit sees.
Outcome = Literal["accepted", "waits"] | type[BaseException]


BEGUN = ("running", "blocked", "done", "failed")


class Call:
    """A call: it waits for its gate, then submits its child or waits for another's result, then returns or raises."""

    def __init__(self, number: int, *, gated: bool, fails: bool, child: Call | None = None) -> None:
        self.number = number
        self.gate = threading.Event()
        self.fails = fails
        self.child = child
        # Another call whose result it asks for.
        self.other: Call | None = None
        # What really happened.
        self.begun = 0
        self.ended = 0
        self.thread = ""
        self.error: BaseException | None = None
        self.future: Any = None
        # What should have happened.
        self.state: State = "new"
        self.is_cancelled = False
        self.place = 0
        self.raises: type[BaseException] | None = None
        if not gated:
            self.gate.set()

    @property
    def is_open(self) -> bool:
        return self.gate.is_set()

    def __repr__(self) -> str:
        nested = f" > {self.child}" if self.child else f" ? {self.other.number}" if self.other else ""
        opened = "" if self.is_open else " gated"
        fails = " fails" if self.fails else ""
        return f"<{self.number} {self.state}{opened}{fails} begun {self.begun} ended {self.ended}{nested}>"


@dataclass
class Options:
    """The pool that a machine drives."""

    capacity: int
    queue_size: int | None = 0
    nonblocking: bool = False
    max_blocking: int = 0
    # How many pools it has; 0: it is no MultiPool.
    pools: int = 0
    strategy: int = 2
    # Seconds after which idle workers leave.
    expiry: float = 1.0
    stays: bool = True
    pre_alloc: bool = False

    def keywords(self) -> dict[str, Any]:
        """Those that pools and executors are made with alike."""
        return {
            "queue_size": self.queue_size,
            "nonblocking": self.nonblocking,
            "max_blocking_tasks": self.max_blocking,
            "expiry_duration": self.expiry,
            "disable_purge": self.stays,
        }


@dataclass
class Numbers:
    """What a pool counts."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0


@dataclass
class Model:
    """A pool, or several behind one front, none of which has a queue then. A step is followed by `settle`."""

    options: Options
    capacity: int = 0
    is_closed: bool = False
    running: list[Call] = field(default_factory=list[Call])
    queue: deque[Call] = field(default_factory=deque[Call])
    # Calls that wait for a permit, with the calls that submit them.
    waiters: deque[tuple[Call, Call | None]] = field(default_factory=deque[tuple[Call, "Call | None"]])
    # Those of the running calls that wait for the pool, for a permit or a result, in the order in which they began to.
    blocked: list[Call] = field(default_factory=list[Call])
    # The one that began to in this step.
    newest: Call | None = None
    numbers: Numbers = field(default_factory=Numbers)
    # The calls that began in the last step; whether they must have begun in this order.
    begun: list[Call] = field(default_factory=list[Call])
    in_order: bool = True
    # Finds which of these calls was told of a deadlock.
    find_told: Callable[[list[Call]], Call] = field(default=lambda blocked: blocked[-1])

    def __post_init__(self) -> None:
        self.capacity = self.options.capacity

    @property
    def places(self) -> int:
        return max(1, self.options.pools)

    @property
    def is_unlimited(self) -> bool:
        return self.options.capacity <= 0

    @property
    def in_flight(self) -> int:
        return len(self.running) + len(self.queue)

    def busy_at(self, place: int) -> int:
        return sum(call.place == place for call in self.running)

    def free_at(self, place: int) -> int:
        """How many more tasks may run there."""
        return UNLIMITED if self.is_unlimited else max(0, self.capacity - self.busy_at(place))

    def permits(self) -> int:
        if self.is_unlimited or self.options.queue_size is None:
            return UNLIMITED
        if self.options.pools:
            return sum(map(self.free_at, range(self.places))) - len(self.queue)
        return self.capacity + self.options.queue_size - self.in_flight

    def submit(self, call: Call, *, may_wait: bool, parent: Call | None = None) -> Outcome:
        """A call is submitted. Where it does not wait it has been refused, and is counted as such."""
        if self.is_closed:
            call.state = "refused"
            return PoolClosedError
        if not self.waiters and self.permits() > 0:
            self.accept(call)
            return "accepted"
        most = self.options.max_blocking * self.places
        if self.options.nonblocking or (most and len(self.waiters) >= most):
            self.reject(call)
            return PoolOverloadError
        if not may_wait:
            self.reject(call)
            return PoolTimeoutError
        call.state = "waiting"
        self.waiters.append((call, parent))
        return "waits"

    def reject(self, call: Call) -> None:
        call.state = "refused"
        self.numbers.rejected += 1

    def accept(self, call: Call) -> None:
        call.state = "queued"
        self.queue.append(call)

    def end(self, call: Call, error: type[BaseException] | None = None) -> None:
        """A running call ends, with its own exception or with this one."""
        self.running.remove(call)
        if call in self.blocked:
            self.blocked.remove(call)
        call.raises = error or (OnPurpose if call.fails else None)
        call.state = "failed" if call.raises else "done"
        if call.raises:
            self.numbers.failed += 1
        else:
            self.numbers.completed += 1

    def block(self, call: Call) -> None:
        call.state = "blocked"
        self.blocked.append(call)
        self.newest = call

    def go_on(self, call: Call) -> bool:
        """An open call takes its next step; returns whether it could."""
        if call.state == "running" and call.child and call.child.state == "new":
            outcome = self.submit(call.child, may_wait=True, parent=call)
            if outcome == "waits":
                self.block(call)
            else:
                self.end(call, None if outcome == "accepted" else outcome)
        elif call.state == "running" and call.other:
            if not self.ask(call, call.other):
                self.block(call)
        elif call.state == "running":
            self.end(call)
        elif call.state == "blocked" and call.other:
            return self.ask(call, call.other)
        else:
            return False
        return True

    def ask(self, call: Call, other: Call) -> bool:
        """A call asks for the result of another; `False`: there is none yet."""
        if other.is_cancelled:
            self.end(call, concurrent.futures.CancelledError)
        elif other.state in ("done", "failed"):
            self.end(call, other.raises)
        else:
            return False
        return True

    def settle(self) -> None:
        """Everything that can happen by itself happens."""
        self.begun, self.in_order, self.newest = [], True, None
        while self.move() or self.break_deadlock():
            pass

    def move(self) -> bool:
        moved = False
        for call in [call for call in self.running if call.is_open]:
            if call in self.running:
                moved |= self.go_on(call)
        while self.waiters and self.permits() > 0:
            call, parent = self.waiters.popleft()
            self.accept(call)
            if parent:
                self.end(parent)
            moved = True
        while self.queue:
            place = max(range(self.places), key=self.free_at)
            free = self.free_at(place)
            if not free:
                break
            call = self.queue.popleft()
            moved = True
            if call.is_cancelled:
                call.state = "cancelled"
                self.numbers.cancelled += 1
                continue
            # With one worker to run them, calls begin in the order of the queue.
            self.in_order &= free == 1 and self.places == 1
            call.state, call.place = "running", place
            self.running.append(call)
            self.begun.append(call)
        return moved

    def break_deadlock(self) -> bool:
        """If no call can end, one of them is told.

        It is the one that has just begun to wait for the pool; or else, the hope for another worker being gone, the
        last that began to wait for a permit. Where one waits for a result nobody sees when it began to: then it may be
        any.
        """
        is_stuck = (
            self.blocked
            and len(self.blocked) == len(self.running)
            and all(self.free_at(place) == 0 for place in range(self.places))
        )
        if not is_stuck:
            return False
        submitting = [call for call in self.blocked if call.child]
        if submitting != self.blocked:
            call = self.find_told(self.blocked)
        else:
            call = self.newest if self.newest in self.blocked else submitting[-1]
        if call.child:
            self.waiters = deque(waiter for waiter in self.waiters if waiter[1] is not call)
            self.reject(call.child)
        self.end(call, PoolDeadlockError)
        return True

    def close(self) -> None:
        self.is_closed = True
        for call, parent in self.waiters:
            call.state = "refused"
            if parent:
                self.end(parent, PoolClosedError)
        self.waiters.clear()

    def tune(self, capacity: int) -> None:
        if capacity > 0 and not self.is_unlimited and not self.options.pre_alloc:
            self.capacity = capacity


# Of calls that submit another only one goes on at a time: of several, chance would decide which is told of a deadlock.
KINDS = ("held", "held", "quick", "raising", "held nesting", "held nesting held")


class Machine(RuleBasedStateMachine):
    """The rules and checks that pools and executors have in common. Nothing that is drawn depends on the pool, whose
    threads take turns as they like.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.submitters: list[tuple[Call, Background[Any]]] = []
        # In the order in which they began, and raised.
        self.order: list[Call] = []
        self.raised: list[Call] = []
        self.lock = threading.Lock()
        self.is_sound = True
        self.failures: list[BaseException] = []
        self.model: Model
        self.pool: Any

    # What a subclass does by its own interface.

    def put(self, call: Call) -> None:
        raise NotImplementedError

    def try_put(self, call: Call) -> bool:
        raise NotImplementedError

    def put_within(self, seconds: float, call: Call) -> None:
        raise NotImplementedError

    def is_pool_closed(self) -> bool:
        return self.model.is_closed

    def look_at(self, call: Call) -> None:
        """Checks a call that is at rest."""

    def look_at_all(self) -> None:
        """Checks the whole that is at rest."""

    # What the calls do.

    def run(self, call: Call) -> int:
        with self.lock:
            call.thread = threading.current_thread().name
            self.order.append(call)
            call.begun += 1  # Last: the machine sees this first.
        try:
            if not call.gate.wait(DEADLINE):
                raise AssertionError(f"nobody opened the gate of {call}")
            if call.child:
                self.put(call.child)
            if call.other:
                call.other.future.result()
            if call.fails:
                raise OnPurpose(call.number)
        except BaseException as error:
            call.error = error
            self.raised.append(call)
            raise
        finally:
            call.ended += 1
        return call.number

    def new_call(self, kind: str) -> Call:
        """A call that has not been submitted."""
        child = None
        # (One of a nonblocking pool might be refused for a moment after a call has ended.)
        if "nesting" in kind and not self.model.options.nonblocking:
            child = self.new_call("held" if kind.endswith("held") else "quick")
        call = Call(len(self.calls), gated=kind.startswith("held"), fails=kind == "raising", child=child)
        self.calls.append(call)
        return call

    def pick(self, index: int, *states: State) -> Call | None:
        """One of the calls that are still closed and in one of these states."""
        calls = [
            call
            for call in self.calls
            if call.state in states and not call.is_open and (call.state == "running" or not (call.child or call.other))
        ]
        return calls[index % len(calls)] if calls else None

    # The rules.

    @rule(kind=st.sampled_from(KINDS))
    def submit(self, kind: str) -> None:
        """Submits where that does not block, else from a thread of its own."""
        call = self.new_call(kind)
        outcome = self.model.submit(call, may_wait=True)
        if outcome == "accepted":
            self.insist(call, lambda: self.put(call))
        elif outcome == "waits":
            self.submitters.append((call, Background(lambda: self.put(call))))
        else:
            self.must_raise(outcome, lambda: self.put(call))

    @rule(kind=st.sampled_from(KINDS))
    def submit_within_long(self, kind: str) -> None:
        """As submit, with a time limit that is not reached."""
        call = self.new_call(kind)
        outcome = self.model.submit(call, may_wait=True)
        if outcome == "accepted":
            self.insist(call, lambda: self.put_within(DEADLINE, call))
        elif outcome == "waits":
            self.submitters.append((call, Background(lambda: self.put_within(DEADLINE, call))))
        else:
            self.must_raise(outcome, lambda: self.put_within(DEADLINE, call))

    @rule(kind=st.sampled_from(KINDS))
    def submit_within_no_time(self, kind: str) -> None:
        call = self.new_call(kind)
        outcome = self.model.submit(call, may_wait=False)
        if outcome == "accepted":
            self.insist(call, lambda: self.put_within(TINY, call))
        elif isinstance(outcome, type):
            self.must_raise(outcome, lambda: self.put_within(TINY, call))

    @rule(kind=st.sampled_from(KINDS))
    def try_submit(self, kind: str) -> None:
        call = self.new_call(kind)
        outcome = self.model.submit(call, may_wait=False)
        if outcome == "accepted":

            def insist() -> None:
                if not self.try_put(call):
                    raise PoolOverloadError

            self.insist(call, insist)
        elif outcome is PoolClosedError:
            self.must_raise(PoolClosedError, lambda: self.try_put(call))
        else:
            assert self.try_put(call) is False

    @rule(index=st.integers(0, 15), fails=st.booleans())
    def open(self, index: int, fails: bool) -> None:
        """Opens the gate of a call, which may still wait or be queued."""
        if call := self.pick(index, "running", "queued", "waiting"):
            call.fails |= fails
            call.gate.set()

    @rule(index=st.integers(0, 15))
    def open_running(self, index: int) -> None:
        if call := self.pick(index, "running"):
            call.gate.set()

    @rule(counts=st.integers(1, 4))
    def open_several(self, counts: int) -> None:
        """Opens gates in a row: what they free is shared out meanwhile."""
        for call in [call for call in self.calls if call.state == "running" and not call.child and not call.other][
            :counts
        ]:
            call.gate.set()

    @rule(capacity=st.integers(0, 5))
    def tune(self, capacity: int) -> None:
        self.model.tune(capacity)
        self.pool.tune(capacity)
        expected = -1 if self.model.is_unlimited else self.model.capacity * self.model.places
        assert self.pool.cap() == expected

    @rule()
    def wait_idle(self) -> None:
        if self.model.in_flight or self.model.waiters:
            assert self.pool.wait_idle(TINY) is False
        else:
            assert self.pool.wait_idle(PATIENCE) is True
            stats = self.pool.stats()
            assert (stats.busy, stats.queued, stats.waiting) == (0, 0, 0), stats
            assert self.pool.wait_idle(0) is True

    # After each rule.

    def insist(self, call: Call, put: Callable[[], object]) -> None:
        """A submit that must succeed. A call that ended a moment ago may not have left its permit yet: then it is
        refused, and counted so, and tried again.
        """
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                put()
                return
            except (PoolOverloadError, PoolTimeoutError) as error:
                self.check(time.monotonic() < limit, f"{call} should be accepted, but: {error!r}")
                self.model.numbers.rejected += 1

    def must_raise(self, expected: type[BaseException], put: Callable[[], object]) -> None:
        try:
            given = put()
        except BaseException as error:
            self.check(type(error) is expected, f"{error!r}, not {expected}")
        else:
            self.check(False, f"{given!r}, not {expected}")

    def expected(self) -> dict[str, object]:
        model, numbers = self.model, self.model.numbers
        in_flight = {"busy": len(model.running), "queued": len(model.queue)}
        ends = {"completed": numbers.completed, "failed": numbers.failed, "cancelled": numbers.cancelled}
        return {
            **in_flight,
            **ends,
            "submitted": sum(in_flight.values()) + sum(ends.values()),
            "waiting": len(model.waiters),
            "rejected": numbers.rejected,
            "begun": [call.number for call in self.calls if call.state in BEGUN],
            "ended": [call.number for call in self.calls if call.state in ("done", "failed")],
        }

    def seen(self) -> dict[str, object]:
        stats = self.pool.stats()
        names = ("busy", "queued", "completed", "failed", "cancelled", "submitted", "waiting", "rejected")
        seen: dict[str, object] = {name: getattr(stats, name) for name in names}
        seen["begun"] = [call.number for call in self.calls if call.begun]
        seen["ended"] = [call.number for call in self.calls if call.ended]
        return seen

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.is_sound = False
            raise AssertionError(f"{what}; {self.report()}")

    def report(self) -> str:
        expected, seen = self.expected(), self.seen()
        differing = {name: (seen[name], expected[name]) for name in expected if seen[name] != expected[name]}
        return f"(is, should be): {differing}; {self.pool}; {self.pool.stats()}; {self.model}"

    @invariant()
    def comes_to_rest(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        model.find_told = self.find_told
        model.settle()
        self.soon(lambda: self.seen() == self.expected(), "it comes to rest")
        pool, stats, check = self.pool, self.pool.stats(), self.check
        check(pool.waiting() == len(model.waiters), "waiting()")
        check(pool.queued() == len(model.queue), "queued()")
        check(pool.is_closed() == self.is_pool_closed(), "is_closed()")
        busy = len(model.running)
        check(stats.idle == max(0, stats.running - busy), f"idle in {stats}")
        check(busy <= pool.running() and busy <= stats.peak_running <= stats.spawned, "running() and its peak")
        # Surplus idle workers leave at once, as do all those of a closed pool.
        if self.is_pool_closed():
            self.soon(lambda: pool.running() == busy, "idle workers of a closed pool leave")
        elif model.is_unlimited:
            check(pool.free() == -1, "free() of an unlimited pool")
        else:
            most = sum(max(model.capacity, model.busy_at(place)) for place in range(model.places))
            self.soon(lambda: pool.running() <= most, f"there are {most} workers at most")
            self.soon(lambda: pool.free() == pool.cap() - pool.running(), "free() is what is left")
        self.look_at_submitters()
        if model.in_order:
            began = self.order[len(self.order) - len(model.begun) :]
            check(began == model.begun, f"{began} began, not {model.begun}")
        for call in self.calls:
            if call.state == "running" and not call.is_open and model.places > 1:
                call.place = int(call.thread.rsplit("_", 1)[0].rsplit("-", 1)[1])
            check(call.begun == (call.state in BEGUN), f"how often {call} ran")
            if call.state in ("done", "failed"):
                check(call.ended == 1, f"how often {call} ended")
                check(
                    (type(call.error) if call.error else None) is call.raises, f"{call}: {call.error!r}, {call.raises}"
                )
            self.look_at(call)
        self.look_at_all()

    def find_told(self, blocked: list[Call]) -> Call:
        told: list[Call] = []

        def find() -> bool:
            # One that asks for the result of the one that was told raises the same exception.
            told[:] = [
                call
                for call in list(self.raised)
                if call in blocked
                and isinstance(call.error, PoolDeadlockError)
                and not (call.other and call.error is call.other.error)
            ]
            return bool(told)

        self.soon(find, "one is told of the deadlock")
        return told[0]

    def look_at_submitters(self) -> None:
        """Each thread that submits is blocked, or has returned, or was told that the pool is closed."""
        waiting: list[tuple[Call, Background[Any]]] = []
        for call, submitter in self.submitters:
            if call.state == "waiting":
                self.check(submitter.is_alive(), f"{call} waits")
                waiting.append((call, submitter))
                continue
            self.soon(lambda: not submitter.is_alive(), f"the submitter of {call} returns")  # noqa: B023 - called at once
            if call.state == "refused":
                self.must_raise(PoolClosedError, submitter.result)
            else:
                submitter.result()
        self.submitters = waiting

    def soon(self, condition: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not condition():
            self.check(time.monotonic() < limit, f"not so in time: {what}")
            time.sleep(TICK / 4)

    def teardown(self) -> None:
        """Everything comes to its end."""
        if not hasattr(self, "model"):
            return
        # One by one, as chance would decide otherwise which of those that wait for the pool is told of a deadlock.
        while self.is_sound and (held := self.pick(0, "running")):
            held.gate.set()
            self.comes_to_rest()
        for call in self.calls:
            call.gate.set()
        if self.is_sound:
            self.check(self.pool.wait_idle(PATIENCE), "it is idle in the end")
            self.finish()
        else:
            self.pool.release()

    def finish(self) -> None:
        """Closes the pool."""


def run_machine(machine: Callable[[], Machine], runs: int) -> None:
    """Runs a machine so many times, or as often as PYANTS_MACHINE says."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=RUNS or runs,
            stateful_step_count=STEPS,
            derandomize=not RUNS,
            database=None,
            deadline=None,
            phases=[Phase.generate] if os.environ.get("PYANTS_MACHINE_RAW") else list(Phase),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
