"""The import of pyants does not bring in asyncio; that of AsyncPool does."""

from __future__ import annotations

import sys

import pyants

assert "asyncio" not in sys.modules
with pyants.Pool(1) as pool, pool.group() as group:
    group.submit(int)
with pyants.PoolExecutor(1) as executor:
    executor.submit(int).result()
assert "asyncio" not in sys.modules
assert {"AsyncPool", "AsyncTaskGroup"} <= set(dir(pyants))
assert "asyncio" not in sys.modules
_ = pyants.AsyncPool
assert "asyncio" in sys.modules
from pyants import AsyncPool, AsyncTaskGroup  # noqa: E402

assert (AsyncPool.__module__, AsyncTaskGroup.__module__) == ("pyants", "pyants")
try:
    getattr(pyants, "AsyncPond")  # noqa: B009 - type checkers know that there is none
except AttributeError as error:
    print(error)
