//! Tune, release, reboot.

use super::error::{Error, OptionsError};
use super::host::Host;
use super::options::MAX_CAPACITY;
use super::shared::Core;
use super::submit::waiters::Answers;
use super::sync::atomic::Ordering;
use super::sync::{Arc, WaitLimit, full_fence, lock};
use super::worker::idle_stack::Links;
use super::worker::seat::Call;
use std::time::Duration;

impl<H: Host> Core<H> {
    /// Changes the maximum number of workers, if there is one that may be changed.
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
        // There may be more permits, for waiters, and more workers, for queued tasks.
        self.let_in();
        // There may be no waiters now, and their tasks may be done already.
        self.watch.notify();
        self.wake_if_due();
        // There may be too many workers: those at rest leave at once, the others after their tasks. Those left may all
        // be blocked, without hope for another worker.
        self.call_surplus();
        self.deadlock_group.break_deadlock();
        Ok(())
    }

    /// Wakes as many resting workers as there are too many; they check and leave.
    pub fn call_surplus(&self) {
        // The capacity is lowered first, then the check who rests. A worker does the opposite before it sleeps.
        full_fence();
        let mut surplus = self.worker_count.surplus();
        while surplus > 0 {
            let Some(seat) = self.idle.pop(&self.seats) else {
                break;
            };
            // The worker of an overdue seat has left, and is no longer one too many.
            surplus -= u32::from(self.call(seat, Call::Look));
        }
    }

    /// Lets no task in any more, refuses the waiters, and tells the workers to leave when the accepted tasks are done;
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

    /// As `release`, but the caller delivers the answers to the waiters when it holds no lock; `None`: already closed.
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
            // From now on the shared waiters get into none of the pools.
            self.deadlock_group.count_closed(true);
            if let Some((shared, _)) = &self.shared_waiters {
                let mut waiters = shared.lock();
                waiters.refuse_all(|| Error::Closed);
                answers.append(waiters.unlock());
            }
            let mut next = self.idle.close();
            while let Some(seat) = next {
                // The link first: a called worker may rest again and overwrite its seat's link.
                next = self.seats.link(seat).load(Ordering::Relaxed).checked_sub(1);
                self.call(seat, Call::Look);
            }
            // Before the pool can be opened again: the entry of a worker that rests after that stays.
            self.process.expiry.forget(&self.seats);
            answers
        };
        self.watch.notify();
        Some(answers)
    }

    /// Waits until all accepted tasks are done and all workers have left; in a closed pool also until their threads
    /// have ended.
    pub fn wait_gone(self: &Arc<Self>, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        // The expiry thread knows no closed pool: a thread that was refused is asked for again here.
        let is_refused = || self.shortage.was_refused() && !self.queue.is_empty();
        let pause = || is_refused().then(|| Duration::from_nanos(self.shortage.pause()));
        let ask = || {
            if is_refused() {
                self.wake_if_due();
            }
        };
        (self.watch).wait_and_act(|| self.is_gone(), wait_limit, pause, ask)?;
        // A worker that has left, and runs the destructors of its thread-locals, cannot wait for its own end.
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
            // In this order: a worker that gets on the stack and then checks finds the pool open, and will expire.
            self.admission.open();
            self.deadlock_group.count_closed(false);
            self.idle.open();
        }
        drop(lifecycle);
        self.watch.notify();
        self.threads.opened();
    }
}

impl<H: Host> Core<H> {
    /// Makes sure that a worker that rests will expire. The caller has put itself on the idle stack and passed a full
    /// fence. Returns how long the worker is to sleep before it leaves by itself, if the system refused the expiry
    /// thread; `None`: until it is called.
    #[inline]
    pub fn expire_later(&self, seat: u32) -> Option<Duration> {
        let expiry = self.options.expiry?;
        let is_seen_to =
            (self.process.expiry).see_to(&self.seats, seat, || self.admission.is_closed());
        (!is_seen_to).then_some(expiry)
    }

    /// Tells every resting worker to leave, as if it were overdue.
    pub fn expire_all(&self) {
        for seat in self.seats.iter() {
            if let Some((rest, _)) = seat.resting() {
                seat.expire(rest);
            }
        }
    }
}

impl<H: Host> Core<H> {
    /// Every accepted task is done and every worker has left, though its thread may not be joined yet.
    pub fn is_gone(&self) -> bool {
        // In this order: no task enters any more, and a thread is counted before it checks whether it is needed.
        self.in_flight() == 0 && self.threads.present() == 0
    }

    /// A task that waited for its own pool without a time limit would wait for itself.
    pub fn refuse_waiting_for_itself(&self, wait_limit: &WaitLimit<'_>) -> Result<(), Error> {
        if wait_limit.is_endless() && self.deadlock_group.is_home() {
            Err(Error::Deadlock)
        } else {
            Ok(())
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::WaitLimit;
    use crate::Pool;
    use std::sync::{Arc, Barrier};
    use std::time::{Duration, Instant};

    fn wait_until(condition: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < limit, "it never came true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_seat_of_a_worker_that_has_left_is_not_taken_for_a_surplus_worker() {
        let pool = Pool::builder().capacity(3).expiry(None).build();
        let pool = pool.expect("the options are good");
        let all = Arc::new(Barrier::new(3));
        for _ in 0..3 {
            let all = Arc::clone(&all);
            let wait = move || {
                all.wait();
            };
            pool.submit(wait).expect("a worker is free");
        }
        let core = &pool.core;
        wait_until(|| core.seats.iter().filter_map(|seat| seat.resting()).count() == 3);
        let expires = || {
            let top = core.idle.top().map(|top| core.seats.get(top));
            top.and_then(|seat| Some((seat, seat.resting()?)))
        };
        wait_until(|| expires().is_some());
        let (seat, (rest, _)) = expires().expect("all rest");
        seat.expire(rest);
        wait_until(|| pool.running() == 2);
        pool.tune(1).expect("it has a capacity");
        wait_until(|| pool.running() == 1);
    }
    #[test]
    fn reboot_ends_a_wait_for_threads_that_others_join() {
        let pool = Pool::builder().build().expect("the options are good");
        let core = &pool.core;
        // A worker that has left, and whose thread another waiter joins.
        core.threads.add();
        core.threads.leave();
        assert!(pool.release());
        let own = Arc::clone(core);
        let wait = move || own.wait_gone(&mut WaitLimit::new(None));
        let waiter = std::thread::spawn(wait);
        wait_until(|| core.threads.watch.watchers() == 1);
        pool.reboot();
        wait_until(|| waiter.is_finished());
    }
}
