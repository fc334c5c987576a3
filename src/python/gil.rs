//! Keeping out of each other's way at the GIL. Free-threaded builds have none, and need nothing of this.
//!
//! Asking for the GIL while another thread has it means going to sleep and being woken, which costs more than many a
//! task. And every thread that asks wakes up at each switch interval: a crowd of them leaves no time for work.

#[cfg(not(Py_GIL_DISABLED))]
mod with_gil {
    use super::super::lifecycle::shared;
    use crate::pool::sync::Luck;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{MutexGuard, PoisonError};
    use std::time::Duration;

    /// A place among the few workers that may ask for the GIL at a time. The holder is detached, and whoever is attached
    /// never waits here.
    pub struct Gate(#[allow(dead_code)] MutexGuard<'static, ()>);

    impl Gate {
        pub fn enter() -> Self {
            Gate(shared().gate.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    /// What a thread of this module last did with the GIL. Other threads, and tasks that give it up, do not tell, so this
    /// is a guess, and nothing but speed hangs on it.
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);

    /// This thread has just got the GIL.
    #[inline]
    pub fn taken() {
        IS_TAKEN.store(true, Ordering::Relaxed);
    }

    /// This thread has just let go of the GIL.
    #[inline]
    pub fn given_up() {
        IS_TAKEN.store(false, Ordering::Relaxed);
    }

    /// The longest that a thread hesitates: about what being woken costs.
    const MOST: Duration = Duration::from_micros(50);
    /// When nothing has stirred for so long, whoever has the GIL is not about to let go of it.
    const QUIET: Duration = Duration::from_micros(3);

    /// Spins, for some microseconds at most, while a thread has the GIL that will probably give it up within them: one
    /// that puts one task after another into a pool, or takes one after another out of it (`stirs` changes then).
    pub fn hesitate(stirs: impl Fn() -> u64) {
        static LUCK: Luck = Luck::new(MOST);
        let mut first = None;
        LUCK.spin_while(
            || !IS_TAKEN.load(Ordering::Relaxed),
            |now| {
                let stir = stirs();
                let (start, last, since) = first.get_or_insert((now, stir, now));
                if stir != *last {
                    (*last, *since) = (stir, now);
                }
                now - *since < QUIET && now - *start < MOST
            },
        );
    }
}

#[cfg(Py_GIL_DISABLED)]
mod without_gil {
    pub struct Gate;

    impl Gate {
        pub fn enter() -> Self {
            Gate
        }
    }

    #[inline]
    pub fn taken() {}

    #[inline]
    pub fn given_up() {}

    #[inline]
    pub fn hesitate(_stirs: impl Fn() -> u64) {}
}

#[cfg(not(Py_GIL_DISABLED))]
pub use with_gil::{Gate, given_up, hesitate, taken};
#[cfg(Py_GIL_DISABLED)]
pub use without_gil::{Gate, given_up, hesitate, taken};
