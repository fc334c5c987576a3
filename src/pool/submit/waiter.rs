//! A submitter that waits for a permit, or a task that waits by itself, and the answer that it gets.

use crate::pool::error::Error;
use crate::pool::sync::atomic::{AtomicBool, Ordering};
use crate::pool::sync::{Condvar, Mutex, WaitLimit, lock, wait};
use std::time::Duration;

/// The answer to a waiting submitter.
pub enum Answer<T> {
    /// The task was accepted.
    Accepted,
    /// The task was not accepted.
    Refused(Error, T),
    /// The submitter must try again by itself.
    Retry(T),
}

enum SlotState<T> {
    /// The task waits.
    Waiting(T),
    /// The task is with a thread that took it from the list: an answer will come, or the task will wait again.
    Lent,
    /// The answer, which the submitter has yet to take.
    Answered(Answer<T>),
    /// The submitter has taken its answer; or nobody waited for one, and the task was taken back.
    Empty,
}

struct Slot<T> {
    state: SlotState<T>,
    /// The submitter sleeps on the condvar; otherwise no notification, a system call, is needed.
    asleep: bool,
    /// The submitter must wake up, although there is no answer.
    nudged: bool,
}

/// One waiting submitter.
pub struct Waiter<T> {
    slot: Mutex<Slot<T>>,
    condvar: Condvar,
    /// There is an answer in the slot, for a submitter that spins. Which one is read under the lock.
    answered: AtomicBool,
    pub kind: WaiterKind,
}

/// Whose permit a submitter wants.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum PermitOf {
    #[default]
    ThisPool,
    /// That of any pool of its `MultiPool`: it is a *shared* waiter.
    AnyPool,
}

/// How a submitter waits.
#[derive(Clone, Copy, Default)]
pub struct WaiterKind {
    /// It is a worker of the pool's deadlock group and waits without a time limit.
    pub blocked: bool,
    pub permit_of: PermitOf,
    /// The pool that was chosen for it, if it waits for any.
    pub home: usize,
    /// Nobody waits: the task is detached, and its submitter has gone on.
    pub absent: bool,
    /// Nor would anybody miss the task: it is let in in its turn, but not counted as waiting or, if refused, rejected.
    pub spare: bool,
}

impl<T> Waiter<T> {
    pub fn new(task: T, kind: WaiterKind) -> Self {
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

    /// Whose permit it waits for.
    pub fn permit_of(&self) -> PermitOf {
        self.kind.permit_of
    }

    /// Nobody would miss the task.
    pub fn is_spare(&self) -> bool {
        self.kind.spare
    }

    /// Answers the submitter, which has left the list.
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

    /// Wakes the submitter, which waits or is about to, without an answer.
    pub fn nudge(&self) {
        let mut slot = lock(&self.slot);
        slot.nudged = true;
        let asleep = slot.asleep;
        drop(slot);
        if asleep {
            self.condvar.notify_one();
        }
    }

    /// Takes the task of a waiter, and leaves `rest` in its place.
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

    /// There is an answer.
    pub fn has_answer(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Takes the task of a waiter that has left the list.
    pub fn lend(&self) -> Option<T> {
        self.take_task(SlotState::Lent)
    }

    /// The task that was lent waits again; an error: it is detached, and was withdrawn meanwhile.
    pub fn wait_again(&self, task: T) -> Result<(), T> {
        let mut slot = lock(&self.slot);
        if matches!(slot.state, SlotState::Empty) {
            return Err(task);
        }
        slot.state = SlotState::Waiting(task);
        Ok(())
    }

    /// Takes back a detached task, under the waiters' lock. If another thread has taken it from the list, it will not
    /// wait again (`Locked::join_again`).
    pub fn withdraw(&self) -> Option<T> {
        let task = self.take_task(SlotState::Empty);
        if task.is_none() {
            let mut slot = lock(&self.slot);
            if matches!(slot.state, SlotState::Lent) {
                slot.state = SlotState::Empty;
            }
        }
        task
    }

    pub fn is_withdrawn(&self) -> bool {
        matches!(lock(&self.slot).state, SlotState::Empty)
    }

    /// Waits once for the answer, as long as `wait_limit` and `most` allow; `None`: none yet.
    pub fn wait(&self, wait_limit: &WaitLimit<'_>, most: Option<Duration>) -> Option<Answer<T>> {
        let is_pending =
            |slot: &Slot<T>| matches!(slot.state, SlotState::Waiting(_) | SlotState::Lent);
        let sleeps_on = |slot: &Slot<T>| is_pending(slot) && !slot.nudged;
        let mut slot = lock(&self.slot);
        let limit = wait_limit.next_wait().into_iter().chain(most).min();
        slot.asleep = true;
        // Once if time is limited, since the caller has to check the clock and interrupts in between.
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
