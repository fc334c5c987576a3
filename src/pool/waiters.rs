//! The submitters that wait for room, first come, first served.
//!
//! A waiting submitter leaves its task in the line. Whoever makes room takes the oldest one's task along and tells the
//! submitter, which has then nothing left to do: the permit passes from hand to hand.

use super::deadlock_group::DeadlockGroup;
use super::error::Error;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::{AdaptiveSpin, Arc, Condvar, Mutex, MutexGuard, WaitLimit, lock, wait};
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

enum SlotState<T> {
    /// The task of one who stands in line.
    Waiting(T),
    /// The task is with somebody who took it out of the line, and an answer will come, or it will be in line again.
    Lent,
    /// The answer, which the submitter has yet to take.
    Answered(Answer<T>),
    /// The submitter has taken its answer; or nobody waited, and the task was taken back.
    Empty,
}

struct Slot<T> {
    state: SlotState<T>,
    /// The submitter sleeps on the bell; else it need not be rung, which would be a system call.
    asleep: bool,
    /// The submitter is to look up, although there is no answer.
    nudged: bool,
}

/// One submitter in line.
pub struct Waiter<T> {
    slot: Mutex<Slot<T>>,
    condvar: Condvar,
    /// There is an answer on the desk: for a submitter that spins. What it says is read under the lock.
    answered: AtomicBool,
    kind: WaiterKind,
}

/// How somebody stands in line.
#[derive(Clone, Copy, Default)]
pub struct WaiterKind {
    /// It is a worker of the pool's family and waits without limit of time.
    pub blocked: bool,
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
    fn new(task: T, kind: WaiterKind) -> Self {
        Waiter {
            slot: Mutex::new(Slot {
                state: SlotState::Waiting(task),
                asleep: false,
                nudged: false,
            }),
            condvar: Condvar::new(),
            answered: AtomicBool::new(false),
            kind,
        }
    }

    /// Nobody waits for the answer.
    pub fn is_absent(&self) -> bool {
        self.kind.absent
    }

    /// It stands in the line of several pools.
    pub fn is_common(&self) -> bool {
        self.kind.common
    }

    /// Nobody would miss the task.
    pub fn is_spare(&self) -> bool {
        self.kind.spare
    }

    /// Tells the submitter, which has left the line.
    pub fn answer(&self, answer: Answer<T>) {
        let mut slot = lock(&self.slot);
        slot.state = SlotState::Answered(answer);
        let asleep = slot.asleep;
        drop(slot);
        self.answered.store(true, Ordering::Relaxed);
        if asleep {
            self.condvar.notify_one();
        }
    }

    /// Has the submitter look up, which waits, or will.
    pub fn nudge(&self) {
        let mut slot = lock(&self.slot);
        slot.nudged = true;
        let asleep = slot.asleep;
        drop(slot);
        if asleep {
            self.condvar.notify_one();
        }
    }

    /// Takes the task of one who stands in line, and leaves `rest` in its place.
    fn take_task(&self, rest: SlotState<T>) -> Option<T> {
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut slot.state, rest) {
            SlotState::Waiting(task) => Some(task),
            other => {
                slot.state = other;
                None
            }
        }
    }

    /// Takes back a task that nobody waits with, under the line's lock. One that somebody has taken out of the line gets no
    /// place there any more (`Locked::join_again`).
    fn withdraw(&self) -> Option<T> {
        let task = self.take_task(SlotState::Empty);
        if task.is_none() {
            let mut slot = lock(&self.slot);
            if matches!(slot.state, SlotState::Lent) {
                slot.state = SlotState::Empty;
            }
        }
        task
    }

    fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.slot).state, SlotState::Empty)
    }

    /// Waits for the answer for at most as long as one look of `wait_limit`, and as `most`; `None`: none yet.
    fn wait(&self, wait_limit: &WaitLimit<'_>, most: Option<Duration>) -> Option<Answer<T>> {
        let is_pending =
            |slot: &Slot<T>| matches!(slot.state, SlotState::Waiting(_) | SlotState::Lent);
        let sleeps_on = |slot: &Slot<T>| is_pending(slot) && !slot.nudged;
        let mut slot = lock(&self.slot);
        let limit = wait_limit.next_wait().into_iter().chain(most).min();
        slot.asleep = true;
        // One look where time is limited, since the caller has to see to the clock and to interrupts between two.
        if sleeps_on(&slot) {
            slot = wait(&self.condvar, slot, limit);
        }
        while limit.is_none() && sleeps_on(&slot) {
            slot = wait(&self.condvar, slot, None);
        }
        (slot.asleep, slot.nudged) = (false, false);
        if is_pending(&slot) {
            return None;
        }
        match std::mem::replace(&mut slot.state, SlotState::Empty) {
            SlotState::Answered(answer) => Some(answer),
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
    deadlock_group: Arc<DeadlockGroup>,
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

    /// The count of those who wait as this one does, where they will do with any of several pools.
    fn count_at_home(&self, waiter: &Waiter<T>) -> Option<&AtomicUsize> {
        let kind = waiter.kind;
        self.homes.get(kind.home).filter(|_| !kind.spare)
    }

    /// Takes the submitter at `index` out of the line, with its task. It is to be told something, or to join again.
    pub fn take(&mut self, index: usize) -> Option<(Arc<Waiter<T>>, T)> {
        let waiter = self.leave(index)?;
        let task = waiter.take_task(SlotState::Lent)?;
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
const MOST_SPIN: Duration = Duration::from_micros(50);

/// See the module's description.
pub struct Waiters<T> {
    places: Mutex<Places<T>>,
    /// How many submitters wait, for those who only ask.
    len: AtomicUsize,
    /// Somebody is to be let in where there is room: the line is not empty, nor held altogether.
    ready: CachePadded<AtomicBool>,
    homes: Arc<[AtomicUsize]>,
    /// Whether it pays to look out for an answer before going to sleep.
    adaptive_spin: AdaptiveSpin,
}

/// The line's lock. Letting go of it publishes how long the line is.
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
            // SeqCst: where several pools share the line, whoever stands there looks for room after this.
            self.waiters.ready.store(ready, Ordering::SeqCst);
        }
        // Last, and Release: who sees that somebody waits does not take the pool for idle.
        self.waiters
            .len
            .store(self.places.submitters(), Ordering::Release);
    }
}

impl<T> Waiters<T> {
    /// The line of one pool, or (`several`) of so many.
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
            adaptive_spin: AdaptiveSpin::new(MOST_SPIN),
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

    /// Waits in line for an answer, or until `wait_limit` is at its end; then the submitter is no longer in line. `hold` holds
    /// its place or lets go of it, and says whether it is in line. Only who `is_first` in line looks out before it goes to
    /// sleep: several would keep each other, and the workers, from the processors. `look_up` is called before each sleep, and says
    /// when it would be again.
    pub fn wait(
        &self,
        waiter: &Arc<Waiter<T>>,
        wait_limit: &mut WaitLimit<'_>,
        is_first: bool,
        hold: impl Fn(bool) -> bool,
        look_up: impl Fn() -> Option<Duration>,
    ) -> Answer<T> {
        if is_first {
            self.adaptive_spin
                .spin(|| waiter.answered.load(Ordering::Relaxed));
        }
        let mut interrupted = false;
        loop {
            match waiter.wait(wait_limit, look_up()) {
                // Refused meanwhile, or asked to try again: it is the interrupt all the same.
                Some(Answer::Refused(_, task) | Answer::Retry(task)) if interrupted => {
                    return Answer::Refused(Error::Interrupted, task);
                }
                Some(answer) => return answer,
                None => {}
            }
            // An interrupt that is taken note of must find the task not accepted, so none is while we look.
            if !interrupted && wait_limit.is_look_due() && hold(true) {
                interrupted = wait_limit.is_interrupted();
                if !interrupted {
                    hold(false);
                }
            }
            // One whose task somebody has taken is told soon, or will be in line again.
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
    /// Which line it is.
    pub fn waiters(&self) -> &'a Waiters<T> {
        self.waiters
    }

    /// Lets go of the lock; what is to be told now.
    #[must_use]
    pub fn unlock(mut self) -> Answers<T> {
        std::mem::replace(&mut self.places.answers, Answers::NONE)
    }

    /// Joins the line.
    pub fn join(&mut self, task: T, kind: WaiterKind) -> Arc<Waiter<T>> {
        let waiter = Arc::new(Waiter::new(task, kind));
        self.take_place(&waiter, VecDeque::push_back);
        waiter
    }

    /// Joins the line again, as the same one as before, at its end or as `first`; an error: nobody waits with the task,
    /// and it was withdrawn meanwhile.
    pub fn join_again(&mut self, task: T, waiter: &Arc<Waiter<T>>, first: bool) -> Result<(), T> {
        if waiter.is_withdrawn() {
            return Err(task);
        }
        lock(&waiter.slot).state = SlotState::Waiting(task);
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
