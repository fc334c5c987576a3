"""Each part of the source imports only what tests/layers.toml allows, and no imports form a circle."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TABLE = tomllib.loads((ROOT / "tests" / "layers.toml").read_text())
RUST = ROOT / "src"
PYTHON = ROOT / "python" / "pyants"

Graph = dict[str, set[str]]


def rust_module(path: Path) -> tuple[str, ...]:
    """The module that a file is: `src/pool/waiters.rs` is pool::waiters, and so is `src/pool/waiters/mod.rs`."""
    parts = path.relative_to(RUST).with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else parts


def rust_paths(text: str) -> set[tuple[str, ...]]:
    """The paths that begin with `crate` or `super`, one by one if they are in braces, without those of unit tests."""
    text = re.sub(r"//[^\n]*|\bpub\([^)]*\)", "", text)
    text = re.split(r"\n#\[cfg\((?:all\()?test\b", text)[0]
    found: set[tuple[str, ...]] = set()
    for match in re.finditer(r"\b(?:crate|super)(?:::\w+)*(?:::\{)?", text):
        head = tuple(part for part in match.group().split("::") if part != "{")
        if not match.group().endswith("{"):
            found.add(head)
            continue
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inner = re.sub(r"::\{[^{}]*\}", "", text[match.end() : end - 1])
        found |= {(*head, *item.strip().split("::")) for item in inner.split(",") if item.strip()}
    return found


def rust_graph() -> Graph:
    files = {rust_module(path): path for path in RUST.rglob("*.rs")}
    graph: Graph = {}
    for module, path in files.items():
        imported: set[str] = set()
        for found in rust_paths(path.read_text()):
            if found[0] == "crate":
                target = found[1:]
            else:
                ups = 0
                while ups < len(found) and found[ups] == "super":
                    ups += 1
                # Within a module that is written inline, `super` is the file itself.
                target = (*module[: max(len(module) - ups, 0)], *found[ups:])
            while target and target not in files:
                target = target[:-1]
            if target and target != module:
                imported.add("/".join(target))
        graph["/".join(module)] = imported
    return graph


def python_graph() -> Graph:
    modules = {path.stem for path in PYTHON.glob("*.py")} | {"_core"}
    graph: Graph = {}
    for path in sorted(PYTHON.glob("*.py")):
        imported: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pyants":
                below = node.module.split(".")[1:]
                imported |= {below[0]} if below else {name.name for name in node.names}
        graph[path.stem] = imported & modules
    return graph


def part_of(module: str, table: dict[str, list[str]]) -> str:
    """The innermost part of the table that contains the module."""
    parts = [part for part in table if module == part or module.startswith(part + "/")]
    assert parts, f"{module} is in no part of tests/layers.toml"
    return max(parts, key=len)


def forbidden(graph: Graph, table: dict[str, list[str]]) -> list[str]:
    arrows = [
        (module, part_of(module, table), other, part_of(other, table))
        for module, imported in sorted(graph.items())
        for other in sorted(imported)
    ]
    return [
        f"{module} imports {other}: {part} may not import {below}"
        for module, part, other, below in arrows
        if part != below and below not in table[part]
    ]


def circle(graph: Graph) -> list[str]:
    """A circle of imports from a module back to itself; empty if there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            if found := walk(other, [*way, module]):
                return found
        done.add(module)
        return []

    for module in sorted(graph):
        if found := walk(module, []):
            return found
    return []


def test_rust_imports_what_the_table_allows() -> None:
    assert forbidden(rust_graph(), TABLE["rust"]) == []


def test_python_imports_what_the_table_allows() -> None:
    assert forbidden(python_graph(), {"_core": [], **TABLE["python"]}) == []


@pytest.mark.parametrize("read", [rust_graph, python_graph])
def test_no_circle(read: Callable[[], Graph]) -> None:
    graph = read()
    assert circle(graph) == []


def test_the_table_has_no_arrow_up() -> None:
    for table in TABLE.values():
        assert circle({part: set(below) for part, below in table.items()}) == []


def test_a_forbidden_import_is_found() -> None:
    table = TABLE["rust"]
    graph = {"pool/waiters": {"python/faces/pool"}, "python/faces/pool": set[str]()}
    assert forbidden(graph, table) == ["pool/waiters imports python/faces/pool: pool may not import python/faces"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_every_way_to_write_an_import_is_read() -> None:
    text = """
use super::admission::Entry;
use crate::pool::{Error, sync::{AdaptiveSpin, lock}, waiters::Waiters};
fn f() { super::super::call::attach(); } // not crate::comment
#[cfg(test)]
mod tests { use super::hidden; }
"""
    assert rust_paths(text) == {
        ("super", "admission", "Entry"),
        ("crate", "pool", "Error"),
        ("crate", "pool", "sync"),
        ("crate", "pool", "waiters", "Waiters"),
        ("super", "super", "call", "attach"),
    }
