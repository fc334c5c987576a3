"""Methods of the native pools that are easier to write in Python."""

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
    """Returns a TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    Args:
        fail_fast: After the first failure, cancel the calls that have not started.
        limit: How many calls of the group may be waiting or running at once; None for no limit.
        results: Keep what the calls return, for the group's results().
    """
    return TaskGroup(PoolExecutor.over(self), fail_fast=fail_fast, limit=limit, results=results)


def group_with_func(
    self: PoolWithFunc[_P] | MultiPoolWithFunc[_P],
    *,
    fail_fast: bool = False,
    limit: int | None = None,
    results: bool = False,
) -> FuncTaskGroup[_P]:
    """Returns a TaskGroup of calls on this pool, for a with block that ends when all of them are done.

    Besides submit() it has invoke(), which calls the pool's function.

    Args:
        fail_fast: After the first failure, cancel the calls that have not started.
        limit: How many calls of the group may be waiting or running at once; None for no limit.
        results: Keep what the calls return, for the group's results().
    """
    return FuncTaskGroup(PoolExecutor.over(self), self.func, fail_fast=fail_fast, limit=limit, results=results)


def install() -> None:
    """Installs the functions as methods of the native classes."""
    methods: list[tuple[Any, Any]] = [(_Submitter, group), (_Invoker, group_with_func)]
    for owner, function in methods:
        function.__name__ = "group"
        function.__qualname__ = f"{owner.__name__}.group"
        owner.group = function
