//! Tasks that wait for a permit by themselves: their submitters have gone on.

use super::Offer;
use super::wait::{Joining, Standing};
use super::waiter::{Answer, PermitOf, Waiter, WaiterKind};
use super::waiters::Answers;
use crate::pool::error::{Error, SubmitError};
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{Arc, contain};
use std::sync::Weak;

/// A handle to take back a task that waits by itself. It keeps neither task nor pool alive.
pub struct Detached<H: Host> {
    core: Weak<Core<H>>,
    waiter: Weak<Waiter<H::Task>>,
}

impl<H: Host> Detached<H> {
    /// Takes the task back; `None`: it no longer waits, or is just being tried again, and then the host gets it, as
    /// refused, unless it is let in.
    pub fn withdraw(&self) -> Option<H::Task> {
        let core = self.core.upgrade()?;
        let waiter = self.waiter.upgrade()?;
        let task = core
            .waiters_of(waiter.permit_of())
            .lock()
            .withdraw(&waiter)?;
        // There may be no waiters now, and the pool may be at rest.
        core.let_in();
        core.watch.notify();
        Some(task)
    }
}

/// How a detached task, which waits without its submitter, is accounted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// It is counted as rejected if it is refused.
    Counted,
    /// Nobody would miss it: it counts neither against `max_blocking_tasks` nor, if refused, as rejected.
    Spare,
}

impl<H: Host> Core<H> {
    /// Settles an offer without waiting: a task that finds no permit waits by itself (`Some`). If it is refused later,
    /// the host gets it.
    pub fn submit_detached(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        accounting: Accounting,
        permit_of: PermitOf,
    ) -> Result<Option<Detached<H>>, SubmitError<H::Task>> {
        let waiter_kind = WaiterKind {
            absent: true,
            spare: accounting == Accounting::Spare,
            ..self.waiter_kind(permit_of)
        };
        let waiter = self.submit_detached_as(offer, Joining::As(waiter_kind))?;
        Ok(waiter.map(|waiter| Detached {
            core: Arc::downgrade(self),
            waiter: Arc::downgrade(&waiter),
        }))
    }

    fn submit_detached_as(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        joining: Joining<H::Task>,
    ) -> Result<Option<Standing<H>>, SubmitError<H::Task>> {
        let is_spare = joining.is_spare();
        let result = match self.settle(offer, None, joining.permit_of()) {
            Err(SubmitError {
                error: Error::Overload { .. },
                task,
            }) if !self.options.nonblocking => self.join_waiters(task, joining).map(Some),
            settled => settled.map(|_| None),
        };
        let is_overload =
            |refusal: &SubmitError<_>| matches!(refusal.error, Error::Overload { .. });
        if !is_spare && result.as_ref().is_err_and(is_overload) {
            self.tallies.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Delivers the answers to waiters that have left the list. The caller holds no lock.
    pub fn deliver(self: &Arc<Self>, answers: Answers<H::Task>) {
        for (waiter, answer) in answers {
            if !waiter.is_absent() {
                waiter.answer(answer);
                continue;
            }
            let refused = match answer {
                Answer::Accepted => continue,
                Answer::Refused(Error::Closed, task) => self.closed(task),
                Answer::Refused(error, task) => SubmitError::new(error, task),
                Answer::Retry(task) => {
                    match self.submit_detached_as(self.offer(task), Joining::Again(waiter)) {
                        Ok(_) => continue,
                        Err(refused) => refused,
                    }
                }
            };
            contain(|| self.host.refused(refused.task, refused.error));
        }
    }
}
