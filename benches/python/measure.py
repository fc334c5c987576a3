"""Does one piece of work in this process and prints what was measured, a line of JSON.

    python benches/python/measure.py '{"work": "tasks", "peer": "Pool", "workers": 8, "queue": null, "tasks": 100000}'

The work is a function of a works_*.py, its arguments are the other entries; benches/peers/ants takes the same orders.
What this build of pyants does not have gives {"missing": ...}.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from typing import Any

import peers

import pyants

WORKS = {
    "works_latency": ("fairness", "latency", "loop"),
    "works_memory": ("idle", "queued"),
    "works_real": ("real",),
    "works_results": ("awaited", "futures", "mapped", "one_by_one"),
    "works_waking": ("begins", "fills"),
    "works_throughput": ("bursts", "cycles", "many", "tasks"),
    "tasks": ("calibrate",),
}


def version() -> dict[str, Any]:
    """What is measured here."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "python": platform.python_version(),
        "gil": gil,
        "switch_ms": sys.getswitchinterval() * 1e3,
        "pyants": pyants.__version__,
    }


def find(work: str) -> Any:
    """The function of this name; only its module is imported, since the start of each process is waited for."""
    if work == "version":
        return version
    module = next(module for module, names in WORKS.items() if work in names)
    return getattr(importlib.import_module(module), work)


def main() -> None:
    """Takes the order."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    peer = str(order.get("peer", ""))
    for name, there in (("PoolExecutor", peers.Executor), ("AsyncPool", peers.AsyncPool)):
        if there is None and name in peer.replace("ThreadPoolExecutor", ""):
            print(json.dumps({"missing": f"pyants.{name}"}))
            return
    print(json.dumps(find(order.pop("work"))(**order)), flush=True)
    os._exit(0)  # some pools take longer to end thousands of threads than the measurement took


if __name__ == "__main__":
    main()
