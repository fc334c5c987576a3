"""Several pools behind one front: less contention between submitters, and a limit for each pool.

LEAST_TASKS gives each task to the pool that has the fewest; ROUND_ROBIN takes them in turn.
"""

from __future__ import annotations

import threading

from pyants import LoadBalancingStrategy, MultiPool

POOLS, WORKERS_EACH = 4, 2


def main() -> None:
    gate = threading.Event()
    with MultiPool(POOLS, WORKERS_EACH, LoadBalancingStrategy.LEAST_TASKS) as pools:
        for _ in range(POOLS * WORKERS_EACH):
            pools.submit(gate.wait)
        print("workers at work, pool by pool:", [pools.running_by_index(index) for index in range(POOLS)])
        print(f"capacity in all: {pools.cap()}, free: {pools.free()}")
        gate.set()
    print(f"done: {pools.stats().completed}")


if __name__ == "__main__":
    main()
