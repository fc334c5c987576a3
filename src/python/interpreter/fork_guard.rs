//! Threads that are crossing into Python or out of it, and the forks that wait for them.
//!
//! CPython keeps books on its threads. On free-threaded builds it guards them by locks that are handed from one waiting
//! thread to the next, so that a thread may hold one while it is still asleep; elsewhere by locks that a thread may hold
//! while another has the GIL. A child forked at that moment finds such a lock held by a thread that it does not have,
//! and waits for it for ever: when it strikes out its parent's threads, or starts a worker of its own. So a fork waits
//! until nobody is crossing, and who wants to cross waits for the fork.
//!
//! Threads leave free-threaded builds one at a time. Memory that a thread leaves behind there is taken back only when
//! every other attached thread has made a step. In a crowd that leaves at once most are attached and without a processor,
//! and each then searches what all the others have left behind: ending 6,000 threads on 2 busy processors took 5 to
//! 40 seconds of processor time, and 1.7 one at a time. Whoever arrives lets another one leave as well: or threads that
//! come and go faster than one at a time would pile up.

use super::call;
use super::process::generation;
use crate::per_process::PerProcess;
use pyo3::Python;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// With the GIL it is one at a time anyway.
const ONE_AT_A_TIME: bool = cfg!(Py_GIL_DISABLED);

/// For how long anybody waits for others that do not get on. Nobody takes as long, unless somebody's destructor or fork
/// hook waits for what only those who wait here could do, or they are one thread: then they go on, and a child that is
/// forked just then takes its chance.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// Begins to cross into Python: no fork happens until the guard is dropped. The caller is detached.
pub fn arrive() -> Arrival<'static> {
    ForkGuard::current().arrive()
}

/// Begins to leave Python: no fork happens until the guard is dropped, when the thread has left. Detaches only where it
/// has to wait.
pub fn leave(py: Python<'_>) -> Departure<'static> {
    let fork_guard = ForkGuard::current();
    fork_guard
        .try_leave()
        .unwrap_or_else(|| call::detach(py, || fork_guard.leave()))
}

/// A fork is about to happen: nobody begins to cross, and those who are crossing have crossed.
pub fn close(py: Python<'_>) {
    call::detach(py, || ForkGuard::current().close());
}

/// The fork is done, and this is the parent.
pub fn open() {
    ForkGuard::current().open();
}

/// See the module's description. Its lock is held for a moment only, and nothing waited for under it but the bells.
#[derive(Default)]
struct ForkGuard {
    traffic: Mutex<Traffic>,
    /// For all but those who wait for their turn to leave.
    condvar: Condvar,
    /// For one of those who wait for their turn to leave.
    turn: Condvar,
}

#[derive(Default)]
struct Traffic {
    forks: usize,
    arriving: usize,
    leaving: usize,
    /// How many of them do not get away, and are not waited for any more.
    stuck: usize,
    /// How many wait for their turn to leave.
    queued: usize,
    /// How many of them need not wait for their turn.
    permits: usize,
    /// How many have left.
    left: u64,
}

impl Traffic {
    fn may_arrive(&self) -> bool {
        self.forks == 0
    }

    fn may_leave(&self) -> bool {
        self.forks == 0 && (!ONE_AT_A_TIME || self.leaving <= self.stuck || self.permits > 0)
    }

    fn leave(&mut self) {
        if self.leaving > self.stuck {
            self.permits = self.permits.saturating_sub(1);
        }
        self.permits = self.permits.min(self.queued);
        self.leaving += 1;
    }

    fn may_fork(&self) -> bool {
        self.arriving + self.leaving == 0
    }
}

impl ForkGuard {
    fn current() -> &'static ForkGuard {
        static CURRENT: PerProcess<ForkGuard> = PerProcess::empty();
        CURRENT.get_or_init(generation(), |_| ForkGuard::default())
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on `condvar` until `ready`, but no longer than others get on.
    fn wait<'a>(
        &'a self,
        condvar: &Condvar,
        mut traffic: MutexGuard<'a, Traffic>,
        wait_limit: Duration,
        ready: impl Fn(&Traffic) -> bool,
    ) -> MutexGuard<'a, Traffic> {
        loop {
            let left = traffic.left;
            let (now, waited) = condvar
                .wait_timeout_while(traffic, wait_limit, |traffic| !ready(traffic))
                .unwrap_or_else(PoisonError::into_inner);
            traffic = now;
            if !waited.timed_out() || traffic.left == left {
                return traffic;
            }
        }
    }

    /// Begins to cross into Python. The caller is detached.
    fn arrive(&self) -> Arrival<'_> {
        let mut traffic = self.wait(
            &self.condvar,
            self.traffic(),
            WAIT_LIMIT,
            Traffic::may_arrive,
        );
        traffic.arriving += 1;
        if traffic.permits < traffic.queued {
            traffic.permits += 1;
            drop(traffic);
            self.turn.notify_one();
        }
        Arrival(self)
    }

    /// Begins to leave Python. The caller is detached.
    fn leave(&self) -> Departure<'_> {
        let mut traffic = self.traffic();
        traffic.queued += 1;
        // A crowd that looks up every second has no time for anything else: the later one comes, the longer one waits.
        let wait_limit = WAIT_LIMIT + Duration::from_millis(traffic.queued as u64);
        let mut traffic = self.wait(&self.turn, traffic, wait_limit, Traffic::may_leave);
        traffic.queued -= 1;
        if !traffic.may_leave() {
            traffic.stuck = traffic.leaving;
        }
        traffic.leave();
        Departure(self)
    }

    /// As `leave`, but never waits; `None`: it would have to.
    fn try_leave(&self) -> Option<Departure<'_>> {
        let mut traffic = self.traffic();
        traffic.may_leave().then(|| {
            traffic.leave();
            Departure(self)
        })
    }

    /// A fork is about to happen: nobody begins to cross, and those who are crossing have crossed. The caller is detached.
    fn close(&self) {
        let mut traffic = self.traffic();
        traffic.forks += 1;
        drop(self.wait(&self.condvar, traffic, WAIT_LIMIT, Traffic::may_fork));
    }

    /// The fork is done.
    fn open(&self) {
        self.traffic().forks -= 1;
        self.condvar.notify_all();
        self.turn.notify_one();
    }

    /// For who waits to fork.
    fn crossed(&self, traffic: MutexGuard<'_, Traffic>) {
        let forks = traffic.forks > 0 && traffic.may_fork();
        drop(traffic);
        if forks {
            self.condvar.notify_all();
        }
    }
}

/// A thread that is crossing into Python.
pub struct Arrival<'a>(&'a ForkGuard);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        traffic.arriving -= 1;
        self.0.crossed(traffic);
    }
}

/// A thread that is crossing out of Python, to end.
pub struct Departure<'a>(&'a ForkGuard);

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        traffic.leaving -= 1;
        traffic.stuck = traffic.stuck.min(traffic.leaving);
        traffic.left += 1;
        self.0.crossed(traffic);
        self.0.turn.notify_one();
    }
}
