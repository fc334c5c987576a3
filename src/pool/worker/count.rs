//! How many workers are alive, and how many may be, in one word, so that both are changed and compared together.
//!
//! ```text
//!  63..33     32         31..0
//!  +----------+----------+---------+
//!  | capacity | starting | running |
//!  +----------+----------+---------+
//! ```
//!
//! * `running` counts workers from just before their thread is started until they leave. Only the holder of the spawn
//!   lock raises it, and only below the capacity; each worker lowers it for itself.
//! * `starting`: the thread of one of them is being started and may yet fail to. Never more than one, since threads are
//!   started under the spawn lock.

use crate::pool::options::MAX_CAPACITY;
use crate::pool::sync::atomic::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    const RUNNING: u64 = 0xffff_ffff;
    const STARTING: u64 = 1 << 32;
    const CAPACITY_SHIFT: u32 = 33;

    fn running(self) -> u32 {
        (self.0 & Self::RUNNING) as u32
    }

    fn is_starting(self) -> bool {
        self.0 & Self::STARTING != 0
    }

    fn capacity(self) -> u32 {
        (self.0 >> Self::CAPACITY_SHIFT) as u32
    }

    fn is_below_capacity(self) -> bool {
        self.running() < self.capacity()
    }

    fn is_over(self) -> bool {
        self.running() > self.capacity()
    }

    fn with_capacity(self, capacity: u32) -> Word {
        Word(
            self.0 & (Self::RUNNING | Self::STARTING) | u64::from(capacity) << Self::CAPACITY_SHIFT,
        )
    }

    fn with_one_more(self) -> Word {
        Word(self.0 + 1)
    }

    fn with_one_less(self) -> Word {
        Word(self.0 - 1)
    }

    fn with_starting(self, starting: bool) -> Word {
        Word(if starting {
            self.0 | Self::STARTING
        } else {
            self.0 & !Self::STARTING
        })
    }
}

/// See the module's description. All changes, and the reads on which decisions depend, are SeqCst: they are halves of
/// "write mine, then read yours" steps (see README.md).
pub struct WorkerCount {
    word: CachePadded<AtomicU64>,
    /// The most workers ever alive. (A standard library atomic, which no model explores: no task depends on it.)
    peak: std::sync::atomic::AtomicU32,
    unlimited: bool,
}

impl WorkerCount {
    pub fn new(capacity: Option<u32>) -> Self {
        let word = Word(0).with_capacity(capacity.unwrap_or(MAX_CAPACITY));
        WorkerCount {
            word: CachePadded::new(AtomicU64::new(word.0)),
            peak: std::sync::atomic::AtomicU32::new(0),
            unlimited: capacity.is_none(),
        }
    }

    fn word(&self) -> Word {
        Word(self.word.load(Ordering::SeqCst))
    }

    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Result<Word, Word> {
        self.word
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                change(Word(word)).map(|word| word.0)
            })
            .map(Word)
            .map_err(Word)
    }

    /// The workers alive, the one being started included.
    pub fn running(&self) -> u32 {
        self.word().running()
    }

    /// The workers really present: without the one whose thread may yet fail to start.
    pub fn present(&self) -> u32 {
        let word = self.word();
        // A new worker may come and go before its start is confirmed: nobody is counted for that moment.
        word.running().saturating_sub(u32::from(word.is_starting()))
    }

    /// The maximum number of workers; `None`: any number.
    pub fn capacity(&self) -> Option<u32> {
        (!self.unlimited).then(|| self.word().capacity())
    }

    /// Another worker may be started.
    pub fn is_below_capacity(&self) -> bool {
        self.word().is_below_capacity()
    }

    /// More workers are alive than may be.
    pub fn is_over(&self) -> bool {
        self.word().is_over()
    }

    /// How many workers are too many.
    pub fn surplus(&self) -> u32 {
        let word = self.word();
        word.running().saturating_sub(word.capacity())
    }

    pub fn set_capacity(&self, capacity: u32) {
        let _ = self.update(|word| Some(word.with_capacity(capacity)));
    }

    /// The most workers ever alive at once.
    pub fn peak(&self) -> u32 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Adds a worker, only below the capacity; returns whether it did. The caller holds the spawn lock.
    fn add(&self, change: impl Fn(Word) -> Word) -> bool {
        let before = self.update(|word| {
            word.is_below_capacity()
                .then(|| change(word.with_one_more()))
        });
        if let Ok(before) = before {
            self.peak.fetch_max(before.running() + 1, Ordering::Relaxed);
        }
        before.is_ok()
    }

    /// Counts a worker about to be started, only below the capacity. The caller holds the spawn lock, and calls
    /// `confirm` or `abort` before it releases it.
    pub fn reserve(&self) -> bool {
        self.add(|word| word.with_starting(true))
    }

    /// The worker's thread was started.
    pub fn confirm(&self) {
        let _ = self.update(|word| Some(word.with_starting(false)));
    }

    /// The worker's thread could not be started.
    pub fn abort(&self) {
        let _ = self.update(|word| Some(word.with_one_less().with_starting(false)));
    }

    /// A worker counts itself out.
    pub fn depart(&self) {
        let _ = self.update(|word| Some(word.with_one_less()));
    }

    /// A worker counts itself out if there are too many.
    pub fn retire(&self) -> bool {
        self.update(|word| word.is_over().then(|| word.with_one_less()))
            .is_ok()
    }

    /// A worker that has counted itself out comes back, only below the capacity. The caller holds the spawn lock.
    pub fn rejoin(&self) -> bool {
        self.add(|word| word)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_capacity() {
        let worker_count = WorkerCount::new(Some(2));
        assert!(worker_count.reserve());
        worker_count.confirm();
        assert!(worker_count.reserve());
        worker_count.confirm();
        assert!(!worker_count.reserve());
        assert!(!worker_count.rejoin());
        worker_count.set_capacity(1);
        assert_eq!(
            (
                worker_count.running(),
                worker_count.surplus(),
                worker_count.is_over()
            ),
            (2, 1, true)
        );
        assert!(worker_count.retire());
        assert!(!worker_count.retire());
        assert_eq!(worker_count.running(), 1);
    }

    #[test]
    fn a_worker_that_comes_back_counts_for_the_peak() {
        let worker_count = WorkerCount::new(Some(2));
        assert!(worker_count.reserve());
        worker_count.depart();
        assert!(worker_count.reserve());
        assert_eq!((worker_count.running(), worker_count.peak()), (1, 1));
        assert!(worker_count.rejoin());
        assert_eq!((worker_count.running(), worker_count.peak()), (2, 2));
    }

    #[test]
    fn a_worker_being_started_is_counted_but_not_present() {
        let worker_count = WorkerCount::new(None);
        assert_eq!(worker_count.capacity(), None);
        assert!(worker_count.reserve());
        assert_eq!((worker_count.running(), worker_count.present()), (1, 0));
        worker_count.abort();
        assert_eq!((worker_count.running(), worker_count.present()), (0, 0));
        assert!(worker_count.reserve());
        worker_count.depart();
        assert_eq!((worker_count.running(), worker_count.present()), (0, 0));
        worker_count.confirm();
        assert_eq!((worker_count.running(), worker_count.present()), (0, 0));
    }

    #[test]
    fn the_largest_capacity_fits() {
        let worker_count = WorkerCount::new(Some(MAX_CAPACITY));
        assert_eq!(worker_count.capacity(), Some(MAX_CAPACITY));
        assert!(worker_count.reserve());
        assert_eq!(worker_count.present(), 0);
    }
}
