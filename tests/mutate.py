"""Changes the Python part of pyants in one place at a time, in a copy, and demands that a test fails for each.

    python tests/mutate.py _group _executor     these modules (default: all)
    python tests/mutate.py --shard 2/5 _aio     the second fifth of the mutants
    python tests/mutate.py --list               what would be changed

The session `mutants-python` of noxfile.py runs it on an installed wheel. Prints each mutant that no test noticed,
and the counts.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyants

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
PACKAGE = Path(pyants.__file__).parent
# A mutant that hangs is noticed, too.
LIMIT = float(os.environ.get("PYANTS_MUTANT_LIMIT", "240"))

# The tests that are to notice, the likeliest first.
CHECKS = {
    "_group": ["executor/test_group*.py", "executor/test_machine.py"],
    "_executor": ["executor/test_[!glm]*.py", "executor/test_[lm]*.py", "project/test_private_names.py"],
    "_aio": ["asyncio/test_*.py"],
    "_future": ["executor/test_future*.py", "executor/test_interop.py"],
    "_default": ["pool/test_default_pool.py"],
    "_threads": ["pool/test_thread*.py", "project/test_private_names.py"],
    "_interpreter": ["process/test_import.py"],
    "_methods": ["pool/test_object_protocol.py", "executor/test_options.py"],
    "__init__": ["pool/test_object_protocol.py", "process/test_import.py", "project/test_stub.py"],
}

OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def instead_of(node: ast.AST) -> Iterator[ast.AST]:
    """What to put in the node's place, one after another."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=right) if type(op) in OPPOSITES:
            yield ast.Compare(left, [OPPOSITES[type(op)]()], right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield ast.BinOp(left, ast.Sub(), right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            yield ast.BinOp(left, ast.Add(), right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.If(body=body, orelse=orelse) if not is_for_types(node):
            for test in (True, False):
                yield ast.If(ast.Constant(test), body, orelse)
        case ast.Return(value=ast.expr()):
            yield ast.Return(None)
        case ast.Raise() | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.Expr() if not is_docstring(node):
            yield ast.Pass()
        case _:
            pass


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Each node below this one, as its parent, the field and the index there; nothing that is for type checkers."""
    if isinstance(node, ast.stmt) and is_for_types(node):
        return
    for field, value in ast.iter_fields(node):
        if field in (
            "annotation",
            "returns",
            "type_params",
            "bases",
            "keywords" if isinstance(node, ast.ClassDef) else "",
        ):
            continue
        is_list = isinstance(value, list)
        children: list[Any] = value if is_list else [value]  # pyright: ignore[reportUnknownVariableType]
        for index, child in enumerate(children):
            if isinstance(child, ast.AST):
                yield node, field, index if is_list else None
                yield from places(child)


def put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> ast.AST:
    """Puts the child there, and returns the one that was."""
    if index is None:
        former: ast.AST = getattr(parent, field)
        setattr(parent, field, child)
    else:
        former, getattr(parent, field)[index] = getattr(parent, field)[index], child
    return former


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """Each mutant as what was changed, and the whole text."""
    tree = ast.parse(source)
    for place in list(places(tree)):
        parent, field, index = place
        node = getattr(parent, field) if index is None else getattr(parent, field)[index]
        for other in instead_of(node):
            put(*place, copy.deepcopy(other))
            change = f"{ast.unparse(node).splitlines()[0]}  ->  {ast.unparse(other).splitlines()[0]}"
            yield f"{node.lineno}: {change}", ast.unparse(ast.fix_missing_locations(tree))
            put(*place, node)


def is_noticed(folder: str, checks: list[str]) -> str:
    """How the tests on the package in the folder ended: killed, hung, or left if all have passed."""
    env = dict(os.environ, PYTHONPATH=folder, PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=60", "-m", "not slow"]
    files = [str(path) for pattern in checks for path in sorted(TESTS.glob(pattern))]
    with subprocess.Popen(
        [*command, *files], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return "killed" if process.wait(LIMIT) else "left"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return "hung"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=[*CHECKS])
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    which, shards = map(int, options.shard.split("/"))
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(PACKAGE, Path(folder, "pyants")))
        for module in options.modules:
            file = copied / f"{module}.py"
            source = file.read_text()
            if not options.list and is_noticed(folder, CHECKS[module]) != "left":
                sys.exit(f"{module}: its tests fail as it is")
            for number, (change, text) in enumerate(mutants(source)):
                if number % shards != which - 1:
                    continue
                outcome = "listed"
                if not options.list:
                    file.write_text(text)
                    outcome = is_noticed(folder, CHECKS[module])
                counts[outcome] = counts.get(outcome, 0) + 1
                if outcome != "killed":
                    print(f"{outcome}  {module}.py:{change}", flush=True)
            file.write_text(source)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    return min(counts.get("left", 0), 1)


if __name__ == "__main__":
    sys.exit(main())
