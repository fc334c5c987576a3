//! The state that the parts of a pool share.

use super::deadlock::group::DeadlockGroup;
use super::host::Host;
use super::options::Options;
use super::process_wide::Process;
use super::queue::RunQueue;
use super::submit::admission::{Admission, Count};
use super::submit::waiters::Waiters;
use super::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use super::sync::watch::Watch;
use super::sync::{AdaptiveSpin, Arc, Mutex, spin};
use super::worker::count::WorkerCount;
use super::worker::idle_stack::IdleStack;
use super::worker::pace::Pace;
use super::worker::search_token::Token;
use super::worker::seats::Seats;
use super::worker::shortage::Shortage;
use super::worker::threads::Threads;
use crossbeam_utils::CachePadded;

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
    pub shared_waiters: Option<(Arc<Waiters<H::Task>>, usize)>,
    /// Whether the next free permit goes to those shared waiters first.
    pub is_shared_turn: AtomicBool,
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
    /// Whether some worker will look into the run queue, so that nobody need be woken. See worker/wake.rs.
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
    pub most_taken: std::sync::atomic::AtomicU64,
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
        shared_waiters: Option<(Arc<Waiters<H::Task>>, usize)>,
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
            shared_waiters,
            is_shared_turn: AtomicBool::new(false),
            permit_spin: AdaptiveSpin::new(spin::FOR_PERMIT),
            worker_spin: AdaptiveSpin::new(spin::FOR_WORKER),
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
}

/// No process has room for far more threads than this, and seats for them would be wasted memory.
const MOST_RESERVED: u32 = 1 << 16;

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
