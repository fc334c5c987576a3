//! A map task: the part of a job that one worker does.

use super::job::Job;
use crate::pool::Outcome;
use crate::python::interpreter::turns::Turns;
use crate::python::interpreter::wait::{Wakeups, ring};
use crate::python::values::arguments::is_python_function;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The stages of a map task.
#[derive(PartialEq, Eq)]
enum Stage {
    /// It may be worked on later.
    Spare,
    /// It is sure to be worked on.
    Worked,
    /// It found no item left.
    Over,
}

/// The part of a job that one worker does. However it ends, its end is counted.
pub struct MapTask {
    pub job: Arc<Job>,
    stage: Stage,
    has_begun: bool,
}

impl MapTask {
    /// A map task for a pool that accepts or refuses it at once.
    pub fn sure(job: &Arc<Job>) -> Self {
        job.workers.fetch_add(1, Ordering::SeqCst);
        Self::new(job, Stage::Worked)
    }

    /// A map task that is not missed if the pool refuses it later.
    pub fn spare(job: &Arc<Job>) -> Self {
        job.spare.fetch_add(1, Ordering::Relaxed);
        Self::new(job, Stage::Spare)
    }

    /// Counts as a call of the job's scope, if there is one.
    fn new(job: &Arc<Job>, stage: Stage) -> Self {
        job.waiting.fetch_add(1, Ordering::SeqCst);
        MapTask {
            job: Arc::clone(job),
            stage,
            has_begun: false,
        }
    }

    fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            if !self.job.end_wait() {
                // An item may have come after all, as the scope was being closed.
                if let Some(scope) = &self.job.scope {
                    scope.follow();
                }
            }
        }
        if self.stage == Stage::Spare {
            self.job.workers.fetch_add(1, Ordering::SeqCst);
            self.job.spare.fetch_sub(1, Ordering::Relaxed);
            self.stage = Stage::Worked;
        }
    }

    /// The map task found no item: ends it unless an item has come meanwhile. Returns whether it ended.
    fn lay_down(&mut self) -> bool {
        let job = &self.job;
        job.workers.fetch_sub(1, Ordering::SeqCst);
        // SeqCst: this counts the worker out, then looks for items; the feed adds an item, then looks for workers. One
        // of them sees what the other has done, so no item is left without a worker to take it.
        if job.is_exhausted() {
            self.stage = Stage::Over;
            job.end_if_exhausted();
            return true;
        }
        job.workers.fetch_add(1, Ordering::SeqCst);
        false
    }

    /// Works until no item is left, or for so long that the worker should check whether it is one too many.
    pub fn work(
        mut self: Box<Self>,
        py: Python<'_>,
        turns: &mut Turns,
        wakeups: &mut Wakeups,
    ) -> Outcome<Box<Self>> {
        // The number of items between two looks at the clock; it starts small, in case they are slow.
        const MOST_AT_ONCE: u32 = 32;
        const LONG: Duration = Duration::from_micros(200);
        self.begin();
        let func = self.job.func.bind(py).clone();
        let native = !is_python_function(&func);
        let mut at_once = 1;
        let begin = Instant::now();
        let mut since = begin;
        loop {
            for _ in 0..at_once {
                let Some(index) = self.job.claim() else {
                    if self.lay_down() {
                        return Outcome::Completed;
                    }
                    continue;
                };
                ring(py, std::mem::take(wakeups));
                self.job.call(&func, index, wakeups);
            }
            let now = Instant::now();
            at_once = if now - since > LONG {
                1
            } else {
                MOST_AT_ONCE.min(at_once * 2)
            };
            since = now;
            if turns.let_others_in(py, native, wakeups) {
                since = Instant::now();
            }
            if now - begin > LONG {
                return Outcome::Unfinished(self);
            }
        }
    }
}

impl Drop for MapTask {
    fn drop(&mut self) {
        match self.stage {
            Stage::Spare => drop(self.job.spare.fetch_sub(1, Ordering::Relaxed)),
            Stage::Worked => drop(self.job.workers.fetch_sub(1, Ordering::SeqCst)),
            Stage::Over => {}
        }
        let counts = self.has_begun || self.job.end_wait();
        match &self.job.scope {
            Some(scope) if counts => scope.leave(),
            _ => {}
        }
    }
}
