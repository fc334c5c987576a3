"""The programs of tests/executor/test_patched.py: submit() of CPython's class is patched, before or after an import."""

from __future__ import annotations

import contextvars
import functools
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from program import keep_locals, main

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

parent: contextvars.ContextVar[str | None] = contextvars.ContextVar("parent", default=None)
spans: list[object] = []
patched: Any = ThreadPoolExecutor


# --- patches as wrapt makes them (OpenTelemetry, ddtrace) and with functools.wraps (Sentry) ---
# They call the wrapped method with a function that sets a context variable around the call.


def in_span(span: str | None, fn: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        token = parent.set(span)
        try:
            return fn(*args, **kwargs)
        finally:
            parent.reset(token)

    return run


class Bound:
    def __init__(self, wrapped: Any, instance: object) -> None:
        self.__wrapped__ = wrapped
        self.instance = instance

    def __call__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        spans.append(fn)
        future: Future[Any] = self.__wrapped__(in_span(parent.get(), fn), *args, **kwargs)
        future.add_done_callback(lambda _: None)
        return future


class Wrapper:
    def __init__(self, wrapped: Any) -> None:
        self.__wrapped__ = wrapped
        wrapper: Any = self
        functools.update_wrapper(wrapper, wrapped)

    def __get__(self, instance: object, owner: Any = None) -> Bound:
        return Bound(self.__wrapped__.__get__(instance, owner), instance)


def patch(how: str) -> None:
    original = vars(ThreadPoolExecutor)["submit"]

    @functools.wraps(original)
    def submit(self: object, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        spans.append(fn)
        return original(self, in_span(parent.get(), fn), *args, **kwargs)

    patched.submit = Wrapper(original) if how == "as wrapt" else submit


# --- the programs ---


def traced(_: object) -> str | None:
    return parent.get()


def check(executor: Any, count: int) -> None:
    """So many patches see each call by this executor, and by one of CPython's."""
    parent.set("span")
    ways: list[Callable[[], list[Any]]] = [
        lambda: [executor.submit(traced, 1).result(30)],
        lambda: [executor.try_submit(traced, 1).result(30)],
        lambda: [executor.submit_within(30, traced, 1).result(30)],
        lambda: [future.result(30) for future in executor.submit_many(traced, [1])],
        lambda: list(executor.map(traced, [1])),
        lambda: list(executor.map(traced, iter([1]))),
        lambda: list(executor.map_unordered(traced, [1])),
        lambda: list(executor.map(traced, [1], buffersize=1)),
    ]
    for way in ways:
        spans.clear()
        assert way() == ["span" if count else None]
        assert len(spans) == count, (spans, count)
    with executor.group(results=True) as group:
        group.submit(traced, 1)
    assert group.results() == ["span" if count else None]
    import pyants

    assert type(executor.submit(int)) is pyants.Future
    with ThreadPoolExecutor(1) as other:
        assert other.submit(traced, 1).result(30) == ("span" if count else None)
    parent.set(None)


def a_patch_takes_effect(how: str, order: str) -> None:
    if order == "before the import":
        patch(how)
    from pyants import Pool, PoolExecutor

    if order == "before the executor":
        PoolExecutor(1).submit(int).result(30)
        patch(how)
    executor = PoolExecutor.over(Pool(2)) if order == "over a pool" else PoolExecutor(2)
    if order in ("after the executor", "over a pool"):
        check(executor, 0)
        patch(how)
    check(executor, 1)
    refuses(executor)


def a_patch_that_is_made_twice_and_taken_back(how: str) -> None:
    from pyants import PoolExecutor

    executor = PoolExecutor(2)
    original = vars(ThreadPoolExecutor)["submit"]
    patch(how)
    once = vars(ThreadPoolExecutor)["submit"]
    patch(how)
    check(executor, 2)
    patched.submit = once
    check(executor, 1)
    patched.submit = original
    check(executor, 0)
    refuses(executor)


def refuses(executor: Any) -> None:
    from pyants import PoolClosedError

    executor.shutdown()
    try:
        executor.submit(int)
    except PoolClosedError as error:
        print(error)


def patched_calls_are_waited_for_and_refused_as_others() -> None:
    keep_locals()
    from support import Gate

    from pyants import PoolDeadlockError, PoolExecutor, PoolTimeoutError

    patch("as wrapt")
    executor = PoolExecutor(1, queue_size=0)
    gate = Gate()
    held = executor.submit(gate.hold)
    print(executor.try_submit(int))
    try:
        executor.submit_within(0.001, int)
    except PoolTimeoutError as error:
        print(type(error).__name__)
    gate.open()
    assert held.result(30) is None

    def submits_and_waits() -> int:
        return executor.submit(int).result()

    try:
        executor.submit(submits_and_waits).result(30)
    except PoolDeadlockError as error:
        print(type(error).__name__)


def a_patched_call_keeps_nothing_of_itself() -> None:
    from support import wait_until

    from pyants import PoolExecutor

    class Thing:
        pass

    def call(_: Thing) -> Thing:
        return Thing()

    patch("as function")
    gc.disable()
    with PoolExecutor(1) as executor:
        things = [Thing()]
        future = executor.submit(call, things[0])
        result = weakref.ref(future.result())
        thing = weakref.ref(things.pop())
        wait_until(lambda: thing() is None)
        del future
        executor.submit(int).result()  # The worker has let go of the call before.
        wait_until(lambda: result() is None)
        print("freed")


if __name__ == "__main__":
    main(globals())
