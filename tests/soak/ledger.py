"""The ledger of a soak: every call that was offered to a pool, and what became of it."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator

# What is noted of a task. Lists are only ever appended to, which is atomic on every build.
ACCEPTED = "accepted"
REFUSED = "refused"
UNKNOWN = "unknown"  # A signal handler raised in the submit, an item of a map, a call of a loop: it may run or not.
BEGUN = "begun"
RETURNED = "returned"
RAISED = "raised"


class Task:
    """One call."""

    def __init__(self, number: str, deed: Callable[[Task], object]) -> None:
        self.number = number
        self.deed = deed
        self.events: list[str] = []
        # Whether the pool counts it as a task: it does not count the items of a map.
        self.is_counted = True
        # Whether its exception goes to the handler or the log, once. None: at most once.
        self.is_to_be_told: bool | None = False
        # Of a call of a loop: whether its exception was raised to the caller. If not it must be told, sooner or later.
        self.is_of_loop = False
        self.is_received = False
        self.future: concurrent.futures.Future[Any] | None = None
        self.result: object = None
        self.error: BaseException | None = None

    def run(self, *_: object) -> object:
        """What the pool calls."""
        self.events.append(BEGUN)
        try:
            result = self.deed(self)
        except BaseException as error:
            self.error = error
            self.events.append(RAISED)
            raise
        self.events.append(RETURNED)
        return result

    __call__ = run

    def has(self, event: str) -> bool:
        return event in self.events

    def __repr__(self) -> str:
        return f"<task {self.number} {getattr(self.deed, '__qualname__', self.deed)} {self.events}>"


def run_task(task: Task) -> object:
    """The function of the pools that have one, and of maps."""
    return task.run()


class Ledger:
    """The tasks of one pool."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        # The exceptions that the handler or the logger got.
        self.told: list[BaseException] = []
        # One entry for each refusal for want of a permit, of a kind that the pool counts.
        self.rejections: list[Task] = []
        # Whether other calls were refused too, of which nothing is known here.
        self.has_unknown_rejections = False
        self.has_maps = False
        self.has_loops = False
        # Whether signals interrupt calls, and with them the reports that those cause.
        self.has_signals = False
        # What was found wrong on the way.
        self.wrong: list[str] = []

    def enter(self, number: str, deed: Callable[[Task], object]) -> Task:
        task = Task(number, deed)
        self.tasks.append(task)
        return task

    def count(self, *events: str) -> int:
        return sum(all(map(task.has, events)) for task in self.tasks if task.is_counted)

    def _unknown(self) -> int:
        """How many tasks the pool may have accepted or not; a signal handler can also raise before that is noted."""
        return sum(
            task.has(UNKNOWN) or (task.has(BEGUN) and not task.has(ACCEPTED)) for task in self.tasks if task.is_counted
        )

    def is_settled(self) -> bool:
        """Whether each task that began has ended."""
        return all(task.has(RETURNED) or task.has(RAISED) for task in self.tasks if task.has(BEGUN))

    def is_done(self) -> bool:
        """Whether each task that was accepted has ended and, if it raised, was reported. For pools that never break."""
        told = set(map(id, self.told))
        return self.is_settled() and all(
            task.has(RETURNED) or id(task.error) in told for task in self.tasks if task.has(ACCEPTED)
        )

    def untold(self) -> list[Task]:
        """The calls of loops whose exception was neither raised to the caller nor reported yet."""
        told = set(map(id, self.told))
        return [
            task
            for task in self.tasks
            if task.is_of_loop and task.has(RAISED) and not task.is_received and id(task.error) not in told
        ]

    def faults(self) -> Iterator[str]:
        """What does not balance, when everything is done."""
        told = collections.Counter(map(id, self.told))
        for task in self.tasks:
            for fault in _faults_of(task, told[id(task.error)] if task.error is not None else 0):
                yield f"{fault}: {task}"

    def faults_of_stats(self, stats: Any, before: Any) -> Iterator[str]:
        """What does not agree with the pool's own counters, when it is at rest."""
        submitted, completed, failed, cancelled, rejected = (
            getattr(stats, name) - getattr(before, name)
            for name in ("submitted", "completed", "failed", "cancelled", "rejected")
        )
        if submitted != completed + failed + cancelled or (stats.busy, stats.queued, stats.waiting) != (0, 0, 0):
            yield "not at rest, or it does not add up"
        if failed != self.count(RAISED):
            yield f"{failed} failed, but {self.count(RAISED)} raised"
        returned = self.count(RETURNED)
        if completed < returned or (completed > returned and not self.has_maps):
            yield f"{completed} completed, but {returned} returned"
        accepted, unknown = self.count(ACCEPTED), self._unknown()
        if submitted < accepted or (submitted > accepted + unknown and not self.has_maps):
            yield f"{submitted} submitted, but {accepted} accepted and {unknown} unknown"
        if not (unknown or self.has_maps or self.has_loops):
            never = accepted - self.count(ACCEPTED, BEGUN)
            if cancelled != never:
                yield f"{cancelled} cancelled, but {never} accepted and never begun"
        rejections = len(self.rejections)
        if rejected < rejections or (rejected > rejections and not self.has_unknown_rejections):
            yield f"{rejected} rejected, but {rejections} refused"


def _faults_of(task: Task, told: int) -> Iterator[str]:
    events = collections.Counter(task.events)
    begun = events[BEGUN]
    if begun > 1:
        yield "run twice"
    if events[RETURNED] + events[RAISED] != begun:
        yield "not ended"
    if events[ACCEPTED] + events[REFUSED] + events[UNKNOWN] > 1:
        yield "more than one answer"
    if events[REFUSED] and begun:
        yield "refused, and run"
    expected = task.is_to_be_told
    if told != (expected and events[RAISED]) if expected is not None else told + task.is_received > events[RAISED]:
        yield f"its exception was reported {told} times"
    future = task.future
    if future is None:
        return
    if not future.done():
        yield "its future is not done"
    elif future.cancelled():
        if begun:
            yield "cancelled, and run"
    else:
        error = future.exception()
        if error is not task.error and begun:
            yield f"its future has {error!r}, not {task.error!r}"
        if error is None and not begun:
            yield "its future has a result, and it did not run"
        if error is None and task.result is not None and future.result() is not task.result:
            yield f"its future has {future.result()!r}, not {task.result!r}"


def ids(errors: Iterable[BaseException]) -> list[int]:
    """For comparing exceptions by identity, in any order."""
    return sorted(map(id, errors))
