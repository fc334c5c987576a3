//! Submitting a task to a pool, in all its ways.

use super::class::Base;
use super::front::{Front, Pools};
use crate::pool::Pool;
use crate::pool::internal::sync::WaitLimit;
use crate::pool::internal::{Accounting, Detached, Offer};
use crate::python::interpreter::call;
use crate::python::interpreter::turns::Switch;
use crate::python::interpreter::wait::detached;
use crate::python::values::arguments::Call;
use crate::python::values::errors::{self, Refusal};
use crate::python::work::host::PyHost;
use crate::python::work::task::Task;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a submit may block.
#[derive(Clone, Copy)]
pub enum Wait {
    /// Not at all.
    No,
    /// Without limit; `Some`: at most this long.
    Up(Option<Duration>),
}

impl Front {
    /// Checks a callable. A closed pool raises before that (B14).
    #[inline]
    pub fn check_call(&self, func: &Bound<'_, PyAny>) -> Result<(), Refusal> {
        check_callable(func).or_else(|error| self.check_open().and(Err(error.into())))
    }

    /// Submits a task; the rarer ways go through the core detached from Python.
    #[inline]
    pub fn submit(&self, py: Python<'_>, task: Task, wait: Wait) -> Result<(), Refusal> {
        self.lend_context(py);
        match self.offer(task) {
            (_, Offer::Accepted { wake_due: false }) => Ok(()),
            (index, offer) => self.follow_up(py, index, offer, wait),
        }
    }

    #[cold]
    fn follow_up(
        &self,
        py: Python<'_>,
        index: usize,
        offer: Offer<Task>,
        wait: Wait,
    ) -> Result<(), Refusal> {
        let go_on = |offer, wait_limit: Option<&mut WaitLimit<'_>>| match &self.pools {
            Pools::One(pool) => pool.follow_up(offer, wait_limit),
            Pools::Many(multi) => multi.follow_up(index, offer, wait_limit),
        };
        let (result, raised) = match (offer, wait) {
            // Refused at once.
            (offer @ Offer::Closed(_), _) | (offer @ Offer::Full(_), Wait::No) => {
                (go_on(offer, None), None)
            }
            // The woken worker has to wait for others that were just woken. Releasing the GIL for the wakeup, and then
            // waiting behind all of them, would cost more than the wakeup.
            (offer @ Offer::Accepted { .. }, _) if self.is_crowded(index) => {
                (go_on(offer, None), None)
            }
            // A worker is woken or started: detached, since the worker will ask for the GIL.
            (offer, Wait::No) => (call::detach(py, || go_on(offer, None)), None),
            (offer, Wait::Up(timeout)) => {
                detached(py, timeout, |wait_limit| go_on(offer, Some(wait_limit)))
            }
        };
        match (result, raised) {
            // An exception from a signal handler takes precedence.
            (Ok(()), Some(raised)) => Err(Refusal::Late(raised)),
            (Err(_), Some(raised)) => Err(Refusal::Python(raised)),
            (result, None) => Ok(result?),
        }
    }

    #[inline]
    fn offer(&self, task: Task) -> (usize, Offer<Task>) {
        match &self.pools {
            Pools::One(pool) => (0, pool.offer(task)),
            Pools::Many(multi) => multi.offer(task),
        }
    }

    /// Whether the task is for an idle worker while workers of other pools are awake and want the GIL.
    fn is_crowded(&self, index: usize) -> bool {
        !cfg!(Py_GIL_DISABLED)
            && matches!(&self.pools, Pools::Many(multi) if multi.is_crowded(index))
    }

    /// Submits a task without blocking: if there is no permit the task itself waits for one, at the place that is
    /// returned.
    pub fn submit_detached(
        &self,
        py: Python<'_>,
        task: Task,
        accounting: Accounting,
    ) -> Result<Option<Detached<PyHost>>, Refusal> {
        self.lend_context(py);
        let (index, offer) = match self.offer(task) {
            (_, Offer::Full(task)) if self.clear_withdrawn(py) => self.offer(task),
            offered => offered,
        };
        let submit_detached = |offer| match &self.pools {
            Pools::One(pool) => pool.submit_detached(offer, accounting),
            Pools::Many(multi) => multi.submit_detached(index, offer, accounting),
        };
        let submitted = match offer {
            // Done attached: it takes only a moment, and releasing the GIL would make it a long one.
            Offer::Accepted { wake_due: false } | Offer::Full(_) | Offer::Closed(_) => {
                submit_detached(offer)
            }
            Offer::Accepted { .. } | Offer::In(_) => call::detach(py, || submit_detached(offer)),
        };
        Ok(submitted?)
    }

    /// A queued call was withdrawn. Only an empty shell is left, which a worker drops when it reaches it; if there are
    /// many, they are removed sooner.
    pub fn note_withdrawn(&self, py: Python<'_>) {
        const MANY: usize = 1024;
        let withdrawn = self.withdrawn.fetch_add(1, Ordering::Relaxed) + 1;
        if withdrawn % MANY == 0 && withdrawn * 2 >= self.sum(Pool::queued) {
            self.clear_withdrawn(py);
        }
    }

    /// Removes withdrawn calls from the queues; returns whether there were any.
    fn clear_withdrawn(&self, py: Python<'_>) -> bool {
        // Workers may have dropped some meanwhile, which are still counted: then this looks in vain, once.
        if self.withdrawn.swap(0, Ordering::Relaxed) == 0 {
            return false;
        }
        let shells: Vec<_> = call::detach(py, || {
            self.pools()
                .iter()
                .flat_map(|pool| pool.extract_if(Task::is_withdrawn))
                .collect()
        });
        !shells.is_empty()
    }
}

impl Base {
    /// Submits `func(*args, **kwargs)`.
    pub fn submit(
        &self,
        func: &Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
        wait: Wait,
    ) -> Result<(), Refusal> {
        let front = self.front(func.py())?;
        front.check_call(func)?;
        let call = Call::new(func.clone().unbind(), args, kwargs);
        front.submit(func.py(), Task::Call(call), wait)
    }

    /// Submits a call of the pool's own function.
    pub fn invoke(
        &self,
        py: Python<'_>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
        wait: Wait,
    ) -> Result<(), Refusal> {
        let call = Call::new(self.func(py)?.unbind(), args, kwargs);
        self.front(py)?.submit(py, Task::Call(call), wait)
    }

    /// Submits `func(item)` for each item, in one call, and returns how many. An error of the pool carries the number
    /// as `submitted`.
    pub fn submit_many(
        &self,
        py: Python<'_>,
        func: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let mut submitted = 0;
        match self.submit_each(py, func, items, &mut submitted) {
            Ok(()) => Ok(submitted),
            Err(Refusal::Python(error) | Refusal::Late(error)) => Err(error),
            Err(refusal) => {
                let error = refusal.into_exception(py);
                error.value(py).setattr("submitted", submitted)?;
                Err(error)
            }
        }
    }

    fn submit_each(
        &self,
        py: Python<'_>,
        func: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        submitted: &mut u64,
    ) -> Result<(), Refusal> {
        let front = self.front(py)?;
        front.check_open()?;
        check_callable(func)?;
        call::guard_thread(); // Reading the items may run Python code.
        let mut switch = Switch::new(py);
        for item in items.try_iter()? {
            front.submit(
                py,
                Task::Call(Call::one(func.clone().unbind(), item?.unbind())),
                Wait::Up(None),
            )?;
            *submitted += 1;
            // A loop in native code: now and then it lets other threads run, and signals be handled.
            if *submitted % 64 == 0 && switch.pause_if_due(py) {
                py.check_signals()?;
            }
        }
        Ok(())
    }
}

#[inline]
pub fn check_callable(func: &Bound<'_, PyAny>) -> PyResult<()> {
    if func.is_callable() {
        Ok(())
    } else {
        Err(errors::wrong_type("fn", "callable", func))
    }
}
