"""A slice of `make abuse`: Ctrl-C at random instants, and pairs of methods called at once. (The fuzzing is a test.)"""

from __future__ import annotations

import pytest
from support import run_program

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


@pytest.mark.ants("D5")
def test_ctrl_c_at_random_instants_leaves_nothing_half_done() -> None:
    stdout, stderr = run_program("abuse/signals.py", "--times=2", "--exits=2", "--seed=1", deadline=100.0)
    assert "2 exits" in stdout
    assert stderr == ""


def test_pairs_of_methods_of_all_classes_called_at_once() -> None:
    # Also a public method fails it that the program does not know how to call.
    stdout, stderr = run_program("abuse/pairs.py", "--part=40", "--seed=1", deadline=100.0)
    assert stdout.endswith("0 failed\n")
    assert stderr == ""
