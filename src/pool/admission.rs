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
//! flag, then reads `left`. Both writes are SeqCst read-modify-writes and both reads SeqCst loads, so one of the two
//! sees the other (README.md tells the whole).

use super::sync::atomic::{AtomicU64, Ordering};
use super::sync::sequenced;
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
    /// The task is in flight, as one of so many (where they are counted one by one; else of 0).
    In(u64),
    /// There is no room, or others wait for it.
    Full,
    /// The pool is closed.
    Closed,
}

/// See the module's description.
pub struct Admission {
    entered: CachePadded<AtomicU64>,
    left: CachePadded<AtomicU64>,
    /// How many tasks may be in flight; `u64::MAX`: any number.
    limit: CachePadded<AtomicU64>,
    /// Whether every task that ends is told to `leave`. Without a limit nobody needs to know at once, and the workers'
    /// own tallies serve.
    counted: bool,
}

impl Admission {
    pub const UNLIMITED: u64 = u64::MAX;

    pub fn new(limit: u64, counted: bool) -> Self {
        Admission {
            entered: CachePadded::new(AtomicU64::new(0)),
            left: CachePadded::new(AtomicU64::new(0)),
            limit: CachePadded::new(AtomicU64::new(limit)),
            counted,
        }
    }

    /// Every task that ends is told to `leave`.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    fn word(&self) -> Word {
        Word(self.entered.load(Ordering::SeqCst))
    }

    /// Comes in behind those who wait.
    pub fn enter(&self) -> Entry {
        self.enter_if(|word| !word.has_waiting())
    }

    /// Comes in as one who waits. The caller holds the line's lock.
    pub fn enter_from_line(&self) -> Entry {
        self.enter_if(|_| true)
    }

    fn enter_if(&self, may_enter: impl Fn(Word) -> bool) -> Entry {
        // Relaxed: confirmed by the CAS.
        let mut word = Word(self.entered.load(Ordering::Relaxed));
        loop {
            if word.is_closed() {
                return Entry::Closed;
            }
            let mut in_flight = 0;
            if self.counted {
                // SeqCst: one who stands in line reads it after raising the flag. An old value errs to the safe side,
                // since `left` only grows. `entered` may be old as well, then the CAS fails.
                in_flight = word
                    .entered()
                    .saturating_sub(self.left.load(Ordering::SeqCst));
                if in_flight >= self.limit.load(Ordering::SeqCst) {
                    return Entry::Full;
                }
            }
            if !may_enter(word) {
                return Entry::Full;
            }
            match self.entered.compare_exchange_weak(
                word.0,
                word.0 + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    sequenced();
                    return Entry::In(in_flight + 1);
                }
                Err(now) => word = Word(now),
            }
        }
    }

    /// A task could come in, with nobody in line before it.
    pub fn has_room(&self) -> bool {
        let word = self.word();
        let in_flight = word.entered().saturating_sub(self.left());
        !word.is_closed() && !word.has_waiting() && in_flight < self.limit.load(Ordering::SeqCst)
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
        sequenced();
        self.word().has_waiting()
    }

    /// Raises or lowers the flag that submitters stand in line; whether the pool is closed. The caller holds the
    /// line's lock.
    pub fn set_waiting(&self, waiting: bool) -> bool {
        let before = if waiting {
            self.entered.fetch_or(Word::WAITING, Ordering::SeqCst)
        } else {
            self.entered.fetch_and(!Word::WAITING, Ordering::SeqCst)
        };
        sequenced();
        Word(before).is_closed()
    }

    /// Lets nobody in any more; `false`: it was so already.
    pub fn close(&self) -> bool {
        let before = self.entered.fetch_or(Word::CLOSED, Ordering::SeqCst);
        sequenced();
        !Word(before).is_closed()
    }

    /// Lets tasks in again.
    pub fn open(&self) {
        self.entered.fetch_and(!Word::CLOSED, Ordering::SeqCst);
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
        self.limit.store(limit, Ordering::SeqCst);
        sequenced();
    }
}
