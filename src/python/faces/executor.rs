//! `PoolExecutor`: calls with futures, on the workers of a pool.

use super::base::{Base, Wait};
use super::map_feed::Feed;
use super::patched_submit;
use crate::pool::Error;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::wait::ring;
use crate::python::interpreter::{call, exit, lookup};
use crate::python::values::arguments::Call;
use crate::python::values::errors::{self, Refusal};
use crate::python::values::options;
use crate::python::values::scope::{Scope, SharedScope};
use crate::python::work::future::{self, Future, FutureClass};
use crate::python::work::map::Job;
use crate::python::work::task::Task;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The native half of `pyants.PoolExecutor`.
#[pyclass(frozen, subclass, weakref, module = "pyants", name = "_Executor")]
#[derive(Default)]
pub struct Executor {
    pool: OnceLock<Py<Base>>,
    future_class: OnceLock<FutureClass>,
    /// The executor's calls, if the pool is shared; otherwise all the pool's tasks are the executor's.
    scope: OnceLock<SharedScope>,
    /// The prefix of the threads' names, if the pool is the executor's own.
    thread_name_prefix: OnceLock<String>,
    /// The maps that may have map tasks waiting or running.
    jobs: Mutex<Vec<Weak<Job>>>,
}

impl Executor {
    fn pool<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Base>> {
        self.pool.get().map(|pool| pool.bind(py)).ok_or_else(|| {
            if exit::is_exiting() {
                Refusal::Pool(Error::Closed).into_executors(py)
            } else {
                errors::not_initialised("executor")
            }
        })
    }

    /// The scope, if the pool is shared.
    fn scope(&self) -> Option<Arc<Scope>> {
        self.scope.get().map(SharedScope::get)
    }

    /// Submits a call and returns its future. Whether it can be called shows only on the worker, and the future tells,
    /// as with CPython's executor.
    fn submit<'py>(
        &self,
        py: Python<'py>,
        wait: Wait,
        call: Call,
    ) -> Result<Bound<'py, Future>, Refusal> {
        let front = self.pool(py)?.get().front(py)?;
        let class = self
            .future_class
            .get()
            .ok_or_else(|| errors::not_initialised("executor"))?;
        let future = class.task_future(py, front.deadlock_group_id())?;
        let scope = self.scope();
        if let Some(scope) = &scope {
            if !scope.enter() {
                return Err(Refusal::Pool(Error::Closed));
            }
            future.get().enter_scope(Arc::clone(scope));
        }
        let task = Task::Future(call, future::share(&future));
        let result = front.submit(py, task, wait);
        // A call that was accepted just before the signal runs, and belongs to the executor until it is done.
        if !matches!(result, Ok(()) | Err(Refusal::Late(_))) {
            future.get().leave_scope();
        }
        result.map(|()| future)
    }

    /// As `submit`, with the exceptions of an executor.
    pub fn schedule<'py>(
        &self,
        py: Python<'py>,
        wait: Wait,
        call: Call,
    ) -> PyResult<Bound<'py, Future>> {
        self.submit(py, wait, call)
            .map_err(|refusal| refusal.into_executors(py))
    }

    fn jobs(&self) -> Vec<Arc<Job>> {
        lock(&self.jobs).iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether the task is a call of the executor with this scope; without a scope all are.
    fn is_call_of(task: &Task, scope: Option<&Arc<Scope>>) -> bool {
        match (task, scope) {
            (Task::Future(..), None) => true,
            (Task::Future(_, future), Some(scope)) => future.get().is_of(scope),
            _ => false,
        }
    }
}

#[pymethods]
impl Executor {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Executor::default()
    }

    /// The body of __init__. thread_name_prefix is None if the pool is shared.
    fn _set_up(
        &self,
        pool: Py<Base>,
        future_class: Bound<'_, PyType>,
        thread_name_prefix: Option<String>,
    ) -> PyResult<()> {
        let future_class = FutureClass::new(future_class)?;
        if self.pool.set(pool).is_err() {
            return Err(PyRuntimeError::new_err("an executor is initialised once"));
        }
        let _ = self.future_class.set(future_class);
        let _ = match thread_name_prefix {
            Some(prefix) => self.thread_name_prefix.set(prefix).is_ok(),
            None => self.scope.set(SharedScope::default()).is_ok(),
        };
        Ok(())
    }

    /// The prefix of the names of the executor's threads; empty if the pool is shared.
    // Not an attribute of the instance in Python, which then needs no dict: without one its methods are found sooner.
    #[getter]
    fn _given_prefix(&self) -> &str {
        self.thread_name_prefix.get().map_or("", String::as_str)
    }

    /// The pool whose workers run the calls.
    #[getter]
    #[pyo3(name = "pool")]
    fn py_pool(&self, py: Python<'_>) -> PyResult<Py<Base>> {
        Ok(self.pool(py)?.clone().unbind())
    }

    // `submit` is in fastcall.rs.

    /// As submit(), but never blocks; returns None if the pool is overloaded.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn try_submit<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        if patched_submit::is_replaced(slf.as_any())? {
            let overload = lookup::POOL_OVERLOAD_ERROR.get(py);
            return match patched_submit::ask(slf.as_any(), Wait::No, r#fn, &args, kwargs.as_ref()) {
                Err(refusal) if refusal.is_instance(py, overload) => Ok(None),
                result => result.map(Some),
            };
        }
        let call = Call::new(r#fn.clone().unbind(), args, kwargs);
        match slf.get().submit(py, Wait::No, call) {
            Ok(future) => Ok(Some(future.into_any())),
            Err(Refusal::Pool(Error::Overload { .. })) => Ok(None),
            Err(refusal) => Err(refusal.into_executors(py)),
        }
    }

    /// As submit(), but blocks for at most timeout seconds (or a timedelta), then raises PoolTimeoutError.
    #[pyo3(signature = (timeout, r#fn, /, *args, **kwargs))]
    fn submit_within<'py>(
        slf: &Bound<'py, Self>,
        timeout: &Bound<'py, PyAny>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wait = Wait::Up(Some(options::read_timeout(timeout)?));
        if patched_submit::is_replaced(slf.as_any())? {
            return patched_submit::ask(slf.as_any(), wait, r#fn, &args, kwargs.as_ref());
        }
        let call = Call::new(r#fn.clone().unbind(), args, kwargs);
        let future = slf.get().schedule(slf.py(), wait, call)?;
        Ok(future.into_any())
    }

    /// Submits a call for CPython's own submit().
    #[pyo3(signature = (r#fn, args, kwargs))]
    fn _submit_call<'py>(
        slf: &Bound<'py, Self>,
        r#fn: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Future>> {
        let call = Call::new(r#fn.unbind(), args, kwargs);
        slf.get()
            .schedule(slf.py(), patched_submit::wait(slf.as_any()), call)
    }

    /// Raises as submit() does if the executor accepts no more calls.
    fn _check_open(&self, py: Python<'_>) -> PyResult<()> {
        let is_closed = self.scope().is_some_and(|scope| scope.is_closed());
        let checked = if is_closed {
            Err(Refusal::Pool(Error::Closed))
        } else {
            self.pool(py)?.get().front(py)?.check_open()
        };
        checked.map_err(|refusal| refusal.into_executors(py))
    }

    /// Whether submit() was replaced: on this executor, in its class, or in CPython's.
    fn _is_submit_replaced(slf: &Bound<'_, Self>) -> PyResult<bool> {
        patched_submit::is_replaced(slf.as_any())
    }

    /// Begins a map: returns the feed that takes further items and has the results. The calls for these items begin
    /// at once: fn gets each item or, if star, the items of each tuple as its arguments.
    fn _feed(
        &self,
        py: Python<'_>,
        r#fn: Bound<'_, PyAny>,
        items: &Bound<'_, PyList>,
        star: bool,
        ordered: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Feed> {
        let timeout = options::read_threading_timeout(timeout)?;
        let pool = self.pool(py)?;
        let job = Arc::new(Job::new(
            r#fn.unbind(),
            items,
            star,
            ordered,
            pool.get().front(py)?.deadlock_group_id(),
            self.scope(),
        ));
        {
            let mut jobs = lock(&self.jobs);
            if jobs.len() == jobs.capacity() {
                jobs.retain(|job| job.strong_count() > 0);
            }
            jobs.push(Arc::downgrade(&job));
        }
        Feed::new(py, pool.clone().unbind(), job, timeout)
    }

    /// Cancels calls that have not started of the maps whose results this thread has begun to read.
    fn _leave_maps(&self, py: Python<'_>) {
        for job in self.jobs().iter().filter(|job| job.is_left()) {
            ring(py, job.cancel());
        }
    }

    /// Takes the oldest call that waits for a worker out of the queue: returns its future, fn, args and kwargs.
    fn _take_queued<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let scope = self.scope();
        for pool in self.pool(py)?.get().front(py)?.pools() {
            let wanted = |task: &Task| Self::is_call_of(task, scope.as_ref());
            let taken = call::detach(py, || pool.extract_one(wanted));
            if let Some(Task::Future(call, future)) = taken {
                future.get().leave_scope();
                let (func, args, kwargs) = call.into_parts(py)?;
                return (future, func, args, kwargs).into_pyobject(py).map(Some);
            }
        }
        Ok(None)
    }

    /// Accepts no more calls; with cancel_futures, cancels those that have not started.
    fn _close(&self, py: Python<'_>, cancel_futures: bool) -> PyResult<()> {
        let Ok(pool) = self.pool(py) else {
            return Ok(());
        };
        let scope = self.scope();
        let front = pool.get().front(py)?;
        match &scope {
            None => {
                call::detach(py, || front.release());
            }
            Some(scope) => scope.close(),
        }
        let jobs = self.jobs();
        if !cancel_futures {
            jobs.iter().for_each(|job| job.end_if_exhausted());
            return Ok(());
        }
        for job in jobs {
            ring(py, job.cancel());
        }
        let mut taken = Vec::new();
        for pool in front.pools() {
            let wanted = |task: &Task| Self::is_call_of(task, scope.as_ref());
            taken.extend(call::detach(py, || pool.extract_if(wanted)));
        }
        for task in taken {
            if let Task::Future(call, future) = task {
                drop(call);
                ring(py, Future::withdraw(future.bind(py)));
            }
        }
        Ok(())
    }

    /// Blocks until every accepted call is done and, if the pool is its own, every worker has left.
    fn _wait_closed(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(pool) = self.pool(py) else {
            return Ok(());
        };
        let Some(scope) = self.scope() else {
            return pool.get().wait_gone(py, None, "shutdown");
        };
        scope.wait(py, "shutdown")
    }

    /// Returns a future to wait for a place with: a worker's wait for it counts when deadlocks are detected.
    fn _place<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Future>> {
        let class = self
            .future_class
            .get()
            .ok_or_else(|| errors::not_initialised("executor"))?;
        class.task_future(py, self._pool_id(py)?)
    }

    /// Returns a timeout in seconds, checked as by submit_within().
    fn _seconds(&self, timeout: &Bound<'_, PyAny>) -> PyResult<f64> {
        options::read_timeout(timeout).map(|timeout| timeout.as_secs_f64())
    }

    /// The id of the pool; the thread object of a worker has it as its attribute _pyants_pool.
    fn _pool_id(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.pool(py)?.get().front(py)?.deadlock_group_id())
    }

    /// Whether a worker's initializer failed.
    fn _is_broken(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.pool(py)?.get().front(py)?.is_broken())
    }

    /// Whether no more calls are accepted.
    #[getter]
    fn _shutdown(&self, py: Python<'_>) -> PyResult<bool> {
        match self.scope() {
            Some(scope) => Ok(scope.is_closed()),
            None => Ok(self.pool(py)?.get().front(py)?.is_closed()),
        }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(self.pool.get())?;
        visit.call(self.future_class.get().map(FutureClass::class))
    }
}
