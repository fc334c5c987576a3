//! The states of a future, and the steps between them. What is notified of a step is in watchers.rs.
//!
//! The state is one byte, and a future that nobody watches changes it without any lock:
//!
//! ```text
//!  state      CPython's name          moved by                      to
//!  ---------  -----------------------  ----------------------------  ----------------------------
//!  Pending    PENDING                  the worker                    Running
//!                                      the thread that cancels       Cancelled
//!                                      the thread with the outcome   Finishing
//!  Running    RUNNING                  the thread with the outcome   Finishing
//!  Finishing  RUNNING                  the same thread               Returned, Raised, Written
//!  Cancelled  CANCELLED                the worker                    Notified
//!  Notified   CANCELLED_AND_NOTIFIED
//!  Returned   FINISHED
//!  Raised     FINISHED
//!  Written    FINISHED
//! ```
//!
//! The bit WATCHED says that somebody must be notified: callbacks, threads in `result()`, or a condition that
//! `concurrent.futures.wait` or `as_completed` asked for. They are kept in `extras`, under a lock. Once the bit is set,
//! anything they are notified of changes only under that lock and, if there is a condition, only while it is held: so a
//! thread that holds the condition sees the future frozen, as CPython's own code expects.
//!
//! Tests and debuggers also assign to `_state`, `_result` and `_exception`, from any thread and in any state. After the
//! first assignment the outcome is kept in `extras` as CPython keeps it, a result and an exception side by side, and
//! the state is Written instead of Returned or Raised.

use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    Pending,
    Running,
    Finishing,
    Cancelled,
    Notified,
    Returned,
    Raised,
    Written,
}

impl State {
    pub(super) fn is_done(self) -> bool {
        matches!(
            self,
            State::Cancelled | State::Notified | State::Returned | State::Raised | State::Written
        )
    }

    /// Whether `Future::outcome` may be read.
    pub(super) fn has_outcome(self) -> bool {
        matches!(self, State::Returned | State::Raised)
    }

    pub(super) fn is_cancelled(self) -> bool {
        matches!(self, State::Cancelled | State::Notified)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Running | State::Finishing => "RUNNING",
            State::Cancelled => "CANCELLED",
            State::Notified => "CANCELLED_AND_NOTIFIED",
            State::Returned | State::Raised | State::Written => "FINISHED",
        }
    }

    /// The state for a name assigned to `_state`.
    pub(super) fn of_name(name: &str) -> Option<State> {
        [
            State::Pending,
            State::Running,
            State::Cancelled,
            State::Notified,
            State::Written,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// A change of the state. Besides these there are only assignments to `_state`.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Run,
    Cancel,
    Notify,
    Finish,
    /// The outcome, a result, is in its place: the state is Returned, or Written.
    Return(State),
    /// The same for an exception: Raised, or Written.
    Raise(State),
}

impl Step {
    fn may_leave(self, state: State) -> bool {
        match self {
            Step::Run | Step::Cancel => state == State::Pending,
            Step::Notify => state == State::Cancelled,
            Step::Finish => matches!(state, State::Pending | State::Running),
            Step::Return(_) | Step::Raise(_) => state == State::Finishing,
        }
    }

    fn to(self) -> State {
        match self {
            Step::Run => State::Running,
            Step::Cancel => State::Cancelled,
            Step::Notify => State::Notified,
            Step::Finish => State::Finishing,
            Step::Return(to) | Step::Raise(to) => to,
        }
    }

    /// The method by which the waiters of CPython's own code are notified.
    pub(super) fn notice(self) -> Option<&'static str> {
        match self {
            Step::Run | Step::Cancel | Step::Finish => None,
            Step::Notify => Some("add_cancelled"),
            Step::Return(_) => Some("add_result"),
            Step::Raise(_) => Some("add_exception"),
        }
    }
}

/// The state and the bit WATCHED.
#[derive(Clone, Copy)]
pub(super) struct Word(u8);

impl Word {
    const STATE: u8 = 0b0111;
    const WATCHED: u8 = 0b1000;

    pub(super) fn state(self) -> State {
        match self.0 & Self::STATE {
            0 => State::Pending,
            1 => State::Running,
            2 => State::Finishing,
            3 => State::Cancelled,
            4 => State::Notified,
            5 => State::Returned,
            6 => State::Raised,
            _ => State::Written,
        }
    }

    pub(super) fn is_watched(self) -> bool {
        self.0 & Self::WATCHED != 0
    }

    fn with(self, state: State) -> Word {
        Word(self.0 & Self::WATCHED | state as u8)
    }

    fn after(self, step: Step) -> Option<Word> {
        step.may_leave(self.state()).then(|| self.with(step.to()))
    }
}

/// The result of a step.
#[must_use]
pub(super) enum Stepped {
    Moved,
    /// The step does not leave this state.
    Refused(State),
}

/// The word of a future, which all its threads share. It starts as 0: Pending, and not watched.
#[derive(Default)]
pub(super) struct AtomicWord(AtomicU8);

impl AtomicWord {
    pub(super) fn load(&self) -> Word {
        // Acquire: a state that is done makes the outcome visible.
        Word(self.0.load(Ordering::Acquire))
    }

    pub(super) fn set_watched(&self) {
        // AcqRel: a thread that moves the state without the lock did so before this and is seen here, or sees the bit.
        self.0.fetch_or(Word::WATCHED, Ordering::AcqRel);
    }

    /// Makes the step, or returns the state that it does not leave; returns the word before.
    pub(super) fn step(&self, step: Step) -> Result<Word, State> {
        let after = |word| Word(word).after(step).map(|word| word.0);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, after)
            .map(Word)
            .map_err(|word| Word(word).state())
    }

    /// Makes the step, unless somebody watches and is to be notified of it.
    #[inline]
    pub(super) fn step_unwatched(&self, step: Step) -> Option<Stepped> {
        let mut word = self.load();
        while !word.is_watched() {
            let Some(after) = word.after(step) else {
                return Some(Stepped::Refused(word.state()));
            };
            match self
                .0
                .compare_exchange_weak(word.0, after.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(Stepped::Moved),
                Err(now) => word = Word(now),
            }
        }
        None
    }

    /// An assignment, which leaves any state.
    pub(super) fn assign(&self, to: impl Fn(State) -> State) {
        // AcqRel, as every step; a thread that reads the fields also takes the lock.
        let after = |word| Some(Word(word).with(to(Word(word).state())).0);
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, after);
    }
}
