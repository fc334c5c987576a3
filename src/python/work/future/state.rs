//! The states of a future, as one byte. What is notified of a change is in watchers.rs.
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u8);

impl Word {
    const STATE: u8 = 0b0111;
    pub(super) const WATCHED: u8 = 0b1000;

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

    /// The same watched bit with another state.
    pub(super) fn with(self, state: State) -> Word {
        Word(self.0 & Self::WATCHED | state as u8)
    }
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

    /// Whether the outcome may still be set.
    pub(super) fn is_open(self) -> bool {
        matches!(self, State::Pending | State::Running)
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
