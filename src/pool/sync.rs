//! The synchronisation that the core is built on: the standard library's, or a model checker's, chosen in one place.
//!
//! For Python the locks are the standard library's and not parking_lot's, for the sake of `fork`: parking_lot keeps all
//! waiting threads in one table of the process, and a child forked while another thread holds a bucket of that table
//! finds it locked for ever. The standard locks hold all their state in themselves. Rust programs, which seldom fork
//! without an `exec`, have parking_lot's, unless they turn the feature off.

#[cfg(loom)]
pub use loom::thread_local;
#[cfg(shuttle)]
pub use shuttle::thread_local;
#[cfg(any(loom, shuttle))]
#[path = "../../tests/models/standins.rs"]
mod standins;
#[cfg(any(loom, shuttle))]
pub use standins::{Instant, RunQueue, atomic, may_spin, spin};
#[cfg(not(any(loom, shuttle)))]
pub use std::{sync::atomic, thread_local, time::Instant};

pub use locks::{Condvar, Mutex, MutexGuard, lock, wait};
pub use std::sync::Arc;

use atomic::{Ordering, fence};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

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
            std::mem::forget(payload); // Its drop may panic, too.
            None
        }
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
    static PROCESSORS: OnceLock<u32> = OnceLock::new();
    *PROCESSORS.get_or_init(|| {
        std::thread::available_parallelism().map_or(1, |count| count.get().min(1 << 16) as u32)
    })
}

/// With a single processor nobody else makes progress while a thread spins; and a model checker explores the same
/// without it.
fn can_spin() -> bool {
    !cfg!(any(loom, shuttle)) && processors() > 1
}

/// A thread may spin before it does what costs more. A model takes the one look with which the spin would begin or, as
/// loom often has enough to explore, none.
#[cfg(not(any(loom, shuttle)))]
pub fn may_spin() -> bool {
    can_spin()
}

/// An adaptive spin: how long and how to wait actively, learnt from how it went the last times. (Relaxed, and not
/// changed in one step: these are guesses.)
pub struct AdaptiveSpin {
    most: Duration,
    /// How many spins in a row found nothing.
    misses: AtomicU32,
    /// The awaited thread runs on the same processor, which is yielded to it at once.
    yields: AtomicBool,
    /// How often a yield has helped since a thread last went to sleep instead.
    yielded: AtomicU32,
}

impl AdaptiveSpin {
    /// How long to spin when it is in vain.
    const LEAST: Duration = Duration::from_micros(2);
    /// After this many misses a long spin is tried again: of two threads that wait for each other, one must spin for
    /// longer than it takes to wake it before both find that it pays.
    const RETRY: u32 = 16;
    /// How many looks to take in a row, and after how many such rounds to yield the processor in any case.
    const LOOKS: u32 = 16;
    const ROUNDS: u32 = 8;
    /// How often to yield before sleeping instead: two threads may take turns on one processor for long while another
    /// is free, but the scheduler puts a woken thread where there is room.
    const MOST_YIELDS: u32 = 8;

    /// `most`: the longest spin that may pay.
    pub const fn new(most: Duration) -> Self {
        AdaptiveSpin {
            most,
            misses: AtomicU32::new(0),
            yields: AtomicBool::new(false),
            yielded: AtomicU32::new(0),
        }
    }

    /// Spins until `is_there`, for as long as it pays; returns whether it was.
    pub fn spin(&self, is_there: impl Fn() -> bool) -> bool {
        let misses = self.misses.load(Relaxed);
        let limit = self.most / (1 << (misses % Self::RETRY));
        let found = self.spin_for(limit.max(Self::LEAST), is_there);
        let misses = if found { 0 } else { misses.wrapping_add(1) };
        self.misses.store(misses, Relaxed);
        found
    }

    /// Spins until `is_there`, for `limit` at most; returns whether it was.
    pub fn spin_for(&self, limit: Duration, is_there: impl Fn() -> bool) -> bool {
        let mut start = None;
        self.spin_while(is_there, |now| {
            now - *start.get_or_insert(now) < limit && !self.should_sleep()
        })
    }

    /// The processor was yielded often enough; starts counting anew.
    fn should_sleep(&self) -> bool {
        let enough = self.yields.load(Relaxed) && self.yielded.load(Relaxed) >= Self::MOST_YIELDS;
        if enough {
            self.yielded.store(0, Relaxed);
            self.yields.store(false, Relaxed);
        }
        enough
    }

    /// Spins until `is_there`, while `may_go_on`; returns whether it was. Looks once where spinning makes no sense.
    pub fn spin_while(
        &self,
        is_there: impl Fn() -> bool,
        mut may_go_on: impl FnMut(Instant) -> bool,
    ) -> bool {
        if !can_spin() {
            return is_there();
        }
        let mut yielded = false;
        for round in 1.. {
            for look in 0..Self::LOOKS {
                if is_there() {
                    let helped = yielded && look == 0;
                    if helped {
                        self.yielded.fetch_add(1, Relaxed);
                    }
                    if round > 1 {
                        self.yields.store(helped, Relaxed);
                    }
                    return true;
                }
                std::hint::spin_loop();
            }
            if !may_go_on(Instant::now()) {
                break;
            }
            yielded = round >= Self::ROUNDS || self.yields.load(Relaxed);
            if yielded {
                std::thread::yield_now();
            }
        }
        false
    }
}

/// How long a caller is willing to wait, and what may interrupt it.
pub struct WaitLimit<'a> {
    deadline: Option<Instant>,
    interrupt: Option<Interrupt<'a>>,
}

struct Interrupt<'a> {
    is_interrupted: &'a mut dyn FnMut() -> bool,
    next_look: Instant,
}

impl<'a> WaitLimit<'a> {
    /// How often an interruptible wait checks for an interrupt.
    const SLICE: Duration = Duration::from_millis(50);

    /// Waits for `timeout` at most; `None`: no limit.
    pub fn new(timeout: Option<Duration>) -> Self {
        // A deadline too far away to be represented counts as none.
        WaitLimit {
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            interrupt: None,
        }
    }

    /// Asks `is_interrupted` about twenty times a second whether to end the wait.
    pub fn interruptible(mut self, is_interrupted: &'a mut dyn FnMut() -> bool) -> Self {
        self.interrupt = Some(Interrupt {
            is_interrupted,
            next_look: Instant::now() + Self::SLICE,
        });
        self
    }

    /// There is no time limit.
    pub fn is_endless(&self) -> bool {
        self.deadline.is_none()
    }

    /// The time is up.
    pub fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How long to wait at most before the next check; `None`: no check is needed.
    pub fn next_wait(&self) -> Option<Duration> {
        let look = self.interrupt.as_ref().map(|interrupt| interrupt.next_look);
        let next = [self.deadline, look].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// It is time to ask `is_interrupted`.
    pub fn is_look_due(&self) -> bool {
        self.interrupt
            .as_ref()
            .is_some_and(|interrupt| Instant::now() >= interrupt.next_look)
    }

    /// The wait must end. Asks `is_interrupted` only when it is due.
    pub fn is_interrupted(&mut self) -> bool {
        if !self.is_look_due() {
            return false;
        }
        self.interrupt.as_mut().is_some_and(|interrupt| {
            interrupt.next_look = Instant::now() + Self::SLICE;
            (interrupt.is_interrupted)()
        })
    }
}

/// Starts the threads of the core.
pub mod thread {
    use super::super::faults;
    use std::io;

    #[cfg(loom)]
    use loom::thread as threads;
    #[cfg(shuttle)]
    use shuttle::thread as threads;
    #[cfg(not(any(loom, shuttle)))]
    use std::thread as threads;

    /// A handle that joins a thread.
    pub struct JoinHandle(threads::JoinHandle<()>);

    impl JoinHandle {
        /// Waits until the thread has ended.
        pub fn join(self) {
            if let Err(payload) = self.0.join() {
                std::mem::forget(payload); // Its drop may panic, too.
            }
        }
    }

    /// On Linux a join returns a moment before the kernel removes the thread from the process, by which CPython judges
    /// whether a process that forks has threads.
    pub mod kernel {
        #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
        use std::path::Path;
        use std::time::{Duration, Instant};

        /// The kernel's id of a thread; `None` if the kernel cannot be asked.
        pub type Id = Option<i32>;

        /// The kernel's id of this thread.
        pub fn id() -> Id {
            #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
            {
                let own = std::fs::read_link("/proc/thread-self").ok()?;
                own.file_name()?.to_str()?.parse().ok()
            }
            #[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
            None
        }

        /// The process has no thread of that id any more; `None`: the kernel cannot be asked.
        pub fn has_ended(id: Id) -> Option<bool> {
            #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
            return id.map(|id| !Path::new(&format!("/proc/self/task/{id}")).exists());
            #[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
            id.map(|_| true)
        }

        /// Waits until the process has no thread of that id. If the id has been given to another thread already, the
        /// wait ends nevertheless.
        pub fn wait_ended(id: Id) {
            const LIMIT: Duration = Duration::from_millis(50);
            let start = Instant::now();
            while has_ended(id) == Some(false) && start.elapsed() < LIMIT {
                std::thread::yield_now();
            }
        }
    }

    /// Starts a thread. The error is the operating system's.
    #[cfg(not(any(loom, shuttle)))]
    pub fn spawn(
        name: String,
        stack_size: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle> {
        faults::spawn_fails()?;
        let mut builder = std::thread::Builder::new().name(name);
        if let Some(bytes) = stack_size {
            builder = builder.stack_size(bytes);
        }
        builder.spawn(body).map(JoinHandle)
    }

    /// The model checker's threads have neither names nor stack sizes.
    #[cfg(any(loom, shuttle))]
    pub fn spawn(
        _name: String,
        _stack_size: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle> {
        faults::spawn_fails()?;
        Ok(JoinHandle(threads::spawn(body)))
    }

    /// Sleeps for about that long. In a model, where no time passes, other threads go first.
    pub fn doze(duration: std::time::Duration) {
        #[cfg(not(any(loom, shuttle)))]
        std::thread::sleep(duration);
        #[cfg(any(loom, shuttle))]
        super::standins::pass(duration);
    }

    pub use threads::yield_now;
}
