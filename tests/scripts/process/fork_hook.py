"""A hook before forks that was registered before pyants was imported: it runs after pyants' own."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyants import Pool

warnings.simplefilter("ignore", DeprecationWarning)
pools: list[Pool] = []


def hook() -> None:
    for pool in pools:
        pool.submit(print, "hook", flush=True)
        assert pool.wait_idle(30)


os.register_at_fork(before=hook)
import pyants  # noqa: E402

pools.append(pyants.Pool(1))
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
print("parent")
