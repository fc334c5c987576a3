"""Where pyants may be imported, and how often."""

from __future__ import annotations

import sys

import pytest
from support import run_script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

PURGE = """
def import_again():
    for name in [name for name in sys.modules if name.split(".")[0] == "pyants"]:
        del sys.modules[name]
    import pyants
    return pyants
"""


def test_tasks_of_an_earlier_import_are_run_at_exit() -> None:
    stdout, stderr = run_script(
        PURGE
        + """
pool = Pool(1, queue_size=None)
for _ in range(20):
    pool.submit(lambda: (time.sleep(0.001), print("done")))
import_again()
"""
    )
    assert (stdout, stderr) == ("done\n" * 20, "")


def test_the_classes_of_all_imports_are_the_same() -> None:
    stdout, stderr = run_script(
        PURGE
        + """
import pyants as first
first.submit(int)  # The default pool.
AsyncPool = first.AsyncPool
again = import_again()
assert again is not first
print([name for name in first.__all__ if getattr(again, name) is not getattr(first, name)])
print(again.default_pool() is first.default_pool(), again.AsyncPool is AsyncPool)
import pyants._errors, pyants._executor
print(pyants._errors.PoolClosedError is first.PoolClosedError)
pool = again.Pool(1)
pool.release()
try:
    pool.submit(int)
except first.PoolClosedError:
    print("caught")
import_again()
import importlib
importlib.reload(import_again())
"""
    )
    assert (stdout, stderr) == ("[]\nTrue True\nTrue\ncaught\n", "")


def test_a_forked_child_after_a_second_import() -> None:
    run_script(
        "from support import IN_CHILD; exec(IN_CHILD)\n"
        + PURGE
        + """
pool = Pool(1)
pool.submit(int)
import_again()
def child():
    with pool:
        pool.submit(int)
        assert pool.wait_idle(20)
in_child(child)
with pool:
    pool.submit(int)
"""
    )


INTERPRETERS = """
try:
    import _interpreters
    def make(kind):
        return _interpreters.create(kind)
except ImportError:
    import _xxsubinterpreters as _interpreters
    def make(kind):
        return _interpreters.create(isolated=kind == "isolated")
CODE = '''
try:
    import pyants
except ImportError as error:
    print(error, flush=True)
else:
    print("imported")
'''
"""


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
@pytest.mark.parametrize("first", ["main", "other"])
def test_another_interpreter_is_refused_and_leaves_the_main_one_alone(kind: str, first: str) -> None:
    # Without the prelude, which would import it in the main interpreter first.
    stdout, stderr = run_script(
        INTERPRETERS
        + f"""
if {first == "main"}:
    import pyants
    pool = pyants.Pool(1)
number = make({kind!r})
_interpreters.run_string(number, CODE)
_interpreters.destroy(number)
import pyants
pool = pyants.Pool(1)
pool.submit(print, "main")
pool.release_timeout(20)
""",
        prelude=False,
    )
    refused, main = stdout.splitlines()
    assert refused.startswith("pyants works in the main interpreter only")
    assert (main, stderr) == ("main", "")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in 3.14")
def test_an_interpreter_pool_executor_gets_the_same_error() -> None:
    stdout, _ = run_script(
        """
        import concurrent.futures
        with concurrent.futures.InterpreterPoolExecutor(1) as executor:
            try:
                executor.submit(exec, "import pyants").result()
            except Exception as error:
                print(error)
        """,
        prelude=False,
    )
    assert "main interpreter only" in stdout
