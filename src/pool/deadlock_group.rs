//! Who waits for whom: a pool, or the pools of a `MultiPool`, whose workers may submit to each other.
//!
//! A worker that waits for its own family and for ever, in line or for what another task comes to, is *bound*. When all
//! the workers of a family are bound, none of them will ever end its task and let anybody in: that is a deadlock, and the
//! last to come is told so.

use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::{Arc, Mutex, lock, thread_local};
use crossbeam_utils::CachePadded;
use std::cell::RefCell;
use std::sync::{OnceLock, Weak};

thread_local! {
    /// The family whose worker this thread is.
    #[allow(clippy::missing_const_for_thread_local)] // The model checkers' macros know no `const`.
    static HOME: RefCell<Option<Weak<DeadlockGroup>>> = RefCell::new(None);
}

/// What the pools of a family ask of each other.
pub trait Member: Send + Sync {
    /// A worker may be started.
    fn may_grow(&self) -> bool;
    /// Asks once more for a thread that the system refused, if a task waits for it.
    fn try_to_grow(self: Arc<Self>);
    /// Asks for a worker that the system refused, if there is something for it to do. Runs nothing of a user's.
    fn ask_for_thread(self: Arc<Self>);
    /// Lets in as many as it has room for of those who will do with any pool of the family; whether the system gave no
    /// thread for one of them.
    fn offer_permits(self: Arc<Self>) -> bool;
    /// Tells the youngest of the bound submitters in line that there is a deadlock; whether there was one.
    fn refuse_blocked(self: Arc<Self>) -> bool;
}

/// A wait of a worker that stands in no line.
pub trait Waiting: Send + Sync {
    /// Tells the worker that there is a deadlock; `false`: its wait is over anyhow.
    fn refuse(&self) -> bool;
}

/// See the module's description.
#[derive(Default)]
pub struct DeadlockGroup {
    /// The pool, or the pools of a `MultiPool`.
    members: OnceLock<Vec<Weak<dyn Member>>>,
    /// The system has refused a thread, and one that would ask again for it.
    unattended: AtomicBool,
    /// The workers there are, in all pools.
    workers: AtomicUsize,
    /// Those of them that are bound.
    blocked: AtomicUsize,
    /// How many of the pools are closed. Seldom written, and read by each submit to several pools.
    closed: CachePadded<AtomicUsize>,
    /// Those of the bound that do not stand in any line.
    result_waits: Mutex<Vec<Arc<dyn Waiting>>>,
    /// Held while one of the bound is told of a deadlock. Taken under a line's lock, never the other way round.
    verdict: Mutex<()>,
}

impl DeadlockGroup {
    /// What tells this family from every other while it lives; never 0.
    pub fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    /// This thread is a worker of the family from now on.
    pub fn move_in(self: &Arc<Self>) {
        // Weak, or a thread's last deeds would include dropping the family.
        Self::with_home(|home| *home = Some(Arc::downgrade(self)));
    }

    /// This thread is a worker of the family.
    pub fn is_home(self: &Arc<Self>) -> bool {
        Self::home_id() == self.id()
    }

    /// The id of the family whose worker this thread is; 0: of none.
    pub fn home_id() -> usize {
        Self::with_home(|home| home.as_ref().map_or(0, |home| home.as_ptr() as usize)).unwrap_or(0)
    }

    /// The family with this id, if this thread is a worker of it.
    pub fn home(id: usize) -> Option<Arc<Self>> {
        Self::with_home(|home| {
            home.as_ref()
                .filter(|home| home.as_ptr() as usize == id)?
                .upgrade()
        })?
    }

    /// `None`: this thread is in the destructors of its thread-locals, and no worker any more.
    fn with_home<R>(look: impl FnOnce(&mut Option<Weak<DeadlockGroup>>) -> R) -> Option<R> {
        HOME.try_with(|home| look(&mut home.borrow_mut())).ok()
    }

    /// A worker is about to wait outside of the lines, bound.
    pub fn add_result_wait(&self, result_wait: Arc<dyn Waiting>) {
        lock(&self.result_waits).push(result_wait);
        self.block();
    }

    /// A wait outside of the lines is over, and no longer bound.
    pub fn remove_result_wait(&self, result_wait: &dyn Waiting) {
        lock(&self.result_waits)
            .retain(|other| !std::ptr::addr_eq(&raw const **other, result_wait));
    }

    /// Tells the youngest of the bound that stand in no line that there is a deadlock; whether there was one.
    fn refuse_result_wait(&self) -> bool {
        let result_waits: Vec<_> = lock(&self.result_waits).iter().rev().cloned().collect();
        // Asked again each time: one that was just settled is bound no longer, and may help the others.
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

    /// A worker is about to be bound.
    pub fn block(&self) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker is bound no longer.
    pub fn unblock(&self) {
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }

    /// These pools are the family: who is bound in the line of one may be served by any.
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

    /// The pools, for as long as a lock is held under which none of them may be dropped.
    pub fn hold_members(&self) -> Vec<std::sync::Arc<dyn Member>> {
        self.members().collect()
    }

    /// Each pool lets in as many as it has room for of those who will do with any of them.
    pub fn offer_permits(&self) {
        // Where the system gives one pool no thread, somebody was out of the line meanwhile, and the others are asked once
        // more: so often that each may have been the one.
        for _ in 0..self.members.get().map_or(0, Vec::len) {
            let ask =
                |refused, member: std::sync::Arc<dyn Member>| member.offer_permits() | refused;
            if !self.members().fold(false, ask) {
                break;
            }
        }
    }

    /// There is a worker in one of the pools, or about to be.
    pub fn has_workers(&self) -> bool {
        // Signed: one may leave before it is counted.
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

    /// Whether nobody but those who wait will ask again for a thread that was refused.
    pub fn is_unattended(&self) -> bool {
        self.unattended.load(Ordering::Relaxed)
    }

    pub fn set_unattended(&self, unattended: bool) {
        self.unattended.store(unattended, Ordering::Relaxed);
    }

    /// All the workers are bound, and no pool may get another: none of their tasks will ever end.
    fn is_stuck(&self) -> bool {
        // Once more after no pool may grow: a worker started meanwhile is counted by then.
        self.are_all_blocked()
            && !self.members().any(|member| member.may_grow())
            && self.are_all_blocked()
    }

    fn are_all_blocked(&self) -> bool {
        let blocked = self.blocked.load(Ordering::SeqCst);
        blocked > 0 && blocked >= self.workers.load(Ordering::SeqCst)
    }

    /// Where the family is stuck, has `refuse` tell one of the bound, who is bound no longer; whether it did.
    pub fn refuse_if_stuck(&self, refuse: impl FnOnce() -> bool) -> bool {
        if !self.is_stuck() {
            return false; // Whoever is bound after this look looks as well.
        }
        // Kept until no lock of this function's is held: one of them may be the last reference to its pool.
        let _members = self.hold_members();
        // One at a time: of two that were bound at the same moment the second finds the first refused.
        let _verdict = lock(&self.verdict);
        self.is_stuck() && refuse()
    }

    /// A sleeper that was bound is told so if the family is stuck. It is not because of a thread that can be had now.
    pub fn refuse_if_stuck_waiting(&self, result_wait: &dyn Waiting) {
        if self.are_all_blocked() {
            self.members().for_each(|member| member.try_to_grow());
            self.refuse_if_stuck(|| result_wait.refuse());
        }
    }

    /// Where the family is stuck, one of the bound is told so. Not to be called under a lock.
    pub fn break_deadlock(&self) {
        if self.is_stuck() {
            let _ = self.members().any(|member| member.refuse_blocked())
                || self.refuse_if_stuck(|| self.refuse_result_wait());
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::error::Error;
    use super::super::result_wait::ResultWait;
    use super::super::sync::{AdaptiveSpin, WaitLimit};
    use super::*;
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
            // From outside, in this very moment.
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
