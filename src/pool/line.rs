//! The submitters that wait for room, first come, first served.
//!
//! A waiting submitter leaves its task in the line. Whoever makes room takes the oldest one's task along and tells the
//! submitter, which has then nothing left to do: the permit passes from hand to hand.

use super::error::Error;
use super::family::Family;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::{Arc, Condvar, Luck, Mutex, MutexGuard, Patience, lock, wait};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::time::Duration;

/// What a submitter in line is told.
pub enum Answer<T> {
    /// The task was accepted.
    Accepted,
    /// The task was not accepted.
    Refused(Error, T),
    /// The submitter is to try again by itself.
    Retry(T),
}

enum Slot<T> {
    /// The task of one who stands in line.
    Waiting(T),
    /// The task is with somebody who took it out of the line, and an answer will come, or it will be in line again.
    Lent,
    /// The answer, which the submitter has yet to take.
    Answered(Answer<T>),
    /// The submitter has taken its answer; or nobody waited, and the task was taken back.
    Empty,
}

struct Desk<T> {
    slot: Slot<T>,
    /// The submitter sleeps on the bell; else it need not be rung, which would be a system call.
    asleep: bool,
    /// The submitter is to look up, although there is no answer.
    nudged: bool,
}

/// One submitter in line.
pub struct Waiter<T> {
    desk: Mutex<Desk<T>>,
    bell: Condvar,
    /// There is an answer on the desk: for a submitter that spins. What it says is read under the lock.
    answered: AtomicBool,
    stand: Stand,
}

/// How somebody stands in line.
#[derive(Clone, Copy, Default)]
pub struct Stand {
    /// It is a worker of the pool's family and waits without limit of time.
    pub bound: bool,
    /// The pool it was to wait for, where it will do with any of several.
    pub home: usize,
    /// It stands in the line of several pools, and will do with any of them.
    pub common: bool,
    /// Nobody waits: the task was enlisted, and its submitter goes on.
    pub absent: bool,
    /// Nor would anybody miss the task: it is let in in its turn, but counts neither as one that waits nor, if it is refused,
    /// as one that was.
    pub spare: bool,
}

impl<T> Waiter<T> {
    fn new(task: T, stand: Stand) -> Self {
        Waiter {
            desk: Mutex::new(Desk {
                slot: Slot::Waiting(task),
                asleep: false,
                nudged: false,
            }),
            bell: Condvar::new(),
            answered: AtomicBool::new(false),
            stand,
        }
    }

    /// Nobody waits for the answer.
    pub fn is_absent(&self) -> bool {
        self.stand.absent
    }

    /// It stands in the line of several pools.
    pub fn is_common(&self) -> bool {
        self.stand.common
    }

    /// Nobody would miss the task.
    pub fn is_spare(&self) -> bool {
        self.stand.spare
    }

    /// Tells the submitter, which has left the line.
    pub fn answer(&self, answer: Answer<T>) {
        let mut desk = lock(&self.desk);
        desk.slot = Slot::Answered(answer);
        let asleep = desk.asleep;
        drop(desk);
        self.answered.store(true, Ordering::Relaxed);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Has the submitter look up, which waits, or will.
    pub fn nudge(&self) {
        let mut desk = lock(&self.desk);
        desk.nudged = true;
        let asleep = desk.asleep;
        drop(desk);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Takes the task of one who stands in line, and leaves `rest` in its place.
    fn take_task(&self, rest: Slot<T>) -> Option<T> {
        let mut desk = lock(&self.desk);
        match std::mem::replace(&mut desk.slot, rest) {
            Slot::Waiting(task) => Some(task),
            other => {
                desk.slot = other;
                None
            }
        }
    }

    /// Takes back a task that nobody waits with, under the line's lock. One that somebody has taken out of the line gets no
    /// place there any more (`Locked::join_again`).
    fn withdraw(&self) -> Option<T> {
        let task = self.take_task(Slot::Empty);
        if task.is_none() {
            let mut desk = lock(&self.desk);
            if matches!(desk.slot, Slot::Lent) {
                desk.slot = Slot::Empty;
            }
        }
        task
    }

    fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.desk).slot, Slot::Empty)
    }

    /// Waits for the answer for at most as long as one look of `patience`, and as `most`; `None`: none yet.
    fn wait(&self, patience: &Patience<'_>, most: Option<Duration>) -> Option<Answer<T>> {
        let is_pending = |desk: &Desk<T>| matches!(desk.slot, Slot::Waiting(_) | Slot::Lent);
        let sleeps_on = |desk: &Desk<T>| is_pending(desk) && !desk.nudged;
        let mut desk = lock(&self.desk);
        let limit = patience.next_wait().into_iter().chain(most).min();
        desk.asleep = true;
        // One look where time is limited, since the caller has to see to the clock and to interrupts between two.
        if sleeps_on(&desk) {
            desk = wait(&self.bell, desk, limit);
        }
        while limit.is_none() && sleeps_on(&desk) {
            desk = wait(&self.bell, desk, None);
        }
        (desk.asleep, desk.nudged) = (false, false);
        if is_pending(&desk) {
            return None;
        }
        match std::mem::replace(&mut desk.slot, Slot::Empty) {
            Slot::Answered(answer) => Some(answer),
            _ => unreachable!("a submitter is answered once"),
        }
    }
}

struct Place<T> {
    waiter: Arc<Waiter<T>>,
    /// The submitter is seeing to an interrupt and may be about to give up: it is passed over meanwhile.
    held: bool,
}

/// The answers for submitters that have left the line. Whoever held its lock delivers them after letting go of it.
pub struct Answers<T> {
    /// Mostly there is one, which costs no memory of its own.
    first: Option<Told<T>>,
    rest: Vec<Told<T>>,
}

type Told<T> = (Arc<Waiter<T>>, Answer<T>);

impl<T> Answers<T> {
    const NONE: Self = Answers {
        first: None,
        rest: Vec::new(),
    };

    /// Those of two lines.
    pub fn append(&mut self, others: Answers<T>) {
        others.into_iter().for_each(|told| self.push(told));
    }

    fn push(&mut self, told: Told<T>) {
        if self.first.is_none() {
            self.first = Some(told);
        } else {
            self.rest.push(told);
        }
    }
}

impl<T> IntoIterator for Answers<T> {
    type Item = Told<T>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Told<T>>, std::vec::IntoIter<Told<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// The places in line, under the line's lock.
pub struct Places<T> {
    queue: VecDeque<Place<T>>,
    /// How many of the places are empty: their tasks were withdrawn. To take each out at once would cost a search for it.
    empty: usize,
    /// How many of them are held.
    held: usize,
    /// How many of them are of spare tasks.
    spare: usize,
    /// How many wait for each of several pools. (Atomics only for those who ask.)
    homes: Arc<[AtomicUsize]>,
    family: Arc<Family>,
    answers: Answers<T>,
}

impl<T> Places<T> {
    pub fn len(&self) -> usize {
        self.queue.len() - self.empty
    }

    /// How many wait: all but the spare tasks.
    pub fn submitters(&self) -> usize {
        self.len() - self.spare
    }

    /// Somebody is to be let in where there is room. Those who are passed over for the moment are not.
    pub fn is_ready(&self) -> bool {
        self.len() > self.held
    }

    fn find(&self, waiter: &Arc<Waiter<T>>) -> Option<usize> {
        self.queue
            .iter()
            .position(|place| Arc::ptr_eq(&place.waiter, waiter))
    }

    /// The place of the oldest one that is not held.
    pub fn first(&mut self) -> Option<usize> {
        while self.is_empty_at(0) {
            self.leave(0);
        }
        (0..self.queue.len()).find(|&index| !self.queue[index].held && !self.is_empty_at(index))
    }

    fn is_empty_at(&self, index: usize) -> bool {
        self.empty > 0
            && self
                .queue
                .get(index)
                .is_some_and(|place| place.waiter.is_withdrawn())
    }

    /// Takes the submitter at `index` out of the line. It is not bound from this moment on, although it may sleep a
    /// little longer.
    fn leave(&mut self, index: usize) -> Option<Arc<Waiter<T>>> {
        let is_empty = self.is_empty_at(index);
        let place = self.queue.remove(index)?;
        self.held -= usize::from(place.held);
        let stand = place.waiter.stand;
        self.spare -= usize::from(stand.spare);
        if stand.bound {
            self.family.unbind();
        }
        if is_empty {
            self.empty -= 1;
        } else if let Some(count) = self.count_at_home(&place.waiter) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        Some(place.waiter)
    }

    /// The count of those who wait as this one does, where they will do with any of several pools.
    fn count_at_home(&self, waiter: &Waiter<T>) -> Option<&AtomicUsize> {
        let stand = waiter.stand;
        self.homes.get(stand.home).filter(|_| !stand.spare)
    }

    /// Takes the submitter at `index` out of the line, with its task. It is to be told something, or to join again.
    pub fn take(&mut self, index: usize) -> Option<(Arc<Waiter<T>>, T)> {
        let waiter = self.leave(index)?;
        let task = waiter.take_task(Slot::Lent)?;
        Some((waiter, task))
    }

    /// Has a submitter that was taken out of the line told something once the lock is let go of.
    pub fn tell(&mut self, waiter: Arc<Waiter<T>>, answer: Answer<T>) {
        self.answers.push((waiter, answer));
    }

    /// Takes the submitter at `index` out of the line, with this answer.
    fn dismiss(&mut self, index: usize, answer: impl FnOnce(T) -> Answer<T>) {
        if let Some((waiter, task)) = self.take(index) {
            self.tell(waiter, answer(task));
        }
    }

    /// Takes back the task, no spare one, of one that nobody waits with; `None`: it is not in line.
    pub fn withdraw(&mut self, waiter: &Waiter<T>) -> Option<T> {
        let task = waiter.withdraw()?;
        self.empty += 1;
        if let Some(count) = self.count_at_home(waiter) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        // As many steps as places are taken out, so that each withdrawal costs but a few.
        if self.empty * 2 > self.queue.len() {
            self.queue.retain(|place| !place.waiter.is_withdrawn());
            self.empty = 0;
        }
        Some(task)
    }

    /// Takes everybody out of the line with the same answer.
    pub fn refuse_all(&mut self, error: impl Fn() -> Error) {
        while !self.queue.is_empty() {
            self.dismiss(0, |task| Answer::Refused(error(), task));
        }
    }

    /// Takes everybody out of the line to try again by themselves.
    pub fn retry_all(&mut self) {
        while !self.queue.is_empty() {
            self.dismiss(0, Answer::Retry);
        }
    }

    /// Takes the youngest of those that are bound out of the line with this answer; whether there was one.
    pub fn refuse_youngest_bound(&mut self, error: Error) -> bool {
        let youngest = self
            .queue
            .iter()
            .rposition(|place| place.waiter.stand.bound);
        if let Some(index) = youngest {
            self.dismiss(index, |task| Answer::Refused(error, task));
        }
        youngest.is_some()
    }

    /// Holds the place of a submitter, or holds it no longer; `false`: it is not in line.
    pub fn hold(&mut self, waiter: &Arc<Waiter<T>>, held: bool) -> bool {
        let Some(index) = self.find(waiter) else {
            return false;
        };
        let before = std::mem::replace(&mut self.queue[index].held, held);
        self.held = self.held + usize::from(held) - usize::from(before);
        true
    }

    /// Takes a submitter that gives up out of the line; `None`: it is not there.
    fn give_up(&mut self, waiter: &Arc<Waiter<T>>) -> Option<T> {
        let index = self.find(waiter)?;
        self.take(index).map(|(_, task)| task)
    }
}

/// For how long a submitter in line may look out for its answer: longer than it takes to wake the worker that will answer.
const LOOKOUT: Duration = Duration::from_micros(50);

/// See the module's description.
pub struct Line<T> {
    places: Mutex<Places<T>>,
    /// How many submitters wait, for those who only ask.
    len: AtomicUsize,
    /// Somebody is to be let in where there is room: the line is not empty, nor held altogether.
    ready: CachePadded<AtomicBool>,
    homes: Arc<[AtomicUsize]>,
    /// Whether it pays to look out for an answer before going to sleep.
    luck: Luck,
}

/// The line's lock. Letting go of it publishes how long the line is.
pub struct Locked<'a, T> {
    places: MutexGuard<'a, Places<T>>,
    line: &'a Line<T>,
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
        let ready = self.places.is_ready();
        if self.line.ready.load(Ordering::Relaxed) != ready {
            // SeqCst: where several pools share the line, whoever stands there looks for room after this.
            self.line.ready.store(ready, Ordering::SeqCst);
        }
        // Last, and Release: who sees that somebody waits does not take the pool for idle.
        self.line
            .len
            .store(self.places.submitters(), Ordering::Release);
    }
}

impl<T> Line<T> {
    /// The line of one pool, or (`several`) of so many.
    pub fn new(family: Arc<Family>, several: usize) -> Self {
        let homes: Arc<[_]> = (0..several).map(|_| AtomicUsize::new(0)).collect();
        Line {
            places: Mutex::new(Places {
                queue: VecDeque::new(),
                empty: 0,
                held: 0,
                spare: 0,
                homes: Arc::clone(&homes),
                family,
                answers: Answers::NONE,
            }),
            len: AtomicUsize::new(0),
            ready: CachePadded::new(AtomicBool::new(false)),
            homes,
            luck: Luck::new(LOOKOUT),
        }
    }

    pub fn lock(&self) -> Locked<'_, T> {
        Locked {
            places: lock(&self.places),
            line: self,
        }
    }

    /// How many submitters wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// How many pools let in from it.
    pub fn pools(&self) -> usize {
        self.homes.len().max(1)
    }

    /// How many wait that were to wait for this one of several pools.
    pub fn len_at(&self, home: usize) -> usize {
        self.homes[home].load(Ordering::Relaxed)
    }

    /// Somebody waits, and is not just seeing to an interrupt, nor waiting for just this.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Waits in line for an answer, or until `patience` is at its end; then the submitter is no longer in line. `hold` holds
    /// its place or lets go of it, and says whether it is in line. Only who `is_first` in line looks out before it goes to
    /// sleep: several would keep each other, and the workers, from the processors. `look_up` is called before each sleep, and says
    /// when it would be again.
    pub fn wait(
        &self,
        waiter: &Arc<Waiter<T>>,
        patience: &mut Patience<'_>,
        is_first: bool,
        hold: impl Fn(bool) -> bool,
        look_up: impl Fn() -> Option<Duration>,
    ) -> Answer<T> {
        if is_first {
            self.luck.spin(|| waiter.answered.load(Ordering::Relaxed));
        }
        let mut interrupted = false;
        loop {
            match waiter.wait(patience, look_up()) {
                // Refused meanwhile, or asked to try again: it is the interrupt all the same.
                Some(Answer::Refused(_, task) | Answer::Retry(task)) if interrupted => {
                    return Answer::Refused(Error::Interrupted, task);
                }
                Some(answer) => return answer,
                None => {}
            }
            // An interrupt that is taken note of must find the task not accepted, so none is while we look.
            if !interrupted && patience.is_look_due() && hold(true) {
                interrupted = patience.is_interrupted();
                if !interrupted {
                    hold(false);
                }
            }
            // One whose task somebody has taken is told soon, or will be in line again.
            let error = match interrupted {
                true => Error::Interrupted,
                false if patience.is_over() => Error::Timeout,
                false => continue,
            };
            if let Some(task) = self.lock().give_up(waiter) {
                return Answer::Refused(error, task);
            }
        }
    }
}

impl<'a, T> Locked<'a, T> {
    /// Which line it is.
    pub fn line(&self) -> &'a Line<T> {
        self.line
    }

    /// Lets go of the lock; what is to be told now.
    #[must_use]
    pub fn unlock(mut self) -> Answers<T> {
        std::mem::replace(&mut self.places.answers, Answers::NONE)
    }

    /// Joins the line.
    pub fn join(&mut self, task: T, stand: Stand) -> Arc<Waiter<T>> {
        let waiter = Arc::new(Waiter::new(task, stand));
        self.take_place(&waiter, VecDeque::push_back);
        waiter
    }

    /// Joins the line again, as the same one as before, at its end or as `first`; an error: nobody waits with the task,
    /// and it was withdrawn meanwhile.
    pub fn join_again(&mut self, task: T, waiter: &Arc<Waiter<T>>, first: bool) -> Result<(), T> {
        if waiter.is_withdrawn() {
            return Err(task);
        }
        lock(&waiter.desk).slot = Slot::Waiting(task);
        let push = if first {
            VecDeque::push_front
        } else {
            VecDeque::push_back
        };
        self.take_place(waiter, push);
        Ok(())
    }

    fn take_place(
        &mut self,
        waiter: &Arc<Waiter<T>>,
        push: impl FnOnce(&mut VecDeque<Place<T>>, Place<T>),
    ) {
        if waiter.stand.bound {
            self.family.bind();
        }
        self.spare += usize::from(waiter.is_spare());
        if let Some(count) = self.count_at_home(waiter) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        push(
            &mut self.queue,
            Place {
                waiter: Arc::clone(waiter),
                held: false,
            },
        );
    }
}
