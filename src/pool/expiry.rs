//! The expiry thread: tells workers that have rested for too long to leave. One serves all the pools of a process.
//!
//! A worker that goes to rest is entered into a *book*, for the time when it will be overdue, unless it stands there from
//! an earlier rest: so one that rests and is called a thousand times in an expiry duration is entered once. The thread
//! sleeps until the first entry is due, strikes it out, and looks at that seat. A worker that is overdue is told to leave;
//! one that has rested anew since is entered again, for later; one that is awake will be when it rests. No other seat is
//! looked at.
//!
//! The thread is there while the book has entries. It knows nothing of a pool but its seats, and these only under the
//! book's lock; a pool that is closed strikes its workers out. So the book never has the last reference to anything, and
//! nothing that is a user's is in its reach.

use super::core::Core;
use super::host::Host;
use super::seat::Seats;
use super::sync::{Arc, Condvar, Instant, Mutex, full_fence, lock, thread, wait};
use super::threads::Exit;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's description.
pub struct Expiry {
    born: Instant,
    book: Mutex<Book>,
    bell: Condvar,
}

#[derive(Default)]
struct Book {
    /// The seats whose workers rest, or did when last seen. The key: when to look at the seat, the address of its table, and its
    /// number there.
    entries: BTreeMap<(u64, usize, u32), Arc<Seats>>,
    /// The thread. There is one as long as there are entries.
    serving: Option<Exit>,
    /// The one before it, which has but to end.
    former: Option<Exit>,
    /// The system gave no thread: none is asked for before that time.
    refused_until: u64,
}

impl Book {
    /// Enters a seat that is not in the book, and whose worker rests since then.
    fn enter(&mut self, seats: &Arc<Seats>, index: u32, since: u64) {
        // Workers that began to rest one shortly after another leave together: their pool is looked at a few times in an
        // expiry duration, and however short that is, the thread looks once in a millisecond and does not spin.
        let grain = (seats.expiry() / LOOKS).max(SHORTEST_PAUSE) / SHORTEST_PAUSE * SHORTEST_PAUSE;
        let overdue = since.saturating_add(seats.expiry());
        let due = (overdue / grain).saturating_add(1).saturating_mul(grain);
        seats.get(index).set_due(Some(due));
        self.entries
            .insert(Self::key(due, seats, index), Arc::clone(seats));
    }

    /// Strikes a seat out, if it is in the book.
    fn strike_out(&mut self, seats: &Arc<Seats>, index: u32) {
        let seat = seats.get(index);
        if let Some(due) = seat.due() {
            seat.set_due(None);
            self.entries.remove(&Self::key(due, seats, index));
        }
    }

    fn key(due: u64, seats: &Arc<Seats>, index: u32) -> (u64, usize, u32) {
        (due, Arc::as_ptr(seats) as usize, index)
    }

    /// When the first entry is due.
    fn first_due(&self) -> Option<u64> {
        self.entries.keys().next().map(|&(due, ..)| due)
    }

    /// There are no entries: the thread, if there is one, goes.
    fn dismiss(&mut self) {
        if self.serving.is_some() {
            self.former = self.serving.take();
        }
    }

    /// Looks at the seat that is due first: tells the worker there to leave if it is overdue.
    fn look(&mut self, now: u64) {
        let Some(((_, _, index), seats)) = self.entries.pop_first() else {
            return;
        };
        let seat = seats.get(index);
        seat.set_due(None);
        // Out of the book, then a look whether the worker rests. A worker does the opposite.
        full_fence();
        while let Some((rest, since)) = seat.resting() {
            if now.saturating_sub(since) < seats.expiry() {
                return self.enter(&seats, index, since);
            }
            if seat.expire(rest) {
                return;
            }
        }
    }
}

impl Expiry {
    pub fn new() -> Self {
        Expiry {
            born: Instant::now(),
            book: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// Nanoseconds since the first pool of the process was made.
    pub fn now(&self) -> u64 {
        self.born.elapsed().as_nanos() as u64
    }

    /// Sees to it that the worker in a seat will expire, which has put itself on the idle stack and a full fence after it, unless
    /// its pool is closed; `false`: the system refused the thread.
    #[inline]
    pub fn see_to(
        &'static self,
        seats: &Arc<Seats>,
        index: u32,
        is_closed: impl Fn() -> bool,
    ) -> bool {
        seats.get(index).due().is_some() || self.enter(seats, index, is_closed)
    }

    fn enter(&'static self, seats: &Arc<Seats>, index: u32, is_closed: impl Fn() -> bool) -> bool {
        let mut book = lock(&self.book);
        // In a closed pool the worker is called, if it has not been. Who closes it strikes out after that who is entered here.
        if seats.get(index).due().is_some() || is_closed() {
            return true;
        }
        if book.serving.is_none() && self.now() < book.refused_until {
            return false;
        }
        let first = book.first_due();
        book.enter(seats, index, seats.get(index).resting_since());
        if book.serving.is_none() {
            let former = book.former.clone();
            let started = Exit::start("pyants_expiry".to_owned(), Some(STACK), move |own| {
                if let Some(former) = former {
                    former.join();
                }
                self.serve(own);
            });
            match started {
                Ok(exit) => book.serving = Some(exit),
                Err(_) => {
                    book.refused_until = self.now() + PAUSE;
                    book.strike_out(seats, index);
                    return false;
                }
            }
        } else if book.first_due() < first {
            self.bell.notify_one();
        }
        true
    }

    fn serve(&self, own: &Exit) {
        let mut book = lock(&self.book);
        while book.serving.as_ref() == Some(own) {
            let now = self.now();
            match book.first_due() {
                None => book.dismiss(),
                Some(due) if due > now => {
                    let pause = Duration::from_nanos(due - now);
                    book = wait(&self.bell, book, Some(pause));
                }
                Some(_) => {
                    for _ in 0..AT_A_TIME {
                        if book.first_due().is_some_and(|due| due <= now) {
                            book.look(now);
                        }
                    }
                    // Whoever wants to rest, or to close a pool, goes first.
                    drop(book);
                    thread::yield_now();
                    book = lock(&self.book);
                }
            }
        }
    }

    /// Looks at the seat that is due first, as if it were a certain time.
    #[cfg(any(loom, shuttle))]
    pub fn look_at_first(&self, now: u64) {
        lock(&self.book).look(now);
    }

    /// A pool is closed: no worker of it will expire, and the thread goes unless other pools need it.
    pub fn forget(&self, seats: &Arc<Seats>) {
        let mut book = lock(&self.book);
        for index in 0..seats.used() {
            book.strike_out(seats, index);
        }
        if book.first_due().is_none() {
            book.dismiss();
            self.bell.notify_one();
        }
    }

    /// Waits until a thread that is not needed any more has ended.
    pub fn join_former(&self) {
        let former = lock(&self.book).former.clone();
        if let Some(former) = former {
            former.join();
        }
    }
}

impl<H: Host> Core<H> {
    /// A worker has gone to rest: sees to it that it will expire. The caller has put itself on the idle stack and a full
    /// fence after it.
    /// `Some`: the thread could not be started, and the worker is to see to itself after so long.
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

/// How often the thread looks for the workers of a pool in one expiry duration, at most.
const LOOKS: u64 = 8;
/// However short the expiry duration.
const SHORTEST_PAUSE: u64 = 1_000_000;
/// For how long no thread is asked for where the system gave none.
const PAUSE: u64 = 100_000_000;
/// How many workers are told to leave before others may have the book.
const AT_A_TIME: usize = 64;
/// The thread calls nothing deep.
const STACK: usize = 64 * 1024;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_after_an_expiry_and_soon_but_not_more_than_once_in_a_millisecond() {
        const SECOND: u64 = 1_000_000_000;
        for expiry in [
            0,
            1,
            1_000,
            900_000,
            1_000_000,
            9_999_999,
            SECOND,
            3_600 * SECOND,
        ] {
            let seats = Arc::new(Seats::new(Some(Duration::from_nanos(expiry))));
            let index = seats.fresh();
            for since in [0, 1, 999_999, 1_000_000, 17 * SECOND + 3] {
                let mut book = Book::default();
                book.enter(&seats, index, since);
                let due = book.first_due().expect("it was entered");
                assert!(due > since + expiry);
                assert!(due <= since + expiry + (expiry / LOOKS).max(SHORTEST_PAUSE));
                assert_eq!(due % SHORTEST_PAUSE, 0);
                book.strike_out(&seats, index);
                assert_eq!(book.first_due(), None);
            }
        }
        // Never.
        let seats = Arc::new(Seats::new(Some(Duration::MAX)));
        let index = seats.fresh();
        let mut book = Book::default();
        book.enter(&seats, index, 1);
        assert_eq!(book.first_due(), Some(u64::MAX));
    }
}
