//! The threads that sleep until a result is there: ringing for them, and whether it pays to look out before going to sleep.

use super::call;
use crate::pool::sleeper::Sleeper;
use crate::pool::sync::Luck;
use pyo3::Python;
use std::sync::Arc;
use std::time::Duration;

/// The threads to wake for a future that is done; to be done detached. They are not bound any more.
#[must_use]
#[derive(Default)]
pub struct Bells(Vec<Arc<Sleeper>>);

impl Bells {
    /// For these threads, which sleep.
    pub fn of(sleepers: Vec<Arc<Sleeper>>) -> Self {
        Bells(sleepers)
    }

    /// For those of them that sleep: what they wait for is settled.
    pub fn settle(sleepers: Vec<Arc<Sleeper>>) -> Self {
        let asleep = sleepers.into_iter().filter(|sleeper| sleeper.settle());
        Bells(asleep.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub fn append(&mut self, other: Bells) {
        if other.0.is_empty() {
            // Mostly: nobody sleeps.
        } else if self.0.is_empty() {
            *self = other;
        } else {
            self.0.extend(other.0);
        }
    }

    pub fn ring(self) {
        self.0.iter().for_each(|sleeper| sleeper.ring());
    }
}

/// Rings, detached, since those who wake up want to be attached.
pub fn ring(py: Python<'_>, bells: Bells) {
    if !bells.is_empty() {
        call::detach(py, || bells.ring());
    }
}

/// Of those who wait for results.
pub static LUCK: Luck = Luck::new(Duration::from_micros(50));
