"""The programs of tests/pool/test_exceptions.py."""

from __future__ import annotations

import sys

from program import main

from pyants import Pool


def exit_and_interrupt_in_a_task_do_not_end_the_process() -> None:
    def leave() -> None:
        sys.exit(3)

    def interrupt() -> None:
        raise KeyboardInterrupt("in a task")

    with Pool(1) as pool:
        pool.submit(leave)
        pool.submit(interrupt)
        pool.submit(print, "still here")


if __name__ == "__main__":
    main(globals())
