//! The kinds of tasks that a pool is given.

use super::asyncio::AsyncCall;
use super::future::Future;
use super::map::MapTask;
use crate::python::values::arguments::Call;
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
}
