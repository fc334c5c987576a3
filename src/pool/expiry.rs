//! The expiry thread: tells workers that have rested for too long to leave. One serves all the pools of a process.
//!
//! A worker that goes to rest is entered into a *book*, for the time when it will be overdue, unless it stands there from
//! an earlier rest: so one that rests and is called a thousand times in an expiry duration is entered once. The thread
//! sleeps until the first entry is due, strikes it out, and looks at that seat. A worker that is overdue is told to leave;
//! one that has rested anew since is entered again, for later; one that is awake will be when it rests. No other seat is
//! looked at.
//!
//! A pool that was refused a thread is in the book, too, until it is time to ask again. The thread does so for it, and all that
//! it starts is a worker that looks for something to do.
//!
//! The thread is there while the book has entries. It knows nothing of a pool but its seats, and these only under the
//! book's lock, and for a moment the pool that it asks the system for. A pool that is closed strikes its entries out, and waits
//! for that moment's end. So the book never has the last reference to anything, and nothing that is a user's is run here.

use super::deadlock_group::Member;
use super::seat::Seats;
use super::sync::{Arc, Condvar, Instant, Mutex, full_fence, lock, thread, wait};
use super::threads::Exit;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

/// See the module's description.
pub struct Expiry {
    born: Instant,
    book: Mutex<Book>,
    condvar: Condvar,
}

#[derive(Default)]
struct Book {
    /// The seats whose workers rest, or did when last seen. The key: when to look at the seat, the address of its table, and its
    /// number there.
    entries: BTreeMap<(u64, usize, u32), Arc<Seats>>,
    /// The pools that were refused a thread, the addresses of their tables of seats, and when to ask again.
    refused: Vec<(u64, usize, Weak<dyn Member>)>,
    /// The one that the thread is asking for.
    asking: Option<usize>,
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
        let refused = self.refused.iter().map(|&(due, ..)| due);
        let resting = self.entries.keys().next().map(|&(due, ..)| due);
        refused.chain(resting).min()
    }

    /// Takes a pool out that is to be asked for now.
    fn take_refused(&mut self, now: u64) -> Option<Arc<dyn Member>> {
        let index = self.refused.iter().position(|&(due, ..)| due <= now)?;
        let (_, address, pool) = self.refused.swap_remove(index);
        let pool = pool.upgrade();
        self.asking = pool.is_some().then_some(address);
        pool
    }

    /// There are no entries: the thread, if there is one, goes.
    fn dismiss(&mut self) {
        if self.serving.is_some() {
            self.former = self.serving.take();
        }
    }

    /// Looks at the seat that is due first: tells the worker there to leave if it is overdue.
    fn look(&mut self, now: u64) {
        let Some(first) = self.entries.first_entry() else {
            return;
        };
        if first.key().0 > now {
            return;
        }
        let ((_, _, index), seats) = first.remove_entry();
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
            condvar: Condvar::new(),
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
        let first = book.first_due();
        book.enter(seats, index, seats.get(index).resting_since());
        let is_served = self.serve_from(&mut book, first);
        if !is_served {
            book.strike_out(seats, index);
        }
        is_served
    }

    /// A pool was refused a thread: asks again `after` so many nanoseconds, unless it is closed; `false`: the system gives no thread
    /// for that either.
    pub fn ask_again(
        &'static self,
        seats: &Arc<Seats>,
        pool: Weak<dyn Member>,
        after: u64,
        is_closed: impl Fn() -> bool,
    ) -> bool {
        let mut book = lock(&self.book);
        let address = Arc::as_ptr(seats) as usize;
        if is_closed() || book.refused.iter().any(|&(_, other, _)| other == address) {
            return true;
        }
        let first = book.first_due();
        book.refused.push((self.now() + after, address, pool));
        let is_served = self.serve_from(&mut book, first);
        if !is_served {
            book.refused.pop();
        }
        is_served
    }

    /// Sees to it that the thread is there for an entry that was just made, where the first one was due at `first`; `false`: the
    /// system refuses it.
    fn serve_from(&'static self, book: &mut Book, first: Option<u64>) -> bool {
        if book.serving.is_none() {
            if self.now() < book.refused_until {
                return false;
            }
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
                    return false;
                }
            }
        } else if book.first_due() < first {
            self.condvar.notify_all();
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
                    book = wait(&self.condvar, book, Some(pause));
                }
                Some(_) => {
                    for _ in 0..AT_A_TIME {
                        book.look(now);
                    }
                    let refused = book.take_refused(now);
                    // Whoever wants to rest, or to close a pool, goes first.
                    drop(book);
                    match refused {
                        Some(pool) => pool.ask_for_thread(),
                        None => thread::yield_now(),
                    }
                    book = lock(&self.book);
                    if book.asking.take().is_some() {
                        self.condvar.notify_all();
                    }
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
        let address = Arc::as_ptr(seats) as usize;
        book.refused.retain(|&(_, other, _)| other != address);
        // Whoever closes the pool has a reference to it, which is dropped after the thread's.
        while book.asking == Some(address) {
            book = wait(&self.condvar, book, None);
        }
        // While the thread asks for another pool it may be needed again.
        if book.first_due().is_none() && book.asking.is_none() {
            book.dismiss();
            self.condvar.notify_all();
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
