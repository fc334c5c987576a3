"""Backpressure: a pool that accepts only so many tasks, and a caller that notices.

Two workers and a queue for four more tasks; while the workers are held, the seventh task is not accepted. `try_submit`
returns False, `submit_within` blocks for a moment, and a plain `submit` would block until a task is done.
"""

from __future__ import annotations

import threading

import pyants


def main() -> None:
    gate = threading.Event()
    with pyants.Pool(2, queue_size=4) as pool:
        taken = sum(pool.try_submit(gate.wait) for _ in range(10))
        print(f"taken in: {taken} of 10")

        try:
            pool.submit_within(0.05, gate.wait)
        except pyants.PoolTimeoutError as error:
            print(f"submit_within gave up: {error}")

        gate.set()  # the workers go on, and the pool accepts tasks again
        pool.submit(print, "submit waited for room, and then was taken in")
    print(f"done: {pool.stats().completed}, refused: {pool.stats().rejected}")


if __name__ == "__main__":
    main()
