//! The expiry thread: tells workers that have rested for too long to leave.
//!
//! It looks once every expiry duration while somebody rests, sleeps without polling while nobody does, and is gone when
//! the pool is closed. It is started by the first worker that rests.

use super::core::Core;
use super::host::Host;
use super::sync::atomic::{AtomicU8, Ordering};
use super::sync::{Arc, Condvar, Mutex, full_fence, lock, thread, wait};
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
    pub fn expire_later(self: &Arc<Self>) {
        let Some(expiry) = self.options.expiry else {
            return;
        };
        match self.expiry.state.load(Ordering::Relaxed) {
            AWAKE => {}
            ASLEEP => self.expiry.wake(),
            _ => self.start_expiry(expiry),
        }
    }

    fn start_expiry(self: &Arc<Self>, expiry: Duration) {
        if self
            .expiry
            .state
            .compare_exchange(ABSENT, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        let core = Arc::clone(self);
        let name = format!("{}_expiry", self.options.name);
        if thread::spawn(name, Some(EXPIRY_STACK), move || {
            core.expire_for_life(expiry)
        })
        .is_err()
        {
            // The next worker that rests tries again.
            self.expiry.state.store(ABSENT, Ordering::Relaxed);
        }
    }

    fn expire_for_life(self: &Arc<Self>, expiry: Duration) {
        loop {
            let somebody_rests = self.expire_overdue(expiry);
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
            } else if somebody_rests {
                drop(wait(&self.expiry.bell, bed, Some(expiry)));
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

    /// Tells all workers to leave that have rested for `expiry` or longer; whether others rest.
    pub fn expire_overdue(&self, expiry: Duration) -> bool {
        let now = self.now();
        let expiry = u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX);
        let mut somebody_rests = false;
        for seat in self.seats.iter() {
            if let Some((rest, since)) = seat.resting() {
                let overdue = now.saturating_sub(since) >= expiry;
                somebody_rests |= !(overdue && seat.expire(rest));
            }
        }
        somebody_rests
    }
}

/// The expiry thread calls nothing deep.
const EXPIRY_STACK: usize = 64 * 1024;
