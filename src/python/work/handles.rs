//! What others hold of a pool: the interpreter's exit, those who report exceptions, and calls that wait for a permit.

use super::asyncio::PermitWait;
use super::host::PyHost;
use crate::pool::Pool;
use crate::pool::internal::sync::WaitLimit;
use crate::pool::internal::{Detached, Remains};
use crate::python::interpreter::call;
use crate::python::interpreter::exit::{Closer, Closing};
use crate::python::values::reporter::{Report, Workers};
use pyo3::prelude::*;

impl Workers for Remains<PyHost> {
    fn leave_report(&self, report: Report) -> Result<(), Report> {
        let mut report = Some(report);
        self.with_host(|host| report.take().map(|report| host.leave_report(report)));
        report.map_or(Ok(()), Err)
    }

    fn summon(&self) -> bool {
        Remains::summon(self)
    }

    fn log_reports(&self, py: Python<'_>) {
        self.with_host(|host| host.log_reports(py));
    }
}

impl PermitWait for Detached<PyHost> {
    fn give_up(&self) -> bool {
        self.withdraw().is_some()
    }
}

impl Closer for Remains<PyHost> {
    fn is_gone(&self) -> bool {
        self.are_gone()
    }

    fn keep(&self) -> Option<Box<dyn Closing>> {
        let pool = self.reopen()?;
        Some(Box::new(pool))
    }
}

impl Closing for Pool<PyHost> {
    fn close(&self) {
        self.release();
    }

    fn wait(&self, wait_limit: &mut WaitLimit<'_>) -> bool {
        self.host().is_daemon || self.watch_gone(wait_limit).is_ok()
    }

    fn tell_the_rest(&self, py: Python<'_>) {
        let tasks = call::detach(py, || self.extract_if(|_| true));
        self.host().dropped_at_exit(py, tasks);
        self.host().log_reports(py);
    }
}
