"""The worker threads as Python sees them: names, locals, tracing, initializers, stacks."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import re
import sys
import threading
import weakref

import pytest
from support import (
    KINDS,
    Background,
    Face,
    Gate,
    Kind,
    Latch,
    Sum,
    ignore,
    nap,
    occupy,
    own_logger,
    run_program,
    run_script,
    stack_size,
    wait_equal,
    wait_gone,
    wait_until,
)

from pyants import BrokenPoolError, MultiPool, Pool, PoolClosedError


def names_of(pool: Pool | MultiPool, count: int) -> set[str]:
    return set(occupy(pool, count).values())


def test_workers_are_named_after_their_pool_and_numbers_are_reused() -> None:
    with Pool(3, name="squad", expiry_duration=0.02) as pool:
        for _ in range(3):
            names = occupy(pool, 3)
            assert set(names.values()) == {"squad_0", "squad_1", "squad_2"}
            wait_gone(names)


def test_by_default_each_pool_has_a_name_of_its_own() -> None:
    with Pool(2) as first, Pool(2) as second:
        names = names_of(first, 2) | names_of(second, 2)
    assert len(names) == 4
    matches = [re.fullmatch(r"Pool-(\d+)_([01])", name) for name in names]
    assert len({match[1] for match in matches if match}) == 2
    assert all(match and int(match[1]) >= 1 for match in matches)


@pytest.mark.ants("B78")
def test_the_pools_of_a_multi_pool_are_numbered() -> None:
    with MultiPool(2, 2, name="many") as pool:
        assert names_of(pool, 4) == {"many-0_0", "many-0_1", "many-1_0", "many-1_1"}


@pytest.mark.parametrize("name", ["", "käfer", "x" * 300, "with space", "%s {0}"])
def test_any_text_is_a_name(name: str) -> None:
    with Pool(1, name=name) as pool:
        assert names_of(pool, 1) == {f"{name}_0"}


def test_a_worker_is_one_thread_to_python() -> None:
    seen: list[tuple[threading.Thread, int, int]] = []
    with Pool(1, disable_purge=True) as pool:
        for _ in range(3):
            pool.submit(
                lambda: seen.append((threading.current_thread(), threading.get_ident(), threading.get_native_id()))
            )
        assert pool.wait_idle(10)
    assert len({(id(thread), ident, native) for thread, ident, native in seen}) == 1
    thread, ident, _ = seen[0]
    assert thread.ident == ident
    assert thread is not threading.current_thread()


@pytest.mark.thread_unsafe(reason="counts the threads that threading knows")
def test_threads_that_have_left_are_forgotten() -> None:
    def known() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("forgotten")}

    for _ in range(5):
        with Pool(4, name="forgotten") as pool:
            assert len(names_of(pool, 4)) == 4
    wait_until(lambda: not known(), "that threading forgets them")


def test_thread_locals_live_as_long_as_the_worker() -> None:
    class Value:
        """An object that a worker can hold."""

    local = threading.local()
    references: list[weakref.ref[Value]] = []
    same: list[bool] = []

    def put() -> None:
        local.value = Value()
        references.append(weakref.ref(local.value))

    with Pool(1, disable_purge=True) as pool:
        pool.submit(put)
        pool.submit(lambda: same.append(local.value is references[0]()))
        assert pool.wait_idle(10)
        assert same == [True]

    def is_gone() -> bool:
        gc.collect()
        return references[0]() is None

    wait_until(is_gone)


def test_tasks_do_not_see_the_submitters_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")
    variable.set("the submitter's")
    seen: list[str] = []
    with Pool(1) as pool:
        pool.submit(lambda: seen.append(variable.get()))
    assert seen == ["default"]
    assert variable.get() == "the submitter's"


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.parametrize("setter", ["setprofile", "settrace"])
def test_profile_and_trace_functions_of_threading_are_applied(setter: str) -> None:
    stdout, _ = run_program("pool/threads.py", "profile_and_trace_functions_of_threading_are_applied", setter)
    assert stdout == "True\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_initializer_runs_once_on_each_worker_before_its_tasks(kind: Kind) -> None:
    initialized: list[tuple[int, object]] = []
    wrong = Sum()
    gate = Gate()

    def initialize(*args: object) -> None:
        initialized.append((threading.get_ident(), args))

    def task(_: object) -> None:
        if threading.get_ident() not in [ident for ident, _ in initialized]:
            wrong.add()
        gate.hold()

    face = Face(kind, 3, task, initializer=initialize, initargs=(1, "two"), disable_purge=True)
    with face.pool as pool:
        for _ in range(3):
            face.put(None)
        gate.wait_entered(3)
        gate.open()
        assert pool.wait_idle(10)
        for _ in range(20):
            face.put(None)
        assert pool.wait_idle(10)
    assert wrong.value == 0
    assert len(initialized) == len({ident for ident, _ in initialized}) == 3
    assert {args for _, args in initialized} == {(1, "two")}


@pytest.mark.parametrize("kind", KINDS)
def test_an_initializer_that_fails_breaks_the_pool(kind: Kind) -> None:
    logger, records = own_logger()
    ran = Sum()

    def initialize() -> None:
        raise ValueError("cannot begin")

    face = Face(kind, 1, lambda _: ran.add(), initializer=initialize, logger=logger, queue_size=10)
    with contextlib.suppress(PoolClosedError):
        for _ in range(5):
            face.put(None)
    wait_until(face.pool.is_closed)
    with pytest.raises(BrokenPoolError):
        face.put(None)
    with pytest.raises(BrokenPoolError):
        face.try_put(None)
    assert face.pool.wait_idle(10)
    wait_equal(face.pool.running, 0)
    stats = face.pool.stats()
    assert ran.value == 0
    assert stats.cancelled == stats.submitted >= 1
    assert (stats.completed, stats.failed, stats.queued, stats.busy) == (0, 0, 0, 0)
    errors = [record.exc_info[1] for record in records.records if record.exc_info]
    assert [str(error) for error in errors] == ["cannot begin"]
    # The calls that did not run are reported.
    assert any("cancel" in record.getMessage().lower() for record in records.records)


def test_an_initializer_that_fails_is_reported_to_the_handler() -> None:
    errors: list[BaseException] = []
    logger, _ = own_logger()

    def initialize() -> None:
        raise SystemExit("no")

    pool = Pool(1, initializer=initialize, panic_handler=errors.append, logger=logger)
    pool.submit(nap)
    wait_until(pool.is_closed)
    assert pool.wait_idle(10)
    assert [type(error) for error in errors] == [SystemExit]


def test_a_broken_pool_refuses_those_who_wait() -> None:
    ready = threading.Event()
    logger, _ = own_logger()

    def initialize() -> None:
        ready.wait(30)
        raise ValueError("on purpose")

    pool = Pool(1, initializer=initialize, panic_handler=ignore, logger=logger)
    pool.submit(nap)
    blocked = Background(lambda: pool.submit(nap))
    wait_equal(pool.waiting, 1)
    ready.set()
    with pytest.raises(PoolClosedError):
        blocked.result()


def test_a_broken_pool_can_be_rebooted() -> None:
    attempts = Sum()
    done = Latch(1)
    logger, _ = own_logger()

    def initialize() -> None:
        attempts.add()
        if attempts.value == 1:
            raise ValueError("the first time only")

    pool = Pool(1, initializer=initialize, panic_handler=ignore, logger=logger)
    pool.submit(nap)
    wait_until(pool.is_closed)
    wait_equal(pool.running, 0)
    pool.reboot()
    pool.submit(done.count_down)
    done.wait()
    pool.release_timeout(10)


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
@pytest.mark.parametrize("kilobytes", [256, 1024, 16 * 1024])
def test_the_stack_size_of_workers(kilobytes: int) -> None:
    sizes: list[int] = []
    with Pool(1, stack_size=kilobytes * 1024) as pool:
        pool.submit(lambda: sizes.append(stack_size()))
    assert kilobytes * 1024 <= sizes[0] < 2 * kilobytes * 1024


@pytest.mark.thread_unsafe(reason="starts a process")
def test_the_smallest_stack_is_enough_to_run() -> None:
    smallest = 53248 if sys.version_info >= (3, 14) else 32768
    stdout, _ = run_script(f"""
        threading.stack_size({smallest})  # CPython's own limit.
        with Pool(1, stack_size={smallest}) as pool:
            pool.submit(print, "ran")
    """)
    assert stdout == "ran\n"


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_the_default_stack_size_is_that_of_threading() -> None:
    # A process for each size: glibc gives a new thread the stack of an ended one if that is large enough.
    for wanted in (0, 2 * 1024 * 1024):
        stdout, _ = run_program("pool/threads.py", "the_default_stack_size_is_that_of_threading", wanted)
        first, second, kept = map(int, stdout.split())
        assert abs(first - second) <= 1
        assert kept == wanted
