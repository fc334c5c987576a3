//! How permits that are free get to those that wait for them.

use super::admission::Entry;
use super::wait::Standing;
use super::waiter::Answer;
use super::waiters::{Locked, Waiters};
use crate::pool::error::Error;
use crate::pool::faults::{Step, skipped};
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::Arc;
use crate::pool::sync::atomic::Ordering;
use crate::pool::worker::spawn::Spawn;

impl<H: Host> Core<H> {
    /// A task is done: its permit goes to the oldest waiter, of this pool or else of its deadlock group.
    #[inline]
    pub fn finish(self: &Arc<Self>) {
        if self.admission.is_counted() {
            self.go_out();
        }
    }

    /// As `finish`, but for errands too, and counted in any case.
    #[inline]
    pub fn go_out(self: &Arc<Self>) {
        if self.admission.leave() {
            if !skipped(Step::LookAgainAfterGivingBack) {
                self.let_in();
            }
        } else {
            self.offer_permits();
        }
    }

    /// Lets in as many waiters as there are permits for.
    pub fn let_in(self: &Arc<Self>) {
        let shared = self.shared_waiters.as_ref().map(|(waiters, _)| waiters);
        if let Some(shared) = shared.filter(|shared| shared.is_ready() && self.take_turns()) {
            // Every other time a shared waiter goes first: a list that is never empty does not keep it out for ever.
            let ahead = Served {
                ahead: true,
                ..Served::default()
            };
            self.serve_as(shared.lock(), ahead);
        }
        self.serve_own(self.waiters.lock());
    }

    /// Returns whether the shared waiters go first, as they do every other time. (Two concurrent calls may agree.)
    fn take_turns(&self) -> bool {
        let is_turn = self.is_shared_turn.load(Ordering::Relaxed);
        self.is_shared_turn.store(!is_turn, Ordering::Relaxed);
        is_turn
    }

    /// Lets in as many shared waiters as there are permits for.
    #[inline]
    pub fn offer_permits(self: &Arc<Self>) {
        if self.shared_waiters.is_some() {
            self.serve_shared();
        }
    }

    #[inline(never)]
    fn serve_shared(self: &Arc<Self>) {
        if let Some(shared) = self.ready_shared_waiters() {
            self.serve(shared.lock());
        }
    }

    /// As `offer_permits`, but returns whether the caller must ask the other pools.
    pub fn offer_permits_alone(self: &Arc<Self>) -> bool {
        self.offer_permits_as(Served::default())
    }

    /// As `offer_permits`, but only to tasks that find a worker: none is started.
    pub fn offer_permits_of_workers(self: &Arc<Self>) {
        self.offer_permits_as(Served {
            refused: true,
            ..Served::default()
        });
    }

    fn offer_permits_as(self: &Arc<Self>, served: Served) -> bool {
        self.ready_shared_waiters()
            .is_some_and(|shared| self.serve_alone(shared.lock(), served))
    }

    /// The shared waiters, if one is to be let in and a permit is free.
    fn ready_shared_waiters(&self) -> Option<&Waiters<H::Task>> {
        let (shared, _) = self.shared_waiters.as_ref()?;
        (shared.is_ready() && self.admission.has_permit()).then_some(&**shared)
    }

    /// As `serve`, for the pool's own waiters; then the shared ones, passed over while the pool's flag was set.
    pub fn serve_own(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        self.serve(waiters);
        self.offer_permits();
    }

    /// Lets in as many waiters as there are permits for, and unlocks them.
    fn serve(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        self.serve_as(waiters, Served::default());
    }

    fn serve_as(self: &Arc<Self>, waiters: Locked<'_, H::Task>, served: Served) {
        let is_own = self.is_own(&waiters);
        if self.serve_alone(waiters, served) {
            if !is_own {
                // Another pool may have found no waiters meanwhile.
                self.deadlock_group.offer_permits();
            }
            // A submitter that waits again is blocked again.
            self.deadlock_group.break_deadlock();
        }
    }

    /// As `serve`; returns whether the system refused a thread for a waiter, which waits again: the caller must ask the
    /// other pools.
    fn serve_alone<'a>(
        self: &'a Arc<Self>,
        mut waiters: Locked<'a, H::Task>,
        mut served: Served,
    ) -> bool {
        let which = waiters.waiters();
        let is_own = self.is_own(&waiters);
        let mut sent_back = None;
        // A waiter whose task needs a worker of its own leaves the list first, since that is started without a lock.
        while let Some((waiter, task)) = self.let_in_first(&mut waiters, &mut served) {
            self.let_go(waiters);
            let queued = match self.spawn_with(task) {
                Spawn::Started => None,
                // The capacity is used up, and the workers alive will check the queue before they leave or rest.
                Spawn::NotNeeded(task) => Some(task),
                Spawn::Failed(task, _) if self.worker_count.present() > 0 && !self.hand_off => {
                    Some(task)
                }
                Spawn::Failed(task, _) => {
                    waiters = which.lock();
                    sent_back = Some(Arc::clone(&waiter));
                    self.put_back(&mut waiters, waiter, task, &mut served);
                    continue;
                }
            };
            if let Some(task) = queued {
                self.queue.push(task);
                served.queued = true;
            }
            waiters = which.lock();
            waiters.tell(waiter, Answer::Accepted);
        }
        self.let_go(waiters);
        if let Some(waiter) = sent_back.filter(|_| self.deadlock_group.is_unattended()) {
            // It may have gone to sleep before that was known.
            waiter.nudge();
        }
        if served.queued && self.is_wake_due() {
            self.wake();
        }
        if served.undone && !is_own {
            // A waiter of this pool alone may have found no permit meanwhile.
            self.serve(self.waiters.lock());
        }
        served.refused
    }

    /// Lets in waiters as long as they find a worker to count on; returns the next, which needs its own worker.
    fn let_in_first(
        &self,
        waiters: &mut Locked<'_, H::Task>,
        served: &mut Served,
    ) -> Option<(Standing<H>, H::Task)> {
        while let Some(index) = waiters.first() {
            let is_own = self.is_own(waiters);
            let entry = if is_own || std::mem::take(&mut served.ahead) {
                self.admission.enter_as_waiter()
            } else {
                // Behind those who wait for this pool alone.
                self.admission.enter()
            };
            let Entry::In(in_flight) = entry else {
                break;
            };
            let lacks_worker = self.lacks_worker(in_flight);
            if lacks_worker && (served.refused || !self.may_start()) {
                // Vain while the system gives no thread. The next worker that is done tries again: one of any pool, for
                // the shared waiters. If there is none, all waiters try by themselves, and get the system's error.
                self.undo(served);
                let has_workers = if is_own {
                    self.worker_count.present() > 0
                } else {
                    self.deadlock_group.has_workers()
                };
                if !has_workers {
                    waiters.retry_all();
                }
                break;
            }
            let (waiter, task) = waiters.take(index).expect("there is one at its place");
            if lacks_worker {
                return Some((waiter, task));
            }
            self.queue.push(task);
            served.queued = true;
            waiters.tell(waiter, Answer::Accepted);
        }
        None
    }

    fn undo(&self, served: &mut Served) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        served.undone |= self.admission.leave();
    }

    /// A waiter has not been let in after all.
    fn put_back(
        &self,
        waiters: &mut Locked<'_, H::Task>,
        waiter: Standing<H>,
        task: H::Task,
        served: &mut Served,
    ) {
        served.refused = true;
        self.undo(served);
        if let Err(task) = waiters.join_again(task, &waiter, true) {
            waiters.tell(waiter, Answer::Refused(Error::Interrupted, task));
        }
        let is_closed = if self.is_own(waiters) {
            self.admission.set_waiting(true)
        } else {
            self.deadlock_group.is_closed()
        };
        if is_closed {
            waiters.refuse_all(|| Error::Closed);
        }
    }
}

/// The result of letting waiters in.
#[derive(Default)]
struct Served {
    /// Tasks were put into the run queue.
    queued: bool,
    /// The system refused a thread for one of them, or none is to be asked for.
    refused: bool,
    /// One left again, undone, while others waited for this pool alone.
    undone: bool,
    /// The first shared waiter enters before those of this pool alone.
    ahead: bool,
}
