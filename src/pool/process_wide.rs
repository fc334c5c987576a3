//! The state that all pools of a process share: the expiry thread, and the list of threads to be joined.

use super::worker::expiry::Expiry;
use super::worker::threads::Left;
#[cfg(not(any(loom, shuttle)))]
use crate::per_process::PerProcess;

/// See the module's description. A forked child gets a new one: the parent's locks may be held by threads that the
/// child does not have.
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

    /// The one of this process, for pools made in it. Found by the process id, since some forks are not announced.
    #[cfg(not(any(loom, shuttle)))]
    pub fn current() -> &'static Process {
        let id = u64::from(std::process::id());
        CURRENT.get_or_init(id, |_| Process::new())
    }

    /// Called in a child that was just forked: it shares nothing with its parent's pools, nor with those of an ancestor
    /// whose process id it may have been given.
    #[cfg(not(any(loom, shuttle)))]
    pub fn forget() {
        CURRENT.forget();
    }

    /// In a model each pool has its own.
    #[cfg(any(loom, shuttle))]
    pub fn current() -> &'static Process {
        Box::leak(Box::new(Process::new()))
    }
}
