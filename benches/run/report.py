"""Turns the results of a run into the page, its plots and the README's table.

    report.py results.json docs/benchmarks.md [--readme README.md]

The plots go into the folder with the page's name; of the README only what stands between its markers is replaced.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import page
import plots
from data import Run

BEGIN, END = "<!-- bench: begin, written by make bench -->", "<!-- bench: end -->"


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description="Writes the page of the benchmarks.")
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--readme", type=Path)
    args = parser.parse_args()
    run = Run(args.results)
    drawn = plots.draw(run, args.page.with_suffix(""))
    args.page.write_text(page.page(run, drawn))
    if args.readme:
        old = args.readme.read_text()
        inner = f"{BEGIN}\n{page.summary(run)}{END}"
        new, found = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: inner, old, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{args.readme} has no markers")
        args.readme.write_text(new)


if __name__ == "__main__":
    main()
