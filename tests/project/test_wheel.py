"""The wheel works when it is installed alone into an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import pyants

ROOT = Path(__file__).parents[2]
WHEEL = os.environ.get("PYANTS_WHEEL", "")

pytestmark = [
    pytest.mark.skipif(not WHEEL, reason="PYANTS_WHEEL does not name a wheel; `make test` sets it"),
    pytest.mark.thread_unsafe(reason="makes virtual environments and runs programs in them"),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment that holds the wheel and nothing else."""
    environment = tmp_path_factory.mktemp("wheel") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=100)
    interpreter = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [str(interpreter), "-m", "pip", "install", "-q", "--no-index", "--no-deps", WHEEL]
    subprocess.run(install, check=True, timeout=100)
    return interpreter


def run(python: Path, script: str, cwd: Path) -> str:
    command = [str(python), "-I", "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_suite_tests_the_installed_package() -> None:
    assert Path(pyants.__file__).is_relative_to(sysconfig.get_path("platlib"))


def test_the_first_example_of_the_readme_runs(python: Path, tmp_path: Path) -> None:
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    run(python, block[1], tmp_path)


def test_nothing_else_is_needed(python: Path, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    script = (
        "import importlib.metadata as m\n"
        "d = m.distribution('pyants-rs')\n"
        "print(d.version, [r for r in d.requires or [] if 'extra' not in r])"
    )
    assert run(python, script, tmp_path) == f"{version} []"


def test_types_and_licence_are_in_the_wheel() -> None:
    names = set(zipfile.ZipFile(WHEEL).namelist())
    assert {"pyants/__init__.py", "pyants/_core.pyi", "pyants/py.typed"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "examples", "src"))]


def test_the_wheel_is_for_this_interpreter() -> None:
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    abi = tag + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
    assert f"-{tag}-{abi}-" in Path(WHEEL).name


def test_importing_leaves_the_gil_off_and_starts_no_thread(python: Path, tmp_path: Path) -> None:
    script = (
        "import sys, threading, pathlib\n"
        "def off(): return not getattr(sys, '_is_gil_enabled', lambda: True)()\n"
        "before = off(); import pyants\n"
        "tasks = pathlib.Path('/proc/self/task')\n"
        "print(before == off(), len(list(tasks.iterdir())) if tasks.exists() else threading.active_count())"
    )
    assert run(python, script, tmp_path) == "True 1"
