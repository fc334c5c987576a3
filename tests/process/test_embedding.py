"""Python embedded in a program of another language, which finalizes it and may initialise it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from support import DEADLINE, TESTS

import pyants

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

# The tasks end after the program, so that finalizing has something to wait for.
USE = """
import time
import pyants

pool = pyants.Pool(2, queue_size=None)
for number in range(4):
    pool.submit(lambda number=number: (time.sleep(0.01), print(f"ran {number}\\n", end="", flush=True)))
"""
TRY = """
try:
    import pyants
except ImportError as error:
    print(error, flush=True)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    version, folder = (sysconfig.get_config_var(name) for name in ("LDVERSION", "LIBDIR"))
    include = Path(sysconfig.get_path("include"))
    # A relocated installation is not where its own records say.
    folders = [Path(folder), include.parents[1] / "lib", *(include.parents[1] / "lib").glob("*-linux-gnu")]
    library = next((found for each in folders for found in each.glob(f"libpython{version}.so")), None)
    if compiler is None or library is None or not (include / "Python.h").exists():
        pytest.skip("no C compiler here, or no shared library or headers of this Python")
    path = tmp_path_factory.mktemp("embedding") / "embed"
    source = TESTS / "scripts" / "process" / "embed.c"
    options = [f"-I{include}", f"-I{include.parent}", str(library), f"-Wl,-rpath,{library.parent}"]
    command = [compiler, str(source), *options, "-o", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("the shared library of this Python was made for another system")
    return path


def run(program: Path, *scripts: str) -> list[str]:
    environment = dict(os.environ, PYTHONHOME=sysconfig.get_config_var("installed_base"))
    environment["PYTHONPATH"] = str(Path(pyants.__file__).parents[1])
    done = subprocess.run(
        [program, *scripts], env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_accepted_tasks_are_run_before_python_is_finalized(program: Path) -> None:
    *ran, last = run(program, USE)
    assert (sorted(ran), last) == ([f"ran {number}" for number in range(4)], "finalized")


def test_a_second_initialisation_is_refused(program: Path) -> None:
    again = [
        "pyants cannot be imported once Python has been finalized and initialized again in the same process",
        "finalized",
    ]
    assert run(program, USE, TRY, TRY)[-5:] == ["finalized", *again, *again]


def test_the_first_import_may_be_in_a_later_initialisation(program: Path) -> None:
    assert sorted(run(program, "", "", USE)) == ["finalized"] * 3 + [f"ran {number}" for number in range(4)]
