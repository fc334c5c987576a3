"""Helpers for the programs in tests/scripts. Each file there has several: functions, which `main` calls by name.

This module does not import pyants, since some programs change Python before they import it.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def main(programs: dict[str, Any], *, forks: bool = False) -> None:
    """Calls the program that the first argument names with the arguments after it, all of them strings.

    A program that hangs prints the stacks of all its threads, and ends.
    """
    faulthandler.enable()
    if forks:
        # Since 3.12 os.fork warns in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        # faulthandler's own timer is a thread, which a forked child lacks and would wait for.
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(50)
    else:
        faulthandler.dump_traceback_later(float(os.environ.get("PYANTS_LIMIT", "60")), exit=True)
    # A test run in the background of a shell ignores Ctrl-C, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, *arguments = sys.argv[1:]
    programs[name](*arguments)


def keep_locals() -> None:
    """Keeps the caller's variables alive until the interpreter clears its modules, like global variables."""
    sys.modules["__main__"].__dict__["_kept"] = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]


def function_of(expression: str, **names: object) -> Callable[[], Any]:
    """Makes a function of an expression that is a program's argument: `pool.wait_idle()`, with `pool=pool`."""
    import pyants

    made: Callable[[], Any] = eval(f"lambda: {expression}", {**vars(pyants), **names})
    return made


def evaluate(expression: str, **names: object) -> Any:
    """The value of an expression that is a program's argument: `Pool(3, queue_size=None)`."""
    # Not with eval() alone: a KeyboardInterrupt that leaves eval() sets the exit status, even if it is caught.
    return function_of(expression, **names)()


def in_child(child: Callable[[], object]) -> None:
    """Runs `child` in a forked process, which must end with code 0 in time. For programs with `forks`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            child()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status


def import_again() -> Any:
    """Imports pyants anew, as if it had not been imported before."""
    for name in [name for name in sys.modules if name.split(".")[0] == "pyants"]:
        del sys.modules[name]
    return importlib.import_module("pyants")


def print_after(seconds: float, line: str) -> None:
    """A task that takes a while, then writes its line at once."""
    time.sleep(seconds)
    print(line + "\n", end="", flush=True)


def own_interpreters() -> Any:
    """CPython's private module for subinterpreters, whose name depends on the version."""
    try:
        return importlib.import_module("_interpreters")
    except ImportError:
        return importlib.import_module("_xxsubinterpreters")


def executor_class(name: str) -> Any:
    """The executor class with this name: CPython's, or ours."""
    if name == "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor
    assert name == "PoolExecutor"
    from pyants import PoolExecutor

    return PoolExecutor


def give_after(seconds: float, value: T) -> T:
    """A task that takes a while, then returns the value."""
    time.sleep(seconds)
    return value
