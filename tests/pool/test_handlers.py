"""While a handler runs, the task's exception is the one being handled, as in an except block."""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from typing import Any, NoReturn

import pytest
from executors import wait_freed
from loops import run, until
from support import DEADLINE, KINDS, Face, Gate, Kind, Records, own_logger, wait_until

from pyants import AsyncPool, Pool, PoolExecutor


class Oops(Exception):
    """The exception that these tests raise."""


def fail(error: BaseException, *_: object) -> NoReturn:
    raise error


class Seen:
    """A handler that reads the exception being handled, in the ways in which libraries do."""

    def __init__(self) -> None:
        self.logger, self.records = own_logger()
        self.errors: list[BaseException | None] = []
        self.given: list[object] = []
        self.contexts: list[BaseException | None] = []

    def __call__(self, given: object) -> None:
        self.given.append(given)
        self.logger.exception("in a handler")
        self.errors.append(sys.exc_info()[1])
        try:
            raise LookupError
        except LookupError as error:
            self.contexts.append(error.__context__)
        # The exception is being handled still, or again.
        self.errors.append(sys.exception())

    def check(self, error: BaseException) -> None:
        assert self.errors == [error, error]
        assert self.contexts == [error]
        (record,) = self.records.records
        info: Any = record.exc_info
        assert info[0] is type(error)
        assert info[1] is error
        assert info[2] is error.__traceback__
        assert "fail" in logging.Formatter().format(record)


@pytest.mark.parametrize("kind", KINDS)
def test_a_panic_handler(kind: Kind) -> None:
    seen, error = Seen(), Oops("mine")
    afterwards: list[object] = []

    def task(item: Any) -> None:
        if item is error:
            raise error
        afterwards.append(sys.exception())

    def fail_(item: Any) -> None:
        fail(error) if item is error else task(item)

    face = Face(kind, 1, fail_, panic_handler=seen, disable_purge=True)
    with face.pool:
        face.put(error)
        face.put(None)
    assert seen.given == [error]
    seen.check(error)
    # The worker handles no exception any more.
    assert afterwards == [None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_panic_handler_of_an_initializer(kind: Kind) -> None:
    seen, error = Seen(), Oops("mine")
    face = Face(kind, 1, lambda _: None, panic_handler=seen, initializer=fail, initargs=(error,))
    with face.pool:
        face.put(None)
        wait_until(face.pool.is_closed)
    seen.check(error)


def test_a_panic_handler_that_fails_has_its_context() -> None:
    logger, records = own_logger()
    error, own = Oops("of the task"), Oops("of the handler")
    seen: list[object] = []

    class Log(logging.Logger):
        def error(self, *args: Any, **kwargs: Any) -> None:
            seen.append(sys.exception())
            super().error(*args, **kwargs)

    log = Log("own")
    log.addHandler(records)

    def handler(given: BaseException) -> None:
        raise own if given is error else given

    with Pool(1, panic_handler=handler, logger=log) as pool:
        pool.submit(fail, error)
    assert own.__context__ is error
    assert seen == [own]
    again = Oops("raised again")
    with Pool(1, panic_handler=handler, logger=logger) as pool:
        pool.submit(fail, again)
    assert again.__context__ is None


class Log(logging.Logger):
    """A logger that reads the exception being handled."""

    def __init__(self) -> None:
        super().__init__("own")
        self.seen: list[BaseException | None] = []
        self.records = Records()
        self.addHandler(self.records)

    def error(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(sys.exception())
        super().error(*args, **kwargs)

    def critical(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(sys.exception())
        super().critical(*args, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_logger(kind: Kind) -> None:
    log, error = Log(), Oops("mine")
    face = Face(kind, 1, lambda item: fail(item), logger=log)
    with face.pool:
        face.put(error)
    assert log.seen == [error]


def test_a_logger_of_an_executors_initializer() -> None:
    log, error = Log(), Oops("mine")
    with PoolExecutor(1, initializer=fail, initargs=(error,), logger=log) as executor:
        assert executor.submit(int).exception(DEADLINE) is not None
    assert log.seen == [error]


def test_a_panic_handler_of_an_abandoned_call() -> None:
    seen, error = Seen(), Oops("mine")

    async def main() -> None:
        async with AsyncPool(1, panic_handler=seen) as pool:
            with Gate() as gate:

                def call() -> None:
                    gate.hold()
                    fail(error)

                made = pool.run(call)
                await until(lambda: gate.inside == 1)
                made.cancel()
                gate.open()
            await until(lambda: seen.given != [])

    run(main())
    assert seen.given == [error]
    seen.check(error)


def test_a_panic_handler_of_a_call_that_nobody_asked() -> None:
    seen, error = Seen(), Oops("mine")
    handled: list[object] = []

    async def main() -> None:
        async with AsyncPool(1, panic_handler=seen) as pool:
            try:
                raise KeyError
            except KeyError as outer:
                done, _ = await asyncio.wait([pool.run(fail, error)])
                del done
                # The exception that this block handles is the same as before.
                handled.extend([sys.exception() is outer, outer.__context__])
            handled.append(sys.exception())
            await until(lambda: seen.given != [])

    run(main())
    seen.check(error)
    assert handled == [True, None, None]


def test_a_loops_exception_handler_of_a_callback_that_fails() -> None:
    seen: list[object] = []
    error = Oops("mine")

    async def main() -> None:
        def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            seen.append(sys.exception())

        asyncio.get_running_loop().set_exception_handler(handler)
        async with AsyncPool(1) as pool:
            call = pool.run(int)
            call.add_done_callback(lambda _: fail(error))
            assert await call == 0
            await until(lambda: seen != [])
            assert sys.exception() is None

    asyncio.run(main())
    assert seen == [error]


def test_exceptions_are_freed_when_they_are_handled() -> None:
    references: list[weakref.ref[BaseException]] = []

    def make() -> BaseException:
        error = Oops()
        references.append(weakref.ref(error))
        return error

    def task() -> None:
        raise make()

    with Pool(1, panic_handler=lambda _: None, disable_purge=True) as pool:
        pool.submit(task)
        assert pool.wait_idle(DEADLINE)
        assert len(references) == 1
        # The worker lives on meanwhile.
        wait_freed(*references)
        assert pool.running() == 1
