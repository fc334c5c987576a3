//! The iterator over the results of a map. Its wait for the next one is in reader.rs.

use super::job::Job;
use super::slots::Slot;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::wait::ring;
use crate::python::values::errors;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The results of a map, in order.
#[pyclass(frozen, weakref, module = "pyants", name = "_Results")]
pub struct Results {
    /// `None` once the garbage collector has cleared it.
    job: Mutex<Option<Arc<Job>>>,
    /// How many results there will be.
    total: usize,
    /// The slot to be read next.
    position: AtomicUsize,
    /// A thread is reading.
    reading: AtomicBool,
    timeout: Option<Duration>,
    since: Instant,
}

impl Results {
    /// The results of a job whose input is at its end; the timeout counts from `since`.
    pub fn new(job: Arc<Job>, timeout: Option<Duration>, since: Instant) -> Self {
        Results {
            total: job.len(),
            job: Mutex::new(Some(job)),
            position: AtomicUsize::new(0),
            reading: AtomicBool::new(false),
            timeout,
            since,
        }
    }

    fn job(&self) -> Option<Arc<Job>> {
        lock(&self.job).clone()
    }

    /// The next outcome; `None`: there are no more.
    fn read(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let index = self.position.load(Ordering::Relaxed);
        if index >= self.total {
            return None;
        }
        let job = self.job()?;
        job.reader.is_here();
        let slot = job.slots().get(index);
        let mut state = slot.state.load(Ordering::Acquire);
        if state == Slot::OPEN {
            if let Err(error) = self.wait(py, &job, index) {
                return Some(Err(error));
            }
            state = slot.state.load(Ordering::Acquire);
        }
        self.position.store(index + 1, Ordering::Relaxed);
        if state == Slot::OPEN {
            return Some(Err(if job.is_broken() {
                errors::broken_executor(py)
            } else {
                errors::cancelled(py)
            }));
        }
        // SAFETY: the state was seen, and this thread is the reader (see `Job`'s `Sync`).
        let value = unsafe { (*slot.value.get()).take() }.expect("a slot is read once");
        Some(if state == Slot::RAISED {
            Err(PyErr::from_value(value.into_bound(py)))
        } else {
            Ok(value)
        })
    }

    fn wait(&self, py: Python<'_>, job: &Job, index: usize) -> PyResult<()> {
        while !job.is_settled(index) {
            let elapsed = self.since.elapsed();
            let timeout = self.timeout.map(|timeout| timeout.saturating_sub(elapsed));
            if timeout == Some(Duration::ZERO) {
                return Err(PyTimeoutError::new_err(()));
            }
            job.reader
                .wait(py, index, timeout, || job.is_settled(index))?;
        }
        Ok(())
    }

    fn begin_reading(&self) -> PyResult<()> {
        match self.reading.swap(true, Ordering::Acquire) {
            false => Ok(()),
            true => Err(PyValueError::new_err(
                "map's iterator is being read already",
            )),
        }
    }

    fn close(&self) {
        self.position.store(usize::MAX, Ordering::Relaxed);
        // Only the reader waits, and it is the one that closes.
        drop(self.job().map(|job| job.cancel()));
    }
}

#[pymethods]
impl Results {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next result. After an exception (or a timeout) there are no more: calls that have not started are cancelled.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.begin_reading()?;
        let read = self.read(py).transpose();
        // A loop over results that are ready spends its time here. So this is where Ctrl-C mostly arrives, and where it
        // ends the iteration.
        let read = read.and_then(|value| py.check_signals().map(|()| value));
        if read.is_err() {
            self.close();
        }
        self.reading.store(false, Ordering::Release);
        read.map_err(|raised| as_in_a_generator(py, raised))
    }

    /// Cancels calls that have not started if this thread has begun to read the results and is not at their end.
    fn _leave(&self, py: Python<'_>) {
        if let Some(job) = self.job().filter(|job| job.is_left()) {
            ring(py, job.cancel());
        }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile.
        match &*lock(&self.job) {
            // With no other owner, the job holds its objects for these results only. (Workers drop it while attached.)
            Some(job) if Arc::strong_count(job) == 1 => job.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        let job = lock(&self.job).take();
        drop(job);
    }

    /// Ends the iteration and cancels calls that have not started.
    #[pyo3(name = "close")]
    fn py_close(&self) -> PyResult<()> {
        self.begin_reading()?;
        self.close();
        self.reading.store(false, Ordering::Release);
        Ok(())
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // As with a generator, a caller who has not begun to read wants the calls and not their results.
        if self.position.load(Ordering::Relaxed) > 0 {
            self.close();
        }
    }
}

/// A task's `StopIteration` must not pass for the end of the results: it is converted as in a generator.
fn as_in_a_generator(py: Python<'_>, raised: PyErr) -> PyErr {
    if !raised.is_instance_of::<PyStopIteration>(py) {
        return raised;
    }
    let error = PyRuntimeError::new_err("generator raised StopIteration");
    // As an `except` block would; a failure of this is no error.
    let _ = error
        .value(py)
        .setattr(pyo3::intern!(py, "__context__"), raised.value(py));
    error.set_cause(py, Some(raised));
    error
}
