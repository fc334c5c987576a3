//! The pools of a process share two things: the thread that keeps the time for all of them, and the list of threads that are
//! yet to be joined.

use super::expiry::Expiry;
use super::threads::Left;
#[cfg(not(any(loom, shuttle)))]
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the module's description. A forked child gets another one: its parent's locks may be held by threads that are not
/// there.
pub struct Process {
    /// The process's number.
    #[cfg(not(any(loom, shuttle)))]
    id: u32,
    pub expiry: Expiry,
    pub left: Left,
}

#[cfg(not(any(loom, shuttle)))]
static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

impl Process {
    fn new() -> Self {
        Process {
            #[cfg(not(any(loom, shuttle)))]
            id: std::process::id(),
            expiry: Expiry::new(),
            left: Left::default(),
        }
    }

    /// The one of this process, for the pools that are made in it. It is known by the process's number, too, since some forks
    /// are not told of.
    #[cfg(not(any(loom, shuttle)))]
    pub fn current() -> &'static Process {
        let mut current = CURRENT.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null, or was made below from what is never freed.
            if let Some(process) = unsafe { current.as_ref() }
                && process.id == std::process::id()
            {
                return process;
            }
            // The first pool of this process; what a parent had is left alone. Should another thread be faster, these few
            // bytes are wasted.
            let new = std::ptr::from_mut(Box::leak(Box::new(Process::new())));
            // AcqRel: whoever reads the pointer sees what it points to.
            current = CURRENT
                .compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
                .map_or_else(|now| now, |_| new);
        }
    }

    /// This is a child that was just forked: it has nothing in common with the pools of its parent, nor of another ancestor
    /// whose number it may have been given.
    #[cfg(not(any(loom, shuttle)))]
    pub fn forget() {
        CURRENT.store(std::ptr::null_mut(), Ordering::Release);
    }

    /// In a model each pool is alone.
    #[cfg(any(loom, shuttle))]
    pub fn current() -> &'static Process {
        Box::leak(Box::new(Process::new()))
    }
}
