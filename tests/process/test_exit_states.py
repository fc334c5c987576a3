"""The interpreter ends while threads are between Python and native code: no crash, no hang, the right exit status."""

from __future__ import annotations

import os

import pytest
from support import run_program

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

TIMES = int(os.environ.get("PYANTS_EXITS", "3"))

# The programs, and a text that has to be in their stderr.
STATES = {
    "a_callback_that_never_ends": "",
    "callbacks_without_end": "",
    "the_condition_of_a_future": "",
    "results_that_run_python_as_they_are_dropped": "",
    "a_loop_asleep_after_a_call": "",
    "a_loop_with_calls_without_end": "",
    "a_loop_with_failures_that_nobody_asks_for": "",
    "a_result_that_never_comes": "",
    "results_without_end": "",
    "maps_without_end": "",
    "groups_without_end": "",
    "submits_without_end": "",
    "an_iterable_of_python_code_without_end": "",
    "waits_without_end": "",
    "a_destructor_of_a_threads_own_data_that_waits_without_end": "",
    "threads_that_come_and_go_without_end": "",
    "a_daemon_pools_task_that_computes": "",
    "a_daemon_pools_task_that_sleeps": "",
    "a_daemon_pool_that_is_full": "accepted tasks are cancelled",
    "a_daemon_executor_in_a_map": "",
    "ctrl_c_during_a_task_that_never_ends": "KeyboardInterrupt",
    "ctrl_c_during_a_futures_task_that_never_ends": "KeyboardInterrupt",
    "ctrl_c_during_a_map_that_never_ends": "KeyboardInterrupt",
    "ctrl_c_with_much_in_the_queue": "accepted tasks are cancelled",
    "ctrl_c_during_a_panic_handler_that_never_ends": "KeyboardInterrupt",
    "ctrl_c_during_a_callback_that_never_ends": "KeyboardInterrupt",
    "sigterm_whose_handler_exits": "",
    "a_second_import_with_tasks_of_the_first": "",
    "a_second_interpreter_that_has_come_and_gone": "",
}


@pytest.mark.timeout(100 + 5 * TIMES)
@pytest.mark.parametrize(("state", "says"), STATES.items(), ids=STATES.keys())
def test_the_end_of_the_interpreter(state: str, says: str) -> None:
    for _ in range(TIMES):
        stdout, stderr = run_program("process/exit_states.py", state)
        assert says in stderr
        assert "never" not in stdout
