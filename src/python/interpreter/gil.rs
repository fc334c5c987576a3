//! Reduces contention for the GIL. Free-threaded builds have no GIL and need none of this.
//!
//! Requesting the GIL while another thread has it means going to sleep and being woken, which costs more than many a
//! task. And every waiting thread wakes up at each switch interval: with many of them no time is left for work.

#[cfg(not(Py_GIL_DISABLED))]
mod with_gil {
    use crate::per_process::PerProcess;
    use crate::pool::internal::sync::{AdaptiveSpin, lock, thread};
    use crate::python::interpreter::fork_count::generation;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
    use std::sync::{Mutex, MutexGuard};
    use std::time::Duration;

    /// The workers of this process that want the GIL, have it, or run a task that may have released it.
    #[derive(Default)]
    struct Crowd {
        /// Where workers that want the GIL between two tasks wait for each other.
        gate: Mutex<()>,
        /// How many workers there are.
        size: AtomicU32,
        /// How many tasks have ended. Written by the thread that has the GIL.
        ends: AtomicU64,
    }

    impl Crowd {
        fn current() -> &'static Crowd {
            static CURRENT: PerProcess<Crowd> = PerProcess::empty();
            CURRENT.get_or_init(generation(), |_| Crowd::default())
        }
    }

    /// Held by the one worker that may request the GIL between two tasks. The holder is detached, and an attached
    /// thread never waits for it.
    pub struct Gate(#[allow(dead_code)] MutexGuard<'static, ()>);

    /// A worker's membership in the crowd. (Relaxed throughout: only speed depends on it.)
    pub struct Member {
        crowd: &'static Crowd,
        /// The number of the last task end that this worker saw.
        seen: u64,
        /// How many times in a row no thread took the GIL that this worker released.
        vain: u32,
    }

    impl Member {
        /// After this many times, the GIL is offered in only one case of `ONE_OF`.
        const FEW_IN_VAIN: u32 = 4;
        const ONE_OF: u32 = 64;

        /// Joins the crowd, then waits at the gate. The caller is detached.
        pub fn join() -> (Self, Gate) {
            let crowd = Crowd::current();
            crowd.size.fetch_add(1, Relaxed);
            let member = Member {
                crowd,
                seen: 0,
                vain: 0,
            };
            let gate = member.enter();
            (member, gate)
        }

        fn enter(&self) -> Gate {
            Gate(lock(&self.crowd.gate))
        }

        /// Runs `rest`, detached, outside the crowd, then waits at the gate.
        pub fn rest<R>(&self, rest: impl FnOnce() -> R) -> (R, Gate) {
            self.crowd.size.fetch_sub(1, Relaxed);
            let result = rest();
            self.crowd.size.fetch_add(1, Relaxed);
            (result, self.enter())
        }

        /// Between two tasks, attached: whether other workers may want the GIL.
        #[inline]
        pub fn has_company(&self) -> bool {
            self.crowd.size.load(Relaxed) > 1
        }

        /// At the end of a task, attached: whether another worker has ended a task since this one last did. If so, this
        /// worker released the GIL in between.
        #[inline]
        pub fn has_shared(&mut self) -> bool {
            let ends = self.crowd.ends.load(Relaxed);
            self.crowd.ends.store(ends + 1, Relaxed);
            std::mem::replace(&mut self.seen, ends + 1) != ends
        }

        /// Whether to offer the GIL to others: mostly not, if that was in vain because they wait for something else.
        pub fn should_step_back(&mut self) -> bool {
            if !std::ptr::eq(self.crowd, Crowd::current()) {
                // The task has forked, and this is the child: the gate is the parent's.
                return false;
            }
            if self.vain < Self::FEW_IN_VAIN || self.vain % Self::ONE_OF == 0 {
                return true;
            }
            self.vain += 1;
            false
        }

        /// Detached: queues up for the GIL behind the others. `has_come`: a thread that is no worker has had it.
        pub fn step_back(&mut self, has_come: impl Fn() -> bool) -> Gate {
            match self.crowd.gate.try_lock() {
                // A worker is requesting it already, and gets in before this one can ask.
                Err(_) => self.vain = 0,
                Ok(free) => {
                    drop(free);
                    // Requesting it at once would take it away from threads that are just being woken for it.
                    let taken = self.wait_for_another(has_come);
                    self.vain = if taken { 0 } else { self.vain.wrapping_add(1) };
                }
            }
            self.enter()
        }

        /// Waits for a moment, until others have had the GIL; returns whether they have.
        fn wait_for_another(&self, has_come: impl Fn() -> bool) -> bool {
            const DOZE: Duration = Duration::from_micros(50);
            const MOST_DOZES: u32 = 6;
            for _ in 0..MOST_DOZES {
                thread::doze(DOZE);
                if has_come() || self.crowd.ends.load(Relaxed) != self.seen {
                    return true;
                }
            }
            false
        }
    }

    impl Drop for Member {
        fn drop(&mut self) {
            self.crowd.size.fetch_sub(1, Relaxed);
        }
    }

    /// The last thing that a thread of this module did with the GIL. Other threads, and tasks that release it, do not
    /// report, so this is a guess, and only speed depends on it.
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);

    /// This thread has just acquired the GIL.
    #[inline]
    pub fn taken() {
        IS_TAKEN.store(true, Relaxed);
    }

    /// This thread has just released the GIL.
    #[inline]
    pub fn given_up() {
        IS_TAKEN.store(false, Relaxed);
    }

    /// The longest spin: about what it costs to be woken.
    const MOST: Duration = Duration::from_micros(50);
    /// If nothing has changed for this long, the thread that has the GIL is not about to release it.
    const QUIET: Duration = Duration::from_micros(3);

    /// Spins, for some microseconds at most, while the thread that has the GIL will probably release it soon: it puts
    /// one task after another into a pool, or takes one after another out of it (then `changes()` differs).
    pub fn spin_before_resuming(changes: impl Fn() -> u64) {
        static SPIN: AdaptiveSpin = AdaptiveSpin::new(MOST);
        let mut first = None;
        SPIN.spin_while(
            || !IS_TAKEN.load(Relaxed),
            |now| {
                let count = changes();
                let (start, last, since) = first.get_or_insert((now, count, now));
                if count != *last {
                    (*last, *since) = (count, now);
                }
                now - *since < QUIET && now - *start < MOST
            },
        );
    }
}

#[cfg(Py_GIL_DISABLED)]
mod without_gil {
    pub struct Gate;

    /// Has a `Drop`, as the gate of the other builds has one.
    impl Drop for Gate {
        fn drop(&mut self) {}
    }

    pub struct Member;

    impl Member {
        pub fn join() -> (Self, Gate) {
            (Member, Gate)
        }

        pub fn rest<R>(&self, rest: impl FnOnce() -> R) -> (R, Gate) {
            (rest(), Gate)
        }

        #[inline]
        pub fn has_company(&self) -> bool {
            false
        }

        #[inline]
        pub fn has_shared(&mut self) -> bool {
            false
        }

        pub fn should_step_back(&mut self) -> bool {
            false
        }

        pub fn step_back(&mut self, _has_come: impl Fn() -> bool) -> Gate {
            Gate
        }
    }

    #[inline]
    pub fn taken() {}

    #[inline]
    pub fn given_up() {}

    #[inline]
    pub fn spin_before_resuming(_changes: impl Fn() -> u64) {}
}

#[cfg(not(Py_GIL_DISABLED))]
pub use with_gil::{Gate, Member, given_up, spin_before_resuming, taken};
#[cfg(Py_GIL_DISABLED)]
pub use without_gil::{Gate, Member, given_up, spin_before_resuming, taken};
