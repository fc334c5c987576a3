//! The expiry thread tells workers that have rested for too long to leave. One thread serves all pools of a process.
//!
//! A worker that rests is entered into a *book*, at the time when it will be overdue, unless an earlier rest has left
//! an entry: so a worker that is called a thousand times within an expiry duration is entered once. The thread sleeps
//! until the first entry is due, removes it, and looks at that seat. It tells a worker that is overdue to leave, enters
//! one that has rested anew since then again, for later, and forgets one that is awake, which enters itself when it
//! rests. It looks at no other seat.
//!
//! A pool that was refused a thread is in the book, too, until it is time to ask again. The expiry thread then asks for
//! it, and starts no more than a worker that looks for work.
//!
//! The thread exists while the book has entries. It knows nothing of a pool but its seats, and these only under the
//! book's lock, and, for a moment, the pool for which it asks for a thread. A pool that is closed removes its entries
//! and waits for that moment to end. So the book never has the last reference to anything, and no user code runs here.

use super::seats::Seats;
use super::threads::Exit;
use crate::pool::deadlock::group::Member;
use crate::pool::sync::{Arc, Condvar, Instant, Mutex, full_fence, lock, thread, wait};
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
    /// The seats whose workers rest, or did when last seen. The key: when to look at the seat, the address of its
    /// table, and its index there.
    entries: BTreeMap<(u64, usize, u32), Arc<Seats>>,
    /// The pools that were refused a thread: when to ask again, and the addresses of their tables of seats.
    refused: Vec<(u64, usize, Weak<dyn Member>)>,
    /// The pool for which the thread is asking.
    asking: Option<usize>,
    /// The thread, which exists while there are entries.
    serving: Option<Exit>,
    /// The thread before it, which is about to end.
    former: Option<Exit>,
    /// The system refused the expiry thread: ask for none before this time.
    refused_until: u64,
}

impl Book {
    /// Enters a seat that is not in the book, and whose worker has rested since `since`.
    fn enter(&mut self, seats: &Arc<Seats>, index: u32, since: u64) {
        // Workers that began to rest shortly after one another leave together: the thread looks at their pool a few
        // times per expiry duration, and at most once in a millisecond, so that a short duration does not make it spin.
        let grain = (seats.expiry() / LOOKS).max(SHORTEST_PAUSE) / SHORTEST_PAUSE * SHORTEST_PAUSE;
        let overdue = since.saturating_add(seats.expiry());
        let due = (overdue / grain).saturating_add(1).saturating_mul(grain);
        seats.get(index).set_due(Some(due));
        self.entries
            .insert(Self::key(due, seats, index), Arc::clone(seats));
    }

    /// Removes a seat, if it is in the book.
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

    /// Removes and returns a pool for which a thread is to be asked for now.
    fn take_refused(&mut self, now: u64) -> Option<Arc<dyn Member>> {
        let index = self.refused.iter().position(|&(due, ..)| due <= now)?;
        let (_, address, pool) = self.refused.swap_remove(index);
        let pool = pool.upgrade();
        self.asking = pool.is_some().then_some(address);
        pool
    }

    /// There are no entries: the thread, if there is one, is to end.
    fn dismiss(&mut self) {
        if self.serving.is_some() {
            self.former = self.serving.take();
        }
    }

    /// Looks at the seat that is due first, and tells its worker to leave if it is overdue.
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
        // First removed from the book, then the check whether the worker rests. A worker does the opposite.
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

    /// Makes sure that the worker in a seat will expire, unless its pool is closed. The worker has put itself on the
    /// idle stack and passed a full fence. `false`: the system refused the thread.
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
        // In a closed pool the worker is called, if it has not been: the closer removes the entries after closing.
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

    /// Asks again for a thread for this pool in `after` nanoseconds, unless it is closed; `false`: the system refuses
    /// the expiry thread.
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

    /// Makes sure that the thread serves an entry that was just made, where the first one was due at `first`; `false`:
    /// the system refused it.
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
                    // A worker that is about to rest, or a thread that closes a pool, goes first.
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

    /// Looks at the seat that is due first, as if the time were `now`.
    #[cfg(any(loom, shuttle))]
    pub fn look_at_first(&self, now: u64) {
        lock(&self.book).look(now);
    }

    /// A pool is closed: none of its workers will expire, and the thread ends unless other pools need it.
    pub fn forget(&self, seats: &Arc<Seats>) {
        let mut book = lock(&self.book);
        for index in 0..seats.used() {
            book.strike_out(seats, index);
        }
        let address = Arc::as_ptr(seats) as usize;
        book.refused.retain(|&(_, other, _)| other != address);
        // The closer has a reference to the pool, which it drops after the thread has dropped its own.
        while book.asking == Some(address) {
            book = wait(&self.condvar, book, None);
        }
        // While the thread asks for another pool, that pool may enter itself again.
        if book.first_due().is_none() && book.asking.is_none() {
            book.dismiss();
            self.condvar.notify_all();
        }
    }

    /// Waits until a thread that is no longer needed has ended.
    pub fn join_former(&self) {
        let former = lock(&self.book).former.clone();
        if let Some(former) = former {
            former.join();
        }
    }
}

/// How often the thread looks at a pool in one expiry duration, at most.
const LOOKS: u64 = 8;
/// However short the expiry duration.
const SHORTEST_PAUSE: u64 = 1_000_000;
/// How long to ask for no thread after the system refused one.
const PAUSE: u64 = 100_000_000;
/// How many seats to look at before others may lock the book.
const AT_A_TIME: usize = 64;
/// The thread makes no deep calls.
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
