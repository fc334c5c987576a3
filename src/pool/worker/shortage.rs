//! Whether the system refuses threads.
//!
//! A refused thread may be available a moment later, so the next task asks again; if nothing happens, the expiry thread
//! asks after a pause. After some refusals in a row none is asked for until a worker leaves or the pause is over, which
//! grows: otherwise each task that ends would ask in vain while the shortage lasts. There is no pause while no worker
//! is alive: then the submitter gets the system's error.

use crate::pool::sync::atomic::{AtomicBool, Ordering};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// See the module's description. (The times are guesses: standard library atomics, which no model explores.)
pub struct Shortage {
    /// The last start failed.
    on: AtomicBool,
    /// Until when to ask for none, in nanoseconds since the pool was made.
    until: AtomicU64,
    /// How many were refused in a row.
    refusals: AtomicU32,
}

impl Shortage {
    /// How many refusals in a row cause no pause.
    const WAIT_LIMIT: u32 = 8;
    const FIRST_PAUSE: Duration = Duration::from_millis(1);
    const DOUBLINGS: u32 = 3;

    pub fn new() -> Self {
        Shortage {
            on: AtomicBool::new(false),
            until: AtomicU64::new(0),
            refusals: AtomicU32::new(0),
        }
    }

    /// The last start failed: waiters do not count on a further worker.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// The system refused a thread, and has given none since.
    #[inline]
    pub fn was_refused(&self) -> bool {
        self.refusals.load(Relaxed) > 0
    }

    /// It is too early to ask again. (Never in a model, where no time passes.)
    pub fn is_pausing(&self, now: impl FnOnce() -> u64) -> bool {
        !cfg!(any(loom, shuttle)) && self.is_on() && now() < self.until.load(Relaxed)
    }

    /// The system refused a thread.
    pub fn begin(&self, now: u64) {
        if self.refusals.fetch_add(1, Relaxed) >= Self::WAIT_LIMIT {
            self.until.store(now + self.pause(), Relaxed);
        }
        self.on.store(true, Ordering::Relaxed);
    }

    /// How long to wait before asking again, in nanoseconds.
    pub fn pause(&self) -> u64 {
        let doublings = (self.refusals.load(Relaxed)).saturating_sub(Self::WAIT_LIMIT + 1);
        (Self::FIRST_PAUSE * (1 << doublings.min(Self::DOUBLINGS))).as_nanos() as u64
    }

    /// A worker could not be set up, which is no reason not to start another.
    pub fn begin_without_pause(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// A thread may be available now: the next start is tried at once.
    pub fn end_pause(&self) {
        if self.is_on() {
            self.until.store(0, Relaxed);
        }
    }

    /// A thread was started.
    pub fn end(&self) {
        if self.is_on() {
            self.refusals.store(0, Relaxed);
            self.until.store(0, Relaxed);
            self.on.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_many_in_a_row_makes_a_longer_pause() {
        let shortage = Shortage::new();
        assert!(!shortage.is_pausing(|| 0));
        for _ in 0..Shortage::WAIT_LIMIT {
            shortage.begin(1000);
            assert!(shortage.is_on());
            assert!(!shortage.is_pausing(|| 1000));
        }
        let mut before = 0;
        for refusal in 0..20 {
            shortage.begin(1000);
            let until = shortage.until.load(Relaxed);
            assert!(until > before || refusal > Shortage::DOUBLINGS);
            assert!(shortage.is_pausing(|| until - 1));
            assert!(!shortage.is_pausing(|| until));
            before = until;
        }
        shortage.end_pause();
        assert!(shortage.is_on());
        assert!(!shortage.is_pausing(|| 0));
        shortage.begin(1000);
        assert!(shortage.is_pausing(|| 1000));
        shortage.end();
        shortage.begin(1000);
        assert!(!shortage.is_pausing(|| 1000));
    }
}
