"""Helpers for the tests of task groups: a maker of each class that has groups, and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import SharedHandler

from pyants import MultiPool, MultiPoolWithFunc, Pool, PoolExecutor, PoolWithFunc

if TYPE_CHECKING:
    from support import Gate


def _pool(capacity: int, **options: Any) -> Pool:
    return Pool(capacity, **options)


def _pool_with_func(capacity: int, **options: Any) -> PoolWithFunc[...]:
    return PoolWithFunc(capacity, int, **options)


def _multi_pool(capacity: int, **options: Any) -> MultiPool:
    return MultiPool(1, capacity, **options)


def _multi_pool_with_func(capacity: int, **options: Any) -> MultiPoolWithFunc[...]:
    return MultiPoolWithFunc(1, capacity, int, **options)


def _executor(capacity: int, **options: Any) -> PoolExecutor:
    return PoolExecutor(capacity, **options)


each_owner = pytest.mark.parametrize(
    "make",
    [
        pytest.param(_pool, id="Pool"),
        pytest.param(_pool_with_func, id="PoolWithFunc"),
        pytest.param(_multi_pool, id="MultiPool"),
        pytest.param(_multi_pool_with_func, id="MultiPoolWithFunc"),
        pytest.param(_executor, id="PoolExecutor"),
    ],
)


# Collects what the threads of all tests log on "pyants".
pyants_log = SharedHandler("pyants").read


def hold_and_fail(gate: Gate, error: BaseException) -> None:
    """A task that waits at the gate, then raises."""
    gate.hold()
    raise error
