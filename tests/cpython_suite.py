"""Runs CPython's own tests of thread-pool executors and futures on PoolExecutor and pyants.Future.

    PYTHON tests/cpython_suite.py [-k TEXT] [-j N] [--timeout S] [--stock] [-v]

They are the tests of the interpreter that runs this, Lib/test/test_concurrent_futures: every class on ThreadPoolMixin,
and FutureTests. Each test runs in a process of its own, several of them side by side. Hanging or dying at the
interpreter's exit is a failure too, and so are threads and processes left behind. --stock runs them on CPython's own
classes.

Prints what fails and what is left out, and one line at the end. Exit status: 0 all passed, or the interpreter was
installed without its tests; 1 some failed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import importlib.util
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
import unittest
from typing import Any

PACKAGE = "test.test_concurrent_futures"

# Every CPython has these: if one is missing, this program no longer finds the tests.
EXPECTED = {
    "FutureTests",
    "ThreadPoolAsCompletedTest",
    "ThreadPoolExecutorTest",
    "ThreadPoolFailingInitializerTest",
    "ThreadPoolInitializerTest",
    "ThreadPoolShutdownTest",
    "ThreadPoolWaitTests",
}

# Tests that are not run, and why.
LEFT_OUT = {
    "ThreadPoolShutdownTest.test_thread_names_default": (
        "the threads' default names begin with the name of the executor's class, which here is PoolExecutor"
    ),
}

# Names in the stderr of programs that the tests start: ours, and CPython's, for which the tests look.
NAMES = {
    "pyants.PoolClosedError: ": "RuntimeError: ",  # It is a RuntimeError, and a traceback names the class itself.
}

# Before gh-116682 it demanded that a call has begun when submit() returns.
EITHER = "ThreadPoolShutdownTest.test_cancel_futures_wait_false", "AssertionError: b'' != b'apple'"

SKIPPED = 77


# --- in a test's own process ---


def bind() -> None:
    """Puts pyants in the place of CPython's classes. The tests are imported afterwards."""
    import pyants

    here: Any = concurrent.futures
    thread: Any = importlib.import_module("concurrent.futures.thread")
    base: Any = importlib.import_module("concurrent.futures._base")
    here.ThreadPoolExecutor = thread.ThreadPoolExecutor = pyants.PoolExecutor
    here.Future = base.Future = pyants.Future


def bind_programs(module: Any) -> None:
    """Does the same in the programs that the tests of a module start."""
    stock = getattr(module, "assert_python_ok", None)
    if stock is None:
        return

    def assert_python_ok(*args: str, **env: Any) -> tuple[int, bytes, bytes]:
        assert stock is not None
        # At the line where they import it, since the moment of the import is part of some tests.
        own = "from pyants import PoolExecutor; ThreadPoolExecutor = PoolExecutor"
        program, count = re.subn(r"from concurrent\.futures import \w+", own, args[-1])
        assert count == 1, f"it imports no executor:\n{args[-1]}"
        status, out, err = stock(*args[:-1], program, **env)
        for name, theirs in NAMES.items():
            err = err.replace(name.encode(), theirs.encode())
        return status, out, err

    module.assert_python_ok = assert_python_ok


def modules() -> list[str]:
    """A package from 3.12 on, a module before."""
    package = importlib.import_module(PACKAGE)
    path = getattr(package, "__path__", None)
    if path is None:
        return [PACKAGE]
    return [f"{PACKAGE}.{found.name}" for found in pkgutil.iter_modules(path) if found.name.startswith("test_")]


def classes(module: Any) -> dict[str, type[unittest.TestCase]]:
    """The module's test classes that concern us."""
    util: Any = module if hasattr(module, "ThreadPoolMixin") else importlib.import_module(f"{PACKAGE}.util")
    found: dict[str, Any] = module.__dict__
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
        and (issubclass(value, util.ThreadPoolMixin) or name == "FutureTests")
    }


def list_tests() -> int:
    found: set[str] = set()
    for module in modules():
        for name, case in classes(importlib.import_module(module)).items():
            found.add(name)
            for method in unittest.TestLoader().getTestCaseNames(case):
                print(f"{module} {name}.{method}")
    missing = EXPECTED - found
    if missing:
        print(f"{PACKAGE} lacks {', '.join(sorted(missing))}", file=sys.stderr)
    return 1 if missing else 0


def run_test(module_name: str, name: str, stock: bool) -> int:
    if not stock:
        bind()
    module = importlib.import_module(module_name)
    if not stock:
        bind_programs(module)
    case, _, method = name.partition(".")
    suite = unittest.TestSuite([classes(module)[case](method)])
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    for _, reason in result.skipped:
        print(reason)
    support: Any = importlib.import_module("test.support")
    if not result.wasSuccessful():
        return 1
    if support.environment_altered:
        print("it left threads or processes behind", file=sys.stderr)
        return 1
    return SKIPPED if result.skipped else 0


# --- the runner ---


class Test:
    def __init__(self, line: str, options: argparse.Namespace) -> None:
        self.module, self.name = line.split()
        self.stock: bool = options.stock
        self.timeout: float = options.timeout
        self.kind = "passed"
        self.said = ""

    def run(self) -> Test:
        if self.name in LEFT_OUT and not self.stock:
            self.kind, self.said = "left out", LEFT_OUT[self.name]
            return self
        arguments = ["--run", self.module, self.name, *(["--stock"] if self.stock else [])]
        with start(arguments) as process:
            try:
                out, err = process.communicate(timeout=self.timeout)
            except subprocess.TimeoutExpired:
                # The whole process group, with whatever the test has started. It exists until its leader is waited for.
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                self.kind, self.said = "failed", f"{err}no end within {self.timeout:g} s"
                return self
        if process.returncode == SKIPPED:
            self.kind, self.said = "left out", f"by CPython: {out.strip()}"
        elif process.returncode != 0:
            self.kind, self.said = "failed", f"{err}exit status {process.returncode}"
            if not self.stock and self.name == EITHER[0] and EITHER[1] in err:
                self.kind, self.said = "passed", ""
        return self


def start(arguments: list[str]) -> subprocess.Popen[str]:
    # -P: the directory of the project's tests is not on the path.
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "faulthandler", os.path.abspath(__file__), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", default="", metavar="TEXT", help="only tests with this in their name")
    parser.add_argument("-j", type=int, default=4, metavar="N", help="so many at a time (4)")
    parser.add_argument("--timeout", type=float, default=90, metavar="S", help="seconds for each test (90)")
    parser.add_argument("--stock", action="store_true", help="on CPython's own classes")
    parser.add_argument("-v", action="store_true", help="tell of every test")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        module, name = options.run
        return run_test(module, name, options.stock)
    if options.list:
        return list_tests()

    python = f"CPython {sys.version.split()[0]}"
    try:
        shipped = importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:
        shipped = False
    if not shipped:
        print(f"{python}: skipped, it was installed without {PACKAGE}")
        return 0
    begin = time.monotonic()
    with start(["--list"]) as process:
        listed, err = process.communicate(timeout=options.timeout)
    if process.returncode != 0:
        print(err, file=sys.stderr)
        return 1
    tests = [Test(line, options) for line in listed.splitlines()]
    tests = [test for test in tests if options.k in test.name]
    count = {"passed": 0, "left out": 0, "failed": 0}
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        for test in pool.map(Test.run, tests):
            count[test.kind] += 1
            if test.kind != "passed" or options.v:
                print(f"{test.kind}: {test.name}{': ' if test.said else ''}{test.said}", flush=True)
    whose = "its own classes" if options.stock else "PoolExecutor and pyants.Future"
    counted = ", ".join(f"{number} {kind}" for kind, number in count.items())
    print(f"{python}'s tests on {whose}: {counted} ({time.monotonic() - begin:.0f} s)")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
