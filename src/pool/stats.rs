//! The numbers of a pool, and how they are read.

use super::host::Host;
use super::shared::Core;
use super::sync::atomic::Ordering;
use super::sync::full_fence;
use super::worker::search_token::Look;
use super::worker::tally::Ended;

/// A pool in numbers. In one snapshot `submitted == completed + failed + cancelled + queued + busy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The maximum number of workers; `None`: any number.
    pub capacity: Option<u32>,
    /// The workers alive.
    pub running: u32,
    /// Tasks that a worker runs, or (without a queue) is on its way to run.
    pub busy: u64,
    /// The workers without a task.
    pub idle: u32,
    /// The submitters that wait for a permit.
    pub waiting: usize,
    /// Accepted tasks that wait for a worker.
    pub queued: u64,
    /// Tasks accepted so far.
    pub submitted: u64,
    /// Tasks that returned.
    pub completed: u64,
    /// Tasks that panicked or raised.
    pub failed: u64,
    /// Accepted tasks that will never run.
    pub cancelled: u64,
    /// Tasks refused by overload, timeout or deadlock.
    pub rejected: u64,
    /// Workers started so far. An expired worker that comes back for a late task counts again.
    pub spawned: u64,
    /// Workers that left because they were idle for too long.
    pub expired: u64,
    /// The most workers alive at once.
    pub peak_running: u32,
}

impl std::ops::Add for Stats {
    type Output = Stats;

    /// The sum over two pools; the sum of the peaks bounds the peak of the sum.
    fn add(self, other: Stats) -> Stats {
        Stats {
            capacity: self
                .capacity
                .zip(other.capacity)
                .map(|(a, b)| a.saturating_add(b)),
            running: self.running + other.running,
            busy: self.busy + other.busy,
            idle: self.idle + other.idle,
            waiting: self.waiting + other.waiting,
            queued: self.queued + other.queued,
            submitted: self.submitted + other.submitted,
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
            rejected: self.rejected + other.rejected,
            spawned: self.spawned + other.spawned,
            expired: self.expired + other.expired,
            peak_running: self.peak_running + other.peak_running,
        }
    }
}

impl<H: Host> Core<H> {
    /// Tasks accepted and not yet done. Where tasks are not counted one by one this reads every seat.
    pub fn in_flight(&self) -> u64 {
        // The ends first: a task ends after it entered, so a result of 0 was true when the ends were read.
        let mut ended = self.admission.left();
        if !self.admission.is_counted() {
            for seat in self.seats.iter() {
                ended += seat.tally.ended().sum();
            }
        }
        full_fence();
        self.admission.entered().saturating_sub(ended)
    }

    /// No task is in flight, and no submitter waits.
    pub fn is_idle(&self) -> bool {
        // Between two reads a task may end and a waiter's task enter. The waiters are read in the middle: if no task
        // entered from the first read to the last, no waiter's task did.
        let before = self.admission.entered();
        self.in_flight() == 0 && !self.waiters.is_ready() && self.admission.entered() == before
    }

    /// The submitters that wait for a permit.
    pub fn waiting(&self) -> usize {
        let shared = self.shared_waiters.as_ref();
        self.waiters.len() + shared.map_or(0, |(waiters, index)| waiters.len_at(*index))
    }

    /// How many tasks were ever taken out of the queue, roughly: enough to see the queue move. It never falls.
    pub fn taken(&self) -> u64 {
        // Tasks that enter between the two reads are not counted, and one that was put back is counted once.
        let taken = (self.admission.entered()).saturating_sub(self.queue.len() as u64);
        let most = self.most_taken.load(Ordering::Relaxed);
        if taken <= most {
            return most;
        }
        let most = self.most_taken.fetch_max(taken, Ordering::Relaxed);
        most.max(taken)
    }

    /// How far the queue has moved by now.
    pub fn look(&self) -> Look {
        Look {
            taken: self.taken(),
            at: self.now(),
        }
    }

    /// Changes with every task that enters and with every one that is taken out of the queue.
    pub fn changes(&self) -> u64 {
        let entered = self.admission.entered();
        (2 * entered).wrapping_sub(self.queue.len() as u64)
    }

    /// The workers that do not rest. Call after a full fence if a decision depends on it.
    pub fn awake(&self) -> u32 {
        let resting = self.resting.load(Ordering::Relaxed);
        self.worker_count.running().saturating_sub(resting)
    }

    /// Accepted tasks that wait for a worker.
    pub fn queued(&self) -> usize {
        self.waiting_of(self.queue.len() as u64) as usize
    }

    /// How many of `queued` tasks wait for a worker. Those beyond `queue_size` have one on its way.
    fn waiting_of(&self, queued: u64) -> u64 {
        match self.options.queue_size {
            _ if self.hand_off => 0,
            None => queued,
            Some(queue_size) => queued.min(queue_size),
        }
    }

    pub fn stats(&self) -> Stats {
        // Entries first, then ends, so that the numbers never show more tasks than could be in flight. A task that
        // enters and ends in between counts as done, and raises `submitted` by one.
        let undone = self.tallies.undone.load(Ordering::Acquire);
        let entered = self.admission.entered();
        let cancelled = self.tallies.cancelled.load(Ordering::Acquire);
        let (busy, ended) = self.sum_tallies();
        let (completed, failed) = (ended.completed, ended.failed);
        let cancelled = cancelled + ended.cancelled;
        let in_flight = entered.saturating_sub(undone + cancelled + completed + failed);
        let queued = self.waiting_of(in_flight.saturating_sub(busy));
        // With an unlimited queue a task may have begun after `entered` was read.
        let busy = busy.max(in_flight - queued);
        let submitted = completed + failed + cancelled + busy + queued;
        let running = self.worker_count.running();
        Stats {
            capacity: self.worker_count.capacity(),
            running,
            busy,
            idle: running.saturating_sub(u32::try_from(busy).unwrap_or(u32::MAX)),
            waiting: self.waiting(),
            queued,
            submitted,
            completed,
            failed,
            cancelled,
            rejected: self.tallies.rejected.load(Ordering::Relaxed),
            spawned: self.tallies.spawned.load(Ordering::Relaxed),
            expired: self.tallies.expired.load(Ordering::Relaxed),
            peak_running: self.worker_count.peak().max(running),
        }
    }

    /// Sums the workers' tallies: the tasks they run, and those that ended.
    fn sum_tallies(&self) -> (u64, Ended) {
        let mut sum = (0, Ended::default());
        for seat in self.seats.iter() {
            let (started, ended) = seat.tally.read();
            sum.0 += started - ended.sum();
            sum.1 += ended;
        }
        sum
    }
}
