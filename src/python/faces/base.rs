//! The base of all kinds of pools.

use crate::per_process::PerProcess;
use crate::pool::internal::sync::WaitLimit;
use crate::pool::internal::{Accounting, Detached, Offer};
use crate::pool::{Error, MultiPool, Options, OptionsError, Pool, Stats, Strategy, SubmitError};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::context;
use crate::python::interpreter::exit::{self, Closer};
use crate::python::interpreter::lookup;
use crate::python::interpreter::process::generation;
use crate::python::interpreter::switch::Switch;
use crate::python::interpreter::wait::detached;
use crate::python::values::arguments::Call;
use crate::python::values::errors::{self, Refusal};
use crate::python::values::options::{self, Given};
use crate::python::work::host::PyHost;
use crate::python::work::task::Task;
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

enum Pools {
    One(Pool<PyHost>),
    Many(Box<MultiPool<PyHost>>),
}

/// One pool or several, and what is needed to make them anew in a forked child.
pub struct Front {
    pools: Pools,
    options: Options,
    strategy: Option<(usize, Strategy)>,
    /// How many queued calls of loops were withdrawn since they were last removed from the queues.
    withdrawn: AtomicUsize,
}

/// How long a submit may block.
#[derive(Clone, Copy)]
pub enum Wait {
    /// Not at all.
    No,
    /// Without limit; `Some`: at most this long.
    Up(Option<Duration>),
}

impl Front {
    fn new(py: Python<'_>, given: Given, strategy: Option<(usize, Strategy)>) -> PyResult<Self> {
        let Given {
            options,
            hooks,
            is_daemon,
        } = given;
        let host = || PyHost::new(hooks.clone_ref(py), options.name.clone(), is_daemon);
        let pools = match strategy {
            None => Pool::with_host(host(), options.clone()).map(Pools::One),
            Some((size, strategy)) => MultiPool::with_hosts(size, strategy, &options, host)
                .map(|multi| Pools::Many(Box::new(multi))),
        };
        let pools = pools.map_err(|error: OptionsError| options::bad_options(py, &error))?;
        let front = Front {
            pools,
            options,
            strategy,
            withdrawn: AtomicUsize::new(0),
        };
        front.lend_context(py);
        let closer = |pool: &Pool<PyHost>| -> Box<dyn Closer> { Box::new(pool.remains()) };
        if !exit::register(front.pools().iter().map(closer).collect()) {
            return Err(exiting(py));
        }
        Ok(front)
    }

    /// If threads inherit their context: has workers that are started from now on begin in a copy of the caller's. Must
    /// be called before a task is offered, since any worker may start another one for it.
    #[inline]
    fn lend_context(&self, py: Python<'_>) {
        #[cold]
        fn lend(front: &Front, py: Python<'_>) {
            for pool in front.pools() {
                if pool.capacity().is_none_or(|most| pool.running() < most) {
                    pool.host().hooks.lend_context(py);
                }
            }
        }
        if context::are_inherited() {
            lend(self, py);
        }
    }

    /// The same with empty pools, for a forked child.
    fn renewed(&self, py: Python<'_>) -> PyResult<Self> {
        let first = &self.pools()[0];
        let options = Options {
            capacity: first.capacity(),
            ..self.options.clone()
        };
        let front = Front::new(
            py,
            Given {
                options,
                hooks: first.host().hooks.clone_ref(py),
                is_daemon: first.host().is_daemon,
            },
            self.strategy,
        )?;
        if self.is_closed() {
            front.release();
        }
        Ok(front)
    }

    pub fn pools(&self) -> &[Pool<PyHost>] {
        match &self.pools {
            Pools::One(pool) => std::slice::from_ref(pool),
            Pools::Many(multi) => multi.pools(),
        }
    }

    fn sum<N: std::iter::Sum>(&self, number: impl Fn(&Pool<PyHost>) -> N) -> N {
        self.pools().iter().map(number).sum()
    }

    pub fn is_closed(&self) -> bool {
        match &self.pools {
            Pools::One(pool) => pool.is_closed(),
            Pools::Many(multi) => multi.is_closed(),
        }
    }

    /// Whether a worker could not be set up, so that the pool closed itself.
    pub fn is_broken(&self) -> bool {
        self.pools().iter().any(Pool::is_broken)
    }

    /// The error of a closed pool.
    pub fn check_open(&self) -> Result<(), Refusal> {
        if !self.is_closed() {
            return Ok(());
        }
        Err(Refusal::Pool(if self.is_broken() {
            Error::Broken
        } else {
            Error::Closed
        }))
    }

    #[inline]
    fn offer(&self, task: Task) -> (usize, Offer<Task>) {
        match &self.pools {
            Pools::One(pool) => (0, pool.offer(task)),
            Pools::Many(multi) => multi.offer(task),
        }
    }

    /// The id that tells these pools from all others, for waits for their tasks.
    pub fn deadlock_group_id(&self) -> usize {
        self.pools()[0].deadlock_group_id()
    }

    /// The largest number of workers; `None`: unlimited.
    pub fn capacity(&self) -> Option<u32> {
        self.sum(|pool| pool.capacity().map(i64::from))
            .map(|sum| u32::try_from(sum).unwrap_or(u32::MAX))
    }

    /// Submits a task without blocking: if there is no permit the task itself waits for one, at the place that is
    /// returned.
    pub fn submit_detached(
        &self,
        py: Python<'_>,
        task: Task,
    ) -> Result<Option<Detached<PyHost>>, Refusal> {
        self.submit_detached_as(py, task, Accounting::Counted)
            .map_err(|SubmitError { error, .. }| Refusal::Pool(error))
    }

    /// As `submit_detached`, for a task that is not missed; `false`: it is refused.
    pub fn submit_spare(&self, py: Python<'_>, task: Task) -> bool {
        self.submit_detached_as(py, task, Accounting::Spare).is_ok()
    }

    fn submit_detached_as(
        &self,
        py: Python<'_>,
        task: Task,
        accounting: Accounting,
    ) -> Result<Option<Detached<PyHost>>, SubmitError<Task>> {
        self.lend_context(py);
        let (index, offer) = match self.offer(task) {
            (_, Offer::Full(task)) if self.clear_withdrawn(py) => self.offer(task),
            offered => offered,
        };
        let submit_detached = |offer| match &self.pools {
            Pools::One(pool) => pool.submit_detached(offer, accounting),
            Pools::Many(multi) => multi.submit_detached(index, offer, accounting),
        };
        match offer {
            // Done attached: it takes only a moment, and releasing the GIL would make it a long one.
            Offer::Accepted { wake_due: false } | Offer::Full(_) | Offer::Closed(_) => {
                submit_detached(offer)
            }
            Offer::Accepted { .. } | Offer::In(_) => call::detach(py, || submit_detached(offer)),
        }
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
            (Ok(()), None) => Ok(()),
            (Err(SubmitError { error, .. }), None) => Err(Refusal::Pool(error)),
        }
    }

    /// Whether the task is for an idle worker while workers of other pools are awake and want the GIL.
    fn is_crowded(&self, index: usize) -> bool {
        !cfg!(Py_GIL_DISABLED)
            && matches!(&self.pools, Pools::Many(multi) if multi.is_crowded(index))
    }

    fn stats(&self) -> Stats {
        match &self.pools {
            Pools::One(pool) => pool.stats(),
            Pools::Many(multi) => multi.stats(),
        }
    }

    pub fn release(&self) -> bool {
        match &self.pools {
            Pools::One(pool) => pool.release(),
            Pools::Many(multi) => multi.release(),
        }
    }

    fn reboot(&self) {
        match &self.pools {
            Pools::One(pool) => pool.reboot(),
            Pools::Many(multi) => multi.reboot(),
        }
    }

    fn watch_idle(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        match &self.pools {
            Pools::One(pool) => pool.watch_idle(wait_limit),
            Pools::Many(multi) => multi.watch_idle(wait_limit),
        }
    }

    /// Waits until all workers have left; the error comes with the indices of the pools whose workers have not.
    fn watch_gone(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), (Error, Vec<usize>)> {
        match &self.pools {
            Pools::One(pool) => pool
                .watch_gone(wait_limit)
                .map_err(|error| (error, Vec::new())),
            Pools::Many(multi) => multi.watch_gone(wait_limit),
        }
    }
}

fn exiting(py: Python<'_>) -> PyErr {
    errors::closed(py, "can't open a pool at interpreter shutdown")
}

/// The methods that all pools of pyants have in common.
#[pyclass(frozen, subclass, weakref, module = "pyants", name = "_Base")]
pub struct Base {
    /// Empty until `__init__`.
    front: PerProcess<Front>,
    /// The function of a pool that has one, in a list of one: a method of a subclass leads back to the pool, and
    /// neither it nor a cell that is written once can break that cycle. A list can, when the collector clears it.
    func: PyOnceLock<Py<PyList>>,
}

impl Default for Base {
    fn default() -> Self {
        Base {
            front: PerProcess::empty(),
            func: PyOnceLock::new(),
        }
    }
}

impl Base {
    /// The body of `__init__`.
    pub fn init(
        &self,
        py: Python<'_>,
        given: Given,
        strategy: Option<(usize, Strategy)>,
        func: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let once = || PyRuntimeError::new_err("a pool is initialised once");
        if self.own_front().is_some() {
            return Err(once());
        }
        let front = Front::new(py, given, strategy)?;
        if let Some(func) = func {
            let _ = self.func.set(py, PyList::new(py, [func])?.unbind());
        }
        self.front.set(generation(), front).map_err(|_| once())
    }

    /// The pools. A forked child makes them anew on first use: the old ones belong to the parent's threads, which may
    /// hold their locks for ever.
    #[inline]
    pub fn front(&self, py: Python<'_>) -> PyResult<&Front> {
        self.front.get_or_make(generation(), |former| match former {
            Some(former) => former.renewed(py),
            None => Err(PyRuntimeError::new_err(
                "the pool's __init__() was not called",
            )),
        })
    }

    /// The pools, unless they are a parent's, which must not be touched.
    fn own_front(&self) -> Option<&Front> {
        self.front.get(generation())
    }

    /// The function of a pool that has one.
    pub fn func<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.func
            .get(py)
            .and_then(|func| func.bind(py).get_item(0).ok())
            .ok_or_else(|| PyRuntimeError::new_err("the pool's __init__() was not called"))
    }

    /// The id that tells the pool from every other, for waits for its tasks.
    pub fn deadlock_group_id(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.front(py)?.deadlock_group_id())
    }

    /// A closed pool raises before the callable is checked (B14).
    pub fn check_call(front: &Front, func: &Bound<'_, PyAny>) -> PyResult<()> {
        check_callable(func).map_err(|error| match front.check_open() {
            Ok(()) => error,
            Err(refusal) => refusal.into_exception(func.py()),
        })
    }

    /// Submits `func(*args, **kwargs)`. A closed pool raises before anything is checked (B14).
    pub fn submit(
        &self,
        py: Python<'_>,
        func: &Bound<'_, PyAny>,
        wait: Wait,
        task: impl FnOnce(Py<PyAny>) -> Task,
    ) -> Result<(), Refusal> {
        let front = self.front(py)?;
        if let Err(error) = check_callable(func) {
            return front.check_open().and(Err(error.into()));
        }
        front.submit(py, task(func.clone().unbind()), wait)
    }

    /// Submits a call of the pool's own function.
    pub fn invoke(
        &self,
        py: Python<'_>,
        wait: Wait,
        task: impl FnOnce(Py<PyAny>) -> Task,
    ) -> Result<(), Refusal> {
        let func = self.func(py)?.unbind();
        self.front(py)?.submit(py, task(func), wait)
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

    /// The pool with this index (B88: negative ones do not count from the end).
    pub fn pool_at<'a>(
        &'a self,
        py: Python<'_>,
        index: &Bound<'_, PyAny>,
    ) -> PyResult<&'a Pool<PyHost>> {
        let pools = self.front(py)?.pools();
        let Ok(number) = index.extract::<i128>() else {
            return match index.is_instance_of::<pyo3::types::PyInt>() {
                true => Err(bad_index(py, index, pools.len())),
                false => Err(errors::wrong_type("index", "an int", index)),
            };
        };
        usize::try_from(number)
            .ok()
            .and_then(|number| pools.get(number))
            .ok_or_else(|| bad_index(py, index, pools.len()))
    }
}

fn bad_index(py: Python<'_>, index: &Bound<'_, PyAny>, pools: usize) -> PyErr {
    errors::invalid_index(
        py,
        format!(
            "index must be between 0 and {}, not {}",
            pools - 1,
            errors::shown(index)
        ),
    )
}

#[inline]
pub fn check_callable(func: &Bound<'_, PyAny>) -> PyResult<()> {
    if func.is_callable() {
        Ok(())
    } else {
        Err(errors::wrong_type("fn", "callable", func))
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.front.give_up(generation());
    }
}

/// Unlimited is -1, as in ants.
fn or_unlimited(py: Python<'_>, number: Option<i64>) -> PyResult<Bound<'_, PyAny>> {
    Ok(number.unwrap_or(-1).into_pyobject(py)?.into_any())
}

#[pymethods]
impl Base {
    /// The number of live workers, idle ones included.
    fn running(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.front(py)?.sum(|pool| u64::from(pool.running())))
    }

    /// The number of workers that may still be started: cap() - running(), or -1 without a limit.
    ///
    /// It is negative for a while after the capacity was lowered below the number of running tasks.
    fn free<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        or_unlimited(py, self.front(py)?.sum(Pool::free))
    }

    /// The number of threads that are blocked in submit() or invoke(), waiting for a permit.
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.front(py)?.sum(Pool::waiting))
    }

    /// The capacity: the largest number of workers, or -1 without a limit.
    fn cap<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        or_unlimited(
            py,
            self.front(py)?.sum(|pool| pool.capacity().map(i64::from)),
        )
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
            stats.capacity.map_or(-1, i64::from),
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
        lookup::POOL_STATS
            .get(py)
            .guarded_call1(PyTuple::new(py, numbers)?)
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
        let timeout = options::read_optional_timeout(timeout)?;
        match detached(py, timeout, |wait_limit| front.watch_idle(wait_limit)) {
            (Err(Error::Interrupted), Some(raised)) => Err(raised),
            (Ok(()), _) => Ok(true),
            (Err(Error::Timeout), _) => Ok(false),
            (Err(error), _) => Err(errors::raise(py, error, "wait_idle")),
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
            stats.capacity.map_or(-1, i64::from),
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
        let name = slf.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "cannot pickle '{name}' object: its threads and tasks live in this process"
        )))
    }

    /// Closes the pool, and keeps it alive until its last worker has left.
    fn __del__(slf: &Bound<'_, Self>) {
        Self::let_finish(slf);
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(self.func_for_gc())?;
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

/// Installs the finalizer, which PyO3 cannot declare, in the class. Its native subclasses inherit it (Python subclasses
/// find `__del__`), so this must be called before there are any.
pub fn install(py: Python<'_>) {
    let class = Base::type_object(py).as_type_ptr();
    let finalize = call::finalizer!(Base, |pool| {
        call::aside(|_| Base::let_finish(pool));
    });
    // SAFETY: the type lives as long as the interpreter, and has no instances or subclasses yet. Nothing else writes
    // its slots: one thread initialises the module.
    unsafe { (*class).tp_finalize = Some(finalize) };
}

impl Base {
    /// Closes a pool that can no longer be used, as dropping it does. Its workers still need its hooks: an initializer
    /// for those yet to be started, a handler. So a reference of its own keeps it, with all it refers to, alive until
    /// the last worker leaves; what is garbage then the collector finds again.
    fn let_finish(slf: &Bound<'_, Self>) {
        let Some(front) = slf.get().own_front() else {
            return;
        };
        front.release();
        for pool in front.pools() {
            (pool.host()).keep(slf.clone().unbind().into_any(), pool.remains());
            // Keeps the pool, then reads the workers; a worker counts itself out, then reads `kept`.
            pool.host().let_go_as_the_last();
        }
    }

    fn func_for_gc(&self) -> Option<&Py<PyList>> {
        // SAFETY: no token is needed to read a cell that is written once; traversal runs while the thread is attached,
        // but PyO3 hands out no token for it.
        self.func.get(unsafe { Python::assume_attached() })
    }

    pub fn wait_gone(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        doing: &str,
    ) -> PyResult<()> {
        let front = self.front(py)?;
        match detached(py, timeout, |wait_limit| front.watch_gone(wait_limit)) {
            (Ok(()), _) => Ok(()),
            (Err((Error::Interrupted, _)), Some(raised)) => Err(raised),
            (Err((Error::Timeout, late)), _) if !late.is_empty() => {
                let late = late
                    .iter()
                    .map(usize::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                Err(errors::timeout(
                    py,
                    format!("{doing} ran out of time: workers of the pools {late} are still there"),
                ))
            }
            (Err((error, _)), _) => Err(errors::raise(py, error, doing)),
        }
    }
}
