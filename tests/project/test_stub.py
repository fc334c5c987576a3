"""The native module's stub has the docstrings of the module. (stubtest checks that the signatures agree.)"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyants import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

Documented = ast.ClassDef | ast.FunctionDef


def documented(body: list[ast.stmt], owner: object, path: str) -> Iterator[tuple[str, Documented, object]]:
    """Each class and function of the stub, with the object that it describes."""
    for node in body:
        if isinstance(node, Documented):
            target = inspect.getattr_static(owner, node.name)
            yield f"{path}{node.name}", node, target
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body, target, f"{node.name}.")


def stub() -> list[tuple[str, Documented, object]]:
    spec = importlib.util.find_spec("pyants")
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "_core.pyi").read_text(encoding="utf-8")
    return list(documented(ast.parse(text).body, _core, ""))


# Python itself has docstrings for these.
USUAL = {"__new__", "__init__", "__enter__", "__reduce__", "__class_getitem__", "__iter__", "__next__", "__await__"}


@pytest.mark.parametrize(("name", "node", "target"), [pytest.param(*case, id=case[0]) for case in stub()])
def test_the_stub_documents_what_the_module_does(name: str, node: Documented, target: object) -> None:
    if node.name in USUAL:
        return
    said = ast.get_docstring(node)
    assert said, f"{name} has no docstring in the stub"
    assert said == inspect.cleandoc(target.__doc__ or ""), name
