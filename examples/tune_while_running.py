"""Tuning: the capacity of a pool can change while it works.

Six tasks wait for each other, so that all six must run at once. Two workers cannot do that; six can.
"""

from __future__ import annotations

import threading

import pyants

TOGETHER = 6


def main() -> None:
    all_here = threading.Barrier(TOGETHER)
    with pyants.Pool(2, queue_size=None) as pool:
        for _ in range(TOGETHER):
            pool.submit(all_here.wait)
        print(f"capacity {pool.cap()}: {pool.stats().completed} of {TOGETHER} can finish")
        pool.tune(TOGETHER)
        pool.wait_idle()
        print(f"capacity {pool.cap()}: {pool.stats().completed} done, {pool.stats().peak_running} workers at the peak")
        pool.tune(1)  # the five surplus workers are idle now, and leave at once
        pool.submit(print, "capacity 1: one worker carries on")


if __name__ == "__main__":
    main()
