//! The kinds of tasks that a pool is given, and what becomes of one that does not run.

use super::asyncio::AsyncCall;
use super::future::{Future, Start};
use super::map::MapTask;
use crate::pool::Error;
use crate::python::interpreter::wait::Wakeups;
use crate::python::values::arguments::Call;
use crate::python::values::errors;
use crate::python::values::hooks::Hooks;
use pyo3::prelude::*;

/// A task of a Python pool.
pub enum Task {
    /// A call whose result is not wanted.
    Call(Call),
    /// A call and the future that gets its outcome.
    Future(Call, Py<Future>),
    /// A call that an asyncio loop waits for.
    Async(Py<AsyncCall>),
    /// A worker's part of a `map`.
    Map(Box<MapTask>),
}

impl Task {
    /// Whether this is a call of a loop that was withdrawn, and only its empty shell is left.
    pub fn is_withdrawn(&self) -> bool {
        matches!(self, Task::Async(call) if call.get().is_withdrawn())
    }

    /// No worker can be set up for the task: those who wait for it get an exception that says so.
    pub fn fail(self, py: Python<'_>, hooks: &Hooks, wakeups: &mut Wakeups) {
        let reason = |broken: PyErr| {
            let error = match hooks.retry_initializer {
                true => errors::no_worker(py),
                false => broken,
            };
            hooks.with_failure(py, error)
        };
        match self {
            Task::Call(_) => {}
            Task::Future(call, future) => {
                drop(call);
                let future = future.bind(py);
                wakeups.append(match Future::start(future) {
                    Start::Run => Future::finish(future, Err(reason(errors::broken_executor(py)))),
                    Start::Cancelled(wakeups) => wakeups,
                });
            }
            Task::Async(call) => {
                let broken = errors::raise(py, Error::Broken, "submit");
                AsyncCall::refuse(py, call, reason(broken));
            }
            Task::Map(map_task) => wakeups.append(map_task.job.break_off()),
        }
    }

    /// The interpreter exits before the task has begun.
    pub fn cancel(self, py: Python<'_>, wakeups: &mut Wakeups) {
        match self {
            Task::Call(call) => drop(call),
            Task::Future(call, future) => {
                drop(call);
                wakeups.append(Future::withdraw(future.bind(py)));
            }
            Task::Async(call) => {
                AsyncCall::refuse(py, call, errors::raise(py, Error::Closed, "run"));
            }
            Task::Map(map_task) => wakeups.append(map_task.job.cancel()),
        }
    }

    /// The pool refuses the task, which was submitted detached: a call that a loop waits for, or a map task that is not
    /// missed.
    pub fn refuse(self, py: Python<'_>, error: Error) {
        match self {
            Task::Async(call) => AsyncCall::refuse(py, call, errors::raise(py, error, "run")),
            Task::Map(_) => {}
            Task::Call(_) | Task::Future(..) => unreachable!("their submitters wait"),
        }
    }
}
