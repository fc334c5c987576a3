//! How a task comes to wait for a permit, and how its submitter waits with it.

use super::waiter::{Answer, PermitOf, Waiter, WaiterKind};
use super::waiters::{Answers, Locked, Waiters};
use crate::pool::deadlock::group::Member;
use crate::pool::error::{Error, Limit, SubmitError};
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::{Arc, WaitLimit, contain};
use std::time::Duration;

/// A waiting submitter, or a task that waits by itself.
pub type Standing<H> = Arc<Waiter<<H as Host>::Task>>;

/// How a task comes to wait.
pub enum Joining<T> {
    As(WaiterKind),
    /// As this waiter, which waited before.
    Again(Arc<Waiter<T>>),
}

impl<T> Joining<T> {
    pub fn is_spare(&self) -> bool {
        match self {
            Joining::As(waiter_kind) => waiter_kind.spare,
            Joining::Again(waiter) => waiter.is_spare(),
        }
    }

    pub fn permit_of(&self) -> PermitOf {
        match self {
            Joining::As(waiter_kind) => waiter_kind.permit_of,
            Joining::Again(waiter) => waiter.permit_of(),
        }
    }
}

impl<H: Host> Core<H> {
    /// Waits until the task is accepted (`None`), or must be offered again.
    pub fn wait_for_permit(
        self: &Arc<Self>,
        task: H::Task,
        wait_limit: &mut WaitLimit<'_>,
        permit_of: PermitOf,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let waiter_kind = WaiterKind {
            blocked: wait_limit.is_endless() && self.deadlock_group.is_home(),
            ..self.waiter_kind(permit_of)
        };
        let waiter = self.join_waiters(task, Joining::As(waiter_kind))?;
        let waiters = self.waiters_of(permit_of);
        let is_first = waiters.len() <= 1;
        let hold = |held| self.hold(waiters, &waiter, held);
        let look_up = || self.ask_while_waiting(permit_of);
        match waiters.wait(&waiter, wait_limit, is_first, hold, look_up) {
            Answer::Accepted => {
                contain(|| self.host.spin_before_resuming(|| self.changes()));
                Ok(None)
            }
            Answer::Retry(task) => Ok(Some(task)),
            Answer::Refused(Error::Closed, task) => Err(self.closed(task)),
            Answer::Refused(error, task) => {
                // If it gave up, the waiting flag may have to be cleared, or others let in.
                self.let_in();
                self.watch.notify();
                Err(SubmitError::new(error, task))
            }
        }
    }

    /// If the system refused a thread, and the expiry thread too, a waiting submitter asks again, since nobody else
    /// might. Returns after how long it does so once more.
    fn ask_while_waiting(self: &Arc<Self>, permit_of: PermitOf) -> Option<Duration> {
        if !self.deadlock_group.is_unattended()
            || permit_of == PermitOf::ThisPool && !self.worker_count.is_below_capacity()
        {
            return None;
        }
        match permit_of {
            _ if !self.may_start() => {}
            PermitOf::AnyPool => self.deadlock_group.offer_permits(),
            PermitOf::ThisPool => {
                self.wake_if_due();
                self.let_in();
            }
        }
        Some(Duration::from_nanos(self.shortage.pause()))
    }

    /// Begins or ends passing over a waiting submitter; `false`: it does not wait.
    fn hold(
        self: &Arc<Self>,
        waiters: &Waiters<H::Task>,
        waiter: &Standing<H>,
        held: bool,
    ) -> bool {
        let mut waiters = waiters.lock();
        if !waiters.hold(waiter, held) {
            return false;
        }
        if held {
            // If nobody else waits, newcomers may overtake it.
            self.let_go(waiters);
        } else if self.is_own(&waiters) {
            // First the flag, then the check for a permit, which may have become free meanwhile.
            self.admission.set_waiting(true);
            self.serve_own(waiters);
        } else {
            self.let_go(waiters);
            self.deadlock_group.offer_permits();
        }
        self.watch.notify();
        true
    }

    pub fn waiter_kind(&self, permit_of: PermitOf) -> WaiterKind {
        WaiterKind {
            permit_of,
            home: self.shared_waiters.as_ref().map_or(0, |(_, home)| *home),
            ..WaiterKind::default()
        }
    }

    pub fn waiters_of(&self, permit_of: PermitOf) -> &Waiters<H::Task> {
        match &self.shared_waiters {
            Some((waiters, _)) if permit_of == PermitOf::AnyPool => waiters,
            _ => &self.waiters,
        }
    }

    /// These are the waiters of this pool alone.
    pub fn is_own(&self, waiters: &Locked<'_, H::Task>) -> bool {
        std::ptr::eq(waiters.waiters(), &self.waiters)
    }

    /// Begins to wait, and lets in the first waiters if permits are free.
    pub fn join_waiters(
        self: &Arc<Self>,
        task: H::Task,
        joining: Joining<H::Task>,
    ) -> Result<Standing<H>, SubmitError<H::Task>> {
        let blocked = matches!(joining, Joining::As(waiter_kind) if waiter_kind.blocked);
        // Before anybody waits for a thread that the system refused, it is asked for again.
        if self.shortage.is_on() {
            if blocked {
                self.shortage.end_pause();
            }
            self.wake_if_due();
        }
        let permit_of = joining.permit_of();
        let mut waiters = self.waiters_of(permit_of).lock();
        let most = (self.options.max_blocking_tasks).filter(|_| !joining.is_spare());
        if let Some(most) = most {
            if waiters.submitters() >= most.saturating_mul(waiters.waiters().pools()) {
                return Err(self.overload_by(Limit::Waiting(most), task));
            }
        }
        let waiter = match joining {
            Joining::As(waiter_kind) => waiters.join(task, waiter_kind),
            Joining::Again(waiter) => match waiters.join_again(task, &waiter, false) {
                Ok(()) => waiter,
                Err(task) => return Err(SubmitError::new(Error::Interrupted, task)),
            },
        };
        if permit_of == PermitOf::AnyPool {
            if self.deadlock_group.is_closed() {
                waiters.refuse_all(|| Error::Closed);
            }
            // Unlocking publishes that there are waiters; then the check for a permit in each pool: a worker that gives
            // one back after that check sees the waiters.
            self.let_go(waiters);
            self.deadlock_group.offer_permits();
        } else {
            // First the flag, then the check for a permit: a worker that gives one back after that check sees the flag.
            if self.admission.set_waiting(true) {
                waiters.refuse_all(|| Error::Closed);
            }
            self.serve_own(waiters);
        }
        if blocked {
            Arc::clone(self).refuse_blocked();
        }
        // There may be no waiters now, and their tasks may be done already.
        self.watch.notify();
        Ok(waiter)
    }

    /// Unlocks the waiters after changes, and delivers their answers. Clears the flag that submitters wait if none is
    /// to be let in.
    pub fn let_go(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        let answers = self.unlock(waiters);
        self.deliver(answers);
    }

    /// As `let_go`, for callers that hold another lock too: returns the answers, to be delivered when they hold none.
    #[must_use]
    pub fn unlock(&self, waiters: Locked<'_, H::Task>) -> Answers<H::Task> {
        if self.is_own(&waiters) && !waiters.is_ready() {
            self.admission.set_waiting(false);
        }
        waiters.unlock()
    }
}
