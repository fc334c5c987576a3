//! How a task gets into the pool: admission, then a worker of its own, the run queue, or a wait for a permit.

pub mod admission;
pub mod detached;
mod let_in;
mod take_back;
mod wait;
pub mod waiter;
pub mod waiters;

use super::error::{Error, Limit, SubmitError};
use super::host::Host;
use super::shared::Core;
use super::sync::atomic::Ordering;
use super::sync::{Arc, WaitLimit, lock, may_spin};
use super::worker::spawn::Spawn;
use admission::Entry;
use waiter::PermitOf;

/// The result of offering a task without waiting.
pub enum Offer<T> {
    /// It is accepted.
    Accepted {
        /// A worker must be woken or started, which the second half of the submit does.
        wake_due: bool,
    },
    /// It has a permit, but a worker must be started for it first: `Core::place` continues.
    In(T),
    /// No permit is free: `Core::settle` may wait for one.
    Full(T),
    /// The pool is closed.
    Closed(T),
}

impl<H: Host> Core<H> {
    /// Offers a task. Neither blocks nor makes a system call.
    #[inline(always)] // The result goes in registers then.
    pub fn offer(&self, task: H::Task) -> Offer<H::Task> {
        match self.admission.enter() {
            Entry::Closed => Offer::Closed(task),
            Entry::Full => Offer::Full(task),
            Entry::In(in_flight) if self.lacks_worker(in_flight) => Offer::In(task),
            Entry::In(_) => {
                self.queue.push(task);
                Offer::Accepted {
                    wake_due: self.is_wake_due(),
                }
            }
        }
    }

    /// A task that just entered, as one of `in_flight`, has no worker to count on. A worker counted here, after the
    /// task entered, does not leave without checking for that task (`Core::is_needed`).
    #[inline]
    fn lacks_worker(&self, in_flight: u64) -> bool {
        let present = self.worker_count.present();
        if self.hand_off {
            in_flight > u64::from(present)
        } else {
            present == 0
        }
    }

    /// Settles an offer. Without `wait_limit` the caller does not wait. `Some`: the task must be offered again.
    pub fn follow_up(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        wait_limit: Option<&mut WaitLimit<'_>>,
        permit_of: PermitOf,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let result = self.settle(offer, wait_limit, permit_of);
        if let Err(SubmitError {
            error: Error::Overload { .. } | Error::Timeout | Error::Deadlock,
            ..
        }) = &result
        {
            self.tallies.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn settle(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        wait_limit: Option<&mut WaitLimit<'_>>,
        permit_of: PermitOf,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let Some(task) = self.take_in(offer)? else {
            return Ok(None);
        };
        let Some(wait_limit) = wait_limit.filter(|_| !self.options.nonblocking) else {
            return Err(self.overload(task));
        };
        let task = if permit_of == PermitOf::ThisPool && self.spin_for_permit() {
            match self.take_in(self.offer(task))? {
                Some(task) => task,
                None => return Ok(None),
            }
        } else {
            task
        };
        self.wait_for_permit(task, wait_limit, permit_of)
    }

    /// Acts on the result of an offer; `Some`: no permit was free.
    fn take_in(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        match offer {
            Offer::Accepted { wake_due } => {
                if wake_due {
                    self.wake();
                }
                Ok(None)
            }
            Offer::Closed(task) => {
                // For a moment it may have seemed to be in flight.
                self.watch.notify();
                Err(self.closed(task))
            }
            Offer::Full(task) => Ok(Some(task)),
            Offer::In(task) => match self.place(task) {
                Ok(()) => Ok(None),
                Err(SubmitError {
                    error: Error::Overload { .. },
                    task,
                }) => Ok(Some(task)),
                Err(error) => Err(error),
            },
        }
    }

    /// Spins for a permit for a moment, if that has paid lately and nobody waits; `true`: one is free. Waiting costs
    /// both sides more than a short task does. It does not pay where only one task at a time can make progress: a
    /// worker that finds its next task waiting goes on with it at once.
    fn spin_for_permit(&self) -> bool {
        self.may_spin_for_permit()
            && self.waiters.len() == 0
            && self.permit_spin.spin(|| self.admission.has_permit())
    }

    pub fn may_spin_for_permit(&self) -> bool {
        // A permit is useless if no thread can be started for it.
        may_spin() && self.parallelism > 1 && !self.options.nonblocking && !self.shortage.is_on()
    }

    /// Spins for a worker that is done, if that has paid lately, before another is started: a thread costs as much as
    /// many short tasks. `true`: each task in flight has a worker, which counts as it does in `lacks_worker`.
    fn spin_for_worker(&self) -> bool {
        may_spin()
            && self.hand_off
            && self.worker_count.present() > 0
            && self
                .worker_spin
                .spin(|| !self.lacks_worker(self.in_flight()))
    }

    fn closed(&self, task: H::Task) -> SubmitError<H::Task> {
        let broken = self.broken.load(Ordering::Relaxed);
        SubmitError::new(if broken { Error::Broken } else { Error::Closed }, task)
    }

    fn overload(&self, task: H::Task) -> SubmitError<H::Task> {
        let is_refused = |capacity, queue_size| {
            self.shortage.is_on()
                && self.in_flight() < u64::from(capacity).saturating_add(queue_size)
        };
        let limit = match (self.worker_count.capacity(), self.options.queue_size) {
            (Some(capacity), Some(queue_size)) if !is_refused(capacity, queue_size) => {
                Limit::Tasks {
                    capacity,
                    queue_size,
                }
            }
            // If there is no other limit it is this one.
            _ => Limit::Threads,
        };
        self.overload_by(limit, task)
    }

    fn overload_by(&self, limit: Limit, task: H::Task) -> SubmitError<H::Task> {
        SubmitError::new(
            Error::Overload {
                in_flight: self.in_flight(),
                limit,
            },
            task,
        )
    }

    /// Finds a worker for a task that entered, and starts one if need be. If the system gives none, the task leaves
    /// again: as an overload if there are workers to wait for, else with the system's error.
    fn place(self: &Arc<Self>, task: H::Task) -> Result<(), SubmitError<H::Task>> {
        if self.spin_for_worker() {
            self.enqueue(task);
            return Ok(());
        }
        let task = match self.spawn_with(task) {
            Spawn::Started => return Ok(()),
            // The capacity is used up, and the workers alive will check the queue before they leave or rest.
            Spawn::NotNeeded(task) => task,
            Spawn::Failed(task, error) => {
                // Under the spawn lock no thread is half started: one that was about to be there is there.
                let spawning = lock(&self.spawning);
                let present = self.worker_count.present();
                drop(spawning);
                if present == 0 || self.hand_off {
                    self.send_back(present == 0);
                    return Err(if present == 0 {
                        SubmitError::new(Error::Spawn(error), task)
                    } else {
                        self.overload(task)
                    });
                }
                task
            }
        };
        self.enqueue(task);
        Ok(())
    }

    /// Puts a task that entered into the queue, and wakes or starts a worker if need be.
    fn enqueue(self: &Arc<Self>, task: H::Task) {
        self.queue.push(task);
        if self.is_wake_due() {
            self.wake();
        }
    }

    /// A task that entered leaves again, undone. If no worker is alive to let the waiters in, they try again by
    /// themselves, as the caller did.
    fn send_back(self: &Arc<Self>, nobody_alive: bool) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        if self.admission.leave() {
            if nobody_alive {
                let mut waiters = self.waiters.lock();
                waiters.retry_all();
                self.let_go(waiters);
                self.offer_permits();
            } else {
                self.let_in();
            }
        } else {
            self.offer_permits();
        }
        self.watch.notify();
    }
}
