//! The kinds of tasks that a pool is given.

use super::awaitable::Awaitable;
use super::future::Future;
use super::job::MapTask;
use crate::python::values::arguments::Call;
use pyo3::prelude::*;

/// A task of a Python pool.
pub enum Task {
    /// A call whose result nobody asks for.
    Call(Call),
    /// A call, and the future that is told what it comes to.
    Future(Call, Py<Future>),
    /// A call that a loop of asyncio waits for.
    Async(Py<Awaitable>),
    /// A worker's share in a `map`.
    Map(Box<MapTask>),
}

impl Task {
    /// A call of a loop that was taken back: nothing is left of it but its place.
    pub fn is_withdrawn(&self) -> bool {
        matches!(self, Task::Async(call) if call.get().is_withdrawn())
    }
}
