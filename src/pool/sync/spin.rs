//! Spinning: how long a thread waits actively before it does what costs more. All budgets of the core stand here.

use super::{Instant, processors};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// A submitter for a permit, before it waits. Longer would not pay: several that spin at once keep the workers from the
/// processors.
pub const FOR_PERMIT: Duration = Duration::from_micros(15);
/// A submitter for a worker that is done, before it starts another: about as long as a start takes.
pub const FOR_WORKER: Duration = Duration::from_micros(50);
/// A submitter that waits, for its answer: longer than it takes to wake the worker that will answer.
pub const FOR_ANSWER: Duration = Duration::from_micros(50);
/// A worker for its next task: longer than it takes a submitter that is let in, or gets a result, to submit again if it
/// need not be woken.
pub const FOR_TASK: Duration = Duration::from_micros(15);
/// A thread for the result of a task.
pub const FOR_RESULT: Duration = Duration::from_micros(50);

/// With a single processor nobody else makes progress while a thread spins; and a model checker explores the same
/// without it.
fn can_spin() -> bool {
    !cfg!(any(loom, shuttle)) && processors() > 1
}

/// A thread may spin before it does what costs more. A model takes the one look with which the spin would begin or, as
/// loom often has enough to explore, none.
#[cfg(not(any(loom, shuttle)))]
pub fn may_spin() -> bool {
    can_spin()
}

/// An adaptive spin: how long and how to wait actively, learnt from how it went the last times. (Relaxed, and not
/// changed in one step: these are guesses.)
pub struct AdaptiveSpin {
    most: Duration,
    /// How many spins in a row found nothing.
    misses: AtomicU32,
    /// The awaited thread runs on the same processor, which is yielded to it at once.
    yields: AtomicBool,
    /// How often a yield has helped since a thread last went to sleep instead.
    yielded: AtomicU32,
}

impl AdaptiveSpin {
    /// How long to spin when it is in vain.
    const LEAST: Duration = Duration::from_micros(2);
    /// After this many misses a long spin is tried again: of two threads that wait for each other, one must spin for
    /// longer than it takes to wake it before both find that it pays.
    const RETRY: u32 = 16;
    /// How many looks to take in a row, and after how many such rounds to yield the processor in any case.
    const LOOKS: u32 = 16;
    const ROUNDS: u32 = 8;
    /// How often to yield before sleeping instead: two threads may take turns on one processor for long while another
    /// is free, but the scheduler puts a woken thread where there is room.
    const MOST_YIELDS: u32 = 8;

    /// `most`: the longest spin that may pay.
    pub const fn new(most: Duration) -> Self {
        AdaptiveSpin {
            most,
            misses: AtomicU32::new(0),
            yields: AtomicBool::new(false),
            yielded: AtomicU32::new(0),
        }
    }

    /// Spins until `is_there`, for as long as it pays; returns whether it was.
    pub fn spin(&self, is_there: impl Fn() -> bool) -> bool {
        let misses = self.misses.load(Relaxed);
        let limit = self.most / (1 << (misses % Self::RETRY));
        let found = self.spin_for(limit.max(Self::LEAST), is_there);
        let misses = if found { 0 } else { misses.wrapping_add(1) };
        self.misses.store(misses, Relaxed);
        found
    }

    /// Spins until `is_there`, for `limit` at most; returns whether it was.
    pub fn spin_for(&self, limit: Duration, is_there: impl Fn() -> bool) -> bool {
        let mut start = None;
        self.spin_while(is_there, |now| {
            now - *start.get_or_insert(now) < limit && !self.should_sleep()
        })
    }

    /// The processor was yielded often enough; starts counting anew.
    fn should_sleep(&self) -> bool {
        let enough = self.yields.load(Relaxed) && self.yielded.load(Relaxed) >= Self::MOST_YIELDS;
        if enough {
            self.yielded.store(0, Relaxed);
            self.yields.store(false, Relaxed);
        }
        enough
    }

    /// Spins until `is_there`, while `may_go_on`; returns whether it was. Looks once where spinning makes no sense.
    pub fn spin_while(
        &self,
        is_there: impl Fn() -> bool,
        mut may_go_on: impl FnMut(Instant) -> bool,
    ) -> bool {
        if !can_spin() {
            return is_there();
        }
        let mut yielded = false;
        for round in 1.. {
            for look in 0..Self::LOOKS {
                if is_there() {
                    let helped = yielded && look == 0;
                    if helped {
                        self.yielded.fetch_add(1, Relaxed);
                    }
                    if round > 1 {
                        self.yields.store(helped, Relaxed);
                    }
                    return true;
                }
                std::hint::spin_loop();
            }
            if !may_go_on(Instant::now()) {
                break;
            }
            yielded = round >= Self::ROUNDS || self.yields.load(Relaxed);
            if yielded {
                std::thread::yield_now();
            }
        }
        false
    }
}
