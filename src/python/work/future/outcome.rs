//! The outcome of a future: how it is read, and assignments to `_state`, `_result` and `_exception`. How a task sets it
//! is in complete.rs.

use super::class::{Field, Fields, Future};
use super::instance;
use super::state::State;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::wait::{Wakeups, ring};
use crate::python::values::errors;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A result and an exception.
type Outcome<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

impl Future {
    /// The outcome; the caller has seen a state that has one.
    pub(super) fn outcome<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the outcome was written before that state, and is never written again (see `Sync`), not even if the
        // state changes.
        let outcome = unsafe { &*self.outcome.get() };
        outcome
            .as_ref()
            .map_or_else(|| py.None().into_bound(py), |value| value.bind(py).clone())
    }

    /// The outcome with which the worker, or a setter, finished a future in this state.
    fn own_outcome<'py>(&self, py: Python<'py>, state: State) -> Outcome<'py> {
        match state {
            State::Returned => (Some(self.outcome(py)), None),
            State::Raised => (None, Some(self.outcome(py))),
            _ => (None, None),
        }
    }

    /// `_result` and `_exception`.
    pub(super) fn fields<'py>(&self, py: Python<'py>) -> Outcome<'py> {
        let state = self.state();
        if state.has_outcome() {
            return self.own_outcome(py, state);
        }
        let extras = lock(&self.extras);
        let fields = extras.as_ref().and_then(|extras| extras.fields.as_ref());
        let get = |value: &Option<Py<PyAny>>| value.as_ref().map(|value| value.bind(py).clone());
        fields.map_or((None, None), |fields| {
            (get(&fields.result), get(&fields.exception))
        })
    }

    /// The outcome of a done future in this state.
    pub(super) fn read<'py>(slf: &Bound<'py, Self>, mut state: State) -> PyResult<Outcome<'py>> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            match state {
                State::Returned | State::Raised => return Ok(this.own_outcome(py, state)),
                State::Written => {
                    // A thread that makes several assignments holds the condition until all are made.
                    let _held = Self::hold(py, this)?;
                    state = this.state();
                    if state == State::Written {
                        return Ok(this.fields(py));
                    }
                }
                State::Cancelled | State::Notified => return Err(errors::cancelled(py)),
                // The future was done, and another state was assigned since. CPython raises this in that case.
                _ => return Err(PyTimeoutError::new_err(())),
            }
        }
    }

    /// Applies an assignment: moves the state as `to` says and changes the fields. If the future is then
    /// done, waiting threads are woken; callbacks and waiters are not notified: nor are they of a CPython future.
    fn assign(
        slf: &Bound<'_, Self>,
        to: impl Fn(State) -> State,
        change: impl FnOnce(&mut Fields) -> Option<Py<PyAny>>,
    ) {
        let (py, this) = (slf.py(), slf.get());
        instance::track(slf.as_any());
        // The former value is dropped after the lock is released.
        let (result_waits, _before) = this.watch(|extras| {
            let fields = extras.fields.get_or_insert_default();
            let mut before = (Fields::default(), None);
            // These states are final, and since the future is watched, no thread enters them without this lock.
            let state = this.state();
            if state.has_outcome() {
                let (result, exception) = this.own_outcome(py, state);
                let taken_over = Fields {
                    result: result.map(Bound::unbind),
                    exception: exception.map(Bound::unbind),
                    has_former: true,
                };
                before.0 = std::mem::replace(fields, taken_over);
            }
            before.1 = change(fields);
            this.word.assign(to);
            let result_waits = if this.state().is_done() {
                std::mem::take(&mut extras.result_waits)
            } else {
                Vec::new()
            };
            (result_waits, before)
        });
        ring(py, Wakeups::settle(result_waits));
    }

    /// `_state = value`.
    pub(super) fn assign_state(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = value.cast::<PyString>().ok();
        let named = name.and_then(|name| State::of_name(name.to_str().ok()?));
        let state = named.ok_or_else(|| {
            let states = "PENDING, RUNNING, CANCELLED, CANCELLED_AND_NOTIFIED or FINISHED";
            errors::wrong_value("_state", states, value)
        })?;
        Self::assign(slf, |_| state, |_| None);
        Ok(())
    }

    pub(super) fn assign_field(
        slf: &Bound<'_, Self>,
        field: Field,
        value: Option<Bound<'_, PyAny>>,
    ) {
        let finished = |state: State| {
            if state.has_outcome() {
                State::Written
            } else {
                state
            }
        };
        Self::assign(slf, finished, |fields| {
            std::mem::replace(fields.get(field), value.map(Bound::unbind))
        });
    }
}
