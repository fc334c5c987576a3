//! The submitters that wait for a permit, first come, first served.
//!
//! A waiting submitter leaves its task here. The thread that frees a permit takes the oldest waiter's task along and
//! tells the submitter, which then has nothing left to do: the permit is passed on directly.

use super::waiter::{Answer, Waiter, WaiterKind};
use crate::pool::deadlock::group::DeadlockGroup;
use crate::pool::error::Error;
use crate::pool::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::pool::sync::{AdaptiveSpin, Arc, Mutex, MutexGuard, WaitLimit, lock, spin};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::time::Duration;

struct Place<T> {
    waiter: Arc<Waiter<T>>,
    /// The submitter is checking for an interrupt and may be about to give up: it is passed over meanwhile.
    held: bool,
}

/// The answers for submitters that have left the list. The thread that held its lock delivers them after unlocking.
pub struct Answers<T> {
    /// Usually there is one, which needs no allocation.
    first: Option<Told<T>>,
    rest: Vec<Told<T>>,
}

type Told<T> = (Arc<Waiter<T>>, Answer<T>);

impl<T> Answers<T> {
    const NONE: Self = Answers {
        first: None,
        rest: Vec::new(),
    };

    /// Appends the answers of another list.
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

/// The list of waiters, under its lock.
pub struct Places<T> {
    queue: VecDeque<Place<T>>,
    /// How many places are empty because their tasks were withdrawn. Removing each at once would need a search.
    empty: usize,
    /// How many places are held.
    held: usize,
    /// How many places are of spare tasks.
    spare: usize,
    /// How many wait for each of several pools. (Atomics only for threads that read without the lock.)
    homes: Arc<[AtomicUsize]>,
    deadlock_group: Arc<DeadlockGroup>,
    answers: Answers<T>,
}

impl<T> Places<T> {
    pub fn len(&self) -> usize {
        self.queue.len() - self.empty
    }

    /// How many submitters wait: all but the spare tasks.
    pub fn submitters(&self) -> usize {
        self.len() - self.spare
    }

    /// A waiter is to be let in when a permit is free. Those that are held do not count.
    pub fn is_ready(&self) -> bool {
        self.len() > self.held
    }

    fn find(&self, waiter: &Arc<Waiter<T>>) -> Option<usize> {
        self.queue
            .iter()
            .position(|place| Arc::ptr_eq(&place.waiter, waiter))
    }

    /// The place of the oldest waiter that is not held.
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

    /// Removes the submitter at `index`. It is no longer blocked from now on, although it may sleep a little longer.
    fn leave(&mut self, index: usize) -> Option<Arc<Waiter<T>>> {
        let is_empty = self.is_empty_at(index);
        let place = self.queue.remove(index)?;
        self.held -= usize::from(place.held);
        let kind = place.waiter.kind;
        self.spare -= usize::from(kind.spare);
        if kind.blocked {
            self.deadlock_group.unblock();
        }
        if is_empty {
            self.empty -= 1;
        } else if let Some(count) = self.count_at_home(&place.waiter) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        Some(place.waiter)
    }

    /// The count of waiters with the same chosen pool, if they wait for any of several.
    fn count_at_home(&self, waiter: &Waiter<T>) -> Option<&AtomicUsize> {
        let kind = waiter.kind;
        self.homes.get(kind.home).filter(|_| !kind.spare)
    }

    /// Removes the submitter at `index` with its task. The caller must answer it, or have it join again.
    pub fn take(&mut self, index: usize) -> Option<(Arc<Waiter<T>>, T)> {
        let waiter = self.leave(index)?;
        let task = waiter.lend()?;
        Some((waiter, task))
    }

    /// Answers a submitter that was removed, once the lock is released.
    pub fn tell(&mut self, waiter: Arc<Waiter<T>>, answer: Answer<T>) {
        self.answers.push((waiter, answer));
    }

    /// Removes the submitter at `index` with this answer.
    fn dismiss(&mut self, index: usize, answer: impl FnOnce(T) -> Answer<T>) {
        if let Some((waiter, task)) = self.take(index) {
            self.tell(waiter, answer(task));
        }
    }

    /// Takes back a detached task, not a spare one; `None`: it does not wait.
    pub fn withdraw(&mut self, waiter: &Waiter<T>) -> Option<T> {
        let task = waiter.withdraw()?;
        self.empty += 1;
        if let Some(count) = self.count_at_home(waiter) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        // More than half of the places go at once, so that each withdrawal costs few steps.
        if self.empty * 2 > self.queue.len() {
            self.queue.retain(|place| !place.waiter.is_withdrawn());
            self.empty = 0;
        }
        Some(task)
    }

    /// Removes all with the same answer.
    pub fn refuse_all(&mut self, error: impl Fn() -> Error) {
        while !self.queue.is_empty() {
            self.dismiss(0, |task| Answer::Refused(error(), task));
        }
    }

    /// Removes all, to try again by themselves.
    pub fn retry_all(&mut self) {
        while !self.queue.is_empty() {
            self.dismiss(0, Answer::Retry);
        }
    }

    /// Removes the youngest blocked submitter with this answer; returns whether there was one.
    pub fn refuse_youngest_blocked(&mut self, error: Error) -> bool {
        let youngest = self
            .queue
            .iter()
            .rposition(|place| place.waiter.kind.blocked);
        if let Some(index) = youngest {
            self.dismiss(index, |task| Answer::Refused(error, task));
        }
        youngest.is_some()
    }

    /// Begins or ends passing over a submitter; `false`: it does not wait.
    pub fn hold(&mut self, waiter: &Arc<Waiter<T>>, held: bool) -> bool {
        let Some(index) = self.find(waiter) else {
            return false;
        };
        let before = std::mem::replace(&mut self.queue[index].held, held);
        self.held = self.held + usize::from(held) - usize::from(before);
        true
    }

    /// Removes a submitter that gives up; `None`: it does not wait.
    fn give_up(&mut self, waiter: &Arc<Waiter<T>>) -> Option<T> {
        let index = self.find(waiter)?;
        self.take(index).map(|(_, task)| task)
    }
}

/// See the module's description.
pub struct Waiters<T> {
    places: Mutex<Places<T>>,
    /// How many submitters wait, to be read without the lock.
    len: AtomicUsize,
    /// A waiter is to be let in when a permit is free: there are waiters, and not all are held.
    ready: CachePadded<AtomicBool>,
    homes: Arc<[AtomicUsize]>,
    /// Whether it pays to spin for an answer before sleeping.
    adaptive_spin: AdaptiveSpin,
}

/// The waiters' lock. Unlocking publishes how many wait.
pub struct Locked<'a, T> {
    places: MutexGuard<'a, Places<T>>,
    waiters: &'a Waiters<T>,
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
        if self.waiters.ready.load(Ordering::Relaxed) != ready {
            // SeqCst: a submitter that waits for several pools checks for permits after this.
            self.waiters.ready.store(ready, Ordering::SeqCst);
        }
        // Last, and Release: a thread that sees a waiter does not take the pool for idle.
        self.waiters
            .len
            .store(self.places.submitters(), Ordering::Release);
    }
}

impl<T> Waiters<T> {
    /// The waiters of one pool or, if `several` is not 0, of that many.
    pub fn new(deadlock_group: Arc<DeadlockGroup>, several: usize) -> Self {
        let homes: Arc<[_]> = (0..several).map(|_| AtomicUsize::new(0)).collect();
        Waiters {
            places: Mutex::new(Places {
                queue: VecDeque::new(),
                empty: 0,
                held: 0,
                spare: 0,
                homes: Arc::clone(&homes),
                deadlock_group,
                answers: Answers::NONE,
            }),
            len: AtomicUsize::new(0),
            ready: CachePadded::new(AtomicBool::new(false)),
            homes,
            adaptive_spin: AdaptiveSpin::new(spin::FOR_ANSWER),
        }
    }

    pub fn lock(&self) -> Locked<'_, T> {
        Locked {
            places: lock(&self.places),
            waiters: self,
        }
    }

    /// How many submitters wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// How many pools let in these waiters.
    pub fn pools(&self) -> usize {
        self.homes.len().max(1)
    }

    /// How many shared waiters there are for which the pool with this index was chosen.
    pub fn len_at(&self, home: usize) -> usize {
        self.homes[home].load(Ordering::Relaxed)
    }

    /// A submitter waits, and is not just checking for an interrupt or being answered.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Waits for an answer, or until `wait_limit` ends; then the submitter no longer waits. `hold` begins or ends
    /// passing it over, and returns whether it waits. Only if it `is_first` does it spin before it sleeps: several
    /// would keep each other and the workers from the processors. `look_up` is called before each sleep, and returns
    /// when to call it again.
    pub fn wait(
        &self,
        waiter: &Arc<Waiter<T>>,
        wait_limit: &mut WaitLimit<'_>,
        is_first: bool,
        hold: impl Fn(bool) -> bool,
        look_up: impl Fn() -> Option<Duration>,
    ) -> Answer<T> {
        if is_first {
            self.adaptive_spin.spin(|| waiter.has_answer());
        }
        let mut interrupted = false;
        loop {
            match waiter.wait(wait_limit, look_up()) {
                // Refused meanwhile, or told to try again: the interrupt comes first.
                Some(Answer::Refused(_, task) | Answer::Retry(task)) if interrupted => {
                    return Answer::Refused(Error::Interrupted, task);
                }
                Some(answer) => return answer,
                None => {}
            }
            // A submitter that reports an interrupt must not have its task accepted, so it is passed over meanwhile.
            if !interrupted && wait_limit.is_look_due() && hold(true) {
                interrupted = wait_limit.is_interrupted();
                if !interrupted {
                    hold(false);
                }
            }
            // A submitter whose task another thread has taken is answered soon, or will wait again.
            let error = match interrupted {
                true => Error::Interrupted,
                false if wait_limit.is_over() => Error::Timeout,
                false => continue,
            };
            if let Some(task) = self.lock().give_up(waiter) {
                return Answer::Refused(error, task);
            }
        }
    }
}

impl<'a, T> Locked<'a, T> {
    /// Which waiters these are.
    pub fn waiters(&self) -> &'a Waiters<T> {
        self.waiters
    }

    /// Unlocks, and returns the answers to deliver now.
    #[must_use]
    pub fn unlock(mut self) -> Answers<T> {
        std::mem::replace(&mut self.places.answers, Answers::NONE)
    }

    /// Begins to wait.
    pub fn join(&mut self, task: T, kind: WaiterKind) -> Arc<Waiter<T>> {
        let waiter = Arc::new(Waiter::new(task, kind));
        self.take_place(&waiter, VecDeque::push_back);
        waiter
    }

    /// Waits again as the same waiter, last or as `first`; an error: it is detached, and was withdrawn meanwhile.
    pub fn join_again(&mut self, task: T, waiter: &Arc<Waiter<T>>, first: bool) -> Result<(), T> {
        waiter.wait_again(task)?;
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
        if waiter.kind.blocked {
            self.deadlock_group.block();
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
