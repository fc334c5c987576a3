//! Admission: a task gets a permit while fewer than `limit` tasks are in flight (accepted and not yet done).
//!
//! Two counters that only grow: the tasks that entered, and those that left again. The first shares its word with two
//! flags, so that an entry is judged together with them:
//!
//! ```text
//!  63       62        61..0
//!  +--------+---------+---------------+
//!  | closed | waiting | tasks entered |
//!  +--------+---------+---------------+
//! ```
//!
//! * `closed`: no task enters any more. The number of tasks that entered before is known at that instant (without a
//!   limit, once those that came too late have left again).
//! * `waiting`: submitters wait for a permit, and nobody overtakes: only the waiters' lock's holder lets tasks in.
//!
//! No wake-up is lost, by this step: a worker that gives back a permit raises `left`, then reads the flag; a submitter
//! that begins to wait raises the flag, then reads `left`. The writes and the reads are SeqCst, so one of the two sees
//! the other (README.md has the whole proof).
//!
//! Submitters and workers avoid taking cache lines from each other: a submitter counts by the last value it saw of
//! `left` as long as that leaves a permit, and a worker reads a copy of the flag where submitters do not write.

use crate::pool::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const CLOSED: u64 = 1 << 63;
    const WAITING: u64 = 1 << 62;
    const COUNT: u64 = Self::WAITING - 1;

    fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    fn has_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    fn entered(self) -> u64 {
        self.0 & Self::COUNT
    }
}

/// The result of an attempt to enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The task is in flight. The number in flight, itself included (see `Count`; meaningless where tasks are tallied).
    In(u64),
    /// No permit is free, or others wait for one.
    Full,
    /// The pool is closed.
    Closed,
}

/// Written by submitters.
struct Entrance {
    entered: AtomicU64,
    /// A former value of `left`. As `left` only grows, this errs on the safe side.
    seen_left: AtomicU64,
}

/// Seldom written.
struct Terms {
    /// How many tasks may be in flight; `u64::MAX`: any number.
    limit: AtomicU64,
    /// A copy of the flag in `entered`, for tasks that leave.
    waiting: AtomicBool,
    /// A copy of the flag in `entered`, for tasks that enter without a look at that.
    closed: AtomicBool,
}

/// How tasks in flight are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Each task that enters learns how many are in flight, and each that ends calls `leave`.
    Exact,
    /// The same, but a task that enters may count others that have just left.
    Lagging,
    /// Without a limit nobody needs the number at once: tasks that end do not call `leave`; workers' tallies serve.
    Tallied,
}

/// See the module's description.
pub struct Admission {
    entrance: CachePadded<Entrance>,
    left: CachePadded<AtomicU64>,
    terms: CachePadded<Terms>,
    count: Count,
}

impl Admission {
    pub const UNLIMITED: u64 = u64::MAX;

    pub fn new(limit: u64, count: Count) -> Self {
        Admission {
            entrance: CachePadded::new(Entrance {
                entered: AtomicU64::new(0),
                seen_left: AtomicU64::new(0),
            }),
            left: CachePadded::new(AtomicU64::new(0)),
            terms: CachePadded::new(Terms {
                limit: AtomicU64::new(limit),
                waiting: AtomicBool::new(false),
                closed: AtomicBool::new(false),
            }),
            count,
        }
    }

    /// Every task that ends calls `leave`.
    pub fn is_counted(&self) -> bool {
        self.count != Count::Tallied
    }

    fn word(&self) -> Word {
        Word(self.entrance.entered.load(Ordering::SeqCst))
    }

    /// Enters unless others wait.
    pub fn enter(&self) -> Entry {
        if self.count == Count::Tallied {
            self.enter_tallied()
        } else {
            self.enter_if(|word| !word.has_waiting())
        }
    }

    /// Without a limit there is always a permit, and nobody ever waits for one: one step, which no other submitter can
    /// make fail. A task that came too late for a pool that closes leaves again. Until then the pool seems to have one
    /// task more, so the caller must notify those who wait for its end.
    #[inline]
    fn enter_tallied(&self) -> Entry {
        // Relaxed: only to leave `entered` alone in a pool that has long been closed.
        if self.terms.closed.load(Ordering::Relaxed) {
            return Entry::Closed;
        }
        let entered = &self.entrance.entered;
        if Word(entered.fetch_add(1, Ordering::SeqCst)).is_closed() {
            entered.fetch_sub(1, Ordering::SeqCst);
            return Entry::Closed;
        }
        Entry::In(1)
    }

    /// Enters as a waiter. The caller holds the waiters' lock.
    pub fn enter_as_waiter(&self) -> Entry {
        self.enter_if(|_| true)
    }

    /// Counts a worker in flight that does something other than a task, whether or not a permit is free.
    pub fn enter_besides(&self) {
        self.entrance.entered.fetch_add(1, Ordering::SeqCst);
    }

    fn enter_if(&self, may_enter: impl Fn(Word) -> bool) -> Entry {
        let entered = &self.entrance.entered;
        // Relaxed: confirmed by the CAS.
        let mut word = Word(entered.load(Ordering::Relaxed));
        loop {
            if word.is_closed() {
                return Entry::Closed;
            }
            let Some(in_flight) = self.count_in(word) else {
                return Entry::Full;
            };
            if !may_enter(word) {
                return Entry::Full;
            }
            match entered.compare_exchange_weak(
                word.0,
                word.0 + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Entry::In(in_flight + 1);
                }
                Err(now) => word = Word(now),
            }
        }
    }

    /// The number of tasks in flight, as exact as a submitter needs it; `None`: no permit is free. `word` may be old:
    /// then the CAS that follows fails.
    #[inline]
    fn count_in(&self, word: Word) -> Option<u64> {
        let limit = self.terms.limit.load(Ordering::SeqCst);
        if self.count == Count::Lagging {
            let seen_left = self.entrance.seen_left.load(Ordering::Relaxed);
            let in_flight = word.entered().saturating_sub(seen_left);
            if in_flight < limit {
                return Some(in_flight);
            }
        }
        // SeqCst: a submitter that begins to wait reads this after raising the flag.
        let left = self.left.load(Ordering::SeqCst);
        if self.count == Count::Lagging {
            self.entrance.seen_left.store(left, Ordering::Relaxed);
        }
        let in_flight = word.entered().saturating_sub(left);
        (in_flight < limit).then_some(in_flight)
    }

    /// A task could enter, with no waiter before it.
    pub fn has_permit(&self) -> bool {
        let word = self.word();
        let in_flight = word.entered().saturating_sub(self.left());
        !word.is_closed()
            && !word.has_waiting()
            && in_flight < self.terms.limit.load(Ordering::SeqCst)
    }

    /// A task leaves. `true`: submitters wait, and the caller must let them in.
    #[must_use]
    pub fn leave(&self) -> bool {
        self.leave_many(1)
    }

    /// As `leave`, for several tasks at once.
    #[must_use]
    pub fn leave_many(&self, tasks: u64) -> bool {
        self.left.fetch_add(tasks, Ordering::SeqCst);
        self.terms.waiting.load(Ordering::SeqCst)
    }

    /// Sets the flag that submitters wait; returns whether the pool is closed. The caller holds the waiters' lock.
    pub fn set_waiting(&self, waiting: bool) -> bool {
        debug_assert!(!waiting || self.is_counted(), "no permit is ever missing");
        let entered = &self.entrance.entered;
        let before = if waiting {
            entered.fetch_or(Word::WAITING, Ordering::SeqCst)
        } else {
            entered.fetch_and(!Word::WAITING, Ordering::SeqCst)
        };
        self.terms.waiting.store(waiting, Ordering::SeqCst);
        Word(before).is_closed()
    }

    /// Lets no task in any more; `false`: the pool was closed already.
    pub fn close(&self) -> bool {
        let before = self
            .entrance
            .entered
            .fetch_or(Word::CLOSED, Ordering::SeqCst);
        self.terms.closed.store(true, Ordering::Relaxed);
        !Word(before).is_closed()
    }

    /// Lets tasks in again.
    pub fn open(&self) {
        self.terms.closed.store(false, Ordering::Relaxed);
        self.entrance
            .entered
            .fetch_and(!Word::CLOSED, Ordering::SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.word().is_closed()
    }

    /// The tasks that ever entered.
    pub fn entered(&self) -> u64 {
        self.word().entered()
    }

    /// The tasks that called `leave`.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    pub fn set_limit(&self, limit: u64) {
        self.terms.limit.store(limit, Ordering::SeqCst);
    }
}
