"""Every behaviour of ants is tested, or docs/behaviours.md says why Python differs."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from support import TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

BEHAVIOURS = [f"B{number}" for number in range(1, 102)]
DIFFERENCES = [f"D{number}" for number in range(1, 24)]
SCENARIOS = [f"T{number}" for number in range(1, 44)] + [f"E{number}" for number in range(1, 4)]
NUMBERS = [*BEHAVIOURS, *DIFFERENCES, *SCENARIOS]

DOCUMENT = TESTS.parent / "docs" / "behaviours.md"


@functools.cache
def marked() -> dict[str, set[str]]:
    """The test files that name each number in a marker."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "ants":
                for argument in node.args:
                    assert isinstance(argument, ast.Constant)
                    files[str(argument.value)].add(path.relative_to(TESTS).as_posix())
    return files


def documented() -> Iterator[tuple[str, str, str]]:
    """The rows of the document's tables: the number, the behaviour, and its tests or the reason for a difference."""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| ([BDTE]\d+) \| (.*) \| (.*) \|", line):
            yield match[1], match[2], match[3]


def test_markers_name_only_what_there_is() -> None:
    assert set(marked()) <= set(NUMBERS)


def test_the_document_has_a_row_for_every_number_in_order() -> None:
    assert [number for number, _, _ in documented()] == NUMBERS
    assert all(what.strip() and where.strip() for _, what, where in documented())


def test_every_number_is_tested_or_explained() -> None:
    files = marked()
    for number, _, where in documented():
        named = set(re.findall(r"\w+/test_\w+\.py", where))
        explained = re.sub(r"`?\w+/test_\w+\.py`?,?", "", where).strip()
        assert named == files.get(number, set()), f"{number}: the document and the markers disagree"
        assert named or len(explained) > 20, f"{number} is neither tested nor explained"
