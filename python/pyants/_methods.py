"""Methods of the native pools that are better said in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec

from pyants._core import _Invoker, _Submitter
from pyants._executor import PoolExecutor
from pyants._group import FuncTaskGroup, TaskGroup

if TYPE_CHECKING:
    from pyants._core import MultiPool, MultiPoolWithFunc, Pool, PoolWithFunc

_P = ParamSpec("_P")


def group(
    self: Pool | MultiPool,
    *,
    fail_fast: bool = False,
    limit: int | None = None,
    results: bool = False,
) -> TaskGroup:
    """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    fail_fast: after the first failure cancels what has not started. limit: how many calls of the group may be
    waiting or running at once. results: keeps what the calls return, for the group's results().
    """
    return TaskGroup(PoolExecutor.over(self), fail_fast=fail_fast, limit=limit, results=results)


def group_with_func(
    self: PoolWithFunc[_P] | MultiPoolWithFunc[_P],
    *,
    fail_fast: bool = False,
    limit: int | None = None,
    results: bool = False,
) -> FuncTaskGroup[_P]:
    """A TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    Besides submit() it has invoke(), which calls the pool's function. fail_fast: after the first failure cancels
    what has not started. limit: how many calls of the group may be waiting or running at once. results: keeps what
    the calls return, for the group's results().
    """
    return FuncTaskGroup(PoolExecutor.over(self), self.func, fail_fast=fail_fast, limit=limit, results=results)


def install() -> None:
    """Makes them methods of the native classes."""
    methods: list[tuple[Any, Any]] = [(_Submitter, group), (_Invoker, group_with_func)]
    for owner, function in methods:
        function.__name__ = "group"
        function.__qualname__ = f"{owner.__name__}.group"
        owner.group = function
