//! Tune, release, reboot.

use super::core::Core;
use super::error::{Error, OptionsError};
use super::host::Host;
use super::idle_stack::Links;
use super::options::MAX_CAPACITY;
use super::seat::Call;
use super::sync::atomic::Ordering;
use super::sync::{Arc, WaitLimit, full_fence, lock};
use super::waiters::Answers;
use std::time::Duration;

impl<H: Host> Core<H> {
    /// Changes how many workers there may be. Unlimited and pre-allocated pools keep what they have.
    pub fn tune(self: &Arc<Self>, capacity: u32) -> Result<(), OptionsError> {
        {
            let _lifecycle = lock(&self.lifecycle);
            let capacity = capacity.min(MAX_CAPACITY);
            match self.worker_count.capacity() {
                _ if capacity == 0 => return Err(OptionsError::ZeroCapacity),
                Some(before) if capacity == before => return Ok(()),
                Some(_) if !self.options.pre_alloc => {}
                _ => return Err(OptionsError::FixedCapacity),
            }
            self.worker_count.set_capacity(capacity);
            self.admission
                .set_limit(Self::limit(&self.options, Some(capacity)));
        }
        // More room: for those in line, and for workers to take what is in the queue.
        self.let_in();
        // The line may be empty now, and what was let in done already.
        self.watch.notify();
        self.wake_if_due();
        // Less room: workers at rest go at once, the others when they have done their tasks. Those that are left may all be
        // bound, with no hope for another any more.
        self.call_surplus();
        self.deadlock_group.break_deadlock();
        Ok(())
    }

    /// Wakes as many workers at rest as there are too many; they look around and leave.
    pub fn call_surplus(&self) {
        // The capacity is lowered; now look who rests. A worker does the opposite before it sleeps.
        full_fence();
        for _ in 0..self.worker_count.surplus() {
            let Some(seat) = self.idle.pop(&self.seats) else {
                break;
            };
            self.call(seat, Call::Look);
        }
    }

    /// Lets nobody in any more, refuses those in line, and tells the workers to leave when the accepted tasks are done;
    /// `false`: the pool was closed already.
    pub fn release(self: &Arc<Self>) -> bool {
        match self.close() {
            Some(answers) => {
                self.deliver(answers);
                true
            }
            None => false,
        }
    }

    /// As `release`, but what those in line are to be told is for the caller to deliver when it holds no lock; `None`: the
    /// pool was closed already.
    #[must_use]
    pub fn close(self: &Arc<Self>) -> Option<Answers<H::Task>> {
        let answers = {
            let _lifecycle = lock(&self.lifecycle);
            if !self.admission.close() {
                return None;
            }
            let mut waiters = self.waiters.lock();
            waiters.refuse_all(|| Error::Closed);
            let mut answers = self.unlock(waiters);
            // Those who would do with any of several pools do not get into any from now on.
            self.deadlock_group.count_closed(true);
            if let Some((commons, _)) = &self.commons {
                let mut waiters = commons.lock();
                waiters.refuse_all(|| Error::Closed);
                answers.append(waiters.unlock());
            }
            let mut next = self.idle.close();
            while let Some(seat) = next {
                // The link first: a worker that is called may rest again, and link its seat anew.
                next = self.seats.link(seat).load(Ordering::Relaxed).checked_sub(1);
                self.call(seat, Call::Look);
            }
            // Before the pool can be opened again: whoever rests then is not struck out.
            self.process.expiry.forget(&self.seats);
            answers
        };
        self.watch.notify();
        Some(answers)
    }

    /// Waits until every accepted task is done and every worker has left. If the pool is closed then, all its threads have
    /// ended.
    pub fn wait_gone(self: &Arc<Self>, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        // Of a closed pool the expiry thread knows nothing: a thread that was refused is asked for again here.
        let is_refused = || self.shortage.was_refused() && !self.queue.is_empty();
        let pause = || is_refused().then(|| Duration::from_nanos(self.shortage.pause()));
        let ask = || {
            if is_refused() {
                self.wake_if_due();
            }
        };
        (self.watch).wait_and_act(|| self.is_gone(), wait_limit, pause, ask)?;
        // A worker that has left, and is still in its thread's last deeds, cannot wait for its own end.
        if !self.threads.is_home() {
            self.process
                .left
                .join_all(&self.threads, || self.admission.is_closed());
            self.process.expiry.join_former();
        }
        Ok(())
    }

    /// Opens a closed pool.
    pub fn reboot(&self) {
        let lifecycle = lock(&self.lifecycle);
        if self.admission.is_closed() {
            self.broken.store(false, Ordering::Relaxed);
            // In this order: a worker that gets on the stack, and looks then, finds the pool open, and sees to its expiry.
            self.admission.open();
            self.deadlock_group.count_closed(false);
            self.idle.open();
        }
        drop(lifecycle);
        self.watch.notify();
    }
}

impl<H: Host> Core<H> {
    /// A worker has gone to rest: sees to it that it will expire. The caller has put itself on the idle stack and a full
    /// fence after it.
    /// How long the worker is to sleep before it leaves by itself, if the system gave no thread; `None`: it sleeps until it is called.
    #[inline]
    pub fn expire_later(&self, seat: u32) -> Option<Duration> {
        let expiry = self.options.expiry?;
        let is_seen_to =
            (self.process.expiry).see_to(&self.seats, seat, || self.admission.is_closed());
        (!is_seen_to).then_some(expiry)
    }

    /// Tells every worker at rest to leave, as if it were overdue.
    pub fn expire_all(&self) {
        for seat in self.seats.iter() {
            if let Some((rest, _)) = seat.resting() {
                seat.expire(rest);
            }
        }
    }
}
