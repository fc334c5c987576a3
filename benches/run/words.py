"""Numbers as they stand on the page, and Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def number(value: float) -> str:
    """With two or three digits that count."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 99.5:
        return f"{value:,.0f}"
    if size >= 9.95:
        return f"{value:.1f}" if size < 20 else f"{value:.0f}"
    if size >= 0.995:
        return f"{value:.1f}" if size >= 3 else f"{value:.2f}"
    return f"{value:.2f}" if size >= 0.095 else f"{value:.2g}"


def duration(us: float) -> str:
    """Microseconds in the unit that suits."""
    if us < 0.9995:
        return f"{us * 1000:.0f} ns"
    if us < 999.5:
        return f"{number(us)} µs"
    return f"{number(us / 1000)} ms" if us < 999_500 else f"{number(us / 1e6)} s"


def spread(values: Sequence[float]) -> str:
    """From the least to the most of some microseconds, in brackets; nothing where there is only one."""
    if len(values) < 2:
        return ""
    least, most = duration(values[0]), duration(values[-1])
    if least.split()[1] == most.split()[1]:
        least = least.split()[0]
    return f" ({least}–{most})"


def size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1000:
            return f"{number(count) if unit != 'B' else round(count)} {unit}"
        count /= 1024
    return f"{number(count)} GiB"


def times(ratio: float | None) -> str:
    """A ratio, or a dash."""
    return "–" if ratio is None else f"{number(ratio)} ×"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], worded: int = 1) -> str:
    """A Markdown table whose first columns hold words and whose others hold numbers; without columns that are empty."""
    body = list(rows)
    kept = [column for column in range(len(head)) if column < worded or any(row[column] for row in body)]
    if not body:
        return ""
    rule = ["---" if column < worded else "---:" for column in kept]
    lines = [[row[column] for column in kept] for row in (head, *body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))
