//! Deadlock groups: a pool, or the pools of a `MultiPool`, whose workers may submit to each other.
//!
//! A worker that waits for its own group without a time limit, for a permit or for the result of another task, is
//! *blocked*. When all the workers of a group are blocked, none of them will ever end its task and free a permit. That
//! is a deadlock, and the last worker to block gets the error.

use crate::pool::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::pool::sync::{Arc, Mutex, lock, thread_local};
use crossbeam_utils::CachePadded;
use std::cell::RefCell;
use std::sync::{OnceLock, Weak};

thread_local! {
    /// The group whose worker this thread is.
    #[allow(clippy::missing_const_for_thread_local)] // The model checkers' macros know no `const`.
    static HOME: RefCell<Option<Weak<DeadlockGroup>>> = RefCell::new(None);
}

/// The requests that the pools of a group make of each other.
pub trait Member: Send + Sync {
    /// A worker may be started.
    fn may_grow(&self) -> bool;
    /// Asks once more for a thread that the system refused, if a task waits for it.
    fn try_to_grow(self: Arc<Self>);
    /// Asks for a worker that the system refused, if there is work for it. Runs no user code.
    fn ask_for_thread(self: Arc<Self>);
    /// Lets in as many of the group's shared waiters as it has permits for; returns whether the system refused one a
    /// thread.
    fn offer_permits(self: Arc<Self>) -> bool;
    /// The same, but starts no worker.
    fn offer_permits_of_workers(self: Arc<Self>);
    /// Refuses the youngest of the blocked submitters with `Deadlock`; returns whether there was one.
    fn refuse_blocked(self: Arc<Self>) -> bool;
}

/// A worker's wait for something other than a permit.
pub trait Waiting: Send + Sync {
    /// Tells the worker that there is a deadlock; `false`: its wait is over anyway.
    fn refuse(&self) -> bool;
}

/// See the module's description.
#[derive(Default)]
pub struct DeadlockGroup {
    /// The pool, or the pools of a `MultiPool`.
    members: OnceLock<Vec<Weak<dyn Member>>>,
    /// The system has refused a thread, and also the expiry thread, which would ask for it again.
    unattended: AtomicBool,
    /// The workers of all pools.
    workers: AtomicUsize,
    /// How many of them are blocked.
    blocked: AtomicUsize,
    /// How many of the pools are closed. Seldom written, and read by each submit to several pools.
    closed: CachePadded<AtomicUsize>,
    /// The blocked workers that wait for a result rather than for a permit.
    result_waits: Mutex<Vec<Arc<dyn Waiting>>>,
    /// Held while a blocked worker is told of a deadlock. Taken under a waiters' lock, never the other way round.
    verdict: Mutex<()>,
}

impl DeadlockGroup {
    /// Tells this group from every other while it lives; never 0.
    pub fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    /// Makes this thread a worker of the group.
    pub fn move_in(self: &Arc<Self>) {
        // Weak, or a thread that ends might drop the group.
        Self::with_home(|home| *home = Some(Arc::downgrade(self)));
    }

    /// This thread is a worker of the group.
    pub fn is_home(self: &Arc<Self>) -> bool {
        Self::home_id() == self.id()
    }

    /// The id of the group whose worker this thread is; 0: of none.
    pub fn home_id() -> usize {
        Self::with_home(|home| home.as_ref().map_or(0, |home| home.as_ptr() as usize)).unwrap_or(0)
    }

    /// The group with this id, if this thread is a worker of it.
    pub fn home(id: usize) -> Option<Arc<Self>> {
        Self::with_home(|home| {
            home.as_ref()
                .filter(|home| home.as_ptr() as usize == id)?
                .upgrade()
        })?
    }

    /// `None`: this thread runs the destructors of its thread-locals, and is no worker any more.
    fn with_home<R>(look: impl FnOnce(&mut Option<Weak<DeadlockGroup>>) -> R) -> Option<R> {
        HOME.try_with(|home| look(&mut home.borrow_mut())).ok()
    }

    /// A worker is about to block in a result wait.
    pub fn add_result_wait(&self, result_wait: Arc<dyn Waiting>) {
        lock(&self.result_waits).push(result_wait);
        self.block();
    }

    /// A result wait is over, and no longer blocked.
    pub fn remove_result_wait(&self, result_wait: &dyn Waiting) {
        lock(&self.result_waits)
            .retain(|other| !std::ptr::addr_eq(&raw const **other, result_wait));
    }

    /// Tells the youngest blocked result wait that there is a deadlock; returns whether there was one.
    fn refuse_result_wait(&self) -> bool {
        let result_waits: Vec<_> = lock(&self.result_waits).iter().rev().cloned().collect();
        // Checked again each time: the worker of a wait that was just settled may help the others.
        result_waits
            .iter()
            .any(|result_wait| self.is_stuck() && result_wait.refuse())
    }

    /// A worker more, or one less.
    pub fn count_worker(&self, present: bool) {
        if present {
            self.workers.fetch_add(1, Ordering::SeqCst);
        } else {
            self.workers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A worker is about to block.
    pub fn block(&self) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker is no longer blocked.
    pub fn unblock(&self) {
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }

    /// Makes these pools the group: a worker that waits for a permit of one may be served by any.
    pub fn found(&self, members: Vec<Weak<dyn Member>>) {
        let _ = self.members.set(members);
    }

    fn members(&self) -> impl Iterator<Item = std::sync::Arc<dyn Member>> {
        self.members
            .get()
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
    }

    /// The pools, to be kept while a lock is held under which none of them may be dropped.
    pub fn hold_members(&self) -> Vec<std::sync::Arc<dyn Member>> {
        self.members().collect()
    }

    /// Each pool lets in as many of the shared waiters as it has permits for.
    pub fn offer_permits(&self) {
        // While one pool asked in vain for a thread, its waiter was off the list and the other pools did not see it. So
        // they are asked once more: as often as each of them may have been the one.
        for _ in 0..self.members.get().map_or(0, Vec::len) {
            let ask =
                |refused, member: std::sync::Arc<dyn Member>| member.offer_permits() | refused;
            if !self.members().fold(false, ask) {
                return;
            }
        }
        // A permit that was given back during the last round went to nobody either. This round takes no waiter off the
        // list in vain.
        self.members()
            .for_each(|member| member.offer_permits_of_workers());
        // And a worker among the waiters did not count as blocked meanwhile.
        self.break_deadlock();
    }

    /// One of the pools has a worker, or is about to have one.
    pub fn has_workers(&self) -> bool {
        // Signed: a worker may leave before it is counted.
        self.workers.load(Ordering::SeqCst) as isize > 0
    }

    /// A pool is closed, or opened again.
    pub fn count_closed(&self, closed: bool) {
        if closed {
            self.closed.fetch_add(1, Ordering::SeqCst);
        } else {
            self.closed.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A pool is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) > 0
    }

    /// Nobody but the waiters will ask again for a thread that was refused.
    pub fn is_unattended(&self) -> bool {
        self.unattended.load(Ordering::Relaxed)
    }

    pub fn set_unattended(&self, unattended: bool) {
        self.unattended.store(unattended, Ordering::Relaxed);
    }

    /// All the workers are blocked, and no pool may get another: none of their tasks will ever end.
    fn is_stuck(&self) -> bool {
        // Read again after no pool may grow: a worker started meanwhile is counted by then.
        self.are_all_blocked()
            && !self.members().any(|member| member.may_grow())
            && self.are_all_blocked()
    }

    fn are_all_blocked(&self) -> bool {
        let blocked = self.blocked.load(Ordering::SeqCst);
        blocked > 0 && blocked >= self.workers.load(Ordering::SeqCst)
    }

    /// If the group is stuck, `refuse` tells one of the blocked workers, which then unblocks; returns whether it did.
    pub fn refuse_if_stuck(&self, refuse: impl FnOnce() -> bool) -> bool {
        if !self.is_stuck() {
            return false; // A worker that blocks after this check checks as well.
        }
        // Kept until this function holds no lock: one of them may be the last reference to its pool.
        let _members = self.hold_members();
        // One at a time: of two workers that blocked at the same moment, the second finds the first refused.
        let _verdict = lock(&self.verdict);
        self.is_stuck() && refuse()
    }

    /// Refuses a result wait that is blocked, if the group is stuck and no thread can be had now either.
    pub fn refuse_if_stuck_waiting(&self, result_wait: &dyn Waiting) {
        if self.are_all_blocked() {
            self.members().for_each(|member| member.try_to_grow());
            self.refuse_if_stuck(|| result_wait.refuse());
        }
    }

    /// If the group is stuck, tells one of the blocked workers. Must not be called under a lock.
    pub fn break_deadlock(&self) {
        if self.is_stuck() {
            let _ = self.members().any(|member| member.refuse_blocked())
                || self.refuse_if_stuck(|| self.refuse_result_wait());
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::pool::deadlock::result_wait::ResultWait;
    use crate::pool::error::Error;
    use crate::pool::sync::{AdaptiveSpin, WaitLimit};
    use std::time::Duration;

    #[test]
    fn one_whose_wait_is_just_over_does_not_have_the_next_refused() {
        let deadlock_group = Arc::<DeadlockGroup>::default();
        deadlock_group.move_in();
        let [older, younger] = [0, 1].map(|_| {
            deadlock_group.count_worker(true);
            let result_wait = ResultWait::new(deadlock_group.id(), true);
            result_wait.block();
            result_wait
        });
        assert!(!deadlock_group.refuse_if_stuck(|| {
            // From outside, at this very moment.
            assert!(!younger.settle());
            deadlock_group.refuse_result_wait()
        }));
        let mut no_time = WaitLimit::new(Some(Duration::ZERO));
        let waited = older.wait(&mut no_time, &AdaptiveSpin::new(Duration::ZERO));
        assert!(matches!(waited, Err(Error::Timeout)), "{waited:?}");
        for result_wait in [older, younger] {
            result_wait.leave();
        }
        assert!(!deadlock_group.are_all_blocked());
    }
}
