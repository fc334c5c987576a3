//! The counters in a worker's seat: the tasks that it has begun and ended.

use crate::pool::sync::atomic::{AtomicU64, Ordering};

/// The tasks that a worker has begun and ended. Written only by the worker in the seat.
#[derive(Default)]
pub struct Tally {
    /// Tasks begun.
    pub started: AtomicU64,
    /// Tasks that returned.
    pub completed: AtomicU64,
    /// Tasks that failed.
    pub failed: AtomicU64,
    /// Tasks that had been taken back.
    pub cancelled: AtomicU64,
}

/// The tasks that ended on a worker.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl Ended {
    pub fn sum(self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, other: Ended) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl Tally {
    /// Adds 1 to a counter that only this thread writes.
    pub fn count(counter: &AtomicU64) {
        // A single writer needs no read-modify-write. Release: a reader of an end also sees the start before it.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Takes 1 back from a counter that only this thread writes.
    pub fn uncount(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Tasks ended.
    pub fn ended(&self) -> Ended {
        // Acquire: a reader of an end also sees what the task did before it.
        Ended {
            completed: self.completed.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            cancelled: self.cancelled.load(Ordering::Acquire),
        }
    }

    /// Tasks begun and ended, as they were at one moment; the first is at most 1 more than the second.
    pub fn read(&self) -> (u64, Ended) {
        // Each counter is at least as new as the one read before it implies.
        let mut before = self.ended();
        loop {
            let started = self.started.load(Ordering::Acquire);
            let after = self.ended();
            if before == after {
                return (started, before);
            }
            before = after;
        }
    }
}
