//! A wait for something that a task of a pool brings about: its result, say.
//!
//! A worker that waits so, without limit of time, for a task of its own family is *bound* as one that waits in line is
//! (see `family.rs`): when all workers are, nothing will ever come, and the last to come is told so.

use super::error::Error;
use super::family::{Family, Waiting};
use super::sync::atomic::{AtomicBool, Ordering};
use super::sync::{Arc, Condvar, Luck, Mutex, Patience, lock, wait};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Woken,
    Deadlocked,
}

struct Bed {
    fate: Fate,
    /// The thread is counted as bound in its family.
    bound: bool,
    /// The thread sleeps on the bell; else it need not be rung, which would be a system call.
    asleep: bool,
}

/// One thread's wait. Whoever brings about what it waits for settles it, once, and rings.
pub struct Sleeper {
    bed: Mutex<Bed>,
    bell: Condvar,
    /// There is an end to it: for a thread that spins. Which one is read under the lock.
    settled: AtomicBool,
    /// The family of the thread, a worker of it, that is to be bound.
    family: Option<Arc<Family>>,
}

impl Sleeper {
    /// A wait of this thread for a task of the family with this id (0: of none); `endless`: without limit of time.
    pub fn new(family: usize, endless: bool) -> Arc<Self> {
        let family = endless.then(|| Family::home(family)).flatten();
        Arc::new(Sleeper {
            bed: Mutex::new(Bed {
                fate: Fate::Waiting,
                bound: false,
                asleep: false,
            }),
            bell: Condvar::new(),
            settled: AtomicBool::new(false),
            family,
        })
    }

    /// From here on the thread counts as bound, if it is to. To be called where what it waits for cannot come about
    /// unseen: a thread that counts as bound while its wait is over would make others see a deadlock that is none.
    pub fn bind(self: &Arc<Self>) {
        if let Some(family) = &self.family {
            lock(&self.bed).bound = true;
            family.bind_sleeper(Arc::clone(self) as Arc<dyn Waiting>);
        }
    }

    /// Nothing will ever settle this, unless the caller is about to: to be asked once it can be found by whoever would.
    pub fn refuse_if_stuck(&self) {
        if let Some(family) = &self.family {
            family.refuse_if_stuck_asleep(self);
        }
    }

    fn end(&self, fate: Fate) -> (bool, bool) {
        let mut bed = lock(&self.bed);
        if bed.fate != Fate::Waiting {
            return (false, false);
        }
        bed.fate = fate;
        // Under the lock: it is not bound any more when it wakes up.
        if let (true, Some(family)) = (std::mem::take(&mut bed.bound), &self.family) {
            family.unbind();
        }
        self.settled.store(true, Ordering::Relaxed);
        (true, bed.asleep)
    }

    /// It has come about. `true`: the thread sleeps, and the caller is to `ring`, at once or as soon as it may.
    #[must_use]
    pub fn settle(&self) -> bool {
        self.end(Fate::Woken).1
    }

    /// Wakes the thread after it was settled; a system call.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Tells the thread that there is a deadlock; `false`: its wait is over anyhow.
    pub fn refuse(&self) -> bool {
        let (refused, asleep) = self.end(Fate::Deadlocked);
        if asleep {
            self.ring();
        }
        refused
    }

    /// Waits until settled, or until `patience` ends, looking out for a moment before it goes to sleep.
    pub fn wait(&self, patience: &mut Patience<'_>, luck: &Luck) -> Result<(), Error> {
        luck.spin(|| self.settled.load(Ordering::Relaxed));
        loop {
            let mut bed = lock(&self.bed);
            if bed.fate == Fate::Waiting {
                if patience.is_over() {
                    return Err(Error::Timeout);
                }
                bed.asleep = true;
                bed = wait(&self.bell, bed, patience.next_wait());
                bed.asleep = false;
            }
            match bed.fate {
                Fate::Woken => return Ok(()),
                Fate::Deadlocked => return Err(Error::Deadlock),
                Fate::Waiting => {}
            }
            drop(bed);
            if patience.is_interrupted() {
                return Err(Error::Interrupted);
            }
        }
    }

    /// The thread does not wait any more, for whatever reason.
    pub fn leave(self: &Arc<Self>) {
        self.end(Fate::Woken);
        if let Some(family) = &self.family {
            family.forget_sleeper(&**self);
        }
    }
}

impl Waiting for Sleeper {
    fn refuse(&self) -> bool {
        Sleeper::refuse(self)
    }
}
