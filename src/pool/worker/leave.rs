//! How a worker leaves: one too many, idle for too long, in a closed pool, or because it could not be set up.

use super::Shift;
use crate::pool::faults::{Step, skipped};
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{Arc, WaitLimit, full_fence, lock};
use std::time::Duration;

/// The pause before the next worker is started if one could not be set up: after the first failure, and how often it
/// is doubled.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 9;

impl<H: Host> Shift<'_, H> {
    /// Counts itself out if there are too many workers; `false`: it stays.
    pub fn retire(&mut self) -> bool {
        if !self.core.worker_count.retire() {
            return false;
        }
        self.core.vacate(self.number);
        self.settle_departure()
    }

    /// Counts itself out; `false`: it is needed and stays.
    pub fn leave(&mut self) -> bool {
        // The seat first: a thread that sees that the worker is gone finds its seat, and its name, free.
        self.core.vacate(self.number);
        self.core.worker_count.depart();
        self.settle_departure()
    }

    /// As `leave`, for a worker that has left its seat on the idle stack.
    pub fn leave_expired(&mut self) -> bool {
        // Counted first: a thread that sees that the worker is gone finds that it has expired.
        let tallies = &self.core.tallies;
        tallies.expired.fetch_add(1, Ordering::Relaxed);
        self.core.worker_count.depart();
        let gone = self.settle_departure();
        if !gone {
            // It comes back as a new worker.
            tallies.spawned.fetch_add(1, Ordering::Relaxed);
        }
        gone
    }

    /// After this worker has given up its seat and counted itself out. A submitter may have counted on it before, so it
    /// checks again, and comes back, to another seat, if it is needed.
    fn settle_departure(&mut self) -> bool {
        let core = self.core;
        // A worker that leaves does not keep the search token.
        if std::mem::take(&mut self.searching) {
            core.token.lay_down();
        }
        // Counted out first, then the check for tasks; a submitter does the opposite.
        full_fence();
        if !skipped(Step::LookAgainAfterLeaving) && core.is_needed() {
            // Under the spawn lock no thread is half started: a worker that may yet fail to start is no replacement.
            let _spawning = lock(&core.spawning);
            if core.is_needed() && core.worker_count.rejoin() {
                self.number = core.find_seat();
                self.seat = core.seats.get(self.number);
                // More than one submitter may have trusted the token that was just laid down. If another worker has
                // taken it, that one looks after their tasks.
                self.searching = !skipped(Step::SearchAgainAfterComingBack) && core.token.take();
                return false;
            }
        }
        core.deadlock_group.count_worker(false);
        // If it was the last of all, the shared waiters must try by themselves.
        core.offer_permits();
        // It could not come back, so as many workers as may be are alive. But they may all rest, if a submitter had
        // trusted this worker's search.
        if !skipped(Step::LookAgainAfterLeaving) && !core.queue.is_empty() && core.is_wake_due() {
            core.wake();
        }
        core.deadlock_group.break_deadlock();
        core.watch.notify();
        true
    }

    /// The host could not set the worker up. Either the pool closes itself and cancels what has not started; or, if the
    /// host may succeed next time, leaves the tasks to the workers alive and to the next one started, after a pause:
    /// only if no worker is alive it cancels those in the queue.
    pub fn break_down(&mut self, first: Option<H::Task>) {
        let core = self.core;
        let retries = core.host.retries_start();
        if retries {
            // As after a refused thread: waiters do not count on a further worker until one is started.
            core.shortage.begin_without_pause();
        } else {
            core.broken.store(true, Ordering::Relaxed);
            core.release();
        }
        if let Some(task) = first {
            core.queue.push(task);
        }
        core.vacate(self.number);
        core.worker_count.depart();
        if std::mem::take(&mut self.searching) {
            core.token.lay_down();
        }
        self.arrive();
        // Counted out first, then the check of the queue. A submitter does the opposite: if its task is not found here,
        // it finds no worker and starts another. And a worker that leaves checks the queue, too.
        full_fence();
        let tasks: Vec<_> = {
            // Under the spawn lock no thread is half started.
            let _spawning = lock(&core.spawning);
            let is_lost = if retries {
                core.worker_count.present() == 0
            } else {
                // Unless the pool was opened again meanwhile.
                core.broken.load(Ordering::Relaxed)
            };
            std::iter::from_fn(|| is_lost.then(|| core.queue.pop()).flatten()).collect()
        };
        core.cancel(tasks);
        core.deadlock_group.count_worker(false);
        if retries {
            core.wake_resting();
        } else {
            core.wake_if_due();
        }
        core.deadlock_group.break_deadlock();
        core.watch.notify();
        if core.host.has_errand() {
            // The errand came while this worker was still counted as one that would see to it.
            core.summon();
        }
        core.host.lost();
        if retries {
            core.start_again();
        }
    }
}

impl<H: Host> Core<H> {
    /// A worker that has just counted itself out is needed after all: for a task in the queue or, if it was the last,
    /// for one that its submitter has yet to put there.
    fn is_needed(&self) -> bool {
        !self.queue.is_empty() || self.worker_count.present() == 0 && self.in_flight() != 0
    }

    /// Tasks are left for which no worker could be set up, although more workers may be started. The thread of the last
    /// that failed starts another after a pause, which grows, unless another such thread does.
    fn start_again(self: &Arc<Self>) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = FIRST_PAUSE * (1 << failures.min(MOST_DOUBLINGS));
        // In a model no time passes. A thread that finds another one here has left its task in the queue before, and
        // the other looks there after it has left.
        if cfg!(any(loom, shuttle)) || self.mending.swap(true, Ordering::SeqCst) {
            return;
        }
        let is_over = || self.admission.is_closed() || self.queue.is_empty();
        let _ = self
            .watch
            .wait_until(is_over, &mut WaitLimit::new(Some(pause)));
        self.mending.store(false, Ordering::SeqCst);
        full_fence();
        if !self.admission.is_closed() && !self.queue.is_empty() && self.is_wake_due() {
            self.wake();
        }
    }
}
