//! The numbers of a pool.

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
