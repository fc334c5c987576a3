//! Waiting until a condition holds, that the pool is at rest for example, at no cost to the workers while nobody waits.

use super::atomic::{AtomicUsize, Ordering};
use super::{Condvar, Mutex, WaitLimit, full_fence, lock, wait};
use crate::pool::error::Error;
use std::time::Duration;

/// See the module's description.
pub struct Watch {
    watchers: AtomicUsize,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Watch {
            watchers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            condvar: Condvar::new(),
        }
    }

    /// How many threads wait.
    #[cfg(test)]
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Must be called after every change that may make a condition true.
    pub fn notify(&self) {
        // The change first, then the watchers; `wait_until` has the watchers first, then the change.
        full_fence();
        if self.watchers.load(Ordering::Relaxed) > 0 {
            drop(lock(&self.lock));
            self.condvar.notify_all();
        }
    }

    /// Waits until `condition` holds.
    pub fn wait_until(
        &self,
        condition: impl Fn() -> bool,
        wait_limit: &mut WaitLimit<'_>,
    ) -> Result<(), Error> {
        self.wait_and_act(condition, wait_limit, || None, || {})
    }

    /// As `wait_until`, but acts before each sleep, and sleeps no longer than `most`, after which it acts again.
    pub fn wait_and_act(
        &self,
        condition: impl Fn() -> bool,
        wait_limit: &mut WaitLimit<'_>,
        most: impl Fn() -> Option<Duration>,
        act: impl Fn(),
    ) -> Result<(), Error> {
        if condition() {
            return Ok(());
        }
        self.watchers.fetch_add(1, Ordering::Relaxed);
        full_fence();
        let waited = self.watch(condition, wait_limit, most, act);
        self.watchers.fetch_sub(1, Ordering::Relaxed);
        waited
    }

    fn watch(
        &self,
        condition: impl Fn() -> bool,
        wait_limit: &mut WaitLimit<'_>,
        most: impl Fn() -> Option<Duration>,
        act: impl Fn(),
    ) -> Result<(), Error> {
        loop {
            act();
            let guard = lock(&self.lock);
            if condition() {
                return Ok(());
            }
            if wait_limit.is_over() {
                return Err(Error::Timeout);
            }
            let limit = wait_limit.next_wait().into_iter().chain(most()).min();
            drop(wait(&self.condvar, guard, limit));
            if wait_limit.is_interrupted() {
                return Err(Error::Interrupted);
            }
        }
    }
}
