"""Forks of a soak: the child uses its parent's pool, which is empty there, and one of its own, and leaves."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from ledger import Task

from pyants import Pool, PoolError, PoolExecutor

if TYPE_CHECKING:
    from scene import Scene

# Only a hang reaches it.
SECONDS = 40


def fork(scene: Scene) -> None:
    """Forks, and waits for the child, whose fate is in the ledger."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(SECONDS)
            _child(scene)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        scene.ledger.wrong.append(f"a forked child ended with {os.waitstatus_to_exitcode(status)}")


def _child(scene: Scene) -> None:
    ran = list[object]()
    pool = scene.pool
    if pool.stats().busy or pool.stats().queued or pool.running():
        raise AssertionError(f"not empty after a fork: {pool.stats()}")
    try:
        pool.reboot()
        tasks = [Task(f"in a child {number}", ran.append) for number in range(3)]
        accepted = [task for task in tasks if scene.offer(task, scene.put)]
        assert pool.wait_idle(SECONDS)
        if "initializer" not in scene.options:
            assert len(ran) == len(accepted), (ran, accepted)
    except PoolError:
        if "initializer" not in scene.options:
            raise
    with Pool(2, queue_size=1) as own:
        for _ in range(5):
            own.submit(ran.append, None)
    with PoolExecutor(2) as executor:
        assert executor.submit(int, "7").result(SECONDS) == 7
        assert list(executor.map(int, "123")) == [1, 2, 3]
