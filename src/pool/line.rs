//! The submitters that wait for room, first come, first served.
//!
//! A waiting submitter leaves its task in the line. Whoever makes room takes the oldest one's task along and tells the
//! submitter, which has then nothing left to do: the permit passes from hand to hand.

use super::error::Error;
use super::family::Family;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::{Arc, Condvar, Luck, Mutex, MutexGuard, Patience, lock, wait};
use std::collections::VecDeque;
use std::time::Duration;

enum Slot<T> {
    /// In line, with its task.
    Waiting(T),
    /// In line, with its task in the hands of whoever holds the line's lock.
    Lent,
    /// The task was accepted.
    Accepted,
    /// The task was not accepted.
    Refused(Error, T),
    /// The submitter is to try again by itself.
    Retry(T),
    /// The submitter has taken its answer.
    Answered,
    /// Nobody waited, and the task was taken back.
    Withdrawn,
}

impl<T> Slot<T> {
    fn is_pending(&self) -> bool {
        matches!(self, Slot::Waiting(_) | Slot::Lent)
    }

    /// What `answer` makes of the task of one who waits.
    fn map(self, answer: impl FnOnce(T) -> Slot<T>) -> Slot<T> {
        match self {
            Slot::Waiting(task) => answer(task),
            other => other,
        }
    }
}

/// What a submitter in line is told.
pub enum Answer<T> {
    /// The task was accepted.
    Accepted,
    /// The task was not accepted.
    Refused(Error, T),
    /// The submitter is to try again by itself.
    Retry(T),
}

struct Desk<T> {
    slot: Slot<T>,
    /// The submitter sleeps on the bell; else it need not be rung, which would be a system call.
    asleep: bool,
}

/// One submitter in line.
pub struct Waiter<T> {
    desk: Mutex<Desk<T>>,
    bell: Condvar,
    /// There is an answer on the desk: for a submitter that spins. What it says is read under the lock.
    answered: AtomicBool,
    /// It is a worker of the pool's family and waits without limit of time.
    bound: bool,
    /// It will do with any pool of the family.
    roams: bool,
    /// Nobody waits: the task was enlisted, and its submitter went on.
    absent: bool,
}

/// How somebody stands in line.
#[derive(Clone, Copy, Default)]
pub struct Stand {
    /// It is a worker of the pool's family and waits without limit of time.
    pub bound: bool,
    /// It will do with any pool of the family.
    pub roams: bool,
    /// Nobody waits: the task was enlisted, and its submitter goes on.
    pub absent: bool,
}

impl<T> Waiter<T> {
    fn new(task: T, stand: Stand) -> Self {
        let desk = Mutex::new(Desk {
            slot: Slot::Waiting(task),
            asleep: false,
        });
        Waiter {
            desk,
            bell: Condvar::new(),
            answered: AtomicBool::new(false),
            bound: stand.bound,
            roams: stand.roams,
            absent: stand.absent,
        }
    }

    /// Answers with what `answer` makes of the task in the slot.
    fn answer(&self, answer: impl FnOnce(Slot<T>) -> Slot<T>) {
        let mut desk = lock(&self.desk);
        desk.slot = answer(std::mem::replace(&mut desk.slot, Slot::Lent));
        let asleep = desk.asleep;
        drop(desk);
        self.answered.store(true, Ordering::Relaxed);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Takes the task of a submitter that is in line, which the line's lock ensures.
    fn take_task(&self) -> Option<T> {
        let mut desk = lock(&self.desk);
        match std::mem::replace(&mut desk.slot, Slot::Lent) {
            Slot::Waiting(task) => Some(task),
            other => {
                desk.slot = other;
                None
            }
        }
    }

    fn put_task(&self, task: T) {
        lock(&self.desk).slot = Slot::Waiting(task);
    }

    /// Takes back a task that nobody waits with, under the line's lock. One that is being tried again has no place just
    /// now, and gets none any more (`Locked::join_again`).
    fn withdraw(&self) -> Option<T> {
        let mut desk = lock(&self.desk);
        match std::mem::replace(&mut desk.slot, Slot::Withdrawn) {
            Slot::Waiting(task) => Some(task),
            Slot::Lent => None,
            other => {
                desk.slot = other;
                None
            }
        }
    }

    fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.desk).slot, Slot::Withdrawn)
    }

    /// Waits for the answer for at most as long as one look of `patience`; `None`: none yet.
    fn wait(&self, patience: &Patience<'_>) -> Option<Answer<T>> {
        let mut desk = lock(&self.desk);
        let limit = patience.next_wait();
        desk.asleep = true;
        // One look where time is limited, since the caller has to see to the clock and to interrupts between two.
        if desk.slot.is_pending() {
            desk = wait(&self.bell, desk, limit);
        }
        while limit.is_none() && desk.slot.is_pending() {
            desk = wait(&self.bell, desk, None);
        }
        desk.asleep = false;
        Self::read(&mut desk.slot)
    }

    fn read(slot: &mut Slot<T>) -> Option<Answer<T>> {
        match std::mem::replace(slot, Slot::Answered) {
            Slot::Accepted => Some(Answer::Accepted),
            Slot::Refused(error, task) => Some(Answer::Refused(error, task)),
            Slot::Retry(task) => Some(Answer::Retry(task)),
            pending @ (Slot::Waiting(_) | Slot::Lent) => {
                *slot = pending;
                None
            }
            Slot::Answered | Slot::Withdrawn => unreachable!("a submitter is answered once"),
        }
    }
}

struct Place<T> {
    waiter: Arc<Waiter<T>>,
    /// The submitter is seeing to an interrupt and may be about to give up: it is passed over meanwhile.
    held: bool,
}

/// A task whose submitter did not wait and that leaves the line otherwise than into the pool.
pub struct Returned<T> {
    pub waiter: Arc<Waiter<T>>,
    pub task: T,
    /// Why it is refused; `None`: it is to be tried again.
    pub error: Option<Error>,
}

/// The places in line, under the line's lock.
pub struct Places<T> {
    queue: VecDeque<Place<T>>,
    /// How many of the places are empty: their tasks were withdrawn. To take each out at once would cost a search for it.
    empty: usize,
    family: Arc<Family>,
    /// To be seen to by whoever holds the lock, once it has let go of it.
    returned: Vec<Returned<T>>,
}

impl<T> Places<T> {
    pub fn len(&self) -> usize {
        self.queue.len() - self.empty
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, waiter: &Arc<Waiter<T>>) -> Option<usize> {
        self.queue
            .iter()
            .position(|place| Arc::ptr_eq(&place.waiter, waiter))
    }

    /// The oldest one that is not held, and its task; it keeps its place.
    pub fn first(&mut self) -> Option<(Arc<Waiter<T>>, T)> {
        while self.is_empty_at(0) {
            self.take_out(0);
        }
        self.queue
            .iter()
            .filter(|place| !place.held)
            .find_map(|place| {
                // None: the place is empty.
                let task = place.waiter.take_task()?;
                Some((Arc::clone(&place.waiter), task))
            })
    }

    fn is_empty_at(&self, index: usize) -> bool {
        self.empty > 0
            && self
                .queue
                .get(index)
                .is_some_and(|place| place.waiter.is_withdrawn())
    }

    /// Puts back the task that `first` gave.
    pub fn put_back(&mut self, waiter: &Waiter<T>, task: T) {
        waiter.put_task(task);
    }

    /// Takes the submitter at `index` out of the line. It is not bound from this moment on, although it may sleep a
    /// little longer.
    fn take_out(&mut self, index: usize) -> Option<Arc<Waiter<T>>> {
        if self.is_empty_at(index) {
            self.empty -= 1;
        }
        let waiter = self.queue.remove(index)?.waiter;
        if waiter.bound {
            self.family.unbind();
        }
        Some(waiter)
    }

    /// Takes back the task of one that nobody waits with; `None`: it is not in line.
    pub fn withdraw(&mut self, waiter: &Waiter<T>) -> Option<T> {
        let task = waiter.withdraw()?;
        self.empty += 1;
        // As many steps as places are taken out, so that each withdrawal costs but a few.
        if self.empty * 2 > self.queue.len() {
            self.queue.retain(|place| !place.waiter.is_withdrawn());
            self.empty = 0;
        }
        Some(task)
    }

    /// Hands a task that nobody waits with to whoever holds the lock.
    fn hand_back(&mut self, waiter: Arc<Waiter<T>>, error: Option<Error>) {
        if let Some(task) = waiter.take_task() {
            self.returned.push(Returned {
                waiter,
                task,
                error,
            });
        }
    }

    /// Takes `waiter` out of the line; `false`: it was not there.
    fn remove(&mut self, waiter: &Arc<Waiter<T>>) -> bool {
        self.find(waiter)
            .and_then(|index| self.take_out(index))
            .is_some()
    }

    /// Takes everybody out of the line with the same answer.
    pub fn refuse_all(&mut self, error: impl Fn() -> Error) {
        while let Some(waiter) = self.take_out(0) {
            if waiter.absent {
                self.hand_back(waiter, Some(error()));
            } else {
                waiter.answer(|slot| slot.map(|task| Slot::Refused(error(), task)));
            }
        }
    }

    /// Takes everybody out of the line to try again by themselves.
    pub fn retry_all(&mut self) {
        while let Some(waiter) = self.take_out(0) {
            if waiter.absent {
                self.hand_back(waiter, None);
            } else {
                waiter.answer(|slot| slot.map(Slot::Retry));
            }
        }
    }

    /// Takes all that are bound and roam out of the line to try again by themselves.
    pub fn retry_bound(&mut self) {
        while let Some(index) = self
            .queue
            .iter()
            .position(|place| place.waiter.bound && place.waiter.roams)
        {
            if let Some(waiter) = self.take_out(index) {
                waiter.answer(|slot| slot.map(Slot::Retry));
            }
        }
    }

    /// Takes the youngest of those that are bound out of the line with this answer; whether there was one.
    pub fn refuse_youngest_bound(&mut self, error: Error) -> bool {
        let youngest = self.queue.iter().rposition(|place| place.waiter.bound);
        let waiter = youngest.and_then(|index| self.take_out(index));
        if let Some(waiter) = &waiter {
            waiter.answer(|slot| slot.map(|task| Slot::Refused(error, task)));
        }
        waiter.is_some()
    }
}

/// For how long a submitter in line may look out for its answer: longer than it takes to wake the worker that will answer.
const LOOKOUT: Duration = Duration::from_micros(50);

/// See the module's description.
pub struct Line<T> {
    places: Mutex<Places<T>>,
    /// The length of the line, for those who only ask.
    len: AtomicUsize,
    /// How many of them are held.
    held: AtomicUsize,
    /// Whether it pays to look out for an answer before going to sleep.
    luck: Luck,
}

/// The line's lock. Letting go of it publishes the line's length.
pub struct Locked<'a, T> {
    places: MutexGuard<'a, Places<T>>,
    len: &'a AtomicUsize,
}

impl<T> std::ops::Deref for Locked<'_, T> {
    type Target = Places<T>;
    fn deref(&self) -> &Places<T> {
        &self.places
    }
}

impl<T> std::ops::DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut Places<T> {
        &mut self.places
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.len.store(self.places.len(), Ordering::Relaxed);
    }
}

impl<T> Line<T> {
    pub fn new(family: Arc<Family>) -> Self {
        Line {
            places: Mutex::new(Places {
                queue: VecDeque::new(),
                empty: 0,
                family,
                returned: Vec::new(),
            }),
            len: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            luck: Luck::new(LOOKOUT),
        }
    }

    pub fn lock(&self) -> Locked<'_, T> {
        Locked {
            places: lock(&self.places),
            len: &self.len,
        }
    }

    /// How many submitters wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Nobody waits but those who are seeing to an interrupt, and may be waiting for just this.
    pub fn is_quiet(&self) -> bool {
        self.len() <= self.held.load(Ordering::Relaxed)
    }
}

impl<T> Locked<'_, T> {
    /// Takes `waiter`, whose task `first` gave, out of the line and tells it that the task was accepted.
    pub fn accept(&mut self, waiter: &Arc<Waiter<T>>) {
        self.places.remove(waiter);
        // The length first: who returns from a submit is not counted as waiting any more.
        self.len.store(self.places.len(), Ordering::Relaxed);
        waiter.answer(|_| Slot::Accepted);
    }

    /// Lets go of the lock; the tasks that nobody waits for and that are now to be seen to.
    #[must_use]
    pub fn unlock(mut self) -> Vec<Returned<T>> {
        std::mem::take(&mut self.places.returned)
    }

    /// Joins the line.
    pub fn join(&mut self, task: T, stand: Stand) -> Arc<Waiter<T>> {
        if stand.bound {
            self.places.family.bind();
        }
        let waiter = Arc::new(Waiter::new(task, stand));
        self.take_place(&waiter);
        waiter
    }

    /// Joins the line again with a task that nobody waits with, as the same one as before; an error: it was withdrawn
    /// meanwhile.
    pub fn join_again(&mut self, task: T, waiter: &Arc<Waiter<T>>) -> Result<(), T> {
        if waiter.is_withdrawn() {
            return Err(task);
        }
        waiter.put_task(task);
        self.take_place(waiter);
        Ok(())
    }

    fn take_place(&mut self, waiter: &Arc<Waiter<T>>) {
        self.places.queue.push_back(Place {
            waiter: Arc::clone(waiter),
            held: false,
        });
    }
}

/// Why a wait in line ended.
pub enum Waited<T> {
    /// There is an answer.
    Answered(Answer<T>),
    /// The submitter gave up, and is no longer in line.
    GaveUp(Error, T),
}

impl<T> Line<T> {
    /// Waits in line for an answer, or until `patience` is at its end. `unheld` is called when a place was passed over
    /// for a moment and is not any more: room that came up meanwhile must be looked for again. Only who `is_first` in line
    /// looks out before it goes to sleep: several would keep each other, and the workers, from the processors.
    pub fn wait(
        &self,
        waiter: &Arc<Waiter<T>>,
        patience: &mut Patience<'_>,
        is_first: bool,
        unheld: impl Fn(),
    ) -> Waited<T> {
        if is_first {
            self.luck.spin(|| waiter.answered.load(Ordering::Relaxed));
        }
        loop {
            if let Some(answer) = waiter.wait(patience) {
                return Waited::Answered(answer);
            }
            if patience.is_over() {
                if let Some(task) = self.give_up(waiter) {
                    return Waited::GaveUp(Error::Timeout, task);
                }
            } else if patience.is_look_due() && self.hold(waiter, true) {
                // An interrupt that is taken note of must find the task not accepted, so none is while we look.
                self.held.fetch_add(1, Ordering::Relaxed);
                let interrupted = patience.is_interrupted();
                self.held.fetch_sub(1, Ordering::Relaxed);
                if interrupted {
                    return match self.give_up(waiter) {
                        Some(task) => Waited::GaveUp(Error::Interrupted, task),
                        // Refused meanwhile, or asked to try again: it is the interrupt all the same.
                        None => match waiter.wait(patience) {
                            Some(Answer::Refused(_, task) | Answer::Retry(task)) => {
                                Waited::GaveUp(Error::Interrupted, task)
                            }
                            Some(answer @ Answer::Accepted) => Waited::Answered(answer),
                            None => unreachable!("who is not in line has an answer"),
                        },
                    };
                }
                if self.hold(waiter, false) {
                    unheld();
                }
            }
        }
    }

    fn hold(&self, waiter: &Arc<Waiter<T>>, held: bool) -> bool {
        let mut places = lock(&self.places);
        match places.find(waiter) {
            Some(index) => {
                places.queue[index].held = held;
                true
            }
            None => false,
        }
    }

    /// `None`: no longer in line, the answer is there.
    fn give_up(&self, waiter: &Arc<Waiter<T>>) -> Option<T> {
        let mut places = self.lock();
        if !places.remove(waiter) {
            return None;
        }
        waiter.take_task()
    }
}
