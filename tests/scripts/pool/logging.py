"""The programs of tests/pool/test_logging.py."""

from __future__ import annotations

import sys
from typing import Any

from program import main

from pyants import Pool


def if_logging_itself_fails_the_unraisable_hook_hears_of_it() -> None:
    seen: list[Any] = []
    sys.unraisablehook = lambda info: seen.append(info)

    class Broken:
        def error(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("the log is full")

    def fail() -> None:
        raise ValueError("the task")

    broken: Any = Broken()
    with Pool(1, logger=broken, disable_purge=True) as pool:
        pool.submit(fail)
        assert pool.wait_idle(10)
        pool.submit(int)
        assert pool.wait_idle(10)
        assert (pool.stats().failed, pool.stats().completed, pool.running()) == (1, 1, 1)
    chain: list[Any] = []
    for info in seen:
        error = info.exc_value
        while error is not None:
            chain.append(type(error).__name__)
            error = error.__context__
    print(" ".join(chain))


if __name__ == "__main__":
    main(globals())
