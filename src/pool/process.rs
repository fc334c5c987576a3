//! The pools of a process share two things: the thread that keeps the time for all of them, and the list of threads that are
//! yet to be joined.

use super::expiry::Expiry;
use super::threads::Left;
#[cfg(not(any(loom, shuttle)))]
use crate::per_process::PerProcess;

/// See the module's description. A forked child gets another one: its parent's locks may be held by threads that are not
/// there.
pub struct Process {
    pub expiry: Expiry,
    pub left: Left,
}

#[cfg(not(any(loom, shuttle)))]
static CURRENT: PerProcess<Process> = PerProcess::empty();

impl Process {
    fn new() -> Self {
        Process {
            expiry: Expiry::new(),
            left: Left::default(),
        }
    }

    /// The one of this process, for the pools that are made in it. It is known by the process's number, since some forks are
    /// not told of.
    #[cfg(not(any(loom, shuttle)))]
    pub fn current() -> &'static Process {
        let id = u64::from(std::process::id());
        CURRENT.get_or_init(id, |_| Process::new())
    }

    /// This is a child that was just forked: it has nothing in common with the pools of its parent, nor of another ancestor
    /// whose number it may have been given.
    #[cfg(not(any(loom, shuttle)))]
    pub fn forget() {
        CURRENT.forget();
    }

    /// In a model each pool is alone.
    #[cfg(any(loom, shuttle))]
    pub fn current() -> &'static Process {
        Box::leak(Box::new(Process::new()))
    }
}
