"""What the programs in tests/scripts share. Each file has several: functions, of which `main` calls one by its name.

It does not import pyants itself: some of the programs change Python before they do.
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

    A program that hangs tells where all its threads are, and ends.
    """
    faulthandler.enable()
    if forks:
        # Since 3.12 os.fork warns in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        # faulthandler's own timer is a thread, which a child does not have and would wait for.
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(50)
    else:
        faulthandler.dump_traceback_later(float(os.environ.get("PYANTS_LIMIT", "60")), exit=True)
    # A test run in the background of a shell ignores Ctrl-C, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, *arguments = sys.argv[1:]
    programs[name](*arguments)


def keep_locals() -> None:
    """Keeps what the caller's variables refer to until the interpreter takes modules apart, as it does global ones."""
    sys.modules["__main__"].__dict__["_kept"] = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]


def function_of(expression: str, **names: object) -> Callable[[], Any]:
    """What an argument of a program stands for, as a function: `pool.wait_idle()`, with `pool=pool`."""
    import pyants

    made: Callable[[], Any] = eval(f"lambda: {expression}", {**vars(pyants), **names})
    return made


def evaluate(expression: str, **names: object) -> Any:
    """What an argument of a program stands for: `Pool(3, queue_size=None)`."""
    # Not by eval() alone: a Ctrl-C that leaves that sets the exit status, even where it is caught.
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
    """A module `pyants` that is imported anew, as if it had not been before."""
    for name in [name for name in sys.modules if name.split(".")[0] == "pyants"]:
        del sys.modules[name]
    return importlib.import_module("pyants")


def print_after(seconds: float, line: str) -> None:
    """A task that takes a while, and writes its line in one go."""
    time.sleep(seconds)
    print(line + "\n", end="", flush=True)


def own_interpreters() -> Any:
    """CPython's own module of subinterpreters, which has had two names."""
    try:
        return importlib.import_module("_interpreters")
    except ImportError:
        return importlib.import_module("_xxsubinterpreters")


def executor_class(name: str) -> Any:
    """CPython's class, or ours."""
    if name == "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor
    assert name == "PoolExecutor"
    from pyants import PoolExecutor

    return PoolExecutor


def give_after(seconds: float, value: T) -> T:
    """A task that takes a while, and gives the value."""
    time.sleep(seconds)
    return value
