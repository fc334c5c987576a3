//! Waking the threads that wait for a result. Their waits are in values/result_wait.rs.

use super::call;
use crate::pool::internal::ResultWait;
use pyo3::Python;
use std::sync::Arc;

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

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    if !wakeups.is_empty() {
        call::detach(py, || wakeups.ring());
    }
}
