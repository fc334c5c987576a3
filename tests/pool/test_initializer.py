"""Initializers that fail for a while: only that worker is lost, and the next start tries again."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from executors import Thing, pass_through, wait_freed
from loops import collect, entered, run, until
from support import DEADLINE, KINDS, Background, Face, Gate, Kind, Sum, ignore, own_logger, wait_equal, wait_until

from pyants import AsyncPool, BrokenPoolError, MultiPool, Pool, PoolClosedError, PoolDeadlockError, PoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable


class Database:
    """The server to which workers connect."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.connections = Sum()
        self.refused = Sum()
        self.local = threading.local()

    def connect(self) -> None:
        if self.down:
            self.refused.add()
            raise ConnectionError("the database is down")
        self.local.connection = True
        self.connections.add()

    def ask(self, answer: Any = 7) -> Any:
        assert self.local.connection
        return answer


def makes() -> list[Any]:
    def own(capacity: int, **options: Any) -> AsyncPool:
        return AsyncPool(capacity, **options)

    def over_pool(capacity: int, **options: Any) -> AsyncPool:
        return AsyncPool.over(Pool(capacity, retry_initializer=True, **options))

    def over_multi_pool(capacity: int, **options: Any) -> AsyncPool:
        return AsyncPool.over(MultiPool(1, capacity, retry_initializer=True, **options))

    return [own, over_pool, over_multi_pool]


each_async = pytest.mark.parametrize("make", makes(), ids=lambda make: make.__name__)


@each_async
def test_a_database_that_is_down_for_a_moment(make: Callable[..., AsyncPool]) -> None:
    async def main() -> None:
        database = Database(down=True)
        logger, records = own_logger()
        async with make(4, initializer=database.connect, logger=logger) as pool:
            for attempt in range(1, 4):
                with pytest.raises(BrokenPoolError, match="the next submit tries again") as raised:
                    await pool.run(database.ask)
                assert isinstance(raised.value.__cause__, ConnectionError)
                # Each call has tried once, and there is no other try meanwhile.
                await asyncio.sleep(0.01)
                assert database.refused.value == attempt
            assert not pool.is_closed()
            assert "open" in repr(pool)
            database.down = False
            assert await pool.run(database.ask) == 7
            assert await asyncio.gather(*(pool.run(database.ask, number) for number in range(20))) == list(range(20))
            # The loop may get the result before the pool counts the task.
            await until(lambda: pool.pool.stats().completed == 21)
            assert pool.pool.stats().cancelled == 3
        assert len(records.records) == 3
        pool.pool.release()

    run(main())


@each_async
@pytest.mark.parametrize("submit", [False, True])
def test_waiting_calls_fail_one_by_one_and_none_hangs(make: Callable[..., AsyncPool], submit: bool) -> None:
    async def main() -> None:
        database = Database(down=True)
        async with make(2, initializer=database.connect, panic_handler=ignore) as pool:

            async def call() -> object:
                return await (await pool.submit(database.ask)) if submit else await pool.run(database.ask)

            errors: list[Any] = await asyncio.gather(*(call() for _ in range(50)), return_exceptions=True)
            assert {type(error) for error in errors} == {BrokenPoolError}
            assert all(isinstance(error.__cause__, ConnectionError) for error in errors)
            # Once for each call, or twice where a worker is started just before the call is given up.
            assert database.refused.value <= 100
            # The loop may get the result before the pool counts the task.
            await until(lambda: pool.pool.stats().cancelled == 50)
        pool.pool.release()

    run(main())


@each_async
def test_a_worker_that_is_there_takes_the_call(make: Callable[..., AsyncPool]) -> None:
    async def main() -> None:
        database = Database()
        async with make(3, initializer=database.connect, panic_handler=ignore) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 1)
                await entered(gate, 1)
                database.down = True
                others = [pool.run(database.ask, number) for number in range(10)]
                await until(lambda: pool.pool.running() == 1, "the end of the others")
                assert not any(call.done() for call in others)
                gate.open()
                assert await asyncio.gather(*others) == list(range(10))
                assert await held == 1
            assert database.connections.value == 1
        pool.pool.release()

    run(main())


@each_async
def test_a_call_whose_worker_failed_does_not_wait_for_a_busy_one(make: Callable[..., AsyncPool]) -> None:
    async def main() -> None:
        database = Database()
        async with make(3, initializer=database.connect, panic_handler=ignore) as pool:
            with Gate() as gate:
                held = pool.run(pass_through, gate, 1)
                await entered(gate, 1)
                database.down = True
                other = pool.run(database.ask)
                await until(lambda: database.refused.value > 0 and pool.pool.running() == 1, "the end of the other")
                database.down = False
                # The first is still busy: another worker is started after a while, without another call.
                assert await other == 7
                assert not held.done()
                gate.open()
                assert await held == 1
            assert database.connections.value == 2
        pool.pool.release()

    run(main())


def test_a_worker_at_rest_takes_the_call() -> None:
    async def main() -> None:
        database = Database()
        async with AsyncPool(3, initializer=database.connect, panic_handler=ignore) as pool:
            assert await pool.run(database.ask) == 7
            database.down = True
            for _ in range(50):
                assert await asyncio.gather(*(pool.run(database.ask, number) for number in range(3))) == [0, 1, 2]

    run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_may_try_again_too(kind: Kind) -> None:
    database = Database(down=True)
    logger, records = own_logger()
    answers: list[object] = []
    face = Face(
        kind,
        2,
        lambda item: answers.append(database.ask(item)),
        initializer=database.connect,
        retry_initializer=True,
        logger=logger,
    )
    with face.pool as pool:
        face.put(1)
        assert pool.wait_idle(DEADLINE)
        wait_equal(pool.running, 0)
        assert not pool.is_closed()
        # No caller waits for the task, so it is logged.
        messages = [record.getMessage() for record in records.records]
        assert len(messages) == 2
        assert "initializer" in messages[0]
        assert "1 accepted tasks are cancelled" in messages[1]
        database.down = False
        face.put(2)
        assert pool.wait_idle(DEADLINE)
        assert answers == [2]
        stats = pool.stats()
        assert (stats.cancelled, stats.completed) == (1, 1)


def test_futures_of_a_pool_that_tries_again() -> None:
    database = Database(down=True)
    with Pool(2, initializer=database.connect, retry_initializer=True, panic_handler=ignore) as pool:
        with PoolExecutor.over(pool) as executor:
            error = executor.submit(database.ask).exception(DEADLINE)
            assert isinstance(error, BrokenPoolError)
            assert isinstance(error.__cause__, ConnectionError)
            database.down = False
            assert executor.submit(database.ask).result(DEADLINE) == 7
        database.down = True
        wait_equal(pool.running, 0)  # After its expiry.
        with pytest.raises(ExceptionGroup) as raised, pool.group() as group:
            group.submit(database.ask)
        assert [type(error) for error in raised.value.exceptions] == [BrokenPoolError]


def test_a_worker_that_waits_for_a_task_that_gets_no_worker_is_told() -> None:
    database = Database()
    with Pool(2, queue_size=10, initializer=database.connect, retry_initializer=True, panic_handler=ignore) as pool:
        executor = PoolExecutor.over(pool)

        def call() -> str:
            database.down = True
            try:
                return str(executor.submit(database.ask).result())
            except PoolDeadlockError:
                return "told"

        assert executor.submit(call).result(DEADLINE) == "told"
        assert pool.wait_idle(DEADLINE)


def test_a_waiter_gets_its_permit() -> None:
    database = Database()
    with Pool(1, initializer=database.connect, retry_initializer=True, panic_handler=ignore) as pool, Gate() as gate:
        database.down = True
        starting = Gate()

        def initialize() -> None:
            starting.hold()
            database.connect()

        with Pool(1, initializer=initialize, retry_initializer=True, panic_handler=ignore) as slow:
            slow.submit(gate.hold)
            starting.wait_entered(1)
            waiting = Background(lambda: slow.submit(gate.hold))
            wait_equal(slow.waiting, 1)
            starting.open()
            # The first has failed, and so does the second, which was accepted in its place.
            waiting.result()
            assert slow.wait_idle(DEADLINE)
            assert slow.stats().cancelled == 2
        assert pool.stats().submitted == 0


def test_the_last_failure_is_not_kept_once_a_start_succeeds() -> None:
    references: list[weakref.ref[Any]] = []
    down = [True]

    def initialize() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        if down[0]:
            raise ConnectionError(thing)

    with Pool(1, initializer=initialize, retry_initializer=True, panic_handler=ignore) as pool:
        pool.submit(int)
        assert pool.wait_idle(DEADLINE)
        down[0] = False
        pool.submit(int)
        assert pool.wait_idle(DEADLINE)
        wait_freed(*references)


def test_a_pool_with_a_failure_is_garbage_like_any_other() -> None:
    class Holder:
        def __init__(self) -> None:
            self.pool = Pool(1, initializer=self.fail, retry_initializer=True, panic_handler=ignore)

        def fail(self) -> None:
            raise ConnectionError(self)

    holder = Holder()
    holder.pool.submit(int)
    assert holder.pool.wait_idle(DEADLINE)
    wait_equal(holder.pool.running, 0)
    reference = weakref.ref(holder)
    del holder
    wait_until(lambda: collect() >= 0 and reference() is None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_pool_says_so(kind: Kind) -> None:
    face = Face(kind, 1, lambda _: None, initializer=int, initargs=("x",), panic_handler=ignore)
    assert "broken" not in repr(face.pool)
    face.put(None)
    wait_until(face.pool.is_closed)
    assert repr(face.pool).endswith(" broken>")
    face.pool.reboot()
    assert repr(face.pool).endswith(" open>")
    face.pool.release()
    assert repr(face.pool).endswith(" closed>")


def test_a_broken_executor_says_so() -> None:
    logger, _ = own_logger()
    with PoolExecutor(1, initializer=int, initargs=("x",), logger=logger) as executor:
        assert repr(executor).endswith(" open>")
        assert executor.submit(int).exception(DEADLINE) is not None
        assert repr(executor).endswith(" broken> broken>")


def test_what_breaks_an_executor_is_the_cause() -> None:
    logger, _ = own_logger()
    with PoolExecutor(1, initializer=int, initargs=("x",), logger=logger) as executor:
        error = executor.submit(int).exception(DEADLINE)
        assert error is not None
        assert isinstance(error.__cause__, ValueError)


# --- AsyncPool.reboot() ---


def test_an_async_pool_is_opened_again() -> None:
    async def main() -> None:
        pool = AsyncPool(1)
        for number in range(3):
            assert await pool.run(int, str(number)) == number
            pool.reboot()  # Does nothing on an open one.
            await pool.aclose()
            assert pool.is_closed()
            assert pool.pool.running() == 0
            with pytest.raises(PoolClosedError):
                await pool.run(int)
            pool.reboot()
            assert not pool.is_closed()
        assert await pool.run(int, "7") == 7
        await pool.aclose()

    run(main())


def test_a_broken_async_pool_is_opened_again() -> None:
    async def main() -> None:
        database = Database(down=True)
        async with AsyncPool(1, initializer=database.connect, retry_initializer=False, panic_handler=ignore) as pool:
            with pytest.raises(BrokenPoolError):
                await pool.run(database.ask)
            await until(pool.is_closed)
            assert "broken" in repr(pool)
            database.down = False
            pool.reboot()
            assert await pool.run(database.ask) == 7

    run(main())


def test_the_pool_of_others_is_not_opened_again() -> None:
    async def main() -> None:
        with Pool(1) as shared:
            pool = AsyncPool.over(shared)
            await pool.aclose()
            assert not shared.is_closed()
            pool.reboot()
            assert await pool.run(int, "7") == 7
            shared.release()
            pool.reboot()
            assert shared.is_closed()
            assert pool.is_closed()

    run(main())


# --- the expiry of an AsyncPool ---


def test_connections_of_an_async_pool_outlive_a_second() -> None:
    async def main() -> None:
        database = Database()
        async with AsyncPool(1, initializer=database.connect) as pool, AsyncPool(1, expiry_duration=0.01) as short:
            await pool.run(database.ask)
            await short.run(int)
            await until(lambda: short.pool.running() == 0)
            # Longer than a Pool's second.
            await asyncio.sleep(1.2)
            await pool.run(database.ask)
            assert database.connections.value == 1

    run(main())


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_no_more_workers_are_started_than_there_are_tasks(tasks: int) -> None:
    with Gate() as gate, PoolExecutor(64, initializer=gate.hold) as executor:
        futures = [executor.submit(int) for _ in range(tasks)]
        gate.wait_entered(tasks)
        assert executor.pool.stats().spawned == tasks
        gate.open()
        assert [future.result(DEADLINE) for future in futures] == [0] * tasks
        assert executor.pool.stats().spawned == tasks


def wait_cancelled(pool: Pool, tasks: int) -> None:
    wait_equal(lambda: pool.stats().cancelled, tasks)


def wait_collected(reference: Callable[[], object]) -> None:
    """Waits until this weak reference is dead, which takes the collector."""

    def is_gone() -> bool:
        collect()
        return reference() is None

    wait_until(is_gone, "the end of the object")


@pytest.mark.thread_unsafe(reason="collects garbage")
def test_a_worker_that_starts_has_its_initializer_although_the_pool_is_garbage() -> None:
    seen: list[int] = []

    class Owner:
        """Of a pool, in a cycle with it, as an application often is."""

        def __init__(self) -> None:
            self.down = True
            self.number = 7
            self.pool = Pool(
                2, initializer=self.connect, retry_initializer=True, panic_handler=ignore, logger=own_logger()[0]
            )

        def connect(self) -> None:
            if self.down:
                raise ConnectionError("down")
            seen.append(self.number)

    owner = Owner()
    # Workers that failed before do not count for one that is left.
    for lost in range(1, 4):
        owner.pool.submit(int)
        wait_cancelled(owner.pool, lost)
    owner.down = False
    reference = weakref.ref(owner)
    # A worker is registered with threading before it calls its initializer.
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        owner.pool.submit(int)
        del owner
        collect()
    wait_equal(lambda: seen, [7])
    wait_collected(reference)


@pytest.mark.thread_unsafe(reason="collects garbage")
def test_a_garbage_pool_whose_last_worker_fails_is_let_go() -> None:
    gate = Gate()

    class Owner:
        def __init__(self) -> None:
            self.pool = Pool(2, initializer=self.connect, retry_initializer=True, logger=own_logger()[0])

        def connect(self) -> None:
            gate.hold()
            raise ConnectionError("down")

    owner = Owner()
    reference = weakref.ref(owner)
    owner.pool.submit(int)
    gate.wait_entered(1)
    del owner
    collect()
    assert reference() is not None
    gate.open()
    wait_collected(reference)
