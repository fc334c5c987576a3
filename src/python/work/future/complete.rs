//! The life of a future: its task begins, is cancelled, or ends with an outcome. Waiting for that is in watchers.rs.

use super::class::{Field, Future};
use super::instance;
use super::state::{State, Step, Stepped};
use super::watchers::Caller;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::exc_info;
use crate::python::interpreter::wait::{Wakeups, ring};
use crate::python::values::errors;
use pyo3::prelude::*;

/// Whether a task that a worker takes up is to run.
pub enum Start {
    Run,
    /// It was cancelled, and the watchers are notified, but for these threads.
    Cancelled(Wakeups),
}

impl Future {
    /// The worker takes up the task.
    pub fn start(slf: &Bound<'_, Self>) -> Start {
        match slf.get().word.step(Step::Run) {
            Ok(_) => Start::Run,
            Err(_) => Start::Cancelled(Self::withdraw(slf)),
        }
    }

    /// The task will not run: cancels the future if need be and notifies the watchers.
    pub fn withdraw(slf: &Bound<'_, Self>) -> Wakeups {
        let cancelled = Self::cancel_now(slf, Caller::Worker)
            .and_then(|(_, wakeups)| Self::step(slf, Step::Notify).map(|_| wakeups));
        // `announce` has done this already, unless the future was assigned to.
        slf.get().leave_scope();
        Self::settled(slf, cancelled)
    }

    /// Cancels the future if it is pending; returns whether it is cancelled now.
    pub(super) fn cancel_now(slf: &Bound<'_, Self>, by: Caller) -> PyResult<(bool, Wakeups)> {
        match Self::step(slf, Step::Cancel)? {
            Stepped::Moved => Self::announce(slf, by).map(|wakeups| (true, wakeups)),
            Stepped::Refused(state) => Ok((state.is_cancelled(), Wakeups::default())),
        }
    }

    /// The worker sets the outcome of the task.
    pub fn finish(slf: &Bound<'_, Self>, outcome: PyResult<Bound<'_, PyAny>>) -> Wakeups {
        let (outcome, raised) = match outcome {
            Ok(result) => (result, false),
            Err(raised) => (exc_info::with_traceback(slf.py(), &raised).into_any(), true),
        };
        let finished = Self::conclude(slf, outcome, raised, Caller::Worker);
        Self::settled(
            slf,
            finished.map(|wakeups| {
                wakeups.unwrap_or_else(|| {
                    // Another thread has set the outcome: it stays, as with CPython's futures. If it was assigned, the
                    // scope was not notified.
                    slf.get().leave_scope();
                    Wakeups::default()
                })
            }),
        )
    }

    /// Sets the outcome; `None`: there is one already, or the future is cancelled.
    fn conclude(
        slf: &Bound<'_, Self>,
        outcome: Bound<'_, PyAny>,
        raised: bool,
        by: Caller,
    ) -> PyResult<Option<Wakeups>> {
        let this = slf.get();
        // A thread that holds the condition sees no change, not even the step to Finishing.
        let held = if this.word().is_watched() {
            Self::hold(slf.py(), this)?
        } else {
            None
        };
        let Ok(word) = this.word.step(Step::Finish) else {
            return Ok(None);
        };
        if instance::may_hold_others(&outcome) {
            instance::track(slf.as_any());
        }
        let (own, field) = if raised {
            (State::Raised, Field::Exception)
        } else {
            (State::Returned, Field::Result)
        };
        let mut outcome = Some(outcome.unbind());
        let mut _before = None;
        let to = if let Some(fields) = word
            .is_watched()
            .then(|| lock(&this.extras))
            .as_mut()
            .and_then(|extras| extras.as_deref_mut()?.fields.as_mut())
        {
            _before = std::mem::replace(fields.get(field), outcome.take());
            State::Written
        } else {
            // SAFETY: only this thread moved the state to Finishing, no other thread has or will (see `Sync`), and none
            // reads the outcome before the state moves on.
            unsafe { *this.outcome.get() = outcome.take() };
            own
        };
        let step = if raised {
            Step::Raise(to)
        } else {
            Step::Return(to)
        };
        let stepped = Self::step(slf, step);
        if matches!(stepped, Ok(Stepped::Refused(_))) && to.has_outcome() {
            // Another state was assigned meanwhile, so nothing will ever read this outcome. SAFETY: as above; no other
            // thread moves the state to one in which the outcome is read.
            outcome = unsafe { (*this.outcome.get()).take() };
        }
        drop((held, outcome));
        let wakeups = Self::announce(slf, by)?;
        stepped.map(|_| Some(wakeups))
    }

    pub(super) fn set(
        slf: &Bound<'_, Self>,
        outcome: Bound<'_, PyAny>,
        raised: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        match Self::conclude(slf, outcome, raised, Caller::User)? {
            Some(wakeups) => {
                ring(py, wakeups);
                Ok(())
            }
            None => {
                let message = format!("{}: {}", slf.get().state().name(), errors::shown(slf));
                Err(errors::invalid_state(py, message))
            }
        }
    }
}
