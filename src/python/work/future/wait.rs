//! Waiting in `result()` or `exception()` until a future is done.

use super::class::Future;
use super::state::State;
use crate::pool::internal::ResultWait;
use crate::python::values::result_wait;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

impl Future {
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
        let waited = result_wait::wait(py, &result_wait, timeout, doing);
        if waited.is_err() {
            this.watch(|extras| {
                extras
                    .result_waits
                    .retain(|other| !Arc::ptr_eq(other, &result_wait));
            });
        }
        waited.map(|()| this.state())
    }
}

/// A timeout as `threading` reads it: a negative one counts as 0.
pub fn read_timeout(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    timeout
        .map(|timeout| {
            let seconds: f64 = timeout.extract()?;
            Ok(if seconds > 0.0 {
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            } else {
                Duration::ZERO
            })
        })
        .transpose()
}
