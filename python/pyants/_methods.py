"""Methods of the native pools that are better said in Python.

submit_many() and invoke_many(): an iterable of Python code is read by Python code. Were it read by native code and the
thread a daemon, the interpreter would end the thread at its exit in the middle of that native code, which aborts the
process. Built-in collections run no Python code, and are read natively.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pyants._core import _Invoker, _Submitter
from pyants._errors import PoolError
from pyants._group import group, group_with_func
from pyants._types import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


def submit_many(self: _Submitter, fn: Callable[[_T], object], iterable: Iterable[_T], /) -> int:
    """Submits fn(item) for each item of iterable, and returns how many.

    The iterable is read lazily: one item only when the one before was accepted. An error of the pool carries the
    number of accepted tasks as its attribute submitted.
    """
    if type(iterable) in BUILT_IN:
        return self._submit_all(fn, iterable)
    self._submit_all(fn, ())  # What is wrong with the pool or with fn is said before anything is read.
    submitted = 0
    for item in iterable:
        try:
            self.submit(fn, item)
        except PoolError as error:
            error.submitted = submitted
            raise
        submitted += 1
    return submitted


def invoke_many(self: _Invoker[...], iterable: Iterable[Any], /) -> int:
    """Submits func(item) for each item of iterable, and returns how many.

    The iterable is read lazily: one item only when the one before was accepted. An error of the pool carries the
    number of accepted tasks as its attribute submitted.
    """
    if type(iterable) in BUILT_IN:
        return self._invoke_all(iterable)
    self._invoke_all(())
    submitted = 0
    for item in iterable:
        try:
            self.invoke(item)
        except PoolError as error:
            error.submitted = submitted
            raise
        submitted += 1
    return submitted


def install() -> None:
    """Makes them methods of the native classes."""
    methods: list[tuple[Any, str, Any]] = [
        (_Submitter, "submit_many", submit_many),
        (_Invoker, "invoke_many", invoke_many),
        (_Submitter, "group", group),
        (_Invoker, "group", group_with_func),
    ]
    for owner, name, function in methods:
        function.__name__ = name
        function.__qualname__ = f"{owner.__name__}.{name}"
        setattr(owner, name, function)
