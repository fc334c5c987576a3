//! The search token: its holder will look into the run queue, so that a submitter need wake nobody.
//!
//! ```text
//!  31..2      1         0
//!  +--------+---------+------+
//!  |        | standby | held |
//!  +--------+---------+------+
//! ```
//!
//! * `held`: a *searcher* has the token: a worker without a task (or a thread about to wake or start one) that will
//!   look into the run queue before it rests, and before it lays the token down.
//! * `standby`: a *standby worker* dozes: a worker without a task that checks every now and then whether the others
//!   empty the queue without it. There is one at most.
//!
//! While somebody searches, nobody need be woken; nor while there is a standby worker and others are at work. A
//! searcher that lays the token down beside a standby worker leaves the queue to that.

use crate::pool::sync::atomic::{AtomicU32, Ordering};
use crate::pool::sync::full_fence;
use crossbeam_utils::CachePadded;
use std::sync::atomic::AtomicU64 as Plain;

const HELD: u32 = 1;
const STANDBY: u32 = 2;

/// Tells which worker will look into the run queue.
pub enum Searching {
    /// Nobody, unless a busy worker does after its task.
    Nobody,
    /// A searcher, at once.
    Searcher,
    /// A standby worker, in a while.
    Standby,
}

/// How far the queue had moved at a certain time.
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
    /// The state of the queue when the token was handed over. Only speed depends on it, so no model explores it.
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

    /// The state of the queue when the token was handed to the caller.
    pub fn handed_over(&self) -> Look {
        Look {
            taken: self.taken.load(Ordering::Relaxed),
            at: self.at.load(Ordering::Relaxed),
        }
    }

    /// Tells which worker will look into the queue. Call after a full fence: tasks put there before that are found.
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

    /// Lays the token down. `true`: nobody is left who will look, so the caller must, after this.
    pub fn lay_down(&self) -> bool {
        // A read-modify-write, not a store, so that it comes after every failed attempt to take the token before it:
        // what is read of the token from here on was written after this.
        let unwatched = self.word.fetch_and(!HELD, Ordering::AcqRel) & STANDBY == 0;
        full_fence();
        unwatched
    }

    /// The holder becomes the standby worker; `false`: there is one already.
    pub fn begin_standby(&self) -> bool {
        self.replace(HELD, STANDBY)
    }

    /// Ends the standby; returns whether the worker holds the token now. If not, another searcher has it, and this
    /// worker must look into the queue once more: that searcher may have laid the token down trusting in it.
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
