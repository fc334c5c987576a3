"""Methods of the native pools that are better said in Python."""

from __future__ import annotations

from typing import Any

from pyants._core import _Invoker, _Submitter
from pyants._group import group, group_with_func


def install() -> None:
    """Makes them methods of the native classes."""
    methods: list[tuple[Any, Any]] = [(_Submitter, group), (_Invoker, group_with_func)]
    for owner, function in methods:
        function.__name__ = "group"
        function.__qualname__ = f"{owner.__name__}.group"
        owner.group = function
