//! The bindings to Python, the model checks and the tests use this besides the core's public interface. Nothing here is
//! promised to stay as it is.

use super::deadlock::group::DeadlockGroup;
use super::error::{Error, SubmitError};
use super::host::Host;
use super::pool::Pool;
use super::shared::Core;
use super::submit::waiter::PermitOf;
use super::sync::{Arc, WaitLimit};

pub use super::deadlock::result_wait::ResultWait;
pub use super::submit::Offer;
pub use super::submit::detached::{Accounting, Detached};
pub use super::sync::watch::Watch;
pub use super::worker::threads::Exit;

pub mod faults {
    pub use crate::pool::faults::*;
}

pub mod sync {
    pub use crate::pool::sync::*;
}

/// The policy that tests play with figures.
pub mod pace {
    pub use crate::pool::worker::pace::*;
}

/// The parts that have models of their own.
#[cfg(any(loom, shuttle))]
pub mod parts {
    pub use crate::pool::worker::expiry::Expiry;
    pub use crate::pool::worker::idle_stack::{IdleStack, Links};
    pub use crate::pool::worker::seat::Call;
    pub use crate::pool::worker::seats::Seats;
}

/// The `deadlock_group_id` of the pool, or `MultiPool`, whose worker this thread is; 0: of none.
pub fn home_id() -> usize {
    DeadlockGroup::home_id()
}

/// To be called in a child that was just forked, before it makes a pool.
#[cfg(not(any(loom, shuttle)))]
pub fn forget_process() {
    super::process_wide::Process::forget();
}

#[doc(hidden)]
impl<H: Host> Pool<H> {
    /// As [`submit`](Self::submit), with the `wait_limit` given.
    pub fn submit_with(
        &self,
        task: H::Task,
        wait_limit: &mut WaitLimit<'_>,
    ) -> Result<(), SubmitError<H::Task>> {
        self.follow_up(self.core.offer(task), Some(wait_limit))
    }

    /// The first half of a submit, which neither blocks nor makes a system call.
    #[inline]
    pub fn offer(&self, task: H::Task) -> Offer<H::Task> {
        self.core.offer(task)
    }

    /// The second half of a submit. Without `wait_limit` it does not wait for a permit.
    #[inline]
    pub fn follow_up(
        &self,
        offer: Offer<H::Task>,
        wait_limit: Option<&mut WaitLimit<'_>>,
    ) -> Result<(), SubmitError<H::Task>> {
        match offer {
            Offer::Accepted { wake_due: false } => Ok(()),
            offer => self.bring_to_end(offer, wait_limit),
        }
    }

    #[cold]
    fn bring_to_end(
        &self,
        mut offer: Offer<H::Task>,
        mut wait_limit: Option<&mut WaitLimit<'_>>,
    ) -> Result<(), SubmitError<H::Task>> {
        while let Some(task) =
            self.core
                .follow_up(offer, wait_limit.as_deref_mut(), PermitOf::ThisPool)?
        {
            offer = self.core.offer(task);
        }
        Ok(())
    }

    /// A submit whose caller never waits: a task that finds no permit waits by itself (`Some`). If it is refused later,
    /// the host gets it.
    pub fn submit_detached(
        &self,
        offer: Offer<H::Task>,
        accounting: Accounting,
    ) -> Result<Option<Detached<H>>, SubmitError<H::Task>> {
        self.core
            .submit_detached(offer, accounting, PermitOf::ThisPool)
    }

    /// Takes back those tasks waiting for a worker that `wanted` selects, and counts them as cancelled.
    pub fn extract_if(&self, wanted: impl FnMut(&H::Task) -> bool) -> Vec<H::Task> {
        self.extract_at_most(usize::MAX, wanted)
    }

    /// As `extract_if`, but takes back only the oldest selected task.
    pub fn extract_one(&self, wanted: impl FnMut(&H::Task) -> bool) -> Option<H::Task> {
        self.extract_at_most(1, wanted).pop()
    }

    fn extract_at_most(&self, most: usize, wanted: impl FnMut(&H::Task) -> bool) -> Vec<H::Task> {
        let tasks = self.core.extract_if(most, wanted);
        if !tasks.is_empty() {
            self.core.count_cancelled(tasks.len() as u64);
        }
        tasks
    }

    /// The id that tells the pool, or its `MultiPool`, from every other: for a `ResultWait` for one of its tasks.
    pub fn deadlock_group_id(&self) -> usize {
        self.core.deadlock_group.id()
    }

    /// Starts workers until there is one for every task in flight, or as many as may be: those that the tasks would get
    /// one after another if none of them ended meanwhile.
    pub fn start_workers(&self) {
        self.core.start_workers();
    }

    /// As [`wait_idle`](Self::wait_idle), with the `wait_limit` given.
    pub fn watch_idle(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        self.core.refuse_waiting_for_itself(wait_limit)?;
        self.core
            .watch
            .wait_until(|| self.core.is_idle(), wait_limit)
    }

    /// Waits until the accepted tasks are done and the workers have left, which they do once the pool is closed.
    pub fn watch_gone(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        self.core.refuse_waiting_for_itself(wait_limit)?;
        self.core.wait_gone(wait_limit)
    }

    /// No thread of the pool is left, nor any trace of one.
    pub fn is_without_threads(&self) -> bool {
        self.core.threads.count() == 0
    }

    /// Tells every resting worker to leave, as if it were overdue.
    pub fn expire_all(&self) {
        self.core.expire_all();
    }

    /// A handle that outlives the pool, and tells how many of its workers are left.
    pub fn remains(&self) -> Remains<H> {
        Remains(Arc::downgrade(&self.core))
    }
}

/// A pool, perhaps dropped already, while one of its workers is alive.
pub struct Remains<H: Host>(std::sync::Weak<Core<H>>);

impl<H: Host> Remains<H> {
    /// Nothing is left.
    pub fn are_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// The number of workers.
    pub fn running(&self) -> u32 {
        self.0
            .upgrade()
            .map_or(0, |core| core.worker_count.running())
    }

    /// Runs `look` on the host, if anything is left.
    pub fn with_host<R>(&self, look: impl FnOnce(&H) -> R) -> Option<R> {
        self.0.upgrade().map(|core| look(&core.host))
    }

    /// Makes a worker do what the host has for it besides tasks (`Host::has_errand`); `false`: there is no worker and
    /// none can be started.
    pub fn summon(&self) -> bool {
        self.0.upgrade().is_some_and(|core| core.summon())
    }

    /// A handle to wait with. Dropping it releases the pool.
    pub fn reopen(&self) -> Option<Pool<H>> {
        self.0.upgrade().map(|core| Pool { core })
    }
}
