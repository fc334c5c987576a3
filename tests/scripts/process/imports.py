"""The programs of tests/process/test_import.py. Not all of them import pyants here, or first here."""

from __future__ import annotations

import concurrent.futures
import importlib
from typing import Any

from program import import_again, keep_locals, main, own_interpreters, print_after

PRINT_REFUSAL = """
try:
    import pyants
except ImportError as error:
    print(error, flush=True)
else:
    print("imported")
"""


def tasks_of_an_earlier_import_are_run_at_exit() -> None:
    keep_locals()
    from pyants import Pool

    pool = Pool(1, queue_size=None)
    for _ in range(20):
        pool.submit(print_after, 0.001, "done")
    import_again()


def the_classes_of_all_imports_are_the_same() -> None:
    import pyants as first

    first.submit(int)  # The default pool.
    async_pool = first.AsyncPool
    again = import_again()
    assert again is not first
    print([name for name in first.__all__ if getattr(again, name) is not getattr(first, name)])
    print(again.default_pool() is first.default_pool(), again.AsyncPool is async_pool)
    for name in ("_errors", "_executor"):
        importlib.import_module(f"pyants.{name}")
    print(again._errors.PoolClosedError is first.PoolClosedError)
    pool = again.Pool(1)
    pool.release()
    try:
        pool.submit(int)
    except first.PoolClosedError:
        print("caught")
    import_again()
    importlib.reload(import_again())


def another_interpreter_is_refused(kind: str, first: str) -> None:
    keep_locals()
    pools: list[Any] = []
    if first == "main":
        import pyants

        pools.append(pyants.Pool(1))
    interpreters = own_interpreters()
    if interpreters.__name__ == "_interpreters":
        number = interpreters.create(kind)
    else:
        number = interpreters.create(isolated=kind == "isolated")
    interpreters.run_string(number, PRINT_REFUSAL)
    interpreters.destroy(number)
    import pyants

    pool = pyants.Pool(1)
    pool.submit(print, "main")
    pool.release_timeout(20)


def an_interpreter_pool_executor_gets_the_same_error() -> None:
    futures: Any = concurrent.futures  # The class is new in 3.14.
    with futures.InterpreterPoolExecutor(1) as executor:
        try:
            executor.submit(exec, "import pyants").result()
        except Exception as error:
            print(error)


if __name__ == "__main__":
    main(globals())
