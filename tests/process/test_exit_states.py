"""The interpreter ends while threads are between Python and native code: no signal, no hang, the right status."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from exit_states import PRELUDE, STATES, State

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

TIMES = int(os.environ.get("PYANTS_EXITS", "3"))


@pytest.mark.timeout(100 + 5 * TIMES)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_the_end_of_the_interpreter(state: State) -> None:
    for _ in range(TIMES):
        ended = subprocess.run(
            [sys.executable, "-P", "-c", PRELUDE + textwrap.dedent(state.script)],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        report = f"status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert ended.returncode == state.status, report
        assert state.says in ended.stderr, report
        assert "never" not in ended.stdout, report
        assert "panicked at" not in ended.stderr, report
