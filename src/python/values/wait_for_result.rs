//! Waiting for a result: of a future, or of a map. Waking the threads that do is in interpreter/wait.rs.

use super::errors;
use crate::pool::Error;
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::AdaptiveSpin;
use crate::python::interpreter::wait::detached;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Waits, once a thread with the result can find `result_wait`; raises TimeoutError when the time is over.
pub fn wait(
    py: Python<'_>,
    result_wait: &Arc<ResultWait>,
    timeout: Option<Duration>,
    doing: &str,
) -> PyResult<()> {
    static SPIN: AdaptiveSpin = AdaptiveSpin::new(Duration::from_micros(50));
    let (waited, raised) = detached(py, timeout, |wait_limit| {
        result_wait.refuse_if_stuck();
        result_wait.wait(wait_limit, &SPIN)
    });
    result_wait.leave();
    waited.map_err(|error| match error {
        Error::Timeout => PyTimeoutError::new_err(()),
        error => errors::interrupted_or(py, error, raised, doing),
    })
}
