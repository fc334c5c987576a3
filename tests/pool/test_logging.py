"""The log records of tasks that raise: their content, their logger and their level."""

from __future__ import annotations

import functools
import logging
from typing import NoReturn, cast

import pytest
from support import KINDS, Face, Kind, nap, own_logger, run_program, run_script, wait_equal

from pyants import Pool, PoolWithFunc


class Oops(Exception):
    """The exception that these tests raise."""


def fail(*args: object) -> NoReturn:
    raise Oops(*args)


@pytest.mark.ants("B69", "B4")
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_handler_there_is_one_log_record(kind: Kind) -> None:
    logger, records = own_logger()
    face = Face(kind, 2, fail, logger=logger)
    with face.pool:
        face.put("value")
    (record,) = records.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"exception in task {__name__}.fail"
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert isinstance(error, Oops)
    assert error.args == ("value",)
    assert record.exc_info[2] is not None
    formatted = logging.Formatter().format(record)
    assert "Traceback (most recent call last)" in formatted
    assert "Oops: value" in formatted


@pytest.mark.ants("B4", "B69", "T16")
@pytest.mark.thread_unsafe(reason="listens on the library's one logger")
def test_by_default_the_librarys_logger_is_used(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(1) as pool:
        pool.submit(fail, "here")
    (record,) = [record for record in caplog.records if record.name == "pyants"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Oops)


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.ants("B4", "B69")
def test_without_any_configuration_the_traceback_goes_to_stderr() -> None:
    _, stderr = run_script("""
        with Pool(1) as pool:
            pool.submit(divmod, 1, 0)
    """)
    assert "exception in task" in stderr
    assert "divmod" in stderr
    assert "ZeroDivisionError" in stderr


def test_the_record_names_the_callable() -> None:
    logger, records = own_logger()

    class Job:
        def __call__(self) -> None:
            fail()

        def __repr__(self) -> str:
            return "<a job>"

        def method(self) -> None:
            fail()

    partial = functools.partial(fail, 1)
    with Pool(1, logger=logger) as pool:
        for task in (Job().method, Job(), partial):
            pool.submit(task)
    messages = [record.getMessage() for record in records.records]
    assert messages == [
        f"exception in task {Job.__module__}.{Job.method.__qualname__}",
        "exception in task <a job>",
        f"exception in task {partial!r}",
    ]


def test_a_callable_that_cannot_be_named_is_reported_all_the_same() -> None:
    logger, records = own_logger()

    class Nameless:
        def __call__(self) -> None:
            fail("told")

        def __repr__(self) -> str:
            raise ValueError("no name")

    with Pool(1, logger=logger) as pool:
        pool.submit(Nameless())
        pool.submit(nap)
        assert pool.wait_idle(10)
        assert (pool.stats().failed, pool.stats().completed) == (1, 1)
    errors = [record.exc_info[1] for record in records.records if record.exc_info]
    assert any(isinstance(error, Oops) for error in errors)


@pytest.mark.ants("B69")
def test_the_logger_is_used_for_nothing_else() -> None:
    logger, records = own_logger()
    logger.setLevel(logging.DEBUG)
    pool = Pool(2, logger=logger, expiry_duration=0.01)
    for _ in range(50):
        pool.submit(nap, 0.001)
    assert pool.wait_idle(10)
    wait_equal(pool.running, 0)
    pool.tune(1)
    pool.release_timeout(10)
    pool.reboot()
    pool.release_timeout(10)
    assert records.records == []


@pytest.mark.ants("B73", "D2")
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_raises_is_logged_with_both_exceptions(kind: Kind) -> None:
    logger, records = own_logger()

    def handler(error: BaseException) -> None:
        raise RuntimeError("the handler itself")

    face = Face(kind, 1, fail, panic_handler=handler, logger=logger, disable_purge=True)
    with face.pool as pool:
        face.put("the task")
        face.put("again")
        assert pool.wait_idle(10)
        assert pool.running() == 1
        assert pool.stats().failed == 2
    assert len(records.records) == 2
    text = logging.Formatter().format(records.records[0])
    assert "RuntimeError: the handler itself" in text
    assert "Oops: the task" in text
    info = records.records[0].exc_info
    assert info is not None
    assert isinstance(info[1], RuntimeError)
    assert isinstance(info[1].__context__, Oops)


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.ants("B73", "D2")
def test_if_logging_itself_fails_the_unraisable_hook_hears_of_it() -> None:
    stdout, _ = run_program("pool/logging.py", "if_logging_itself_fails_the_unraisable_hook_hears_of_it")
    # Both failures are reported.
    assert "OSError" in stdout
    assert "ValueError" in stdout


def test_anything_with_an_error_method_is_a_logger() -> None:
    calls: list[tuple[object, ...]] = []

    class Log:
        def error(self, *args: object, exc_info: BaseException) -> None:
            calls.append((*args, exc_info))

    with PoolWithFunc(1, fail, logger=cast("logging.Logger", Log())) as pool:
        pool.invoke(1)
    ((message, name, error),) = calls
    assert message == "exception in task %s"
    assert name == f"{__name__}.fail"
    assert isinstance(error, Oops)
