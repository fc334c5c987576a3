//! The state that the parts of a pool share.

use super::admission::{Admission, Count};
use super::deadlock_group::DeadlockGroup;
use super::error::Error;
use super::host::Host;
use super::idle_stack::IdleStack;
use super::options::Options;
use super::pace::Pace;
use super::process::Process;
use super::run_queue::RunQueue;
use super::seat::{Ended, Seats};
use super::shortage::Shortage;
use super::stats::Stats;
use super::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use super::sync::{AdaptiveSpin, Arc, Mutex, WaitLimit, full_fence};
use super::threads::Threads;
use super::token::{Look, Token};
use super::waiters::Waiters;
use super::watch::Watch;
use super::worker_count::WorkerCount;
use crossbeam_utils::CachePadded;
use std::time::Duration;

/// Counts of rare events.
#[derive(Default)]
pub(super) struct Tallies {
    /// Tasks that entered but were sent back because no worker could be started for them.
    pub undone: AtomicU64,
    pub cancelled: AtomicU64,
    pub rejected: AtomicU64,
    pub spawned: AtomicU64,
    pub expired: AtomicU64,
}

/// A pool, as its submitters and its workers share it.
pub(super) struct Core<H: Host> {
    pub host: H,
    pub options: Options,
    /// Every accepted task has a worker of its own: none waits in the run queue.
    pub hand_off: bool,
    pub admission: Admission,
    pub waiters: Waiters<H::Task>,
    /// The waiters that the pools of a `MultiPool` share, and the index of this pool.
    pub commons: Option<(Arc<Waiters<H::Task>>, usize)>,
    /// Whether the next free permit goes to those shared waiters first.
    pub is_commons_turn: AtomicBool,
    /// Whether it pays to spin for a permit before waiting.
    pub permit_spin: AdaptiveSpin,
    /// Whether it pays to spin for a worker before starting another.
    pub worker_spin: AdaptiveSpin,
    pub queue: RunQueue<H::Task>,
    pub worker_count: WorkerCount,
    pub deadlock_group: Arc<DeadlockGroup>,
    /// The expiry thread knows these, and nothing else of the pool.
    pub seats: Arc<Seats>,
    /// Seats of resting workers.
    pub idle: IdleStack,
    /// Seats without workers.
    pub vacant: IdleStack,
    /// Whether some worker will look into the run queue, so that nobody need be woken. See wake.rs.
    pub token: Token,
    /// How many workers are awake at a time.
    pub pace: Pace,
    /// The workers that rest, or are about to.
    pub resting: CachePadded<AtomicU32>,
    /// Held while a thread is started.
    pub spawning: Mutex<()>,
    /// An executor shows its workers: no worker is started while there is one for each task in flight. (A standard
    /// library atomic, which no model explores: no task depends on it.)
    pub counted: std::sync::atomic::AtomicBool,
    /// All threads of the pool, until each has ended.
    pub threads: Arc<Threads>,
    pub process: &'static Process,
    pub watch: Watch,
    /// The highest value that `taken` had. (A standard library atomic, as above.)
    most_taken: std::sync::atomic::AtomicU64,
    /// Held by tune, release and reboot.
    pub lifecycle: Mutex<()>,
    pub broken: AtomicBool,
    /// Whether the system gives threads.
    pub shortage: Shortage,
    /// Workers that were started to look for a task, but run user code first.
    pub arriving: AtomicU32,
    /// How many workers in a row could not be set up.
    pub failures: AtomicU32,
    /// A thread is about to start another worker in their place.
    pub mending: AtomicBool,
    pub tallies: Tallies,
    /// How many tasks can make progress at a time.
    pub parallelism: u32,
}

impl<H: Host> Core<H> {
    /// `counted`: the number of tasks in flight must be available at once.
    pub fn new(
        host: H,
        options: Options,
        deadlock_group: Arc<DeadlockGroup>,
        commons: Option<(Arc<Waiters<H::Task>>, usize)>,
        counted: bool,
    ) -> Self {
        // Without a limit on the workers every task gets its own, and none ever waits for one.
        let hand_off = options.queue_size.is_some()
            && (options.queue_size == Some(0) || options.capacity.is_none());
        let core = Core {
            hand_off,
            admission: Admission::new(
                Self::limit(&options, options.capacity),
                match options.queue_size {
                    _ if hand_off => Count::Exact,
                    None if !counted => Count::Tallied,
                    _ => Count::Lagging,
                },
            ),
            waiters: Waiters::new(Arc::clone(&deadlock_group), 0),
            commons,
            is_commons_turn: AtomicBool::new(false),
            permit_spin: AdaptiveSpin::new(MOST_SPIN),
            worker_spin: AdaptiveSpin::new(START),
            queue: RunQueue::new(),
            worker_count: WorkerCount::new(options.capacity),
            deadlock_group,
            seats: Arc::new(Seats::new(options.expiry)),
            idle: IdleStack::new(),
            vacant: IdleStack::new(),
            token: Token::new(),
            pace: Pace::default(),
            resting: CachePadded::new(AtomicU32::new(0)),
            spawning: Mutex::new(()),
            counted: std::sync::atomic::AtomicBool::new(false),
            threads: Arc::default(),
            process: Process::current(),
            watch: Watch::new(),
            most_taken: std::sync::atomic::AtomicU64::new(0),
            lifecycle: Mutex::new(()),
            broken: AtomicBool::new(false),
            shortage: Shortage::new(),
            arriving: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            mending: AtomicBool::new(false),
            tallies: Tallies::default(),
            parallelism: host.parallelism(),
            host,
            options,
        };
        if let (true, Some(capacity)) = (core.options.pre_alloc, core.options.capacity) {
            core.seats.reserve(capacity.min(MOST_RESERVED));
        }
        core
    }

    /// Nanoseconds since the first pool of the process was made.
    pub fn now(&self) -> u64 {
        self.process.expiry.now()
    }

    /// How many tasks may be in flight with this capacity.
    pub fn limit(options: &Options, capacity: Option<u32>) -> u64 {
        match (capacity, options.queue_size) {
            (Some(capacity), Some(queue_size)) => u64::from(capacity).saturating_add(queue_size),
            _ => Admission::UNLIMITED,
        }
    }

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
        let roaming = self.commons.as_ref();
        self.waiters.len() + roaming.map_or(0, |(waiters, index)| waiters.len_at(*index))
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
    pub fn stirs(&self) -> u64 {
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
}

/// How long a submitter may spin for a permit before it waits. Longer would not pay: several that spin at once keep the
/// workers from the processors.
const MOST_SPIN: Duration = Duration::from_micros(15);

/// How long a submitter may spin for a worker before it starts one: about as long as a start takes.
const START: Duration = Duration::from_micros(50);

/// No process has room for far more threads than this, and seats for them would be wasted memory.
const MOST_RESERVED: u32 = 1 << 16;

impl<H: Host> Core<H> {
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::{MultiPool, Pool, Strategy};
    use std::cell::Cell;
    use std::sync::mpsc::channel;

    #[test]
    fn taken_never_falls_and_never_exceeds_entered() {
        let pool = Pool::builder().capacity(1).queue_size(None).build();
        let pool = pool.expect("the options are good");
        let (open, gate) = channel::<()>();
        pool.submit(move || gate.recv().unwrap_or_default())
            .expect("the pool is open");
        for _ in 0..3 {
            pool.submit(|| ()).expect("the pool is open");
        }
        // Tasks are taken out and put back.
        let taken = Cell::new(0);
        let extracted = pool.extract_if(|_| {
            taken.set(pool.core.taken());
            false
        });
        assert_eq!((extracted.len(), taken.get()), (0, 4));
        assert_eq!(pool.core.taken(), 4);
        drop(open);
    }

    #[test]
    fn the_pools_whose_tasks_are_compared_know_them_without_a_look_at_each_seat() {
        for queue_size in [Some(0), Some(2), None] {
            let builder = Pool::builder().capacity(2).queue_size(queue_size);
            let multi = MultiPool::new(2, Strategy::LeastTasks, &builder);
            for pool in multi.expect("the options are good").pools() {
                assert!(pool.core.admission.is_counted());
            }
        }
    }
}
