//! The synchronisation that the core is built on: the standard library's, or a model checker's, chosen in one place.
//!
//! For Python the locks are the standard library's and not parking_lot's, for the sake of `fork`: parking_lot keeps all
//! waiting threads in one table of the process, and a child forked while another thread holds a bucket of that table
//! finds it locked for ever. The standard locks hold all their state in themselves. Rust programs, which seldom fork
//! without an `exec`, have parking_lot's, unless they turn the feature off.

pub mod spin;
pub mod thread;
pub mod wait_limit;
pub mod watch;

#[cfg(loom)]
pub use loom::thread_local;
#[cfg(shuttle)]
pub use shuttle::thread_local;
#[cfg(any(loom, shuttle))]
#[path = "../../../tests/models/standins.rs"]
mod standins;
#[cfg(any(loom, shuttle))]
pub use standins::{Instant, RunQueue, atomic, may_spin, spin};
#[cfg(not(any(loom, shuttle)))]
pub use std::{sync::atomic, thread_local, time::Instant};

pub use locks::{Condvar, Mutex, MutexGuard, lock, wait};
pub use spin::AdaptiveSpin;
#[cfg(not(any(loom, shuttle)))]
pub use spin::may_spin;
pub use std::sync::Arc;
pub use wait_limit::WaitLimit;

use atomic::{Ordering, fence};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The standard library's locks, or a model checker's.
#[cfg(any(not(feature = "parking_lot"), feature = "python", loom, shuttle))]
mod locks {
    #[cfg(any(loom, shuttle))]
    pub use super::standins::{Condvar, Mutex, MutexGuard};
    #[cfg(not(any(loom, shuttle)))]
    pub use std::sync::{Condvar, Mutex, MutexGuard};

    use std::sync::PoisonError;
    use std::time::Duration;

    /// Locks; ignores poisoning, since no user code runs under any lock of the core.
    pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on `condvar` until notified, spuriously woken, or `limit` is over (`None`: no limit).
    pub fn wait<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match limit {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                condvar
                    .wait_timeout(guard, limit)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }
}

/// parking_lot's locks, which no panic poisons.
#[cfg(not(any(not(feature = "parking_lot"), feature = "python", loom, shuttle)))]
mod locks {
    pub use parking_lot::{Condvar, Mutex, MutexGuard};

    use std::time::Duration;

    /// Locks.
    pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock()
    }

    /// Waits on `condvar` until notified, spuriously woken, or `limit` is over (`None`: no limit).
    pub fn wait<'a, T>(
        condvar: &Condvar,
        mut guard: MutexGuard<'a, T>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match limit {
            None => condvar.wait(&mut guard),
            Some(limit) => drop(condvar.wait_for(&mut guard, limit)),
        }
        guard
    }
}

/// Runs code of a host and catches its panic (`None`), which the hook has reported. In a model the checker gets it.
pub fn contain<R>(body: impl FnOnce() -> R) -> Option<R> {
    if cfg!(any(loom, shuttle)) {
        return Some(body());
    }
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) => {
            drop_payload(payload);
            None
        }
    }
}

/// Drops what a panic was raised with. The drop may panic, too: what that was raised with is left, or it might never end.
pub fn drop_payload(payload: Box<dyn std::any::Any + Send>) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
    if let Err(another) = dropped {
        std::mem::forget(another);
    }
}

/// The full fence of a "write mine, then read yours" step: of two threads that both do so, at least one sees the
/// other's write.
#[inline]
pub fn full_fence() {
    fence(Ordering::SeqCst);
}

/// The processors that this process may use.
pub fn processors() -> u32 {
    // Not a OnceLock: a child forked while another thread asks the system would wait for that thread for ever. Here
    // several threads may ask, and store the same.
    static PROCESSORS: AtomicU32 = AtomicU32::new(0);
    match PROCESSORS.load(Relaxed) {
        0 => {
            let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            PROCESSORS.store(count, Relaxed);
            count
        }
        count => count,
    }
}
