//! The Python methods that all pools have.

use super::class::Base;
use super::front::{Front, exiting};
use crate::pool::{Error, Pool};
use crate::python::interpreter::wait::detached;
use crate::python::interpreter::{call, exit, lookup};
use crate::python::values::{errors, options};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::time::Duration;

/// Without a limit, as in ants.
const UNLIMITED: i64 = -1;

#[pymethods]
impl Base {
    /// The number of live workers, idle ones included.
    fn running(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.front(py)?.sum(|pool| u64::from(pool.running())))
    }

    /// The number of workers that may still be started: cap() - running(), or -1 without a limit.
    ///
    /// It is negative for a while after the capacity was lowered below the number of running tasks.
    fn free(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.front(py)?.sum(Pool::free).unwrap_or(UNLIMITED))
    }

    /// The number of threads that are blocked in submit() or invoke(), waiting for a permit.
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.front(py)?.sum(Pool::waiting))
    }

    /// The capacity: the largest number of workers, or -1 without a limit.
    fn cap(&self, py: Python<'_>) -> PyResult<i64> {
        let capacity = self.front(py)?.sum(|pool| pool.capacity().map(i64::from));
        Ok(capacity.unwrap_or(UNLIMITED))
    }

    /// The number of accepted tasks that wait for a worker; always 0 with queue_size=0.
    fn queued(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.front(py)?.sum(Pool::queued))
    }

    /// Whether the pool is closed.
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.front(py)?.is_closed())
    }

    /// Returns a PoolStats: all numbers of the pool, taken in one go.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.front(py)?.stats();
        let numbers = [
            stats.capacity.map_or(UNLIMITED, i64::from),
            i64::from(stats.running),
            stats.busy as i64,
            i64::from(stats.idle),
            i64::try_from(stats.waiting).unwrap_or(i64::MAX),
            stats.queued as i64,
            stats.submitted as i64,
            stats.completed as i64,
            stats.failed as i64,
            stats.cancelled as i64,
            stats.rejected as i64,
            stats.spawned as i64,
            stats.expired as i64,
            i64::from(stats.peak_running),
        ];
        lookup::POOL_STATS.invoke(py, PyTuple::new(py, numbers)?)
    }

    /// Changes the capacity at once, without waiting for a task.
    ///
    /// If it grows, as many blocked submitters as now fit are admitted. If it shrinks, surplus workers leave: idle ones
    /// now, busy ones when their task is done. Ignored, as in ants, by an unlimited pool and with pre_alloc.
    ///
    /// Args:
    ///     capacity: The new capacity, of each pool in a MultiPool; ignored if it is 0 or less.
    fn tune(&self, py: Python<'_>, capacity: &Bound<'_, PyAny>) -> PyResult<()> {
        let front = self.front(py)?;
        if let Some(capacity) = options::read_capacity("capacity", capacity)? {
            call::detach(py, || {
                for pool in front.pools() {
                    let _ = pool.tune(capacity); // A pool whose capacity is fixed keeps it.
                }
            });
        }
        Ok(())
    }

    /// Blocks until all accepted tasks are done, those accepted meanwhile too.
    ///
    /// Args:
    ///     timeout: Seconds, or a timedelta; None for no limit.
    ///
    /// Returns:
    ///     True when all tasks are done, False when the time is over.
    ///
    /// Raises:
    ///     PoolDeadlockError: The caller is a task of the pool, and would block for ever.
    #[pyo3(signature = (timeout = None))]
    fn wait_idle(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let front = self.front(py)?;
        let timeout = timeout.map(options::read_timeout).transpose()?;
        match detached(py, timeout, |wait_limit| front.watch_idle(wait_limit)) {
            (Ok(()), _) => Ok(true),
            (Err(Error::Timeout), _) => Ok(false),
            (Err(error), raised) => Err(errors::interrupted_or(py, error, raised, "wait_idle")),
        }
    }

    /// Closes the pool and returns at once; does nothing on a closed pool.
    ///
    /// Blocked submitters get PoolClosedError, idle workers leave, and accepted tasks still run.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let front = self.front(py)?;
        call::detach(py, || front.release());
        Ok(())
    }

    /// Closes the pool and blocks until every accepted task is done and every worker has left.
    ///
    /// Args:
    ///     timeout: Seconds, or a timedelta.
    ///
    /// Raises:
    ///     PoolClosedError: The pool is closed already.
    ///     PoolTimeoutError: The time is over; the pool stays closed, and its tasks go on.
    fn release_timeout(&self, py: Python<'_>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        let front = self.front(py)?;
        let timeout = options::read_timeout(timeout)?;
        if !call::detach(py, || front.release()) {
            return Err(errors::raise(py, Error::Closed, "release_timeout"));
        }
        self.wait_gone(py, Some(timeout), "release_timeout")
    }

    /// Reopens a closed pool; does nothing on an open one.
    ///
    /// Options, the tuned capacity and the counters are kept. Workers are started on demand.
    fn reboot(&self, py: Python<'_>) -> PyResult<()> {
        let front = self.front(py)?;
        let opened = call::detach(py, || exit::unless_exiting(|| front.reboot()));
        if opened { Ok(()) } else { Err(exiting(py)) }
    }

    /// Starts the workers that the tasks in flight would get if none ended meanwhile.
    ///
    /// Blocks until they are registered with threading.
    fn _start_workers(&self, py: Python<'_>) -> PyResult<()> {
        let front = self.front(py)?;
        call::detach(py, || {
            for pool in front.pools() {
                pool.start_workers();
                pool.host().roll.await_all(|| pool.running());
            }
        });
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Closes the pool and blocks, without limit, until every accepted task is done and every worker has left.
    #[pyo3(signature = (*_exc_info))]
    fn __exit__(&self, py: Python<'_>, _exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        let front = self.front(py)?;
        call::detach(py, || front.release());
        self.wait_gone(py, None, "leaving the with block")
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let class = slf.get_type();
        let (module, name) = (class.module()?, class.qualname()?);
        let Ok(front) = slf.get().front(slf.py()) else {
            return Ok(format!("<{module}.{name} not initialised>"));
        };
        let stats = front.stats();
        Ok(format!(
            "<{module}.{name} capacity={} running={} waiting={} {}>",
            stats.capacity.map_or(UNLIMITED, i64::from),
            stats.running,
            stats.waiting,
            if front.is_broken() {
                "broken"
            } else if front.is_closed() {
                "closed"
            } else {
                "open"
            },
        ))
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let why = ": its threads and tasks live in this process";
        Err(errors::cannot_pickle(slf, why))
    }

    /// Closes the pool, and keeps it alive until its last worker has left.
    fn __del__(slf: &Bound<'_, Self>) {
        Self::let_finish(slf);
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(self.func.get())?;
        (self.own_front().into_iter())
            .flat_map(Front::pools)
            .try_for_each(|pool| pool.host().hooks.traverse(&visit))
    }

    fn __clear__(&self) {
        for pool in self.own_front().into_iter().flat_map(Front::pools) {
            // No task is in flight and no worker is left (`let_finish`), unless the class has a `__del__` that does not
            // call ours: then its tasks are reported to the log from now on, and if it had an initializer it starts no
            // more workers.
            pool.host().hooks.clear();
        }
    }
}

impl Base {
    pub fn wait_gone(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        doing: &str,
    ) -> PyResult<()> {
        let front = self.front(py)?;
        match detached(py, timeout, |wait_limit| front.watch_gone(wait_limit)) {
            (Ok(()), _) => Ok(()),
            (Err((Error::Timeout, late)), _) if !late.is_empty() => {
                let late = late.iter().map(usize::to_string).collect::<Vec<_>>();
                let late = format!("workers of the pools {} are still there", late.join(", "));
                Err(errors::timeout(
                    py,
                    format!("{doing} ran out of time: {late}"),
                ))
            }
            (Err((error, _)), raised) => Err(errors::interrupted_or(py, error, raised, doing)),
        }
    }
}
