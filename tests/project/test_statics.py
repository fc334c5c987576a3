"""What all threads of the process share in native code survives a fork: no forked child waits for a thread it lacks."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

STATIC = re.compile(r"^\s*(?:pub(?:\([a-z:]+\))? )?static (?P<name>\w+): (?P<type>.*?)(?: =|;|$)")
# A thread may be in the middle of one of these while another forks, and then the child waits for it.
WAITS = re.compile(r"\b(Once|OnceLock|LazyLock|Mutex|RwLock|Condvar|ReentrantLock)\b")
# Where no thread can be: what a child makes anew, what is used by attached threads only (all but the one that forks are
# detached while it does), and what is made while the module is imported (a fork waits for imports).
PER_PROCESS = re.compile(r"^PerProcess<")
ATTACHED = {"FINALIZER"}
MADE_BY_THE_IMPORT = {"OFFSET", "HANDLERS"}


def waits(line: str) -> str | None:
    """The name of a static that the line declares and on which a thread may wait."""
    static = STATIC.match(line)
    if static is None or not WAITS.search(static["type"]) or PER_PROCESS.match(static["type"]):
        return None
    return static["name"]


def test_nothing_that_a_thread_may_hold_is_inherited() -> None:
    lines = [line for path in sorted(SOURCE.rglob("*.rs")) for line in path.read_text().splitlines()]
    found = {name for line in lines if (name := waits(line)) is not None}
    assert found == ATTACHED | MADE_BY_THE_IMPORT


def test_the_search_finds_what_it_is_for() -> None:
    assert waits("    static COUNT: OnceLock<u32> = OnceLock::new();") == "COUNT"
    assert waits("pub(super) static ALL: std::sync::Mutex<Vec<u8>> = Mutex::new(Vec::new());") == "ALL"
    assert waits("    static ALL: PerProcess<Mutex<Vec<u8>>> = PerProcess::empty();") is None
    assert waits("static IS_SET: PyOnceLock<()> = PyOnceLock::new();") is None
