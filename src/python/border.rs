//! Threads that are crossing into Python or out of it, and the forks that wait for them.
//!
//! CPython keeps books on its threads. On free-threaded builds it guards them by locks that are handed from one waiting
//! thread to the next, so that a thread may hold one while it is still asleep; elsewhere by locks that a thread may hold
//! while another has the GIL. A child forked at that moment finds such a lock held by a thread that it does not have,
//! and waits for it for ever: when it strikes out its parent's threads, or starts a worker of its own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long crossings and forks wait for each other. Neither takes as long, unless somebody's destructor or fork hook
/// waits for what only the other one can do, or they are one thread: then it goes on, and the child takes its chance.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets threads cross whenever no fork is under way, and processes fork when no thread is crossing. Its lock is held for
/// a moment only, and nothing waited for under it but the bell.
#[derive(Default)]
pub struct Border {
    traffic: Mutex<Traffic>,
    bell: Condvar,
}

#[derive(Default)]
struct Traffic {
    crossing: usize,
    forks: usize,
}

impl Border {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is in the way, but not for ever.
    fn wait_while<'a>(
        &'a self,
        traffic: MutexGuard<'a, Traffic>,
        is_in_the_way: impl Fn(&Traffic) -> bool,
    ) -> MutexGuard<'a, Traffic> {
        self.bell
            .wait_timeout_while(traffic, PATIENCE, |traffic| is_in_the_way(traffic))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Begins to cross, after the forks under way. The caller is detached.
    pub fn cross(&self) -> Crossing<'_> {
        let traffic = self.wait_while(self.traffic(), |traffic| traffic.forks > 0);
        self.count(traffic)
    }

    /// Begins to cross; `None`: a fork is under way.
    pub fn try_cross(&self) -> Option<Crossing<'_>> {
        let traffic = self.traffic();
        (traffic.forks == 0).then(|| self.count(traffic))
    }

    fn count(&self, mut traffic: MutexGuard<'_, Traffic>) -> Crossing<'_> {
        traffic.crossing += 1;
        Crossing(self)
    }

    /// A fork is under way: nobody begins to cross, and those who are crossing have crossed. The caller is detached.
    pub fn close(&self) {
        let mut traffic = self.traffic();
        traffic.forks += 1;
        drop(self.wait_while(traffic, |traffic| traffic.crossing > 0));
    }

    /// The fork is done.
    pub fn open(&self) {
        self.traffic().forks -= 1;
        self.bell.notify_all();
    }
}

/// A thread that is crossing.
pub struct Crossing<'a>(&'a Border);

impl Drop for Crossing<'_> {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        traffic.crossing -= 1;
        if traffic.forks > 0 {
            drop(traffic);
            self.0.bell.notify_all();
        }
    }
}
