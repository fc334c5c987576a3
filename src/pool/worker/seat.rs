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

use super::tally::Tally;
use crate::pool::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::pool::sync::{Condvar, Instant, Mutex, lock, wait};
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

/// See the module's description.
pub struct Seat {
    pub link: AtomicU32,
    word: AtomicU32,
    /// When the present rest began, by the expiry clock.
    resting_since: AtomicU64,
    /// When the expiry thread will look at the seat; 0: never. Changed under its book's lock.
    due: AtomicU64,
    /// Held by a worker from before it sleeps until after it wakes, and by others only to notify it.
    mutex: Mutex<()>,
    condvar: Condvar,
    pub tally: Tally,
}

impl Seat {
    pub fn new() -> Self {
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

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
