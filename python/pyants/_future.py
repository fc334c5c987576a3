"""Future, as far as it is written in Python."""

from __future__ import annotations

import concurrent.futures
from typing import TypeVar

from pyants._core import _Future

_T = TypeVar("_T")


class Future(_Future[_T], concurrent.futures.Future[_T]):
    """What a call will come to: a concurrent.futures.Future in all that can be seen.

    Executors make them. Everything that takes CPython's futures takes these, concurrent.futures.wait(), as_completed()
    and asyncio.wrap_future() among them.
    """

    # Whoever gets hold of the dict may make the future part of a cycle: from then on the collector has to look at it.
    __dict__ = _Future._dict  # pyright: ignore[reportAssignmentType]
