//! The unfinished calls of one executor or one `AsyncPool`.

use super::errors;
use crate::per_process::PerProcess;
use crate::pool::internal::Watch;
use crate::python::interpreter::fork_count::generation;
use crate::python::interpreter::wait::detached;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's description.
#[derive(Default)]
pub struct Scope {
    closed: AtomicBool,
    /// Calls accepted, or about to be, and not yet done.
    calls: AtomicU64,
    watch: Watch,
}

impl Scope {
    /// Accepts no more calls.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Accepts calls again.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Counts a new call; `false`: the scope is closed.
    pub fn enter(&self) -> bool {
        // SeqCst: counts the call, then reads `closed`; a thread that closes and waits does the opposite.
        self.calls.fetch_add(1, Ordering::SeqCst);
        let open = !self.is_closed();
        if !open {
            self.leave();
        }
        open
    }

    /// Counts a call in a scope that may be closed, for another call that is not done and has it started.
    pub fn follow(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    /// A call is done.
    pub fn leave(&self) {
        self.leave_many(1);
    }

    /// Several calls are done.
    pub fn leave_many(&self, calls: u64) {
        self.calls.fetch_sub(calls, Ordering::SeqCst);
        self.watch.notify();
    }

    /// Waits until every call is done.
    pub fn wait(&self, py: Python<'_>, doing: &str) -> PyResult<()> {
        let is_empty = || self.calls.load(Ordering::SeqCst) == 0;
        let (waited, raised) = detached(py, None, |wait_limit| {
            self.watch.wait_until(is_empty, wait_limit)
        });
        waited.map_err(|error| errors::interrupted_or(py, error, raised, doing))
    }
}

/// A scope that a forked child replaces by an empty one: the child has none of its parent's calls and must not touch
/// the parent's locks.
pub struct SharedScope(PerProcess<Arc<Scope>>);

impl Default for SharedScope {
    fn default() -> Self {
        SharedScope(PerProcess::new(generation(), Arc::default()))
    }
}

impl SharedScope {
    pub fn get(&self) -> Arc<Scope> {
        let own = self.0.get_or_init(generation(), |former| {
            let scope = Scope::default();
            if former.is_some_and(|former| former.is_closed()) {
                scope.close();
            }
            Arc::new(scope)
        });
        Arc::clone(own)
    }
}

impl Drop for SharedScope {
    fn drop(&mut self) {
        self.0.give_up(generation());
    }
}
