//! Who may come in: a task does while fewer than `limit` tasks are in flight (accepted and not yet done).
//!
//! Two counters that only grow: the tasks that came in, and those that went out again. The first shares its word with
//! two flags, so that coming in is judged together with them:
//!
//! ```text
//!  63       62        61..0
//!  +--------+---------+---------------------+
//!  | closed | waiting | tasks that came in  |
//!  +--------+---------+---------------------+
//! ```
//!
//! * `closed`: nobody comes in any more. The tasks that came in before are known at that instant.
//! * `waiting`: submitters stand in line, and nobody overtakes them: only who holds the line's lock lets anybody in.
//!
//! The step that no wake-up is lost by: who goes out raises `left`, then reads the flag; who stands in line raises the
//! flag, then reads `left`. The writes and the reads are SeqCst, so one of the two sees the other (README.md tells the
//! whole).
//!
//! Who comes in and who goes out do not take lines of memory from each other where they need not: who comes in counts by
//! what was last seen of `left`, as long as that leaves room, and who goes out reads the flag from where nobody counts.

use super::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// What came of a try to come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The task is in flight, as one of so many (see `Count`; of 0 where they are tallied).
    In(u64),
    /// There is no room, or others wait for it.
    Full,
    /// The pool is closed.
    Closed,
}

/// What those who come in write.
struct Entrance {
    entered: AtomicU64,
    /// What `left` was at some time. It only grows, so this errs to the safe side.
    seen_left: AtomicU64,
}

/// What is seldom written.
struct Terms {
    /// How many tasks may be in flight; `u64::MAX`: any number.
    limit: AtomicU64,
    /// As the flag in `entered`, for those who go out.
    waiting: AtomicBool,
}

/// How tasks in flight are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Each task that comes in knows as one of how many, and each that ends is told to `leave`.
    Exact,
    /// The same, but a task that comes in may take others for in flight that have just left.
    Lagging,
    /// Without a limit nobody needs to know at once: tasks that end are not told to `leave`, and the workers' own tallies
    /// serve.
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
            }),
            count,
        }
    }

    /// Every task that ends is told to `leave`.
    pub fn is_counted(&self) -> bool {
        self.count != Count::Tallied
    }

    fn word(&self) -> Word {
        Word(self.entrance.entered.load(Ordering::SeqCst))
    }

    /// Comes in behind those who wait.
    pub fn enter(&self) -> Entry {
        self.enter_if(|word| !word.has_waiting())
    }

    /// Comes in as one who waits. The caller holds the line's lock.
    pub fn enter_as_waiter(&self) -> Entry {
        self.enter_if(|_| true)
    }

    /// Comes in besides the tasks, whether or not there is room: a worker, which does something else for a while.
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

    /// How many tasks are in flight, as far as who comes in needs to know; `None`: as many as may be. `word` may be old, then
    /// the CAS that follows fails.
    #[inline]
    fn count_in(&self, word: Word) -> Option<u64> {
        if self.count == Count::Tallied {
            return Some(0);
        }
        let limit = self.terms.limit.load(Ordering::SeqCst);
        if self.count == Count::Lagging {
            let seen_left = self.entrance.seen_left.load(Ordering::Relaxed);
            let in_flight = word.entered().saturating_sub(seen_left);
            if in_flight < limit {
                return Some(in_flight);
            }
        }
        // SeqCst: one who stands in line reads it after raising the flag.
        let left = self.left.load(Ordering::SeqCst);
        if self.count == Count::Lagging {
            self.entrance.seen_left.store(left, Ordering::Relaxed);
        }
        let in_flight = word.entered().saturating_sub(left);
        (in_flight < limit).then_some(in_flight)
    }

    /// A task could come in, with nobody in line before it.
    pub fn has_permit(&self) -> bool {
        let word = self.word();
        let in_flight = word.entered().saturating_sub(self.left());
        !word.is_closed()
            && !word.has_waiting()
            && in_flight < self.terms.limit.load(Ordering::SeqCst)
    }

    /// A task goes out. `true`: somebody stands in line, and the caller is to let them in.
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

    /// Raises or lowers the flag that submitters stand in line; whether the pool is closed. The caller holds the
    /// line's lock.
    pub fn set_waiting(&self, waiting: bool) -> bool {
        let entered = &self.entrance.entered;
        let before = if waiting {
            entered.fetch_or(Word::WAITING, Ordering::SeqCst)
        } else {
            entered.fetch_and(!Word::WAITING, Ordering::SeqCst)
        };
        self.terms.waiting.store(waiting, Ordering::SeqCst);
        Word(before).is_closed()
    }

    /// Lets nobody in any more; `false`: it was so already.
    pub fn close(&self) -> bool {
        let before = self
            .entrance
            .entered
            .fetch_or(Word::CLOSED, Ordering::SeqCst);
        !Word(before).is_closed()
    }

    /// Lets tasks in again.
    pub fn open(&self) {
        self.entrance
            .entered
            .fetch_and(!Word::CLOSED, Ordering::SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.word().is_closed()
    }

    /// The tasks that ever came in.
    pub fn entered(&self) -> u64 {
        self.word().entered()
    }

    /// The tasks that were told to `leave`.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    pub fn set_limit(&self, limit: u64) {
        self.terms.limit.store(limit, Ordering::SeqCst);
    }
}
