//! Feeds the items of a `map` to its job, which begins them as they come.

use super::base::{Base, Wait};
use crate::pool::Error;
use crate::pool::internal::Accounting;
use crate::python::values::errors::Refusal;
use crate::python::work::map::{Job, MapTask, Results};
use crate::python::work::task::Task;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Passes items to a map while Python code reads its input.
// Not frozen: that one thread at a time adds items is PyO3's to check.
#[pyclass(module = "pyants", name = "_Feed")]
pub struct Feed {
    pool: Py<Base>,
    job: Arc<Job>,
    /// The pool had no use for more workers than there were.
    is_refused: bool,
    timeout: Option<Duration>,
    since: Instant,
}

impl Feed {
    /// Further map tasks would find no worker: under the kernel's usual limits a process cannot have more threads.
    const MOST_MAP_TASKS: usize = 1 << 15;

    /// For a new job; its items, if it has any, are begun.
    pub fn new(
        py: Python<'_>,
        pool: Py<Base>,
        job: Arc<Job>,
        timeout: Option<Duration>,
    ) -> PyResult<Self> {
        let mut feed = Feed {
            pool,
            job,
            is_refused: false,
            timeout,
            since: Instant::now(),
        };
        feed.recruit(py, feed.job.len())
            .map_err(|refusal| refusal.into_executors(py))?;
        Ok(feed)
    }

    /// Makes sure that the last `items` items are taken: by one worker for certain, and by more if there are permits.
    fn recruit(&mut self, py: Python<'_>, items: usize) -> Result<(), Refusal> {
        let job = &self.job;
        let front = self.pool.get().front(py)?;
        let most = front.capacity().map_or(Self::MOST_MAP_TASKS, |capacity| {
            Self::MOST_MAP_TASKS.min(capacity as usize)
        });
        for _ in 0..items {
            if job.is_exhausted() {
                break;
            } else if job.is_idle() {
                self.enter()?;
                let map_task = Task::Map(Box::new(MapTask::sure(job)));
                front.submit(py, map_task, Wait::Up(None))?;
            } else if self.is_refused || job.map_tasks() >= most {
                break;
            } else {
                self.enter()?;
                // Further workers are welcome if there are permits, but nothing waits for them.
                let map_task = Task::Map(Box::new(MapTask::spare(job)));
                let submitted = front.submit_detached(py, map_task, Accounting::Spare);
                self.is_refused = submitted.is_err();
            }
        }
        Ok(())
    }

    /// Counts a new map task in the scope; its end counts it out.
    fn enter(&self) -> Result<(), Refusal> {
        match self.job.scope() {
            Some(scope) if !scope.enter() => Err(Refusal::Pool(Error::Closed)),
            _ => Ok(()),
        }
    }

    /// An executor that is shut down calls no more items.
    fn check_open(&self, py: Python<'_>) -> Result<(), Refusal> {
        self.pool.get().front(py)?.check_open()?;
        match self.job.scope() {
            Some(scope) if scope.is_closed() => Err(Refusal::Pool(Error::Closed)),
            _ => Ok(()),
        }
    }
}

#[pymethods]
impl Feed {
    /// Adds an item and has its call begun.
    fn add(&mut self, py: Python<'_>, item: Bound<'_, PyAny>) -> PyResult<()> {
        let added = self.check_open(py).and_then(|()| {
            // SAFETY: `self` is borrowed mutably, and nothing else adds items to its job.
            unsafe { self.job.add(item.unbind()) };
            self.recruit(py, 1)
        });
        added.map_err(|refusal| refusal.into_executors(py))
    }

    /// Returns the results of the items that were added.
    fn results(&self) -> Results {
        Results::new(Arc::clone(&self.job), self.timeout, self.since)
    }
}
