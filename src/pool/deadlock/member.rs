//! A pool as a member of its deadlock group: it grows, lets in shared waiters, and refuses blocked ones.

use super::group::Member;
use crate::pool::error::Error;
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::submit::waiters::Waiters;
use crate::pool::sync::{Arc, full_fence, lock};

impl<H: Host> Member for Core<H> {
    fn may_grow(&self) -> bool {
        // Under the spawn lock no worker is in the worker count but not yet in the deadlock group, or not yet there.
        let _spawning = lock(&self.spawning);
        self.worker_count.is_below_capacity() && !self.shortage.is_on()
    }

    fn try_to_grow(self: Arc<Self>) {
        if self.shortage.is_on() && !self.queue.is_empty() {
            self.shortage.end_pause();
            self.wake_if_due();
        }
    }

    fn ask_for_thread(self: Arc<Self>) {
        // Under the waiters' locks: a submitter about to wait has seen the pause, and is seen here. If there is none,
        // and the pause has grown meanwhile, it is as if there were one.
        let is_ready = |waiters: &Waiters<H::Task>| waiters.lock().is_ready();
        let is_waited_for = || {
            is_ready(&self.waiters)
                || (self.shared_waiters.as_ref()).is_some_and(|(waiters, _)| is_ready(waiters))
        };
        full_fence();
        if (!self.may_start() || !self.queue.is_empty() || is_waited_for())
            && self.spawn_unchecked().is_started()
            && is_waited_for()
        {
            // It lets them in, unless it finds other work first.
            self.ask_again();
        }
    }

    fn offer_permits(self: Arc<Self>) -> bool {
        self.offer_permits_alone()
    }

    fn offer_permits_of_workers(self: Arc<Self>) {
        Core::offer_permits_of_workers(&self);
    }

    fn refuse_blocked(self: Arc<Self>) -> bool {
        // Kept until no lock is held: one of them may be the last reference to its pool.
        let _members = self.deadlock_group.hold_members();
        let shared = self.shared_waiters.as_ref().map(|(waiters, _)| &**waiters);
        [Some(&self.waiters), shared]
            .into_iter()
            .flatten()
            .any(|waiters| {
                let mut waiters = waiters.lock();
                // Checked again under the lock: a waiter that was let in meanwhile is no longer blocked.
                let refused = self
                    .deadlock_group
                    .refuse_if_stuck(|| waiters.refuse_youngest_blocked(Error::Deadlock));
                self.let_go(waiters);
                refused
            })
    }
}
