//! `AsyncPool`: calls that asyncio loops wait for.

use super::base::{Base, check_callable};
use crate::pool::Error;
use crate::pool::internal::Accounting;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::contextvars;
use crate::python::values::arguments::{Call, is_async};
use crate::python::values::errors::{self, Refusal};
use crate::python::values::hooks::name_of;
use crate::python::values::reporter::{Reporter, Source};
use crate::python::values::scope::SharedScope;
use crate::python::work::asyncio::{self, AsyncCall, Mailbox, Post, Prospect};
use crate::python::work::task::Task;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A handle by which a call that has not begun is withdrawn.
#[pyclass(frozen, module = "pyants", name = "_Ticket")]
pub struct Ticket(Py<AsyncCall>);

#[pymethods]
impl Ticket {
    /// Withdraws the call, which the caller then cancels; returns False if it has begun or is over.
    fn withdraw(&self, py: Python<'_>) -> bool {
        self.0.get().withdraw(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// The native half of `pyants.AsyncPool`.
#[pyclass(frozen, subclass, weakref, module = "pyants", name = "_AsyncPool")]
#[derive(Default)]
pub struct AsyncPool {
    pool: OnceLock<Py<Base>>,
    get_running_loop: OnceLock<Py<PyAny>>,
    /// Whether the pool is this object's own, and closed with it.
    owns_pool: AtomicBool,
    abandon_on_cancel: AtomicBool,
    /// The calls made through this object.
    scope: SharedScope,
    /// One for each loop that has made calls lately.
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
}

impl AsyncPool {
    fn pool<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Base>> {
        self.pool
            .get()
            .map(|pool| pool.bind(py))
            .ok_or_else(|| errors::not_initialised("pool"))
    }

    fn reporter(&self, py: Python<'_>) -> PyResult<Reporter> {
        let front = self.pool(py)?.get().front(py)?;
        let pool = &front.pools()[0];
        let hooks = Arc::clone(&pool.host().hooks);
        Ok(Reporter::new(
            hooks,
            Box::new(pool.remains()),
            front.deadlock_group_id(),
        ))
    }

    fn mailbox(&self, py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let is_at = |mailbox: &&Arc<Mailbox>| mailbox.is_at(event_loop);
        let found = lock(&self.mailboxes).iter().find(is_at).cloned();
        if let Some(mailbox) = found.filter(|found| found.is_of(event_loop) && found.is_ours()) {
            return Ok(mailbox);
        }
        let mailboxes = lock(&self.mailboxes).clone();
        let mut over = Vec::new();
        for mailbox in mailboxes {
            if mailbox.is_over(py)? {
                over.push(mailbox);
            }
        }
        let mailbox = Mailbox::new(event_loop, self.reporter(py)?)?;
        let mut mailboxes = lock(&self.mailboxes);
        let is_over = |mailbox: &Arc<Mailbox>| over.iter().any(|other| Arc::ptr_eq(other, mailbox));
        // `over` keeps them, so that none is dropped under the lock.
        mailboxes.retain(|mailbox| !is_over(mailbox));
        mailboxes.push(Arc::clone(&mailbox));
        drop(mailboxes);
        Ok(mailbox)
    }

    /// Starts a call and returns the loop's future of it.
    fn start<'py>(
        &self,
        py: Python<'py>,
        func: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
        way: Way,
    ) -> PyResult<Started<'py>> {
        let get_running_loop = self.get_running_loop.get();
        let get_running_loop = get_running_loop.ok_or_else(|| errors::not_initialised("pool"))?;
        let event_loop = get_running_loop.bind(py).guarded_call0()?;
        let pool = self.pool(py)?;
        let front = pool.get().front(py)?;
        check_callable(func)?;
        refuse_async(func)?;
        let mailbox = self.mailbox(py, &event_loop)?;
        let admission = match way {
            Way::Plain => None,
            Way::Told => Some(event_loop.guarded_method0(intern!(py, "create_future"))?),
        };
        let context = contextvars::current(py)?;
        mailbox.call_to_spin(py)?;
        let scope = self.scope.get();
        let is_open = scope.enter();
        let prospect = Prospect {
            call: Call::new(func.clone().unbind(), args, kwargs),
            context: context.unbind(),
            admission: admission.clone().map(Bound::unbind),
            scope: Arc::clone(&scope),
            pool: pool.clone().unbind().into_any(),
            note_withdrawn,
        };
        let abandons = self.abandon_on_cancel.load(Ordering::Relaxed);
        let call = AsyncCall::new(event_loop.unbind(), mailbox, abandons, prospect);
        let leave = || {
            if is_open {
                scope.leave();
            }
        };
        let call = Bound::new(py, call).inspect_err(|_| leave())?;
        let detached = if is_open {
            front.submit_detached(py, Task::Async(call.clone().unbind()), Accounting::Counted)
        } else {
            Err(Refusal::Pool(Error::Closed))
        };
        let admission = match detached {
            Ok(None) => None,
            Ok(Some(permit_wait)) => {
                call.get().waits_for_permit(Box::new(permit_wait));
                // The caller is notified when the task is taken up.
                admission
            }
            // Raised where the call is awaited, as its own exceptions are: `gather(..., return_exceptions=True)` may
            // catch it.
            Err(refusal) => {
                call.get().refuse_now(py, refusal.into_exception(py));
                leave();
                None
            }
        };
        Ok(Started { call, admission })
    }
}

/// Notes that a queued call of this pool was withdrawn.
fn note_withdrawn(pool: &Bound<'_, PyAny>) {
    let py = pool.py();
    if let Ok(pool) = pool.cast::<Base>() {
        if let Ok(front) = pool.get().front(py) {
            front.note_withdrawn(py);
        }
    }
}

/// The additional notification that a caller wants, besides the result.
enum Way {
    Plain,
    /// When the call is admitted.
    Told,
}

struct Started<'py> {
    call: Bound<'py, AsyncCall>,
    admission: Option<Bound<'py, PyAny>>,
}

/// Calling an async function only creates a coroutine, which no worker would await.
fn refuse_async(func: &Bound<'_, PyAny>) -> PyResult<()> {
    if !is_async(func)? {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "fn must not be an async function, which a worker cannot await: await {} directly",
        name_of(func)
    )))
}

#[pymethods]
impl AsyncPool {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        AsyncPool::default()
    }

    /// The body of __init__.
    fn _set_up(
        &self,
        py: Python<'_>,
        pool: Py<Base>,
        get_running_loop: Py<PyAny>,
        shared: bool,
        abandon_on_cancel: bool,
    ) -> PyResult<()> {
        asyncio::prepare(py)?;
        if self.pool.set(pool).is_err() {
            return Err(PyRuntimeError::new_err("a pool is initialised once"));
        }
        self.owns_pool.store(!shared, Ordering::Relaxed);
        self.abandon_on_cancel
            .store(abandon_on_cancel, Ordering::Relaxed);
        let _ = self.get_running_loop.set(get_running_loop);
        Ok(())
    }

    /// The pool whose workers run the calls.
    #[getter]
    #[pyo3(name = "pool")]
    fn py_pool(&self, py: Python<'_>) -> PyResult<Py<Base>> {
        Ok(self.pool(py)?.clone().unbind())
    }

    /// Runs fn(*args, **kwargs) on a worker, in the caller's context, and returns an awaitable of its result.
    ///
    /// Never blocks: if the pool is full the call itself waits for a permit, in its turn. Cancelling takes the call
    /// back if it has not started; otherwise see abandon_on_cancel. Awaiting raises the exception of fn,
    /// PoolClosedError if the pool is closed, and PoolOverloadError if it is full and the call may not wait.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, AsyncCall>> {
        self.start(py, r#fn, args, kwargs, Way::Plain)
            .map(|started| started.call)
    }

    /// As run(); also returns an awaitable of the admission, if it waits for one, and a ticket to withdraw it.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn _submit_detached<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<(Bound<'py, AsyncCall>, Option<Bound<'py, PyAny>>, Ticket)> {
        let Started { call, admission } = self.start(py, r#fn, args, kwargs, Way::Told)?;
        let ticket = Ticket(call.clone().unbind());
        Ok((call, admission, ticket))
    }

    /// Accepts calls again; reopens the pool if it is its own.
    fn _reopen(&self, py: Python<'_>) -> PyResult<()> {
        let pool = self.pool(py)?;
        // First: `_wait_closed` looks at it when it has closed the pool, and if it was too early opens that itself.
        self.scope.get().open();
        if self.owns_pool.load(Ordering::Relaxed) {
            pool.guarded_method0(intern!(py, "reboot"))?;
        }
        Ok(())
    }

    /// Accepts no more calls.
    fn _close(&self, py: Python<'_>) -> PyResult<()> {
        self.pool(py)?;
        self.scope.get().close();
        Ok(())
    }

    /// Blocks (not on a loop's thread) until every call is done and, if it owns the pool, all workers have left.
    fn _wait_closed(&self, py: Python<'_>) -> PyResult<()> {
        let scope = self.scope.get();
        scope.wait(py, "aclose")?;
        // A reboot() meanwhile, after an aclose() that was cancelled for example, leaves nothing to close.
        if !scope.is_closed() {
            return Ok(());
        }
        if self.owns_pool.load(Ordering::Relaxed) {
            // Not before: calls that wait for a permit would be refused.
            let pool = self.pool(py)?;
            let base = pool.get();
            let front = base.front(py)?;
            call::detach(py, || front.release());
            if !scope.is_closed() {
                pool.guarded_method0(intern!(py, "reboot"))?;
                return Ok(());
            }
            base.wait_gone(py, None, "aclose")?;
        }
        let mailboxes = std::mem::take(&mut *lock(&self.mailboxes));
        drop(mailboxes);
        Ok(())
    }

    /// Reports an exception of fn that no caller will see.
    fn _report(&self, r#fn: &Bound<'_, PyAny>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let py = r#fn.py();
        let source = Source::Call(r#fn.clone().unbind());
        self.reporter(py)?
            .report(py, PyErr::from_value(exception), source);
        Ok(())
    }

    /// Whether no more calls are accepted.
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.scope.get().is_closed() || self.pool(py)?.get().front(py)?.is_closed())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(self.pool.get())?;
        visit.call(self.get_running_loop.get())
    }
}
