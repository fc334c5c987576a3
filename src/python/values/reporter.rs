//! Exceptions that nobody asks for any more: to the panic handler, on a worker, or to the log.

use super::errors;
use super::hooks::{Hooks, name_of};
use crate::python::interpreter::call;
use crate::python::interpreter::process;
use pyo3::prelude::*;
use std::sync::Arc;

/// Where an exception comes from, for whoever has to tell that nobody asked for it.
pub enum Source {
    /// This callable raised it.
    Call(Py<PyAny>),
    /// The pool did not call this one.
    Refusal(Py<PyAny>),
}

impl Source {
    pub fn func(&self) -> &Py<PyAny> {
        match self {
            Source::Call(func) | Source::Refusal(func) => func,
        }
    }
}

/// The workers of a pool, which is kept by others.
pub trait Workers: Send + Sync {
    /// Leaves a report for one of them, which is to be summoned; the pool is gone: the report, back.
    fn leave(&self, report: Report) -> Result<(), Report>;

    /// Has one of them see to what was left; `false`: there is none, nor can one be had.
    fn summon(&self) -> bool;

    /// Sends the reports that were left to the log.
    fn log_reports(&self, py: Python<'_>);
}

/// Where exceptions go that nobody waits for: to the panic handler, which is the worker's business, or to the log.
pub struct Reporter {
    hooks: Arc<Hooks>,
    pool: Box<dyn Workers>,
    /// The id that tells the pool's workers from other threads.
    deadlock_group: usize,
    /// In which process, counted by forks, the pool is.
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
            generation: process::generation(),
        }
    }

    /// It belongs to this process, not to one that this was forked from.
    pub fn is_ours(&self) -> bool {
        self.generation == process::generation()
    }

    /// An exception that nobody waits for any more. A worker tells the panic handler itself. Any other thread, the loop's
    /// mostly, is no place for a user's handler, which may take its time: a worker is asked to. Where there is none, in a
    /// pool that is closed, and where there is no handler, the exception goes to the log.
    pub fn report(&self, py: Python<'_>, raised: PyErr, source: Source) {
        let func = match source {
            Source::Call(func) => func,
            Source::Refusal(func) => {
                let what = name_of(func.bind(py));
                let logger = || self.hooks.logger(py);
                return errors::log(
                    py,
                    &raised,
                    "error",
                    "nobody awaited the refused call of %s",
                    what,
                    logger,
                );
            }
        };
        let report = Report { func, raised };
        if self.is_ours() && crate::pool::internal::home_id() == self.deadlock_group {
            return report.tell(py, &self.hooks);
        }
        if !self.is_ours() || !self.hooks.has_panic_handler() {
            return report.log(py, &self.hooks);
        }
        match self.pool.leave(report) {
            Err(report) => report.log(py, &self.hooks),
            Ok(()) if call::detach(py, || self.pool.summon()) => {}
            // If the pool is gone by now, what it left went to the log.
            Ok(()) => self.pool.log_reports(py),
        }
    }
}

impl Report {
    /// On a worker's thread.
    pub fn tell(self, py: Python<'_>, hooks: &Hooks) {
        hooks.report(py, self.func.bind(py), self.raised, "task");
    }

    pub fn log(self, py: Python<'_>, hooks: &Hooks) {
        hooks.log(py, self.func.bind(py), &self.raised, "task");
    }
}
