"""The part of Future that is written in Python."""

from __future__ import annotations

import concurrent.futures
from typing import TypeVar

from pyants._core import _Future

_T = TypeVar("_T")


class Future(_Future[_T], concurrent.futures.Future[_T]):
    """The outcome of a call: behaves exactly as a concurrent.futures.Future.

    Created by executors. Everything that takes CPython's futures takes these, concurrent.futures.wait(), as_completed()
    and asyncio.wrap_future() among them.
    """

    # Code that gets the dict may make the future part of a cycle: from then on the collector has to track it.
    __dict__ = _Future._dict  # pyright: ignore[reportAssignmentType]
