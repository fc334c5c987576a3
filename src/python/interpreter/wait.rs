//! Waits without the GIL that Ctrl-C can interrupt.

use super::call;
use super::thread_id::is_main_thread;
use crate::pool::internal::sync::WaitLimit;
use pyo3::prelude::*;
use std::time::Duration;

/// Runs `wait` detached, with a wait limit of `timeout`. On the main thread, where Python handles signals, a handler
/// that raises interrupts it: the exception is returned beside the result.
pub fn detached<R: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    wait: impl FnOnce(&mut WaitLimit<'_>) -> R + Send,
) -> (R, Option<PyErr>) {
    let mut raised = None;
    let on_main_thread = is_main_thread();
    let result = call::detach(py, || {
        let mut interrupted = || {
            raised = call::attach(|py| py.check_signals().err()).flatten();
            raised.is_some()
        };
        let wait_limit = WaitLimit::new(timeout);
        if on_main_thread {
            wait(&mut wait_limit.interruptible(&mut interrupted))
        } else {
            wait(&mut { wait_limit })
        }
    });
    (result, raised)
}
