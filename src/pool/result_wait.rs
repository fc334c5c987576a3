//! A wait for something that a task of a pool brings about: its result, say.
//!
//! A worker that waits so, without limit of time, for a task of its own family is *bound* as one that waits in line is
//! (see `deadlock_group.rs`): when all workers are, nothing will ever come, and the last to come is told so.

use super::deadlock_group::{DeadlockGroup, Waiting};
use super::error::Error;
use super::sync::atomic::{AtomicBool, Ordering};
use super::sync::{AdaptiveSpin, Arc, Condvar, Mutex, WaitLimit, lock, wait};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Woken,
    Deadlocked,
}

struct WaitState {
    fate: Fate,
    /// The thread is counted as bound in its family.
    blocked: bool,
    /// The thread sleeps on the bell; else it need not be rung, which would be a system call.
    asleep: bool,
}

/// One thread's wait. Whoever brings about what it waits for settles it, once, and rings.
pub struct ResultWait {
    wait_state: Mutex<WaitState>,
    condvar: Condvar,
    /// There is an end to it: for a thread that spins. Which one is read under the lock.
    settled: AtomicBool,
    /// The family of the thread, a worker of it, that is to be bound.
    deadlock_group: Option<Arc<DeadlockGroup>>,
}

impl ResultWait {
    /// A wait of this thread for a task of the family with this id (0: of none); `endless`: without limit of time.
    pub fn new(deadlock_group: usize, endless: bool) -> Arc<Self> {
        let deadlock_group = endless
            .then(|| DeadlockGroup::home(deadlock_group))
            .flatten();
        Arc::new(ResultWait {
            wait_state: Mutex::new(WaitState {
                fate: Fate::Waiting,
                blocked: false,
                asleep: false,
            }),
            condvar: Condvar::new(),
            settled: AtomicBool::new(false),
            deadlock_group,
        })
    }

    /// From here on the thread counts as bound, if it is to. To be called where what it waits for cannot come about
    /// unseen: a thread that counts as bound while its wait is over would make others see a deadlock that is none.
    pub fn block(self: &Arc<Self>) {
        if let Some(deadlock_group) = &self.deadlock_group {
            lock(&self.wait_state).blocked = true;
            deadlock_group.add_result_wait(Arc::clone(self) as Arc<dyn Waiting>);
        }
    }

    /// Nothing will ever settle this, unless the caller is about to: to be asked once it can be found by whoever would.
    pub fn refuse_if_stuck(&self) {
        if let Some(deadlock_group) = &self.deadlock_group {
            deadlock_group.refuse_if_stuck_waiting(self);
        }
    }

    fn end(&self, fate: Fate) -> (bool, bool) {
        let mut wait_state = lock(&self.wait_state);
        if wait_state.fate != Fate::Waiting {
            return (false, false);
        }
        wait_state.fate = fate;
        // Under the lock: it is not bound any more when it wakes up.
        if let (true, Some(deadlock_group)) = (
            std::mem::take(&mut wait_state.blocked),
            &self.deadlock_group,
        ) {
            deadlock_group.unblock();
        }
        self.settled.store(true, Ordering::Relaxed);
        (true, wait_state.asleep)
    }

    /// It has come about. `true`: the thread sleeps, and the caller is to `ring`, at once or as soon as it may.
    #[must_use]
    pub fn settle(&self) -> bool {
        self.end(Fate::Woken).1
    }

    /// Wakes the thread after it was settled; a system call.
    pub fn ring(&self) {
        self.condvar.notify_one();
    }

    /// Tells the thread that there is a deadlock; `false`: its wait is over anyhow.
    pub fn refuse(&self) -> bool {
        let (refused, asleep) = self.end(Fate::Deadlocked);
        if asleep {
            self.ring();
        }
        refused
    }

    /// Waits until settled, or until `wait_limit` ends, looking out for a moment before it goes to sleep.
    pub fn wait(
        &self,
        wait_limit: &mut WaitLimit<'_>,
        adaptive_spin: &AdaptiveSpin,
    ) -> Result<(), Error> {
        adaptive_spin.spin(|| self.settled.load(Ordering::Relaxed));
        loop {
            let mut wait_state = lock(&self.wait_state);
            if wait_state.fate == Fate::Waiting {
                if wait_limit.is_over() {
                    return Err(Error::Timeout);
                }
                wait_state.asleep = true;
                wait_state = wait(&self.condvar, wait_state, wait_limit.next_wait());
                wait_state.asleep = false;
            }
            match wait_state.fate {
                Fate::Woken => return Ok(()),
                Fate::Deadlocked => return Err(Error::Deadlock),
                Fate::Waiting => {}
            }
            drop(wait_state);
            if wait_limit.is_interrupted() {
                return Err(Error::Interrupted);
            }
        }
    }

    /// The thread does not wait any more, for whatever reason.
    pub fn leave(self: &Arc<Self>) {
        self.end(Fate::Woken);
        if let Some(deadlock_group) = &self.deadlock_group {
            deadlock_group.remove_result_wait(&**self);
        }
    }
}

impl Waiting for ResultWait {
    fn refuse(&self) -> bool {
        ResultWait::refuse(self)
    }
}
