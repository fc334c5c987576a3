"""The failures of a group's calls, for threads and for asyncio: which count, and raising or logging them together."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def report_failures(failures: Iterable[BaseException]) -> None:
    """Logs exceptions that have no caller to be raised to."""
    for error in failures:
        logging.getLogger("pyants").error("exception in a task of a group", exc_info=error)


def is_base_error(error: BaseException) -> bool:
    """Whether the exception ends programs: a group raises it as it is, as asyncio.TaskGroup does."""
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def is_told_to_end(error: BaseException | None) -> bool:
    """Whether a block that raises this has not failed: its generator is closed, or its asyncio task cancelled."""
    if isinstance(error, GeneratorExit):
        return True
    asyncio = sys.modules.get("asyncio.exceptions")  # Without the module there are no asyncio tasks.
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def raise_group(failures: list[BaseException], count: int, *by_block: BaseException | None) -> None:
    """Raises the failures of count calls and the exceptions of the group's block as one group, if there are any."""
    own = [e for e in by_block if e is not None and not is_told_to_end(e) and not _is_made_of(e, failures)]
    by_calls = f"{len(failures)} of {count} tasks"
    if not own:
        message = f"{by_calls} failed"
    else:
        message = f"{by_calls} and the group's block failed" if failures else "the group's block failed"
    together = [*failures, *own]
    if not together:
        return
    try:
        raise BaseExceptionGroup(message, together) from None
    finally:
        del failures, by_block, own, together  # The group's traceback would keep the group alive.


def _is_made_of(error: BaseException, failures: list[BaseException]) -> bool:
    """Whether the block only passes on the calls' exceptions: one of them, or a group of nothing else."""
    if any(error is failure for failure in failures):
        return True
    if not isinstance(error, BaseExceptionGroup):
        return False
    parts: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return all(_is_made_of(part, failures) for part in parts)
