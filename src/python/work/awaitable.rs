//! The future that `AsyncPool.run()` returns: it does everything that asyncio asks of one.
//!
//! asyncio recognises a future by an attribute (`asyncio.isfuture`), so other classes than its own may serve. This one
//! costs a fraction: it is created without a call into Python, and its callbacks, mostly those of tasks that await it,
//! are called when the loop fetches its mail, without a loop handle for each.

use crate::pool::Outcome;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::context;
use crate::python::interpreter::switch::Turns;
use crate::python::interpreter::wakeups::Wakeups;
use crate::python::values::arguments::{Call, is_python_function};
use crate::python::values::errors;
use crate::python::values::hooks::Hooks;
use crate::python::values::reporter::{Reporter, Source};
use crate::python::values::scope::Scope;
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyType};
use pyo3::{Borrowed, PyTraverseError, PyTypeInfo, PyVisit, ffi, intern};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A call that may still be begun or withdrawn: the thread that takes it out of its future owns it.
pub struct Prospect {
    pub call: Call,
    /// The caller's context, in which the call runs.
    pub context: Py<PyAny>,
    /// The loop's future of the admission, if the caller waits for that.
    pub admission: Option<Py<PyAny>>,
    /// The group of calls that this one belongs to; it is notified when the call is over.
    pub scope: Arc<Scope>,
    /// Kept alive while calls wait for it.
    pub pool: Py<PyAny>,
    /// Tells the pool that a queued call was withdrawn: its empty shell still holds a permit.
    pub note_withdrawn: fn(&Bound<'_, PyAny>),
}

enum State {
    Waiting(Prospect),
    /// A worker has taken the call, or it was refused; the loop does not know yet.
    Begun,
    /// The call was withdrawn and will not run.
    Withdrawn,
    Cancelled,
    Returned(Py<PyAny>),
    Raised(Py<PyAny>),
}

impl State {
    fn is_done(&self) -> bool {
        matches!(
            self,
            State::Cancelled | State::Returned(_) | State::Raised(_)
        )
    }
}

/// The place of a call among the waiters for a permit.
pub trait Place: Send + Sync {
    /// Gives up the place; `false`: the call no longer waits.
    fn leave(&self) -> bool;
}

/// A message about a call, for the loop that waits for it, from a worker or from the thread that refuses the call.
pub enum Letter {
    /// `true`: the task has begun, so it was admitted. `false`: it was refused; the result's future has the reason.
    Admission(Py<PyAny>, bool),
    /// The call's result. The context goes with it so that the loop's thread, which created it, also drops it:
    /// free-threaded builds pay dearly when another thread drops an object.
    Returned(Py<Awaitable>, Py<PyAny>, Py<PyAny>),
    Raised(Py<Awaitable>, PyErr, Option<Source>),
    /// The call was cancelled and then raised; the worker has reported the exception.
    Ended(Py<Awaitable>),
}

/// A mailbox: delivers letters to the loop of a call.
pub trait Post: Send + Sync {
    fn post(&self, py: Python<'_>, letter: Letter);

    /// Called by a worker between two tasks: lets other threads run if it is time, a loop with mail to fetch first.
    fn let_others_in(&self, py: Python<'_>, turns: &mut Turns, wakeups: &mut Wakeups);

    /// Whether the mailbox belongs to this process, rather than to one from which it was forked.
    fn is_ours(&self) -> bool {
        self.reporter().is_ours()
    }

    /// Reports the exceptions that the loop never asks for.
    fn reporter(&self) -> &Reporter;
}

struct Inner {
    state: State,
    /// The call's place among the waiters for a permit, if it waits.
    place: Option<Box<dyn Place>>,
    /// It was cancelled after it had begun, and will count as cancelled when it has ended.
    is_cancelling: bool,
    /// Each with the context in which to call it.
    callbacks: Vec<(Py<PyAny>, Py<PyAny>)>,
    cancel_message: Option<Py<PyAny>>,
    /// Set while nobody has asked for the exception.
    unseen: Option<Source>,
}

/// A call made by AsyncPool.run(): a future to asyncio, and to isinstance(call, asyncio.Future).
///
/// Like those of asyncio's own futures, its methods may be called only on the thread of its loop.
#[pyclass(frozen, weakref, module = "pyants", name = "AsyncCall")]
pub struct Awaitable {
    event_loop: Py<PyAny>,
    mailbox: Arc<dyn Post>,
    /// Cancelling does not wait for a call that has begun.
    abandon_on_cancel: bool,
    inner: Mutex<Inner>,
    /// The flag by which asyncio's tasks recognise that they were yielded a future.
    blocking: AtomicBool,
}

static FINALIZER: std::sync::Once = std::sync::Once::new();
static FUTURE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static PARTIAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static IS_COROUTINE_FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static CANCELLED_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static INVALID_STATE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Looks up what is needed of asyncio. Must be called before the first call is made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    FINALIZER.call_once(|| {
        let class = Awaitable::type_object(py).as_type_ptr();
        let finalize = call::finalizer!(Awaitable, |call| call.get().report_unseen());
        // SAFETY: the type lives as long as the interpreter. It has no instances yet and can have no subclasses, and
        // nothing else writes its slots: only this closure does, once.
        unsafe { (*class).tp_finalize = Some(finalize) };
    });
    FUTURE.import(py, "asyncio", "Future")?;
    PARTIAL.import(py, "functools", "partial")?;
    METHOD.import(py, "types", "MethodType")?;
    IS_COROUTINE_FUNCTION.import(py, "inspect", "iscoroutinefunction")?;
    CANCELLED_ERROR.import(py, "asyncio.exceptions", "CancelledError")?;
    INVALID_STATE_ERROR
        .import(py, "asyncio.exceptions", "InvalidStateError")
        .map(drop)
}

/// Whether calling `func` only creates a coroutine or an asynchronous generator, and runs nothing.
pub fn is_async(func: &Bound<'_, PyAny>) -> PyResult<bool> {
    const ASYNC: u32 = 0x80 | 0x200; // CO_COROUTINE and CO_ASYNC_GENERATOR of CPython's code.h.
    let py = func.py();
    if is_python_function(func) {
        // SAFETY: it is a function, so it has a code object, borrowed from it, which lives as long as `func` does.
        let code = unsafe { Borrowed::from_ptr(py, ffi::PyFunction_GetCode(func.as_ptr())) };
        let flags: u32 = code.getattr(intern!(py, "co_flags"))?.extract()?;
        return Ok(flags & ASYNC != 0);
    }
    if func.is_instance_of::<PyCFunction>() || func.is_instance_of::<PyType>() {
        return Ok(false);
    }
    if func.is_instance(METHOD.import(py, "types", "MethodType")?)? {
        return is_async(&func.getattr(intern!(py, "__func__"))?);
    }
    if func.is_instance(PARTIAL.import(py, "functools", "partial")?)? {
        return is_async(&func.getattr(intern!(py, "func"))?);
    }
    // Any other object that claims to be one, as mocks do, and instances of a class with an async `__call__`.
    let is_one = IS_COROUTINE_FUNCTION.import(py, "inspect", "iscoroutinefunction")?;
    if is_one.guarded_call1((func,))?.is_truthy()? {
        return Ok(true);
    }
    let called = func.get_type().getattr(intern!(py, "__call__"))?;
    Ok(is_python_function(&called) && is_async(&called)?)
}

fn invalid_state(py: Python<'_>, message: &'static str) -> PyErr {
    match INVALID_STATE_ERROR.import(py, "asyncio.exceptions", "InvalidStateError") {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(error) => error,
    }
}

impl Awaitable {
    pub fn new(
        event_loop: Py<PyAny>,
        mailbox: Arc<dyn Post>,
        abandon_on_cancel: bool,
        prospect: Prospect,
    ) -> Self {
        Awaitable {
            event_loop,
            mailbox,
            abandon_on_cancel,
            inner: Mutex::new(Inner {
                state: State::Waiting(prospect),
                place: None,
                is_cancelling: false,
                callbacks: Vec::new(),
                cancel_message: None,
                unseen: None,
            }),
            blocking: AtomicBool::new(false),
        }
    }

    fn is_done(&self) -> bool {
        lock(&self.inner).state.is_done()
    }

    /// The outcome is no longer wanted.
    fn is_given_up(&self) -> bool {
        let inner = lock(&self.inner);
        inner.is_cancelling || matches!(inner.state, State::Cancelled)
    }

    /// Takes the call out to begin, withdraw or refuse it; `None`: another thread was faster.
    fn take(&self, to: State) -> Option<(Prospect, Option<Box<dyn Place>>)> {
        let mut inner = lock(&self.inner);
        if !matches!(inner.state, State::Waiting(_)) {
            return None;
        }
        match std::mem::replace(&mut inner.state, to) {
            State::Waiting(prospect) => Some((prospect, inner.place.take())),
            _ => unreachable!("it was looked at"),
        }
    }

    /// Whether the call was withdrawn before a worker began it.
    pub fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.inner).state, State::Withdrawn | State::Cancelled)
    }

    /// Notes the call's place among the waiters for a permit.
    pub fn stand(&self, place: Box<dyn Place>) {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Waiting(_)) {
            inner.place = Some(place);
        }
    }

    /// The worker makes the call and posts its outcome.
    pub fn run<T>(
        py: Python<'_>,
        hooks: &Hooks,
        call: Py<Self>,
        turns: &mut Turns,
        wakeups: &mut Wakeups,
    ) -> Outcome<T> {
        let mailbox = Arc::clone(&call.get().mailbox);
        let outcome = Self::run_and_post(py, hooks, call, &*mailbox);
        mailbox.let_others_in(py, turns, wakeups);
        outcome
    }

    fn run_and_post<T>(
        py: Python<'_>,
        hooks: &Hooks,
        call: Py<Self>,
        mailbox: &dyn Post,
    ) -> Outcome<T> {
        let this = call.get();
        let Some((prospect, _)) = this.take(State::Begun) else {
            return Outcome::Cancelled;
        };
        let Prospect {
            call: made,
            context,
            admission,
            scope,
            pool,
            note_withdrawn: _,
        } = prospect;
        // This may be the last reference to the pool; dropping it closes the pool.
        drop(pool);
        if let Some(admission) = admission {
            mailbox.post(py, Letter::Admission(admission, true));
        }
        let (func, result) = context::run_in(context.bind(py), || made.call(py));
        let outcome = match result {
            Ok(result) => {
                drop(func);
                mailbox.post(py, Letter::Returned(call, result.unbind(), context));
                Outcome::Completed
            }
            Err(raised) => {
                if this.is_given_up() {
                    hooks.report(py, &func, raised, "task");
                    if !this.is_done() {
                        mailbox.post(py, Letter::Ended(call));
                    }
                } else {
                    let source = Source::Call(func.unbind());
                    mailbox.post(py, Letter::Raised(call, raised, Some(source)));
                }
                Outcome::Failed
            }
        };
        scope.leave();
        outcome
    }

    /// The pool refuses the call after `submit_detached` accepted it.
    pub fn refuse(py: Python<'_>, call: Py<Self>, reason: PyErr) {
        let this = call.get();
        let Some((prospect, _)) = this.take(State::Begun) else {
            return;
        };
        let mailbox = Arc::clone(&this.mailbox);
        // In this order, so that a caller who sees the admission refused finds the reason. No source: it is not
        // reported a second time, since the caller may not wait for the admission; and a loop that is gone is nobody's
        // failure.
        mailbox.post(py, Letter::Raised(call, reason, None));
        if let Some(admission) = prospect.admission {
            mailbox.post(py, Letter::Admission(admission, false));
        }
        prospect.scope.leave();
    }

    /// The pool refuses the call at once: the exception is raised where the call is awaited.
    pub fn refuse_now(&self, py: Python<'_>, reason: PyErr) {
        let Some((prospect, _)) = self.take(State::Begun) else {
            return;
        };
        let value = errors::with_traceback(py, &reason).into_any().unbind();
        {
            let mut inner = lock(&self.inner);
            inner.state = State::Raised(value);
            inner.unseen = Some(Source::Refusal(prospect.call.func.clone_ref(py)));
        }
    }

    /// On the loop's thread: takes the call back with all that it holds, and gives up its place among the waiters;
    /// `false`: it has begun, or is over.
    pub fn withdraw(&self, py: Python<'_>) -> bool {
        let Some((prospect, place)) = self.take(State::Withdrawn) else {
            return false;
        };
        // In a forked child the parent's waiters and counters must not be touched.
        if self.mailbox.is_ours() {
            if !place.is_some_and(|place| place.leave()) {
                (prospect.note_withdrawn)(prospect.pool.bind(py));
            }
            if let Some(admission) = prospect.admission {
                self.mailbox.post(py, Letter::Admission(admission, true));
            }
            prospect.scope.leave();
        }
        true
    }

    /// On the loop's thread: sets the outcome and calls the callbacks (`soon`: through handles of the loop). Returns
    /// only an error that ends the loop, such as Ctrl-C.
    pub fn settle(
        slf: &Bound<'_, Self>,
        outcome: Result<Py<PyAny>, (PyErr, Option<Source>)>,
        soon: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_done() || slf.get().is_given_up() {
            if let Err((raised, Some(source))) = outcome {
                slf.get().mailbox.reporter().report(py, raised, source);
            }
            return Self::end(slf, soon);
        }
        let (state, unseen) = match outcome {
            Ok(result) => (State::Returned(result), None),
            Err((mut raised, source)) => {
                if raised.is_instance_of::<PyStopIteration>(py) {
                    // It cannot be raised out of an `await`.
                    let wrapped = PyRuntimeError::new_err("a task raised StopIteration");
                    wrapped.set_cause(py, Some(raised));
                    raised = wrapped;
                }
                let value = errors::with_traceback(py, &raised).into_any().unbind();
                (State::Raised(value), source)
            }
        };
        Self::conclude(slf, state, unseen, soon)
    }

    /// On the loop's thread: the call has ended, and its outcome is no longer wanted.
    pub fn end(slf: &Bound<'_, Self>, soon: bool) -> PyResult<()> {
        if slf.get().is_done() {
            return Ok(());
        }
        Self::conclude(slf, State::Cancelled, None, soon)
    }

    /// Cancels the call without callbacks, since the loop is closed and runs no more.
    pub fn give_up(&self) {
        let former = {
            let mut inner = lock(&self.inner);
            if inner.state.is_done() {
                return;
            }
            let state = std::mem::replace(&mut inner.state, State::Cancelled);
            (state, std::mem::take(&mut inner.callbacks))
        };
        drop(former);
    }

    fn conclude(
        slf: &Bound<'_, Self>,
        state: State,
        unseen: Option<Source>,
        soon: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let callbacks = {
            let mut inner = lock(&slf.get().inner);
            debug_assert!(matches!(inner.state, State::Begun | State::Withdrawn));
            inner.state = state;
            inner.unseen = unseen;
            std::mem::take(&mut inner.callbacks)
        };
        callbacks
            .into_iter()
            .map(|(callback, context)| {
                let (callback, context) = (callback.bind(py), context.bind(py));
                if soon {
                    Self::call_soon(slf, callback, context)
                } else {
                    Self::call_back(slf, callback, context)
                }
            })
            .fold(Ok(()), PyResult::and)
    }

    /// Calls a callback in the way a loop's handle does.
    fn call_back(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Err(raised) = context::run_in(context, || callback.guarded_call1((slf,))) else {
            return Ok(());
        };
        if !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        let details = PyDict::new(py);
        details.set_item(
            "message",
            format!("Exception in callback {}", errors::shown(callback)),
        )?;
        details.set_item("exception", errors::with_traceback(py, &raised))?;
        details.set_item("future", slf)?;
        let event_loop = slf.get().event_loop.bind(py);
        errors::handling(py, &raised, || {
            event_loop.guarded_method1(intern!(py, "call_exception_handler"), (details,))
        })
        .map(drop)
    }

    /// Schedules a callback on the loop.
    fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "context"), context)?;
        slf.get()
            .event_loop
            .bind(py)
            .guarded_method(intern!(py, "call_soon"), (callback, slf), &keywords)
            .map(drop)
    }

    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message = lock(&self.inner)
            .cancel_message
            .as_ref()
            .map(|message| message.clone_ref(py));
        let class = match CANCELLED_ERROR.import(py, "asyncio.exceptions", "CancelledError") {
            Ok(class) => class.clone(),
            Err(error) => return error,
        };
        match message {
            Some(message) => PyErr::from_type(class, (message,)),
            None => PyErr::from_type(class, ()),
        }
    }
}

#[pymethods]
impl Awaitable {
    #[getter(_asyncio_future_blocking)]
    fn get_blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[getter]
    fn _state(&self) -> &'static str {
        match lock(&self.inner).state {
            State::Waiting(_) | State::Begun | State::Withdrawn => "PENDING",
            State::Cancelled => "CANCELLED",
            State::Returned(_) | State::Raised(_) => "FINISHED",
        }
    }

    /// The message that gather() passes on when a call was cancelled.
    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.inner)
            .cancel_message
            .as_ref()
            .map(|message| message.clone_ref(py))
    }

    /// For isinstance(call, asyncio.Future), which looks here if the type itself is no subclass.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyType>> {
        FUTURE
            .import(py, "asyncio", "Future")
            .map(|class| class.clone().unbind())
    }

    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.cancelled_error(py).into_value(py).into_any()
    }

    /// The loop that waits for the call.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Whether the call was cancelled, has returned or has raised.
    fn done(&self) -> bool {
        self.is_done()
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        matches!(lock(&self.inner).state, State::Cancelled)
    }

    /// Cancels the call: takes it back if it has not started. Returns False if it is done.
    ///
    /// A call that has started goes on, since a thread cannot be stopped. Like an asyncio task that takes its time to
    /// be cancelled, it is pending until it ends, and then cancelled; with abandon_on_cancel it is cancelled now.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        this.withdraw(py);
        let former = {
            let mut inner = lock(&this.inner);
            if inner.state.is_done() {
                return Ok(false);
            }
            inner.is_cancelling = true;
            std::mem::replace(&mut inner.cancel_message, msg)
        };
        drop(former);
        let goes_on = matches!(lock(&this.inner).state, State::Begun);
        if !goes_on || this.abandon_on_cancel {
            Self::end(slf, true)?;
        }
        Ok(true)
    }

    /// Returns what the call returned, or raises its exception; never blocks.
    ///
    /// Raises:
    ///     CancelledError: The call was cancelled.
    ///     InvalidStateError: The call is not done.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (error, unseen) = {
            let mut inner = lock(&self.inner);
            match &inner.state {
                State::Returned(result) => return Ok(result.clone_ref(py)),
                State::Raised(error) => {
                    let error = error.clone_ref(py);
                    (error, inner.unseen.take())
                }
                State::Waiting(_) | State::Begun | State::Withdrawn => {
                    drop(inner);
                    return Err(invalid_state(py, "Result is not set."));
                }
                State::Cancelled => {
                    drop(inner);
                    return Err(self.cancelled_error(py));
                }
            }
        };
        drop(unseen);
        Err(PyErr::from_value(error.into_bound(py)))
    }

    /// Returns the call's exception, or None; raises as result() does if the call is not done or was cancelled.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let (error, unseen) = {
            let mut inner = lock(&self.inner);
            match &inner.state {
                State::Returned(_) => return Ok(None),
                State::Raised(error) => {
                    let error = error.clone_ref(py);
                    (error, inner.unseen.take())
                }
                State::Waiting(_) | State::Begun | State::Withdrawn => {
                    drop(inner);
                    return Err(invalid_state(py, "Exception is not set."));
                }
                State::Cancelled => {
                    drop(inner);
                    return Err(self.cancelled_error(py));
                }
            }
        };
        drop(unseen);
        Ok(Some(error))
    }

    /// Has the loop call fn(call) when the call is done.
    #[pyo3(signature = (r#fn, /, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        r#fn: &Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = context.map_or_else(|| context::current(py), Ok)?;
        {
            let mut inner = lock(&slf.get().inner);
            if !inner.state.is_done() {
                let pair = (r#fn.clone().unbind(), context.unbind());
                inner.callbacks.push(pair);
                return Ok(());
            }
        }
        Self::call_soon(slf, r#fn, &context)
    }

    /// Removes a callback; returns how many times it had been added.
    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, py: Python<'_>, r#fn: &Bound<'_, PyAny>) -> PyResult<usize> {
        // Compared outside the lock, since that calls Python. What is found is then recognised by identity.
        let added: Vec<_> = lock(&self.inner)
            .callbacks
            .iter()
            .map(|(callback, _)| callback.clone_ref(py))
            .collect();
        let mut found = Vec::new();
        for callback in added {
            if r#fn.eq(callback.bind(py))? {
                found.push(callback);
            }
        }
        let mut inner = lock(&self.inner);
        let (removed, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut inner.callbacks)
            .into_iter()
            .partition(|(callback, _)| found.iter().any(|other| other.is(callback)));
        inner.callbacks = kept;
        drop(inner);
        Ok(removed.len())
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// A step of `await`: yields the call itself to the loop's task until the call is done.
    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if !slf.get().is_done() {
            slf.get().blocking.store(true, Ordering::Relaxed);
            return Ok(slf.clone().unbind().into_any());
        }
        let result = slf.get().result(py)?;
        // Wrapped here, since StopIteration would unpack a tuple.
        Err(PyStopIteration::new_err((result,)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let raised = match &lock(&self.inner).state {
            State::Waiting(_) | State::Withdrawn => return "<pyants.AsyncCall pending>".to_owned(),
            State::Begun => return "<pyants.AsyncCall running>".to_owned(),
            State::Cancelled => return "<pyants.AsyncCall cancelled>".to_owned(),
            State::Returned(_) => return "<pyants.AsyncCall finished>".to_owned(),
            State::Raised(error) => error.clone_ref(py),
        };
        let class = raised.bind(py).get_type();
        let name = class
            .name()
            .map_or_else(|_| String::new(), |name| name.to_string());
        format!("<pyants.AsyncCall raised {name}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile.
        let inner = lock(&self.inner);
        match &inner.state {
            State::Returned(value) | State::Raised(value) => visit.call(value)?,
            State::Waiting(prospect) => {
                prospect.call.traverse(&visit)?;
                visit.call(&prospect.pool)?;
                visit.call(&prospect.context)?;
                visit.call(&prospect.admission)?;
            }
            State::Begun | State::Withdrawn | State::Cancelled => {}
        }
        for (callback, context) in &inner.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        visit.call(&inner.cancel_message)?;
        visit.call(inner.unseen.as_ref().map(Source::func))
    }

    fn __clear__(&self) {
        let (state, callbacks, message, unseen) = {
            let mut inner = lock(&self.inner);
            let state = std::mem::replace(&mut inner.state, State::Cancelled);
            let callbacks = std::mem::take(&mut inner.callbacks);
            let message = inner.cancel_message.take();
            (state, callbacks, message, inner.unseen.take())
        };
        drop((state, callbacks, message, unseen));
    }
}

impl Awaitable {
    /// Reports an exception that nobody asked for.
    fn report_unseen(&self) {
        if lock(&self.inner).unseen.is_none() {
            return;
        }
        call::aside(|py| {
            let (source, raised) = {
                let mut inner = lock(&self.inner);
                match (inner.unseen.take(), &inner.state) {
                    (Some(source), State::Raised(error)) => (source, error.clone_ref(py)),
                    _ => return,
                }
            };
            let raised = PyErr::from_value(raised.into_bound(py));
            self.mailbox.reporter().report(py, raised, source);
        });
    }
}

impl Drop for Awaitable {
    fn drop(&mut self) {
        // An exception is never lost: from now on nobody can ask for this one.
        self.report_unseen();
        let state = std::mem::replace(&mut lock(&self.inner).state, State::Cancelled);
        if let State::Returned(value) | State::Raised(value) = state {
            drop_in_turn(value);
        }
    }
}

/// Drops an outcome, which may be another call with an outcome, and so on. To bound the recursion, values that are too
/// deep are dropped after the others, as the interpreter does with its own containers.
fn drop_in_turn(value: Py<PyAny>) {
    const DEEPEST: u32 = 50;
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static LATER: RefCell<Vec<Py<PyAny>>> = const { RefCell::new(Vec::new()) };
    }
    let depth = DEPTH.get();
    if depth >= DEEPEST {
        // A thread that is ending no longer has the list; then this drops the value at once.
        let _ = LATER.try_with(|later| later.borrow_mut().push(value));
        return;
    }
    DEPTH.set(depth + 1);
    drop(value);
    if depth == 0 {
        while let Ok(Some(value)) = LATER.try_with(|later| later.borrow_mut().pop()) {
            drop(value);
        }
    }
    DEPTH.set(depth);
}
