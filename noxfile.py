"""The project's checks and tests, as sessions of nox. `make test` runs them all, three at a time (scripts/test).

    nox -t lint                         all sessions with a tag: lint, rust, models, tests, stress, soak, abuse,
                                        life-cycle
    nox -s mypy pyright                 some of them
    nox -s tests-3.13t -- -k purge      on one interpreter; pytest gets what stands behind the dashes
    nox -s loom -- submit_against       the models with such names; MODELS=whole: one more preemption in each
    nox -s stress-3.13 -- 10            ten runs in a row
    nox -s soak-3.13t -- --minutes 30   random use of everything at once; --seed repeats it
    nox -s signals-3.13 -- --times 500  Ctrl-C at random instants in each call that waits; --seed repeats it
    nox -s pairs-3.13t                  each pair of public methods called at once on one object
    nox -s fuzz-3.13 -- 5000            so many sequences of calls with hostile arguments
    nox -s mutants-rust -- -f src/pool/queue.rs --shard 0/4
                                        a quarter of what can be changed there: does a test notice?
    nox -s life-cycle-3.13 -- -k sigint   every end of the interpreter × state × face, or those with such names

`scripts/nox` is nox from .venv/nox, which it makes. `scripts/interpreters 3.13t` gets an interpreter that is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "yes"
os.environ.setdefault("NOX_ENABLE_STALENESS_CHECK", "1")  # An environment of another interpreter is made anew.

ROOT = Path(__file__).parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
TAGS = ["3.11", "3.12", "3.13", "3.14", "3.15", "3.13t", "3.14t", "3.15t"]


def find_interpreters() -> dict[str, str]:
    """The path of each interpreter, by its tag. A caller may have looked for them already, and the scripts need not."""
    if not os.environ.get("PYANTS_INTERPRETERS"):
        command = [str(ROOT / "scripts" / "interpreters"), "--found"]
        found = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        os.environ["PYANTS_INTERPRETERS"] = found
    return dict(line.split(maxsplit=1) for line in os.environ["PYANTS_INTERPRETERS"].splitlines())


PATHS = find_interpreters()
# The interpreter that the tools run on. There are wheels of all of them for 3.13.
MAIN = max(PATHS, key=lambda tag: (tag == "3.13", not tag.endswith("t"), tag), default="3.13")
DEMO = os.environ.get("PYTHON_TAG") or MAIN


def install_groups(session: nox.Session, *groups: str) -> None:
    session.install("--no-compile", *nox.project.dependency_groups(PYPROJECT, *groups))


def install_wheel(session: nox.Session, tag: str) -> Path:
    """Builds the wheel, and installs it as a user would. With -R, where there is an environment, it does neither."""
    session.run_install(str(ROOT / "scripts" / "build"), tag, external=True)
    python = tag.replace(".", "")
    wheels = (ROOT / "dist").glob(f"*-cp{python.removesuffix('t')}-cp{python}-*.whl")
    wheel = max(wheels, key=lambda wheel: wheel.stat().st_mtime)
    session.install("--no-compile", "--no-index", "--no-deps", "--force-reinstall", str(wheel))
    return wheel


def tag_of(session: nox.Session) -> str:
    return session.name.rpartition("-")[2]


# --- lint -----------------------------------------------------------------------------------------------------------


@nox.session(venv_backend="none", tags=["lint"])
def rustfmt(session: nox.Session) -> None:
    """The formatting of Rust."""
    session.run("cargo", "fmt", "--check")


@nox.session(venv_backend="none", tags=["lint"])
def clippy(session: nox.Session) -> None:
    """clippy on the core."""
    session.run("cargo", "clippy", "-q", "--all-targets", "--", "-D", "warnings")


@nox.session(name="clippy-python", venv_backend="none", tags=["lint"])
def clippy_python(session: nox.Session) -> None:
    """clippy on the core and the bindings."""
    options = ["-q", "--all-targets", "--features", "python", "--", "-D", "warnings"]
    session.run("cargo", "clippy", *options, env={"PYO3_PYTHON": PATHS.get(MAIN)})


@nox.session(venv_backend="none", tags=["lint"])
def gofmt(session: nox.Session) -> None:
    """The formatting of Go, where there is Go."""
    if not shutil.which("gofmt"):
        session.skip("no Go here")
    if unformatted := session.run("gofmt", "-l", "benches/peers", silent=True):
        session.error(f"not formatted: {unformatted}")


@nox.session(python=PATHS.get(MAIN, MAIN), tags=["lint"])
def tools(session: nox.Session) -> None:
    """The environment of ruff, mypy and pyright."""
    install_groups(session, "lint")


def run_tool(session: nox.Session, tool: str, *arguments: str) -> None:
    session.run(str(session.env_dir.parent / "tools" / "bin" / tool), *arguments)


@nox.session(name="ruff-check", venv_backend="none", requires=["tools"], tags=["lint"])
def ruff_check(session: nox.Session) -> None:
    """ruff's checks of Python."""
    run_tool(session, "ruff", "check", "-q", ".")


@nox.session(name="ruff-format", venv_backend="none", requires=["tools"], tags=["lint"])
def ruff_format(session: nox.Session) -> None:
    """The formatting of Python."""
    run_tool(session, "ruff", "format", "-q", "--check", ".")


@nox.session(venv_backend="none", requires=["tools"], tags=["lint"])
def mypy(session: nox.Session) -> None:
    """mypy, strict."""
    run_tool(session, "mypy", "python/pyants", "tests", "examples", "benches", "noxfile.py")


@nox.session(venv_backend="none", requires=["tools"], tags=["lint"])
def pyright(session: nox.Session) -> None:
    """pyright, strict."""
    run_tool(session, "pyright", "--pythonpath", str(session.env_dir.parent / "tools" / "bin" / "python"))


@nox.session(python=PATHS.get(MAIN, MAIN), tags=["lint"])
def stubtest(session: nox.Session) -> None:
    """The stubs against the built module."""
    install_groups(session, "mypy")
    install_wheel(session, MAIN)
    allowed = ["--allowlist", "tests/typing/stubtest_allowlist.txt", "--ignore-unused-allowlist"]
    session.run("python", "-m", "mypy.stubtest", "pyants", "--mypy-config-file", "pyproject.toml", *allowed)


# --- Rust -----------------------------------------------------------------------------------------------------------


@nox.session(name="cargo-test", venv_backend="none", tags=["rust"])
def cargo_test(session: nox.Session) -> None:
    """The core's unit and integration tests."""
    session.run("cargo", "test", "-q", "--lib", "--tests", *session.posargs)


@nox.session(name="std-locks", venv_backend="none", tags=["rust"])
def std_locks(session: nox.Session) -> None:
    """The core on the standard locks, compiled: all Python tests run on them."""
    session.run("cargo", "check", "-q", "--no-default-features", "--tests")


@nox.session(venv_backend="none", tags=["rust"])
def doctest(session: nox.Session) -> None:
    """The examples in the core's documentation."""
    session.run("cargo", "test", "-q", "--doc", *session.posargs)


def check_model(session: nox.Session, checker: str) -> None:
    # Built apart, since the cfg reaches every crate; without link-time optimisation, which only costs time here.
    env = {
        "RUSTFLAGS": f"--cfg {checker}",
        "CARGO_TARGET_DIR": str(TARGET / checker),
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    }
    if os.environ.get("MODELS") == "whole":  # One more preemption, and seven times as many random orders: half an hour.
        env |= {"PYANTS_PREEMPTIONS": "1", "PYANTS_ITERATIONS": "20000"}
    session.run("cargo", "test", "-q", "--release", "--test", checker, *session.posargs, env=env)


@nox.session(venv_backend="none", tags=["models"])
def loom(session: nox.Session) -> None:
    """The core's models, in every order of their steps."""
    check_model(session, "loom")


@nox.session(venv_backend="none", tags=["models"])
def shuttle(session: nox.Session) -> None:
    """The models that are too large for loom, in random orders."""
    check_model(session, "shuttle")


# --- Python ---------------------------------------------------------------------------------------------------------


def run_all(session: nox.Session, commands: list[list[str]], env: dict[str, str]) -> None:
    """Runs Python with each of the commands, also where one before it has failed."""
    failed: list[str] = []
    for command in commands:
        try:
            session.run("python", *command, env=env)
        except CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def tests(session: nox.Session) -> None:
    """pytest and CPython's own tests of executors, on the installed wheel."""
    tag = tag_of(session)
    install_groups(session, "test", *([] if tag.endswith("t") else ["uvloop", "gevent"]))
    env = {"PYANTS_WHEEL": str(install_wheel(session, tag))}
    # Side by side: most tests wait for something most of the time. Without the GIL, each test runs in several threads
    # at once, except those that own the process.
    more = [*os.environ.get("PYTEST_ARGS", "").split(), *session.posargs]
    options = ["-q", "-n", "3", *(["--parallel-threads=4"] if tag.endswith("t") else []), *more]
    commands = [["-m", "pytest", *options]]
    if not session.posargs:
        commands.append(["tests/cpython_suite.py"])
    run_all(session, commands, env)


def stress(session: nox.Session) -> None:
    """The stress test with a million tasks a pool, as often as the number behind the dashes says."""
    install_groups(session, "test")
    install_wheel(session, tag_of(session))
    env = {"PYANTS_STRESS": os.environ.get("PYANTS_STRESS", "1000000")}
    runs, *options = session.posargs or ["1"]
    # -s: a run can be repeated from the seeds and counts that the test prints.
    run_all(session, [["-m", "pytest", "-q", "-s", "tests/pool/test_stress.py", *options]] * int(runs), env)


def run_program(session: nox.Session, program: str, *folders: str) -> None:
    """Runs a program of the tests, which imports from these folders of theirs."""
    install_wheel(session, tag_of(session))
    env = {"PYTHONPATH": os.pathsep.join(str(ROOT / "tests" / folder) for folder in folders)}
    session.run("python", "-P", program, *session.posargs, env=env)


def soak(session: nox.Session) -> None:
    """Random use of everything at once for a minute, or as the options say; what became of each task must balance."""
    run_program(session, "tests/soak/soak.py", "soak", "helpers")


def signals(session: nox.Session) -> None:
    """Ctrl-C at random instants in each call in which the main thread waits: nothing is half done."""
    run_program(session, "tests/scripts/abuse/signals.py", "helpers")


def pairs(session: nox.Session) -> None:
    """Each pair of public methods of each class, called from several threads at once on one object."""
    run_program(session, "tests/scripts/abuse/pairs.py", "helpers")


def fuzz(session: nox.Session) -> None:
    """Sequences of calls with hostile arguments; how many is the number behind the dashes."""
    install_groups(session, "test")
    install_wheel(session, tag_of(session))
    runs, *options = session.posargs or ["2000"]
    command = ["-m", "pytest", "-q", "--timeout=0", "tests/pool/test_fuzz.py", *options]
    session.run("python", *command, env={"PYANTS_FUZZ": runs})


def life_cycle(session: nox.Session) -> None:
    """All of the life-cycle matrix: exits, forks and the like × states × faces, each case in a process of its own."""
    install_groups(session, "test")
    install_wheel(session, tag_of(session))
    env = {"PYANTS_LIFE_CYCLE": "whole"}
    session.run(
        "python", "-m", "pytest", "-q", "-n", "3", "tests/process/test_life_cycle.py", *session.posargs, env=env
    )


BY_INTERPRETER = {
    tests: "tests",
    stress: "stress",
    soak: "soak",
    signals: "abuse",
    pairs: "abuse",
    fuzz: "abuse",
    life_cycle: "life-cycle",
}
for function, group in BY_INTERPRETER.items():
    for tag in TAGS:
        name = f"{function.__name__.replace('_', '-')}-{tag}"
        nox.session(name=name, python=PATHS.get(tag, tag), tags=[group], default=function is tests)(function)


@nox.session(name="mutants-rust", venv_backend="none", default=False)
def mutants_rust(session: nox.Session) -> None:
    """Changes the core in one place at a time, in a copy, and demands that a Rust test fails: cargo-mutants."""
    tools = TARGET / "tools"
    session.run("cargo", "install", "-q", "cargo-mutants", "--locked", "--root", str(tools))
    env = {
        "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "CARGO_INCREMENTAL": "1",
        "RUST_TEST_THREADS": "8",
    }
    session.run("cargo", "mutants", "-o", str(TARGET / "mutants"), *session.posargs, env=env)


@nox.session(name="mutants-python", python=PATHS.get(MAIN, MAIN), default=False)
def mutants_python(session: nox.Session) -> None:
    """Changes the Python part in one place at a time, in a copy, and demands that a Python test fails."""
    install_groups(session, "test")
    install_wheel(session, MAIN)
    session.run("python", "tests/mutate.py", *session.posargs)


@nox.session(python=PATHS.get(DEMO, DEMO), default=False)
def demo(session: nox.Session) -> None:
    """Every file of a tree hashed on a pool (nox -s demo -- TREE), then the sample of ants; PYTHON_TAG=3.13t."""
    install_groups(session, "demo")
    install_wheel(session, DEMO)
    session.run("python", "examples/hash_tree.py", *session.posargs)
    session.run("python", "examples/ants_readme.py")
