"""Runs the measurements, each in a process of its own, and writes what they printed, a JSON file.

    run.py --out results.json --python 3.13=path/to/python --python 3.13t=... [--go path/to/ants] [--rust] [--quick]
           [--only GROUP ...]

scripts/bench calls it. A round goes once through all entries of a group, for all builds of Python and for Go; the next
round goes back, so that nobody always has the same neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import criterion
import orders
import plan

ROOT = Path(__file__).parents[2]
MEASURE = ROOT / "benches/python/measure.py"

QUANTILES = [n / 100 for n in range(100)] + [0.995, 0.999, 1.0]
"""Of samples only these are kept, of all rounds together."""

Sample = dict[str, Any]


class Runner:
    """A build of Python, or the Go program: something that takes orders."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command
        self.version = self.ask({"work": "version"})
        self._loops_per_us = float(self.ask({"work": "calibrate"}).get("loops_per_us", 0))

    def ask(self, order: orders.Order, limit: float = 60) -> Sample:
        """What the process printed; {"over": limit} or {"failed": message} if it did not."""
        order = dict(order)
        if "us" in order:
            order["loops"] = round(order.pop("us") * self._loops_per_us)
        try:
            done = subprocess.run(
                [*self._command, json.dumps(order)], capture_output=True, text=True, timeout=limit, check=True
            )
            answer: Sample = json.loads(done.stdout)
            return answer
        except subprocess.TimeoutExpired:
            return {"over": limit}
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines()
            return {"failed": lines[-1] if lines else f"exit status {error.returncode}"}


def quantiles(samples: list[float]) -> list[float]:
    """The samples at QUANTILES."""
    samples = sorted(samples)
    return [round(samples[min(int(q * len(samples)), len(samples) - 1)], 3) for q in QUANTILES]


def shortened(value: Any) -> Any:
    """A number without the digits that mean nothing."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def collected(rounds: list[Sample]) -> dict[str, Any]:
    """An entry's rounds, with all samples together."""
    lists = {name for sample in rounds for name, value in sample.items() if isinstance(value, list)}
    together = {name: quantiles([x for sample in rounds for x in sample.get(name, ())]) for name in sorted(lists)}
    numbers = [{name: shortened(value) for name, value in sample.items() if name not in lists} for sample in rounds]
    return {"rounds": numbers, "quantiles": together}


def run_group(group: orders.Group, runners: list[Runner]) -> list[dict[str, Any]]:
    """All rounds of a group."""
    todo = [
        (runner, entry, list[Sample]())
        for entry in group.entries
        for runner in runners
        if (runner.name == "Go") == (entry.language == "go")
    ]
    for number in range(group.rounds):
        for runner, entry, rounds in todo if number % 2 == 0 else reversed(todo):
            if len(rounds) == entry.rounds or (rounds and "seconds" not in rounds[-1]):
                continue  # what did not end, or is not there, will not be the next time
            rounds.append(runner.ask(entry.order, group.limit))
            if "failed" in rounds[-1]:
                print(f"{group.name}: {entry.label} on {runner.name} failed: {rounds[-1]['failed']}", file=sys.stderr)
    return [
        {"group": group.name, "label": entry.label, "on": runner.name, "order": entry.order, **collected(rounds)}
        for runner, entry, rounds in todo
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = memory = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
        memory = f"{int(Path('/proc/meminfo').read_text().split()[1]) / (1 << 20):.0f} GiB"
    return {
        "cores": os.cpu_count(),
        "model": model or platform.processor() or platform.machine(),
        "memory": memory,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load": os.getloadavg()[0],
        "most_threads": orders.most_threads(),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs the measurements.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", action="append", default=[], metavar="TAG=PATH")
    parser.add_argument("--go", metavar="PATH")
    parser.add_argument("--rust", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[], metavar="GROUP")
    return parser.parse_args()


def main() -> None:
    """Runs, and writes the file."""
    args = arguments()
    begin = time.monotonic()
    report: dict[str, Any] = {
        "quick": args.quick,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "quantiles": QUANTILES,
    }
    runners = [Runner(tag, [path, str(MEASURE)]) for tag, path in (pair.split("=", 1) for pair in args.python)]
    if args.go:
        runners.append(Runner("Go", [args.go]))
    report["versions"] = {runner.name: runner.version for runner in runners}
    results: list[dict[str, Any]] = []
    report["results"] = results
    for group in plan.groups(args.quick):
        if args.only and group.name not in args.only:
            continue
        start = time.monotonic()
        results += run_group(group, runners)
        print(f"{group.name:<16} {time.monotonic() - start:6.1f} s", flush=True)
    if args.rust:
        start = time.monotonic()
        report["rust"] = criterion.run(ROOT, args.quick)
        print(f"{'rust':<16} {time.monotonic() - start:6.1f} s", flush=True)
    report["minutes"] = round((time.monotonic() - begin) / 60, 1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=None, separators=(",", ":")).replace('{"group"', '\n{"group"') + "\n")
    if any("failed" in sample for result in results for sample in result["rounds"]):
        sys.exit("some measurements failed")


if __name__ == "__main__":
    main()
