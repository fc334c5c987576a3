//! The threads that sleep until a result is there: ringing for them, and whether it pays to look out before going to sleep.

use super::call;
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::AdaptiveSpin;
use pyo3::Python;
use std::sync::Arc;
use std::time::Duration;

/// The threads to wake for a future that is done; to be done detached. They are not bound any more.
#[must_use]
#[derive(Default)]
pub struct Wakeups(Vec<Arc<ResultWait>>);

impl Wakeups {
    /// For these threads, which sleep.
    pub fn of(result_waits: Vec<Arc<ResultWait>>) -> Self {
        Wakeups(result_waits)
    }

    /// For those of them that sleep: what they wait for is settled.
    pub fn settle(result_waits: Vec<Arc<ResultWait>>) -> Self {
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
            // Mostly: nobody sleeps.
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

/// Rings, detached, since those who wake up want to be attached.
pub fn ring(py: Python<'_>, wakeups: Wakeups) {
    if !wakeups.is_empty() {
        call::detach(py, || wakeups.ring());
    }
}

/// Of those who wait for results.
pub static SPIN: AdaptiveSpin = AdaptiveSpin::new(Duration::from_micros(50));
