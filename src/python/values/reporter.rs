//! Reports exceptions that no caller will see: to the panic handler, on a worker, or to the log.

use super::errors;
use super::hooks::{Hooks, name_of};
use crate::python::interpreter::{call, fork_count};
use pyo3::prelude::*;
use std::sync::Arc;

/// The source of an exception, for the report that nobody asked for it.
pub enum Source {
    /// This callable raised it.
    Call(Py<PyAny>),
    /// The pool refused to call this one.
    Refusal(Py<PyAny>),
}

impl Source {
    pub fn func(&self) -> &Py<PyAny> {
        match self {
            Source::Call(func) | Source::Refusal(func) => func,
        }
    }
}

/// The workers of a pool that others keep alive.
pub trait Workers: Send + Sync {
    /// Leaves a report for a worker, which is then to be summoned; gives the report back if the pool is gone.
    fn leave_report(&self, report: Report) -> Result<(), Report>;

    /// Has a worker make the reports that were left; `false`: there is none, and none can be started.
    fn summon(&self) -> bool;

    /// Logs the reports that were left.
    fn log_reports(&self, py: Python<'_>);
}

/// Reports exceptions that no caller waits for: to the panic handler, which workers call, or to the log.
pub struct Reporter {
    hooks: Arc<Hooks>,
    pool: Box<dyn Workers>,
    /// The id by which the pool's workers are told from other threads.
    deadlock_group: usize,
    /// The process, counted by forks, that the pool belongs to.
    generation: u64,
}

/// An exception for a worker to report.
pub struct Report {
    func: Py<PyAny>,
    raised: PyErr,
}

impl Reporter {
    pub fn new(hooks: Arc<Hooks>, pool: Box<dyn Workers>, deadlock_group: usize) -> Self {
        Reporter {
            hooks,
            pool,
            deadlock_group,
            generation: fork_count::generation(),
        }
    }

    /// Whether the pool belongs to this process, rather than to one from which it was forked.
    pub fn is_ours(&self) -> bool {
        self.generation == fork_count::generation()
    }

    /// Reports an exception that no caller waits for. A worker calls the panic handler itself. Any other thread, mostly
    /// a loop's, must not run a user's handler, which may take its time, so it asks a worker to. Without a worker, as
    /// in a closed pool, and without a handler, the exception is logged.
    pub fn report(&self, py: Python<'_>, raised: PyErr, source: Source) {
        let func = match source {
            Source::Call(func) => func,
            Source::Refusal(func) => {
                let what = name_of(func.bind(py));
                let logger = || self.hooks.logger(py);
                let message = "nobody awaited the refused call of %s";
                return errors::log(py, &raised, "error", message, what, logger);
            }
        };
        let report = Report { func, raised };
        if self.is_ours() && crate::pool::internal::home_id() == self.deadlock_group {
            return report.tell(py, &self.hooks);
        }
        if !self.is_ours() || !self.hooks.has_panic_handler() {
            return report.log(py, &self.hooks);
        }
        match self.pool.leave_report(report) {
            Err(report) => report.log(py, &self.hooks),
            Ok(()) if call::detach(py, || self.pool.summon()) => {}
            // If the pool has gone by now, it has logged its reports.
            Ok(()) => self.pool.log_reports(py),
        }
    }
}

impl Report {
    /// Makes the report; called on a worker's thread.
    pub fn tell(self, py: Python<'_>, hooks: &Hooks) {
        hooks.report(py, self.func.bind(py), self.raised, "task");
    }

    pub fn log(self, py: Python<'_>, hooks: &Hooks) {
        hooks.log(py, self.func.bind(py), &self.raised, "task");
    }
}
