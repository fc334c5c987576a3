"""Every call from native code into Python goes through src/python/interpreter/call.rs, as docs/architecture.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "python"
DOOR = SOURCE / "interpreter" / "call.rs"

CALLS = re.compile(
    r"""
    \.call0\(\)            # PyO3's ways of calling,
    | \.call1\(
    | \.call\(
    | \.call_method[01]?\(
    | \bPyObject_(Vec)?[cC]all\w*
    | Python::(try_)?attach\b  # of attaching,
    | \battach_unchecked\b
    | py\.detach\(         # and of detaching
    """,
    re.VERBOSE,
)

# Calls that only look like those: the collector's visits, waits of the core, and our own types.
OURS = re.compile(r"\b(visit|wait|job|self|call|made)\.call\(")


def files() -> list[Path]:
    found = sorted(SOURCE.rglob("*.rs"))
    assert DOOR in found
    return [path for path in found if path != DOOR]


def code(path: Path) -> list[tuple[int, str]]:
    return [
        (number, line)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if not line.lstrip().startswith("//")
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_else_calls_python(path: Path) -> None:
    calls = [f"{path.name}:{number}: {line.strip()}" for number, line in code(path) if CALLS.search(OURS.sub("", line))]
    assert calls == []


def test_the_search_finds_what_it_is_for() -> None:
    for line in (
        "callback.call1((slf,))",
        "object.call_method0(name)",
        'getattr("x")?.call0()?',
        "Python::attach(|py| 1)",
        "py.detach(|| 1)",
        "func.call(args, Some(kwargs))",
    ):
        assert CALLS.search(OURS.sub("", line)), line
    for line in ("let result = wait.call();", "self.call(func, index, wakeups);"):
        assert not CALLS.search(OURS.sub("", line)), line


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_destructors_attach_by_the_door(path: Path) -> None:
    text = path.read_text()
    for found in re.finditer(r"^impl[^\n]* Drop for .*?^}", text, re.MULTILINE | re.DOTALL):
        body = found.group()
        if re.search(r"\bpy\b", body):
            assert "call::aside" in body, body
