"""The program of tests/asyncio/test_abandon.py."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from program import main

from pyants import AsyncPool


def ctrl_c(abandon_on_cancel: str) -> None:
    abandon = abandon_on_cancel == "True"
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(30)
        ended.set()

    def interrupt() -> None:
        begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)
        if not abandon:
            time.sleep(0.05)
            gate.set()

    async def main() -> None:
        async with AsyncPool(1, abandon_on_cancel=abandon) as pool:
            threading.Thread(target=interrupt).start()
            try:
                await pool.run(work)
            except asyncio.CancelledError:
                print("cancelled", ended.is_set(), flush=True)
                gate.set()
                raise

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", ended.is_set())


if __name__ == "__main__":
    main(globals())
