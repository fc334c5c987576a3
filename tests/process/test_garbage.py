"""A pool keeps no argument or function longer than it needs it, and nothing keeps a dropped pool alive."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
from support import KINDS, Face, Gate, Kind, Sum, ignore, nap, wait_equal, wait_until

from pyants import Pool, PoolClosedError, PoolOverloadError


class Thing:
    """An object to which weak references can be made."""


@pytest.mark.parametrize("kind", KINDS)
def test_weak_references(kind: Kind) -> None:
    face = Face(kind, 1, nap)
    reference = weakref.ref(face.pool)
    assert reference() is face.pool
    face.put(0.001)
    face.pool.release_timeout(10)
    del face

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_let_go_of_when_the_task_is_done(kind: Kind) -> None:
    references: list[weakref.ref[Thing]] = []
    face = Face(kind, 2, lambda _: None, disable_purge=True)
    with face.pool as pool:
        for _ in range(20):
            thing = Thing()
            references.append(weakref.ref(thing))
            face.put(thing)
            del thing
        assert pool.wait_idle(10)
        # The workers are alive and idle, and keep no reference.
        wait_until(lambda: all(reference() is None for reference in references))
        assert pool.running() >= 1


def test_function_and_keywords_are_let_go_of_too() -> None:
    with Pool(1, disable_purge=True, panic_handler=ignore) as pool:
        fn, key, raising = Thing(), Thing(), Thing()
        references = [weakref.ref(each) for each in (fn, key, raising)]

        def task(*, key: Thing, fn: Thing = fn) -> None: ...

        def fail(thing: Thing) -> None:
            raise ValueError(thing)

        pool.submit(task, key=key)
        pool.submit(fail, raising)
        assert pool.wait_idle(10)
        del fn, key, raising, task

        def are_gone() -> bool:
            gc.collect()
            return all(reference() is None for reference in references)

        wait_until(are_gone)


def test_a_refused_task_is_let_go_of() -> None:
    with Pool(1, nonblocking=True) as pool, Gate() as gate:
        pool.submit(gate.hold)
        thing = Thing()
        reference = weakref.ref(thing)
        with pytest.raises(PoolOverloadError):
            pool.submit(nap, thing)  # type: ignore[arg-type]
        assert not pool.try_submit(nap, thing)  # type: ignore[arg-type]
        pool.release()
        with pytest.raises(PoolClosedError):
            pool.submit(nap, thing)  # type: ignore[arg-type]
        del thing

        def is_gone() -> bool:
            gc.collect()
            return reference() is None

        wait_until(is_gone)


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="counts are exact with the GIL only")
@pytest.mark.thread_unsafe(reason="counts references")
def test_reference_counts_are_as_before() -> None:
    thing, fn = Thing(), Sum().add
    with Pool(2, disable_purge=True) as pool:
        before = sys.getrefcount(thing), sys.getrefcount(fn), sys.getrefcount(None)

        def use(_: object, **__: object) -> None: ...

        for _ in range(1000):
            pool.submit(use, thing, key=thing)
            pool.submit(fn)
        assert pool.wait_idle(10)
        wait_until(lambda: (sys.getrefcount(thing), sys.getrefcount(fn)) == before[:2])
        # None is immortal since 3.12; before, a reference too many or too few would show.
        assert abs(sys.getrefcount(None) - before[2]) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_in_a_cycle_is_collected(kind: Kind) -> None:
    class Owner:
        def __init__(self) -> None:
            self.face = Face(kind, 1, self.work, panic_handler=self.report)

        def work(self, _: object) -> None: ...

        def report(self, _: BaseException) -> None: ...

    owner = Owner()
    reference = weakref.ref(owner)
    owner.face.put(None)
    owner.face.pool.release_timeout(10)
    del owner

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    wait_until(is_gone)


@pytest.mark.ants("D6")
@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_pool_finishes_its_tasks_and_lets_its_threads_go(kind: Kind) -> None:
    done = Sum()
    ended: list[weakref.ref[Thing]] = []
    gate = Gate()

    def task(thing: object) -> None:
        assert isinstance(thing, Thing)
        gate.hold()
        done.add()

    face = Face(kind, 2, task, queue_size=10, disable_purge=True)
    for _ in range(6):
        thing = Thing()
        ended.append(weakref.ref(thing))
        face.put(thing)
        del thing
    gate.wait_entered(2)
    del face
    gc.collect()
    assert done.value == 0
    gate.open()
    wait_equal(lambda: done.value, 6)
    wait_until(lambda: all(reference() is None for reference in ended))
