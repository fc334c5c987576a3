"""The results of a run: what was measured of whom, with medians, spreads and ratios."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PER_TASK: dict[str, Callable[[dict[str, Any]], float]] = {
    "us": lambda sample: sample["seconds"] / sample["tasks"] * 1e6,
    "submit_us": lambda sample: sample["submitting"] / sample["tasks"] * 1e6,
    "cpu_us": lambda sample: sample["cpu"] / sample["tasks"] * 1e6,
    "switches_each": lambda sample: sample["switches"] / sample["tasks"],
    "per_second": lambda sample: sample["tasks"] / sample["seconds"],
}


class Entry:
    """One entry of a group, on one build of Python or in Go."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.group: str = raw["group"]
        self.label: str = raw["label"]
        self.on: str = raw["on"]
        self.order: dict[str, Any] = raw["order"]
        self.quantiles: dict[str, list[float]] = raw["quantiles"]
        self._rounds: list[dict[str, Any]] = raw["rounds"]
        self._good = [sample for sample in self._rounds if "seconds" in sample]

    @property
    def missing(self) -> bool:
        """Whether this build of pyants has no such thing."""
        return any("missing" in sample for sample in self._rounds)

    @property
    def problem(self) -> str:
        """Why there are no figures; empty where there are some."""
        if self._good:
            return ""
        over = next((sample["over"] for sample in self._rounds if "over" in sample), None)
        return f"not done after {over:.0f} s" if over else "failed"

    def has(self, what: str) -> bool:
        """Whether it was measured here."""
        return any(what in sample for sample in self._good)

    def values(self, what: str) -> list[float]:
        """One for each round, sorted."""
        reckon = PER_TASK.get(what)
        return sorted(reckon(sample) if reckon else sample[what] for sample in self._good)

    def median(self, what: str = "us") -> float | None:
        """Of the rounds; None where there are none."""
        return median(self.values(what)) if self._good else None


class Run:
    """A whole run."""

    def __init__(self, path: Path) -> None:
        self.raw: dict[str, Any] = json.loads(path.read_text())
        self.quick: bool = self.raw["quick"]
        self.versions: dict[str, dict[str, Any]] = self.raw["versions"]
        self.builds = [name for name in self.versions if name != "Go"]
        self.quantiles: list[float] = self.raw["quantiles"]
        self._entries = [Entry(raw) for raw in self.raw["results"]]

    def has_gil(self, build: str) -> bool:
        """Whether this build of Python has one."""
        return bool(self.versions[build]["gil"])

    def entries(self, group: str, build: str) -> list[Entry]:
        """What a table for this build shows: its own entries, and Go's."""
        return [
            entry for entry in self._entries if entry.group == group and entry.on in (build, "Go") and not entry.missing
        ]

    def groups(self, prefix: str) -> list[str]:
        """The groups whose names begin so."""
        return list(dict.fromkeys(entry.group for entry in self._entries if entry.group.startswith(prefix)))

    def find(self, group: str, build: str, label: str, **order: Any) -> Entry | None:
        """The first entry whose label begins so, and whose order has these values."""
        for entry in self.entries(group, build):
            if entry.label.startswith(label) and order.items() <= entry.order.items():
                return entry
        return None

    def median(self, group: str, build: str, label: str, what: str = "us", **order: Any) -> float | None:
        """The median of what find() finds."""
        entry = self.find(group, build, label, **order)
        return entry.median(what) if entry else None

    def ratio(self, group: str, build: str, label: str, other: str, what: str = "us") -> float | None:
        """The median of the one by that of the other."""
        return quotient(self.median(group, build, label, what), self.median(group, build, other, what))

    def rust(self) -> dict[str, dict[str, list[float]]]:
        """Nanoseconds per task, a number for each round: by group, then by name."""
        found: dict[str, dict[str, list[float]]] = {}
        for result in self.raw.get("rust", {}).get("results", []):
            found.setdefault(result["group"], {})[result["name"]] = sorted(result["ns"])
        return found


def quotient(one: float | None, other: float | None) -> float | None:
    """None where one of them is missing."""
    return one / other if one is not None and other else None
