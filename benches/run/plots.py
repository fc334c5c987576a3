"""The plots of the page, drawn from a run; each has a panel for each build of Python."""

# pyright: reportUnknownMemberType=false
# matplotlib's methods take keyword arguments without types.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import tables
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from data import Entry, Run
    from matplotlib.axes import Axes

STYLES = {
    "Pool, queue": ("#c2410c", "o", "-"),
    "Pool, queue of 64": ("#d9a406", "p", "-"),
    "Pool, hand-off": ("#ea8a4b", "s", "-"),
    "PoolWithFunc": ("#b45309", "D", "-"),
    "PoolExecutor": ("#be185d", "D", "-"),
    "ThreadPoolExecutor": ("#1d4ed8", "^", "--"),
    "ThreadPool": ("#0891b2", "v", "--"),
    "SimpleQueue": ("#6b7280", "x", ":"),
    "a thread per task": ("#111827", "*", ":"),
    "Go": ("#15803d", "P", "-."),
}
"""A colour, a marker and a line for each kind of peer: warm for pyants."""


def style(label: str) -> dict[str, Any]:
    """How a peer with this label is drawn."""
    plain = label.replace("`", "")
    if plain.startswith("Go"):
        kind = "Go"
    elif plain == "Pool" or plain.startswith(("Pool(", "Pool,")):
        kind = "Pool, queue" if "queue_size" in plain or plain == "Pool" else "Pool, hand-off"
        kind = "Pool, queue of 64" if "=64" in plain else kind
    else:
        kind = next((name for name in STYLES if plain.startswith(name)), "SimpleQueue")
    color, marker, line = STYLES[kind]
    return {"color": color, "marker": marker, "linestyle": line, "linewidth": 1.8, "markersize": 5}


def panels(run: Run, title: str, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each build, side by side, and the same scales."""
    figure = Figure(figsize=(4.9 * len(run.builds), 4.4), layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    axes: list[Axes] = list(figure.subplots(1, len(run.builds), sharey=True, squeeze=False)[0])
    for build, panel in zip(run.builds, axes, strict=True):
        panel.set_title(tables.title(run, build), fontsize=10)
        panel.set_xlabel(x)
        panel.grid(visible=True, which="major", color="#e5e7eb", linewidth=0.8)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    axes[0].set_ylabel(y)
    return figure, axes


def legend(figure: Figure, axes: list[Axes]) -> None:
    """One for all panels, below them."""
    found = {label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def plain(value: float, _position: int) -> str:
    """A number on an axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def percent(share: float, _position: int) -> str:
    """A share on an axis."""
    return f"{share * 100:g} %"


def logarithmic(panel: Axes, *sides: str) -> None:
    """Makes these sides of a panel so, with numbers that are read at a glance."""
    for side in sides:
        (panel.set_xscale if side == "x" else panel.set_yscale)("log")
        axis = panel.xaxis if side == "x" else panel.yaxis
        axis.set_major_formatter(FuncFormatter(plain))
        axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, path: Path) -> None:
    """As SVG with its text as text, the same bytes for the same figures; or as PNG, by the name."""
    mpl.rcParams |= {"svg.hashsalt": "pyants", "svg.fonttype": "none"}
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def curves(
    run: Run,
    group: str,
    axis: str,
    of: Callable[[Entry], float | None],
    words: tuple[str, str, str],
    *,
    zero: bool = False,
) -> Figure:
    """A curve for each peer over what the orders have as `axis`; words are the title and the names of the axes."""
    figure, axes = panels(run, *words)
    for build, panel in zip(run.builds, axes, strict=True):
        entries = run.entries(group, build)
        for label in dict.fromkeys(entry.label for entry in entries):
            points = [
                (float(entry.order[axis]), value)
                for entry in entries
                if entry.label == label and (value := of(entry)) is not None
            ]
            if points:
                xs, ys = zip(*sorted(points), strict=True)
                panel.plot(xs, ys, label=label.replace("`", ""), **style(label))
        logarithmic(panel, "x", "y")
        if zero:
            panel.set_xscale("symlog", linthresh=1)
            panel.xaxis.set_major_formatter(FuncFormatter(plain))
    legend(figure, axes)
    return figure


def workers(run: Run) -> Figure:
    """Throughput against workers, with what is possible."""
    words = ("Tasks that sleep 1 ms: throughput against workers", "workers", "tasks per second")
    figure = curves(run, "workers", "workers", lambda entry: entry.median("per_second"), words)
    for panel in figure.axes:
        low, high = panel.get_xlim()
        panel.plot([low, high], [low * 1e3, high * 1e3], color="#9ca3af", linewidth=1, label="ideal", zorder=0)
        panel.set_xlim(low, high)
    return figure


def lengths(run: Run) -> Figure:
    """Throughput against the length of a task."""
    words = (
        "Computing tasks on 2 workers: throughput against length",
        "µs of computing a task (0: empty)",
        "tasks per second",
    )
    return curves(run, "lengths", "us", lambda entry: entry.median("per_second"), words, zero=True)


def capacities(run: Run) -> Figure:
    """Cost against capacity."""
    words = ("Empty tasks: cost against capacity", "capacity", "µs per task")
    return curves(run, "capacities", "workers", lambda entry: entry.median(), words)


def counts(run: Run) -> Figure:
    """Cost against the number of tasks."""
    words = ("Empty tasks on 8 workers: cost against their number", "tasks", "µs per task")
    return curves(run, "counts", "tasks", lambda entry: entry.median(), words)


def memory(run: Run) -> Figure:
    """Memory against waiting tasks."""

    def mebibytes(entry: Entry) -> float | None:
        each = entry.median("bytes_each")
        return None if each is None else max(each * entry.order["tasks"] / (1 << 20), 0.01)

    words = ("Tasks that wait for a worker: memory against their number", "tasks", "MiB")
    return curves(run, "queued", "tasks", mebibytes, words)


def latency(run: Run) -> Figure:
    """How many tasks take longer than so long."""
    figure, axes = panels(
        run, "One task at a time on idle workers: from submit to result", "µs", "share of tasks that take longer"
    )
    for build, panel in zip(run.builds, axes, strict=True):
        for entry in run.entries("latency idle", build):
            if entry.problem:
                continue
            looks: dict[str, Any] = style(entry.label) | {"marker": ""}
            left = [1 - quantile for quantile in run.quantiles[:-1]]
            panel.plot(entry.quantiles["result_us"][:-1], left, label=entry.label.replace("`", ""), **looks)
        logarithmic(panel, "x", "y")
        panel.set_ylim(1e-3, 1.1)
        panel.yaxis.set_major_formatter(FuncFormatter(percent))
    legend(figure, axes)
    return figure


def empty(run: Run) -> Figure:
    """The headline: what an empty task costs."""
    figure, axes = panels(run, "An empty task, submitted and run", "µs per task", "")
    for build, panel in zip(run.builds, axes, strict=True):
        entries = [entry for entry in run.entries("empty", build) if not entry.problem][::-1]
        costs = [entry.median() or 0.0 for entry in entries]
        logarithmic(panel, "x")
        for height, (entry, cost) in enumerate(zip(entries, costs, strict=True)):
            color = style(entry.label)["color"]
            panel.plot([cost], [height], marker="o", markersize=8, color=color)
            panel.annotate(f"{cost:.3g}", (cost, height), (8, -3), textcoords="offset points", fontsize=8)
        panel.set_yticks(range(len(entries)), [entry.label.replace("`", "") for entry in entries], fontsize=8)
        panel.margins(x=0.16)
    figure.set_size_inches(5.4 * len(run.builds), 5.2)
    return figure


PLOTS: dict[str, tuple[str, Callable[[Run], Figure]]] = {
    "empty": ("empty", empty),
    "workers": ("workers", workers),
    "lengths": ("lengths", lengths),
    "capacities": ("capacities", capacities),
    "counts": ("counts", counts),
    "memory": ("queued", memory),
    "latency": ("latency idle", latency),
}
"""Each plot by its name, with the group that it is drawn from."""


def draw(run: Run, folder: Path) -> list[str]:
    """Writes all that the run has figures for, and returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, (group, _) in PLOTS.items() if run.groups(group)]
    for name in names:
        save(PLOTS[name][1](run), folder / f"{name}.svg")
    return names
