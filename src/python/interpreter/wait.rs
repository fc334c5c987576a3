//! Waits without the GIL that Ctrl-C can interrupt, and waking the threads that wait for a result. Such a wait is in
//! values/wait_for_result.rs.

use super::call;
use super::thread_id::is_main_thread;
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::WaitLimit;
use pyo3::prelude::*;
use std::sync::Arc;
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

/// The threads to wake for a future that is done; to be delivered detached. They no longer count as blocked.
#[must_use]
#[derive(Default)]
pub struct Wakeups(Vec<Arc<ResultWait>>);

impl Wakeups {
    /// Settles the waits; for those of the threads that sleep.
    pub fn settle(result_waits: impl IntoIterator<Item = Arc<ResultWait>>) -> Self {
        let asleep = result_waits
            .into_iter()
            .filter(|result_wait| result_wait.settle());
        Wakeups(asleep.collect())
    }

    #[inline]
    pub fn append(&mut self, other: Wakeups) {
        if other.0.is_empty() {
            // The common case: no thread sleeps.
        } else if self.0.is_empty() {
            *self = other;
        } else {
            self.0.extend(other.0);
        }
    }

    pub fn ring(self) {
        self.0.iter().for_each(|result_wait| result_wait.ring());
    }
}

/// Delivers the wakeups, detached, since the woken threads want to attach.
pub fn ring(py: Python<'_>, wakeups: Wakeups) {
    if !wakeups.0.is_empty() {
        call::detach(py, || wakeups.ring());
    }
}
