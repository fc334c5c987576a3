"""Runs the Rust benchmarks of benches/core.rs a few times over, and reads what Criterion wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any


def versions(root: Path) -> dict[str, str]:
    """Of the compiler and of the crates that are measured."""
    found = {"rustc": subprocess.run(["rustc", "-V"], capture_output=True, text=True, check=True).stdout.split()[1]}
    names = ("crossbeam-channel", "rayon", "rusty_pool", "threadpool", "tokio")
    name = ""
    for line in (root / "Cargo.lock").read_text().splitlines():
        if line.startswith("name = "):
            name = line.split('"')[1]
        elif line.startswith("version = ") and name in names:
            found[name] = line.split('"')[1]
    return found


def run(root: Path, quick: bool) -> dict[str, Any]:
    """Nanoseconds per task, a number for each round, by group and name."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    environment = os.environ | {"QUICK": "1" if quick else ""}
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(1 if quick else 3):
        shutil.rmtree(target / "criterion", ignore_errors=True)
        subprocess.run(
            ["cargo", "bench", "-q", "--bench", "core"],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        for path in sorted(target.glob("criterion/**/new/benchmark.json")):
            benchmark = json.loads(path.read_text())
            estimates = json.loads((path.parent / "estimates.json").read_text())
            tasks = benchmark["throughput"]["Elements"]
            key = (benchmark["group_id"], benchmark["function_id"])
            found.setdefault(key, []).append(round(estimates["median"]["point_estimate"] / tasks, 2))
    results = [{"group": group, "name": name, "ns": values} for (group, name), values in found.items()]
    return {"versions": versions(root), "results": results}
