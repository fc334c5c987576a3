//! A wait for something that a task of a pool brings about, its result for example.
//!
//! A worker that waits like this, without a time limit, for a task of its own deadlock group is *blocked*, as one that
//! waits for a permit is (see `group.rs`): when all workers are, no result will come, and the last is refused.

use super::group::{DeadlockGroup, Waiting};
use crate::pool::error::Error;
use crate::pool::sync::atomic::{AtomicBool, Ordering};
use crate::pool::sync::{AdaptiveSpin, Arc, Condvar, Mutex, WaitLimit, lock, wait};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Woken,
    Deadlocked,
}

struct WaitState {
    fate: Fate,
    /// The thread is counted as blocked in its deadlock group.
    blocked: bool,
    /// The thread sleeps on the condvar; otherwise no notification, a system call, is needed.
    asleep: bool,
}

/// One thread's wait. The thread that brings about the result settles it, once, and notifies it.
pub struct ResultWait {
    wait_state: Mutex<WaitState>,
    condvar: Condvar,
    /// The wait is over, for a thread that spins. How it ended is read under the lock.
    settled: AtomicBool,
    /// The deadlock group in which the thread, a worker of it, is to be blocked.
    deadlock_group: Option<Arc<DeadlockGroup>>,
}

impl ResultWait {
    /// A wait of this thread for a task of the group with this id (0: of none); `endless`: without a time limit.
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

    /// From here on the thread counts as blocked, if it is to. Must be called where the result cannot come about
    /// unseen: a thread that counted as blocked after its wait was over would make others see a deadlock that is none.
    pub fn block(self: &Arc<Self>) {
        if let Some(deadlock_group) = &self.deadlock_group {
            lock(&self.wait_state).blocked = true;
            deadlock_group.add_result_wait(Arc::clone(self) as Arc<dyn Waiting>);
        }
    }

    /// Refuses this wait if nothing will ever settle it. Called once the thread that would settle it can find it.
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
        // Under the lock: the thread is no longer blocked when it wakes up.
        if let (true, Some(deadlock_group)) = (
            std::mem::take(&mut wait_state.blocked),
            &self.deadlock_group,
        ) {
            deadlock_group.unblock();
        }
        self.settled.store(true, Ordering::Relaxed);
        (true, wait_state.asleep)
    }

    /// The result is there. `true`: the thread sleeps, and the caller must call `ring`, at once or as soon as it may.
    #[must_use]
    pub fn settle(&self) -> bool {
        self.end(Fate::Woken).1
    }

    /// Wakes the thread after its wait was settled; a system call.
    pub fn ring(&self) {
        self.condvar.notify_one();
    }

    /// Tells the thread that there is a deadlock; `false`: its wait is over anyway.
    pub fn refuse(&self) -> bool {
        let (refused, asleep) = self.end(Fate::Deadlocked);
        if asleep {
            self.ring();
        }
        refused
    }

    /// Waits until settled, or until `wait_limit` ends, spinning for a moment before it sleeps.
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

    /// The thread waits no longer, for whatever reason.
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
