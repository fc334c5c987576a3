//! The expiry thread: tells workers that have rested for too long to leave.
//!
//! It looks when the next worker may be overdue, but at most a few times in an expiry duration, sleeps without polling
//! while nobody rests, and is gone when the pool is closed. It is started by the first worker that rests.

use super::core::Core;
use super::host::Host;
use super::sync::atomic::{AtomicU8, Ordering};
use super::sync::{Arc, Condvar, Mutex, full_fence, lock, wait};
use super::threads::Role;
use std::time::Duration;

/// There is no thread.
const ABSENT: u8 = 0;
/// The thread looks, or will within an expiry duration.
const AWAKE: u8 = 1;
/// The thread sleeps until somebody rests.
const ASLEEP: u8 = 2;

/// See the module's description.
pub struct Expiry {
    state: AtomicU8,
    bed: Mutex<()>,
    bell: Condvar,
}

impl Expiry {
    pub fn new() -> Self {
        Expiry {
            state: AtomicU8::new(ABSENT),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Wakes the thread, to look or (the pool being closed) to go.
    pub fn wake(&self) {
        drop(lock(&self.bed));
        self.bell.notify_one();
    }
}

impl<H: Host> Core<H> {
    /// A worker has gone to rest: sees to it that it will expire. The caller has put itself on the idle stack and a
    /// full fence after it; the thread says that it sleeps and looks at the seats after a full fence.
    /// `Some`: the thread could not be started, and the worker is to see to itself after so long.
    pub fn expire_later(self: &Arc<Self>) -> Option<Duration> {
        let expiry = self.options.expiry?;
        match self.expiry.state.load(Ordering::Relaxed) {
            AWAKE => None,
            ASLEEP => {
                self.expiry.wake();
                None
            }
            _ => (!self.start_expiry(expiry)).then_some(expiry),
        }
    }

    /// Starts the thread unless there is one; `false`: the system refused it.
    fn start_expiry(self: &Arc<Self>, expiry: Duration) -> bool {
        if self
            .expiry
            .state
            .compare_exchange(ABSENT, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return true;
        }
        let name = format!("{}_expiry", self.options.name);
        self.count_thread(Role::Expiry);
        let started = self
            .start_thread(Role::Expiry, name, Some(EXPIRY_STACK), move |core, _| {
                core.expire_for_life(expiry);
            })
            .is_ok();
        if !started {
            self.uncount_thread(Role::Expiry);
            // The next worker that rests tries again.
            self.expiry.state.store(ABSENT, Ordering::Relaxed);
        }
        started
    }

    fn expire_for_life(self: &Arc<Self>, expiry: Duration) {
        loop {
            let mut next = self.expire_overdue(expiry);
            self.join_some(usize::MAX);
            // More threads than the workers and this one: some are on their way out, and will be joined next time.
            if self.threads.count() > self.crew.running() as usize + 1 {
                next = next.or(Some(expiry));
            }
            let bed = lock(&self.expiry.bed);
            if self.admission.is_closed() {
                self.expiry.state.store(ABSENT, Ordering::Relaxed);
                full_fence();
                // Reopened meanwhile, and a worker that rests may have believed us awake: unless another thread was
                // started already, go on.
                let reopened = !self.admission.is_closed();
                if !(reopened
                    && self
                        .expiry
                        .state
                        .compare_exchange(ABSENT, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok())
                {
                    return;
                }
            } else if let Some(next) = next {
                // Workers that began to rest one shortly after another leave together.
                let pause = next.max(expiry / LOOKS).max(SHORTEST_PAUSE).min(expiry);
                drop(wait(&self.expiry.bell, bed, Some(pause)));
            } else {
                self.expiry.state.store(ASLEEP, Ordering::Relaxed);
                full_fence();
                if !self.seats.iter().any(|seat| seat.resting().is_some())
                    && !self.admission.is_closed()
                {
                    drop(wait(&self.expiry.bell, bed, None));
                }
                self.expiry.state.store(AWAKE, Ordering::Relaxed);
            }
        }
    }

    /// Tells all workers to leave that have rested for `expiry` or longer. In how long to look again: the next will be
    /// overdue, or those who were told will have left and are to be joined; `None`: nobody rests.
    pub fn expire_overdue(&self, expiry: Duration) -> Option<Duration> {
        let now = self.now();
        let expiry = u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX);
        let mut next = None;
        for seat in self.seats.iter() {
            let Some((rest, since)) = seat.resting() else {
                continue;
            };
            let left = expiry.saturating_sub(now.saturating_sub(since));
            if left == 0 {
                seat.expire(rest);
            }
            next = Some(next.map_or(left, |next: u64| next.min(left)));
        }
        next.map(Duration::from_nanos)
    }
}

/// How often the thread looks in one expiry duration at most.
const LOOKS: u32 = 8;
/// However short the expiry duration, the thread does not spin.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The expiry thread calls nothing deep.
const EXPIRY_STACK: usize = 64 * 1024;
