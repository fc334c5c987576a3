//! A call that an asyncio loop waits for: what the pool and its workers do with it. What the loop does with its outcome
//! is in settle.rs.

use crate::pool::Outcome;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::turns::Turns;
use crate::python::interpreter::wait::Wakeups;
use crate::python::interpreter::{contextvars, exc_info};
use crate::python::values::arguments::Call;
use crate::python::values::hooks::Hooks;
use crate::python::values::reporter::{Reporter, Source};
use crate::python::values::scope::Scope;
use pyo3::prelude::*;
use std::sync::atomic::AtomicBool;
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

pub(super) enum State {
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
    pub(super) fn is_done(&self) -> bool {
        matches!(
            self,
            State::Cancelled | State::Returned(_) | State::Raised(_)
        )
    }
}

/// A call's wait for a permit, among the other waiters.
pub trait PermitWait: Send + Sync {
    /// Ends the wait; `false`: it is over.
    fn give_up(&self) -> bool;
}

/// A message about a call, for the loop that waits for it, from a worker or from the thread that refuses the call.
pub enum Letter {
    /// `true`: the task has begun, so it was admitted. `false`: it was refused; the result's future has the reason.
    Admission(Py<PyAny>, bool),
    /// The call's result. The context goes with it so that the loop's thread, which created it, also drops it:
    /// free-threaded builds pay dearly when another thread drops an object.
    Returned(Py<AsyncCall>, Py<PyAny>, Py<PyAny>),
    Raised(Py<AsyncCall>, PyErr, Option<Source>),
    /// The call was cancelled and then raised; the worker has reported the exception.
    Ended(Py<AsyncCall>),
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

pub(super) struct Inner {
    pub(super) state: State,
    /// Set while the call waits for a permit.
    permit_wait: Option<Box<dyn PermitWait>>,
    /// It was cancelled after it had begun, and will count as cancelled when it has ended.
    pub(super) is_cancelling: bool,
    /// Each with the context in which to call it.
    pub(super) callbacks: Vec<(Py<PyAny>, Py<PyAny>)>,
    pub(super) cancel_message: Option<Py<PyAny>>,
    /// Set while nobody has asked for the exception.
    pub(super) unseen: Option<Source>,
}

/// A call made by AsyncPool.run(): a future to asyncio, and to isinstance(call, asyncio.Future).
///
/// Like those of asyncio's own futures, its methods may be called only on the thread of its loop.
#[pyclass(frozen, weakref, module = "pyants", name = "AsyncCall")]
pub struct AsyncCall {
    pub(super) event_loop: Py<PyAny>,
    pub(super) mailbox: Arc<dyn Post>,
    /// Cancelling does not wait for a call that has begun.
    pub(super) abandon_on_cancel: bool,
    pub(super) inner: Mutex<Inner>,
    /// The flag by which asyncio's tasks recognise that they were yielded a future.
    pub(super) blocking: AtomicBool,
}

impl AsyncCall {
    pub fn new(
        event_loop: Py<PyAny>,
        mailbox: Arc<dyn Post>,
        abandon_on_cancel: bool,
        prospect: Prospect,
    ) -> Self {
        AsyncCall {
            event_loop,
            mailbox,
            abandon_on_cancel,
            inner: Mutex::new(Inner {
                state: State::Waiting(prospect),
                permit_wait: None,
                is_cancelling: false,
                callbacks: Vec::new(),
                cancel_message: None,
                unseen: None,
            }),
            blocking: AtomicBool::new(false),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        lock(&self.inner).state.is_done()
    }

    /// The outcome is no longer wanted.
    pub(super) fn is_given_up(&self) -> bool {
        let inner = lock(&self.inner);
        inner.is_cancelling || matches!(inner.state, State::Cancelled)
    }

    /// Takes the call out to begin, withdraw or refuse it; `None`: another thread was faster.
    fn take(&self, to: State) -> Option<(Prospect, Option<Box<dyn PermitWait>>)> {
        let mut inner = lock(&self.inner);
        if !matches!(inner.state, State::Waiting(_)) {
            return None;
        }
        match std::mem::replace(&mut inner.state, to) {
            State::Waiting(prospect) => Some((prospect, inner.permit_wait.take())),
            _ => unreachable!("it was looked at"),
        }
    }

    /// Whether the call was withdrawn before a worker began it.
    pub fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.inner).state, State::Withdrawn | State::Cancelled)
    }

    /// Notes that the call waits for a permit.
    pub fn waits_for_permit(&self, permit_wait: Box<dyn PermitWait>) {
        let mut inner = lock(&self.inner);
        if matches!(inner.state, State::Waiting(_)) {
            inner.permit_wait = Some(permit_wait);
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
        // This may be the last reference to the pool; dropping it closes the pool.
        drop(prospect.pool);
        if let Some(admission) = prospect.admission {
            mailbox.post(py, Letter::Admission(admission, true));
        }
        let context = prospect.context;
        let (func, result) = contextvars::run_in(context.bind(py), || prospect.call.call(py));
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
        prospect.scope.leave();
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
        let value = exc_info::with_traceback(py, &reason).into_any().unbind();
        {
            let mut inner = lock(&self.inner);
            inner.state = State::Raised(value);
            inner.unseen = Some(Source::Refusal(prospect.call.func.clone_ref(py)));
        }
    }

    /// On the loop's thread: takes the call back with all that it holds, and ends its wait for a permit;
    /// `false`: it has begun, or is over.
    pub fn withdraw(&self, py: Python<'_>) -> bool {
        let Some((prospect, permit_wait)) = self.take(State::Withdrawn) else {
            return false;
        };
        // In a forked child the parent's waiters and counters must not be touched.
        if self.mailbox.is_ours() {
            if !permit_wait.is_some_and(|wait| wait.give_up()) {
                (prospect.note_withdrawn)(prospect.pool.bind(py));
            }
            if let Some(admission) = prospect.admission {
                self.mailbox.post(py, Letter::Admission(admission, true));
            }
            prospect.scope.leave();
        }
        true
    }
}
