//! What is notified when a future changes: callbacks, threads that wait in `result()`, CPython's waiters, the scope.

use super::class::{Future, Waiting};
use super::condition::{Condition, Held};
use super::instance;
use super::state::{State, Step, Stepped};
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::wait::{Wakeups, ring};
use crate::python::values::scope::Scope;
use crate::python::values::{errors, wait_for_result};
use pyo3::exceptions::{PyException, PyRecursionError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// The kind of thread that completes a future.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A worker, which has no caller to raise to.
    Worker,
    /// A thread that called a method of the future.
    User,
}

impl Future {
    /// Has the future notify the scope when it is done. Must be called before any other thread can reach the future.
    pub fn enter_scope(&self, scope: Arc<Scope>) {
        self.watch(|extras| extras.scope = Some(scope));
    }

    /// Stops the scope from waiting for the future, whose call was taken out of the executor.
    pub fn leave_scope(&self) {
        let scope = lock(&self.extras)
            .as_mut()
            .and_then(|extras| extras.scope.take());
        if let Some(scope) = scope {
            scope.leave();
        }
    }

    /// Whether the future belongs to a task of this scope.
    pub fn is_of(&self, scope: &Arc<Scope>) -> bool {
        lock(&self.extras)
            .as_ref()
            .and_then(|extras| extras.scope.as_ref())
            .is_some_and(|own| Arc::ptr_eq(own, scope))
    }

    /// Makes a step and notifies the waiters of CPython's own code.
    pub(super) fn step(slf: &Bound<'_, Self>, step: Step) -> PyResult<Stepped> {
        match slf.get().word.step_unwatched(step) {
            Some(stepped) => Ok(stepped),
            None => Self::step_watched(slf, step),
        }
    }

    #[cold]
    fn step_watched(slf: &Bound<'_, Self>, step: Step) -> PyResult<Stepped> {
        let (py, this) = (slf.py(), slf.get());
        let mut held: Option<Held> = None;
        let waiters = loop {
            let condition = {
                let extras = lock(&this.extras);
                let waiting = extras.as_ref().and_then(|extras| extras.waiting.as_ref());
                if waiting.is_none() || held.is_some() {
                    if let Err(state) = this.word.step(step) {
                        return Ok(Stepped::Refused(state));
                    }
                    break waiting.map(|waiting| waiting.waiters.clone_ref(py));
                }
                waiting.map(|waiting| waiting.condition.bind(py).clone())
            };
            // Another thread may have asked for the condition since, so look for it again.
            held = condition.as_ref().map(Condition::hold).transpose()?;
        };
        if let (Some(notice), Some(waiters)) = (step.notice(), waiters) {
            for waiter in waiters.bind(py).iter() {
                waiter.guarded_method1(notice, (slf,))?;
            }
        }
        if let Some(held) = held {
            held.notify_all(py)?;
        }
        Ok(Stepped::Moved)
    }

    /// Holds the condition, if there is one.
    pub(super) fn hold(py: Python<'_>, this: &Self) -> PyResult<Option<Held>> {
        let condition = this.waiting_now(|waiting| waiting.condition.bind(py).clone());
        condition.as_ref().map(Condition::hold).transpose()
    }

    /// Reads the condition or the waiters' list, if they were asked for before.
    pub(super) fn waiting_now<R>(&self, get: impl FnOnce(&Waiting) -> R) -> Option<R> {
        lock(&self.extras)
            .as_ref()
            .and_then(|extras| extras.waiting.as_ref().map(get))
    }

    /// The same, but creates them if need be.
    pub(super) fn make_waiting<R>(
        slf: &Bound<'_, Self>,
        get: impl FnOnce(&Waiting) -> R,
    ) -> PyResult<R> {
        let py = slf.py();
        instance::track(slf.as_any());
        let mut new = Some(Waiting {
            condition: Condition::untracked(py)?,
            waiters: PyList::empty(py).unbind(),
        });
        // If another thread was faster, `new` is dropped after the lock is released.
        Ok(slf.get().watch(|extras| {
            if extras.waiting.is_none() {
                extras.waiting = new.take();
            }
            get(extras.waiting.as_ref().expect("it was put there"))
        }))
    }

    /// Waits until the future is done and returns its state.
    pub(super) fn wait(
        slf: &Bound<'_, Self>,
        timeout: Option<Duration>,
        doing: &str,
    ) -> PyResult<State> {
        let (py, this) = (slf.py(), slf.get());
        let state = this.state();
        if state.is_done() {
            return Ok(state);
        }
        if timeout == Some(Duration::ZERO) {
            return Err(PyTimeoutError::new_err(()));
        }
        let result_wait = ResultWait::new(this.deadlock_group, timeout.is_none());
        let watched = this.watch_undone(|extras| {
            extras.result_waits.push(Arc::clone(&result_wait));
            result_wait.block();
        });
        if let Err(state) = watched {
            return Ok(state);
        }
        let waited = wait_for_result::wait(py, &result_wait, timeout, doing);
        if waited.is_err() {
            this.watch(|extras| {
                extras
                    .result_waits
                    .retain(|other| !Arc::ptr_eq(other, &result_wait));
            });
        }
        waited.map(|()| this.state())
    }

    /// After the future is done: calls the callbacks and returns the wakeups of the threads that wait for it.
    pub(super) fn announce(slf: &Bound<'_, Self>, by: Caller) -> PyResult<Wakeups> {
        let this = slf.get();
        if !this.word().is_watched() {
            return Ok(Wakeups::default());
        }
        let (callbacks, result_waits, scope) = match lock(&this.extras).as_mut() {
            None => return Ok(Wakeups::default()),
            Some(extras) => (
                std::mem::take(&mut extras.callbacks),
                std::mem::take(&mut extras.result_waits),
                extras.scope.take(),
            ),
        };
        let mut wakeups = Wakeups::settle(result_waits);
        if !callbacks.is_empty() {
            // Wake the waiting threads first: a callback may wait for one of them.
            ring(slf.py(), std::mem::take(&mut wakeups));
        }
        let called = callbacks
            .iter()
            .try_for_each(|callback| Self::call_back(slf, callback.bind(slf.py()), by));
        if let Some(scope) = scope {
            scope.leave();
        }
        called.map(|()| wakeups)
    }

    /// Calls a callback, which may set another future, whose callbacks may set others, and so on. Python's own
    /// recursion limit does not count native frames, or counts them too late for a thread's stack.
    fn call_nested(callback: &Bound<'_, PyAny>, slf: &Bound<'_, Self>) -> PyResult<()> {
        const DEEPEST: u32 = 500;
        thread_local! {
            static DEPTH: Cell<u32> = const { Cell::new(0) };
        }
        let depth = DEPTH.get();
        if depth >= DEEPEST {
            let message = "maximum recursion depth exceeded in callbacks of futures";
            return Err(PyRecursionError::new_err(message));
        }
        DEPTH.set(depth + 1);
        let called = callback.guarded_call1((slf,));
        DEPTH.set(depth);
        called.map(drop)
    }

    /// Logs what a callback raises, as CPython's futures do; raises it if it is no `Exception` and there is a caller.
    pub(super) fn call_back(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        by: Caller,
    ) -> PyResult<()> {
        let py = slf.py();
        let Err(raised) = Self::call_nested(callback, slf) else {
            return Ok(());
        };
        if by == Caller::User && !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        let message = "exception calling callback for %r";
        errors::log(py, &raised, "error", message, slf, || {
            errors::futures_logger(py)
        });
        Ok(())
    }

    /// Reports a failed notification as unraisable: a worker has no caller to raise it to.
    pub(super) fn settled(slf: &Bound<'_, Self>, announced: PyResult<Wakeups>) -> Wakeups {
        announced.unwrap_or_else(|failure| {
            failure.write_unraisable(slf.py(), Some(slf.as_any()));
            Wakeups::default()
        })
    }
}
