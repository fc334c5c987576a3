//! Which worker is woken or started for the tasks in the run queue, and when none need be.
//!
//! There is one *search token*. Its holder is a worker (or a thread about to wake or start one) that has no task yet
//! and will look into the run queue; while it is held, a submitter need wake nobody. A worker that finds a task lays
//! the token down and, if more tasks wait, wakes the next: so few workers drain a burst of short tasks, and tasks that
//! block raise the number of workers one after another.

use super::search_token::Searching;
use super::seat::Call;
use super::spawn::Spawn;
use crate::pool::faults::{Step, skipped};
use crate::pool::host::Host;
use crate::pool::shared::Core;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{Arc, full_fence};

impl<H: Host> Core<H> {
    /// A worker must be woken or started for a task that was put into the run queue before this call.
    #[inline]
    pub fn is_wake_due(&self) -> bool {
        // The task is in the queue; then the check who is idle. A worker does the opposite before it rests.
        full_fence();
        self.can_call_searcher() || self.lacks_workers()
    }

    /// Nobody searches, and a worker could.
    #[inline]
    fn can_call_searcher(&self) -> bool {
        !self.is_looked_after() && (!self.idle.is_empty() || self.may_start_searcher())
    }

    /// A worker will look into the queue soon enough.
    #[inline]
    fn is_looked_after(&self) -> bool {
        match self.token.state() {
            Searching::Nobody => false,
            Searching::Searcher => true,
            // It watches others at work: if all of them rest there is nothing to watch.
            Searching::Standby => self.awake() > 1,
        }
    }

    /// A worker may be started to search. Not if every task has a worker of its own: `lacks_workers` starts those.
    #[inline]
    fn may_start_searcher(&self) -> bool {
        !self.hand_off
            && self.worker_count.is_below_capacity()
            && !self.has_enough()
            && !self.has_enough_arriving()
            && self.may_start()
    }

    /// Each task in the queue has an arriving worker that will look into the queue as soon as it is set up.
    #[inline]
    fn has_enough_arriving(&self) -> bool {
        let arriving = self.arriving.load(Ordering::Relaxed);
        arriving > 0 && self.queue.len() <= arriving as usize
    }

    /// It makes sense to ask the system for a thread.
    #[inline]
    pub fn may_start(&self) -> bool {
        !self.shortage.is_pausing(|| self.now()) || self.worker_count.present() == 0
    }

    /// The workers are counted, and each task in flight has one: those without a task look for one before they rest, or
    /// rest where they can be called.
    #[inline]
    pub fn has_enough(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
            && self.in_flight() <= u64::from(self.worker_count.running())
    }

    /// Every task is to have a worker of its own, and there are more tasks than workers.
    #[inline]
    fn lacks_workers(&self) -> bool {
        self.hand_off
            && self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && self.may_start()
    }

    /// As `wake`, if a worker must be woken or started for a task in the queue.
    pub fn wake_if_due(self: &Arc<Self>) {
        if !self.queue.is_empty() && self.is_wake_due() {
            self.wake();
        }
    }

    /// Wakes or starts the workers needed for the tasks in the run queue.
    pub fn wake(self: &Arc<Self>) {
        while self.lacks_workers() {
            if !self.spawn_looking(false).is_started() {
                break; // The task stays where the workers alive will find it.
            }
        }
        while self.can_call_searcher() && self.token.take() {
            self.token.hand_over(self.look());
            if self.call_resting(Call::Search) {
                return; // The called worker has the token.
            }
            let mut thread_refused = false;
            if self.may_start_searcher() {
                // A worker that runs user code before it looks for a task is not waited for: it is *arriving*.
                let searching = !self.host.has_slow_start();
                match self.spawn_looking(searching) {
                    Spawn::Started if searching => return, // The new worker has the token.
                    Spawn::Started | Spawn::NotNeeded(_) => {}
                    Spawn::Failed(..) => thread_refused = true,
                }
            }
            // A submitter may have trusted the token meanwhile, and a worker may have gone to rest: check again. If the
            // system refuses threads, only a resting worker can help.
            if !self.token.lay_down()
                || skipped(Step::LookAgainAfterSearching)
                || self.queue.is_empty()
                || thread_refused && self.idle.is_empty()
            {
                return;
            }
        }
    }

    /// Starts workers until every task in flight has one, or as many as may be are alive; from now on no others.
    pub fn start_workers(self: &Arc<Self>) {
        self.counted.store(true, Ordering::Relaxed);
        while self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && self.spawn_looking(false).is_started()
        {}
    }

    /// As `wake`, but starts no worker.
    pub fn wake_resting(&self) {
        full_fence();
        while !self.queue.is_empty()
            && !self.idle.is_empty()
            && !self.is_looked_after()
            && self.token.take()
        {
            self.token.hand_over(self.look());
            if self.call_resting(Call::Search) || !self.token.lay_down() {
                return;
            }
        }
    }

    /// Calls a resting worker, to check or with the search token; `false`: none rests.
    pub fn call_resting(&self, call: Call) -> bool {
        while let Some(seat) = self.idle.pop(&self.seats) {
            if self.call(seat, call) {
                return true;
            }
        }
        false
    }

    /// Makes a worker do what the host has for it besides tasks, which is there before this call: a resting worker is
    /// called or a new one started, since busy ones may stay so for long. Those check before they rest and as they
    /// leave. `false`: there is no worker.
    pub fn summon(self: &Arc<Self>) -> bool {
        // The errand is there; then the check who rests, and whether any worker is alive. A worker does the opposite.
        full_fence();
        self.call_resting(Call::Look)
            || self.spawn_looking(false).is_started()
            || self.worker_count.present() > 0
    }

    /// Calls the worker in a seat popped from the idle stack; `false`: it had left.
    pub fn call(&self, seat: u32, call: Call) -> bool {
        let called = self.seats.get(seat).call(call);
        if !called {
            self.vacate(seat);
        }
        called
    }
}

impl<H: Host> Core<H> {}
