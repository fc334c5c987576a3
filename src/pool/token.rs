//! The search token: who will look into the run queue, so that whoever puts a task there need wake nobody.
//!
//! ```text
//!  31..2      1         0
//!  +--------+---------+------+
//!  |        | watched | held |
//!  +--------+---------+------+
//! ```
//!
//! * `held`: a *searcher* has the token: a worker without a task (or somebody about to wake or start one) that will look
//!   into the queue before it rests, and before it lays the token down.
//! * `watched`: a *watchman* dozes: a worker without a task that looks every now and then whether the others get the
//!   queue empty without it. There is one at most.
//!
//! While somebody searches, nobody need be woken. The same goes for a watchman while others are at work. A searcher that
//! lays the token down while there is a watchman leaves the others to that.

use super::sync::atomic::{AtomicU32, Ordering};
use super::sync::full_fence;
use crossbeam_utils::CachePadded;
use std::sync::atomic::AtomicU64 as Plain;

const HELD: u32 = 1;
const STANDBY: u32 = 2;

/// Who will look into the run queue.
pub enum Searching {
    /// Nobody, unless it is somebody at work.
    Nobody,
    /// A searcher, at once.
    Searcher,
    /// A watchman, in a while.
    Standby,
}

/// How far the queue had moved at some time.
#[derive(Clone, Copy)]
pub struct Look {
    /// How many tasks had been taken out of it.
    pub taken: u64,
    /// When, in nanoseconds since the pool was made.
    pub at: u64,
}

/// See the module's description.
pub struct Token {
    word: CachePadded<AtomicU32>,
    /// What whoever handed the token to another worker saw of the queue. Only speed hangs on it, so no model explores it.
    taken: Plain,
    at: Plain,
}

impl Token {
    pub fn new() -> Self {
        Token {
            word: CachePadded::new(AtomicU32::new(0)),
            taken: Plain::new(0),
            at: Plain::new(0),
        }
    }

    /// The holder is about to give the token to a worker that it wakes or starts.
    pub fn hand_over(&self, look: Look) {
        self.taken.store(look.taken, Ordering::Relaxed);
        self.at.store(look.at, Ordering::Relaxed);
    }

    /// What was seen of the queue when the token was handed to the caller.
    pub fn handed_over(&self) -> Look {
        Look {
            taken: self.taken.load(Ordering::Relaxed),
            at: self.at.load(Ordering::Relaxed),
        }
    }

    /// Who will look into the queue. To be used after a full fence: what was put there before that is found.
    #[inline]
    pub fn state(&self) -> Searching {
        match self.word.load(Ordering::Relaxed) {
            0 => Searching::Nobody,
            STANDBY => Searching::Standby,
            _ => Searching::Searcher,
        }
    }

    // All changes acquire and release: what one searcher saw of the queue comes before what the next one sees.

    /// Takes the token if nobody searches.
    pub fn take(&self) -> bool {
        self.word.fetch_or(HELD, Ordering::AcqRel) & HELD == 0
    }

    /// Lays the token down. `true`: nobody is left who will look, and the caller has to, after this.
    pub fn lay_down(&self) -> bool {
        // A read-modify-write and no store, for it to come after every vain try to take the token before it: what is read
        // of the token from here on was written after this.
        let unwatched = self.word.fetch_and(!HELD, Ordering::AcqRel) & STANDBY == 0;
        full_fence();
        unwatched
    }

    /// The holder becomes the watchman; `false`: there is one.
    pub fn begin_standby(&self) -> bool {
        self.replace(HELD, STANDBY)
    }

    /// The watchman watches no longer; whether it holds the token now. If not, another searcher has it, and the former
    /// watchman has to look into the queue once more: that searcher may have laid it down in trust.
    pub fn end_standby(&self) -> bool {
        loop {
            if self.replace(STANDBY, HELD) {
                return true;
            }
            if self.replace(HELD | STANDBY, HELD) {
                return false;
            }
        }
    }

    fn replace(&self, old: u32, new: u32) -> bool {
        self.word
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}
