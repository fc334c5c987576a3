//! A worker's seat: where others find it while it is idle, where it sleeps, and where it counts.
//!
//! Seats are made on demand, used by one worker after another, and never freed while the pool lives. Exactly one thread
//! owns a seat at a time: the worker in it, or (vacant) the thread that popped it from the stack of vacant seats.
//!
//! The state word of a seat, and who may move it where:
//!
//! ```text
//!  state          meaning                                              moved by        to
//!  -------------  ---------------------------------------------------  --------------  ---------------------------
//!  Awake          no worker, or one that runs or looks for a task       the worker      Parked
//!  Parked         on the idle stack, not yet asleep                     the worker      Asleep
//!                                                                       the popper      Called, CalledToSearch
//!                                                                       expiry thread   Overdue
//!  Asleep         on the idle stack, asleep on the condvar             as Parked, and the caller must notify it
//!  Overdue        on the idle stack, told to leave                      the worker      Left
//!                                                                       the popper      Called, CalledToSearch
//!  Called         popped: check (closed? over capacity?)                the worker      Awake
//!  CalledToSearch popped and given the search token: find a task        the worker      Awake
//!  Left           on the idle stack, without a worker                   the popper      Awake, and vacates it
//! ```
//!
//! The upper bits count how often the seat was parked in, so that the expiry thread, having seen an earlier rest of the
//! worker, cannot end a later one.

use super::idle_stack::Links;
use super::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use super::sync::{Arc, Condvar, Instant, Mutex, lock, wait};
use crossbeam_utils::CachePadded;
use std::sync::OnceLock;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum State {
    Awake,
    Parked,
    Asleep,
    Overdue,
    Called,
    CalledToSearch,
    Left,
}

/// A seat's state word: the state, and how often the seat was parked in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u32);

impl Word {
    const STATE: u32 = 0b111;
    const REST: u32 = 0b1000;

    fn state(self) -> State {
        match self.0 & Self::STATE {
            0 => State::Awake,
            1 => State::Parked,
            2 => State::Asleep,
            3 => State::Overdue,
            4 => State::Called,
            5 => State::CalledToSearch,
            _ => State::Left,
        }
    }

    /// The same rest in another state.
    fn with(self, state: State) -> Word {
        Word(self.0 & !Self::STATE | state as u32)
    }

    /// The next rest, just begun.
    fn next_rest(self) -> Word {
        Word(self.0.wrapping_add(Self::REST)).with(State::Parked)
    }

    fn is_resting(self) -> bool {
        matches!(self.state(), State::Parked | State::Asleep)
    }
}

/// Why a worker was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// To check: the pool may be closed or over its capacity.
    Look,
    /// To find a task; the worker holds the search token now.
    Search,
    /// The worker was idle for too long, and has left the seat.
    Leave,
}

/// The tasks that a worker has begun and ended. Written only by the worker in the seat.
#[derive(Default)]
pub struct Tally {
    /// Tasks begun.
    pub started: AtomicU64,
    /// Tasks that returned.
    pub completed: AtomicU64,
    /// Tasks that failed.
    pub failed: AtomicU64,
    /// Tasks that had been taken back.
    pub cancelled: AtomicU64,
}

/// The tasks that ended on a worker.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl Ended {
    pub fn sum(self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, other: Ended) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl Tally {
    /// Adds 1 to a counter that only this thread writes.
    pub fn count(counter: &AtomicU64) {
        // A single writer needs no read-modify-write. Release: a reader of an end also sees the start before it.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Takes 1 back from a counter that only this thread writes.
    pub fn uncount(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Tasks ended.
    pub fn ended(&self) -> Ended {
        // Acquire: a reader of an end also sees what the task did before it.
        Ended {
            completed: self.completed.load(Ordering::Acquire),
            failed: self.failed.load(Ordering::Acquire),
            cancelled: self.cancelled.load(Ordering::Acquire),
        }
    }

    /// Tasks begun and ended, as they were at one moment; the first is at most 1 more than the second.
    pub fn read(&self) -> (u64, Ended) {
        // Each counter is at least as new as the one read before it implies.
        let mut before = self.ended();
        loop {
            let started = self.started.load(Ordering::Acquire);
            let after = self.ended();
            if before == after {
                return (started, before);
            }
            before = after;
        }
    }
}

/// See the module's description.
pub struct Seat {
    link: AtomicU32,
    word: AtomicU32,
    /// When the present rest began, by the expiry clock.
    resting_since: AtomicU64,
    /// When the expiry thread will look at the seat; 0: never. Changed under its book's lock.
    due: AtomicU64,
    /// Held by a worker from before it sleeps until after it wakes, and by others only to notify it.
    mutex: Mutex<()>,
    condvar: Condvar,
    pub(super) tally: Tally,
}

impl Seat {
    fn new() -> Self {
        Seat {
            link: AtomicU32::new(0),
            word: AtomicU32::new(State::Awake as u32),
            resting_since: AtomicU64::new(0),
            due: AtomicU64::new(0),
            mutex: Mutex::new(()),
            condvar: Condvar::new(),
            tally: Tally::default(),
        }
    }

    fn word(&self, ordering: Ordering) -> Word {
        Word(self.word.load(ordering))
    }

    fn replace(&self, old: Word, new: Word) -> Result<(), Word> {
        // AcqRel: hands over what the mover did before (the search token, the seat itself), and takes it over.
        self.word
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    /// The worker begins a rest. It must put the seat on the idle stack next.
    pub fn park(&self, now: u64) {
        self.resting_since.store(now, Ordering::Relaxed);
        // Relaxed read: only the worker moves the word while it is awake. Release: the time is read after it.
        self.word.store(
            self.word(Ordering::Relaxed).next_rest().0,
            Ordering::Release,
        );
    }

    /// The worker does not rest after all; the seat did not get on the stack.
    pub fn unpark(&self) {
        self.word.store(
            self.word(Ordering::Relaxed).with(State::Awake).0,
            Ordering::Release,
        );
    }

    /// The worker sleeps until called. `own_expiry`: how long to sleep before it leaves by itself; `None`: until
    /// called. After `Call::Leave` the seat is no longer the worker's.
    pub fn sleep(&self, own_expiry: Option<Duration>) -> Call {
        let parked = self.word(Ordering::Acquire);
        let asleep = parked.with(State::Asleep);
        let mut word = parked;
        if word.state() == State::Parked {
            let mut mutex = lock(&self.mutex);
            // From here a caller sees that it must notify, and it cannot do so before the wait has begun, since it
            // takes the lock first.
            word = self
                .replace(parked, asleep)
                .map_or_else(|now| now, |()| asleep);
            let deadline = own_expiry.and_then(|expiry| Instant::now().checked_add(expiry));
            while word.state() == State::Asleep {
                let left =
                    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if left == Some(Duration::ZERO) {
                    let overdue = word.with(State::Overdue);
                    word = self
                        .replace(word, overdue)
                        .map_or_else(|now| now, |()| overdue);
                } else {
                    mutex = wait(&self.condvar, mutex, left);
                    word = self.word(Ordering::Acquire);
                }
            }
        }
        if word.state() == State::Overdue {
            // From here the seat belongs to the thread that pops it.
            match self.replace(word, word.with(State::Left)) {
                Ok(()) => return Call::Leave,
                Err(now) => word = now, // Called after all.
            }
        }
        self.unpark();
        match word.state() {
            State::Called => Call::Look,
            State::CalledToSearch => Call::Search,
            state => unreachable!("a sleeping worker was called as {state:?}"),
        }
    }

    /// Calls the worker in a seat just popped. `false`: the worker has left, and the caller must vacate the seat.
    pub fn call(&self, call: Call) -> bool {
        let called = if call == Call::Search {
            State::CalledToSearch
        } else {
            State::Called
        };
        let mut word = self.word(Ordering::Acquire);
        loop {
            let next = match word.state() {
                State::Parked | State::Asleep | State::Overdue => called,
                State::Left => State::Awake,
                state => unreachable!("a seat on the stack was {state:?}"),
            };
            match self.replace(word, word.with(next)) {
                Ok(()) => {
                    // The expiry thread has notified an overdue worker.
                    if word.state() == State::Asleep {
                        self.ring();
                    }
                    return next == called;
                }
                Err(now) => word = now,
            }
        }
    }

    fn ring(&self) {
        drop(lock(&self.mutex));
        self.condvar.notify_one();
    }

    /// The worker has left, and the seat is still on the idle stack.
    pub fn is_left(&self) -> bool {
        self.word(Ordering::Acquire).state() == State::Left
    }

    /// When the expiry thread will look at the seat. Call after a full fence if a decision depends on it, or under the
    /// book's lock.
    pub fn due(&self) -> Option<u64> {
        Some(self.due.load(Ordering::Relaxed)).filter(|&due| due > 0)
    }

    /// Called by the expiry thread's book, under its lock.
    pub fn set_due(&self, due: Option<u64>) {
        self.due.store(due.unwrap_or(0), Ordering::Relaxed);
    }

    /// When the present rest, or the last one, began.
    pub fn resting_since(&self) -> u64 {
        self.resting_since.load(Ordering::Relaxed)
    }

    /// For the expiry thread: the word of a worker that rests, and the time since when.
    pub fn resting(&self) -> Option<(Rest, u64)> {
        let word = self.word(Ordering::Acquire);
        word.is_resting()
            .then(|| (Rest(word), self.resting_since()))
    }

    /// For the expiry thread: tells the worker to leave; `false`: that rest is over, or the worker now sleeps.
    pub fn expire(&self, rest: Rest) -> bool {
        let expired = self.replace(rest.0, rest.0.with(State::Overdue)).is_ok();
        if expired && rest.0.state() == State::Asleep {
            self.ring();
        }
        expired
    }
}

/// One rest of a worker, as the expiry thread saw it.
pub struct Rest(Word);

/// All seats of a pool, by index. The table grows in buckets that never move.
pub struct Seats {
    buckets: [OnceLock<Box<[CachePadded<Seat>]>>; Seats::BUCKETS],
    /// How many seats have been used at least once.
    used: AtomicU32,
    /// How long a worker may rest, in nanoseconds.
    expiry: u64,
}

impl Seats {
    /// The size of the first bucket; each further one is twice as large as the one before.
    const FIRST: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 16 };
    /// Enough for 2^31 seats.
    const BUCKETS: usize = 28;

    pub fn new(expiry: Option<Duration>) -> Self {
        let nanoseconds = expiry.map(|expiry| u64::try_from(expiry.as_nanos()));
        Seats {
            buckets: [const { OnceLock::new() }; Self::BUCKETS],
            used: AtomicU32::new(0),
            expiry: nanoseconds.and_then(Result::ok).unwrap_or(u64::MAX),
        }
    }

    /// How long a worker may rest, in nanoseconds.
    pub fn expiry(&self) -> u64 {
        self.expiry
    }

    /// The bucket of a seat and its place in it.
    fn place(index: u32) -> (usize, usize) {
        let step = index / Self::FIRST + 1;
        let bucket = step.ilog2();
        let before = Self::FIRST * ((1 << bucket) - 1);
        (bucket as usize, (index - before) as usize)
    }

    fn bucket(&self, bucket: usize) -> &[CachePadded<Seat>] {
        self.buckets[bucket].get_or_init(|| {
            (0..(Self::FIRST as usize) << bucket)
                .map(|_| CachePadded::new(Seat::new()))
                .collect()
        })
    }

    /// Allocates `count` seats.
    pub fn reserve(&self, count: u32) {
        for bucket in 0..=Self::place(count.saturating_sub(1)).0 {
            self.bucket(bucket);
        }
    }

    /// A seat never used before. Called by one thread at a time (under the spawn lock).
    pub fn fresh(&self) -> u32 {
        let index = self.used.load(Ordering::Relaxed);
        self.bucket(Self::place(index).0);
        // Release: a reader of the index also finds the bucket.
        self.used.store(index + 1, Ordering::Release);
        index
    }

    /// The seat with this index, which has been given out.
    pub fn get(&self, index: u32) -> &Seat {
        let (bucket, place) = Self::place(index);
        &self.buckets[bucket]
            .get()
            .expect("a seat given out has its bucket")[place]
    }

    /// How many seats were ever given out.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// All seats ever given out.
    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        (0..self.used()).map(|index| self.get(index))
    }
}

impl Links for Arc<Seats> {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.get(index).link
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            let place = Seats::place(index);
            if place != expected {
                assert_eq!(place, (expected.0 + 1, 0), "index {index}");
            }
            assert!(place.1 < (Seats::FIRST as usize) << place.0);
            expected = (place.0, place.1 + 1);
        }
        assert!(Seats::place(i32::MAX as u32).0 < Seats::BUCKETS);
    }

    #[test]
    fn an_expiry_cannot_end_a_later_rest() {
        let seat = Seat::new();
        seat.park(1);
        let (rest, since) = seat.resting().expect("it rests");
        assert_eq!(since, 1);
        assert!(seat.call(Call::Look));
        assert_eq!(seat.sleep(None), Call::Look);
        seat.park(2);
        assert!(!seat.expire(rest));
        assert!(seat.call(Call::Search));
        assert_eq!(seat.sleep(None), Call::Search);
    }

    #[test]
    fn a_worker_told_to_leave_may_be_called_until_it_has_left() {
        let seat = Seat::new();
        for is_called in [true, false] {
            seat.park(1);
            let (rest, _) = seat.resting().expect("it rests");
            assert!(seat.expire(rest));
            if is_called {
                assert!(seat.call(Call::Search));
                assert_eq!(seat.sleep(None), Call::Search);
            } else {
                assert_eq!(seat.sleep(None), Call::Leave);
                assert!(seat.is_left());
                assert!(!seat.call(Call::Search));
            }
        }
    }
}
