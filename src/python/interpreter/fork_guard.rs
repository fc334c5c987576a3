//! The fork guard: keeps forks apart from threads that are entering or leaving Python. The interpreter calls its hooks
//! when the process forks.
//!
//! CPython keeps records of its threads. Free-threaded builds protect them by locks that are handed from one waiting
//! thread to the next, so a thread may own one while it is still asleep; other builds use locks that a thread may hold
//! while another has the GIL. A child forked at that moment inherits such a lock held by a thread that it does not
//! have, and waits for it for ever when it discards its parent's threads or starts a worker of its own. So a fork waits
//! until no thread is entering or leaving, and a thread that wants to enter or leave waits for the fork.
//!
//! On free-threaded builds threads leave one at a time. Memory that a leaving thread frees there is reclaimed only when
//! every other attached thread has made a step. If many leave at once, most are attached and without a processor, and
//! each searches what all the others have freed: ending 6,000 threads on 2 busy processors took 5 to 40 seconds of
//! processor time, and 1.7 one at a time. Each arriving thread lets one more leave; otherwise threads that come and go
//! faster than one at a time would pile up.

use super::call::{self, Guarded};
use super::fork_count::{self, generation};
use super::thread_id;
use crate::per_process::PerProcess;
use crate::pool::internal::sync::lock;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// With the GIL they leave one at a time anyway.
const ONE_AT_A_TIME: bool = cfg!(Py_GIL_DISABLED);

/// How long a thread waits for others without progress. None takes that long, unless a destructor or fork hook waits
/// for something that only the waiting threads could do, or runs on one of them; then the wait ends, and a child forked
/// at that moment takes its chance.
const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// Begins to enter Python: no fork happens until the guard is dropped. The caller is detached.
pub fn arrive() -> Arrival {
    let fork_guard = ForkGuard::current();
    let mut traffic = fork_guard.wait(
        &fork_guard.condvar,
        fork_guard.traffic(),
        WAIT_LIMIT,
        Traffic::may_arrive,
    );
    traffic.arriving += 1;
    if traffic.permits < traffic.queued {
        traffic.permits += 1;
        drop(traffic);
        fork_guard.turn.notify_one();
    }
    Arrival(fork_guard)
}

/// Begins to leave Python: no fork happens until the guard is dropped, when the thread has left. Detaches only if it
/// has to wait.
pub fn leave(py: Python<'_>) -> Departure {
    let fork_guard = ForkGuard::current();
    fork_guard
        .try_leave()
        .unwrap_or_else(|| call::detach(py, || fork_guard.leave()))
}

/// On the thread that forks: waits until all threads that are entering or leaving are through, and lets no more begin.
#[pyfunction]
fn before_fork(py: Python<'_>) {
    call::detach(py, || ForkGuard::current().close());
}

#[pyfunction]
fn after_fork_in_parent() {
    ForkGuard::current().open();
}

/// In a forked child: the parent's threads do not exist here, and its locks must not be touched.
#[pyfunction]
fn after_fork_in_child() {
    fork_count::begin_child();
    thread_id::begin_child();
    crate::pool::internal::forget_process();
}

/// Registers the hooks with the interpreter.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let before = wrap_pyfunction!(before_fork, module)?;
        let parent = wrap_pyfunction!(after_fork_in_parent, module)?;
        let child = wrap_pyfunction!(after_fork_in_child, module)?;
        let hooks = [
            ("before", before),
            ("after_in_parent", parent),
            ("after_in_child", child),
        ];
        os.guarded_method("register_at_fork", (), &hooks.into_py_dict(py)?)?;
    }
    Ok(())
}

/// See the module's description. The lock is held only briefly, and the only waits under it are on the condvars.
#[derive(Default)]
struct ForkGuard {
    traffic: Mutex<Traffic>,
    /// For all threads but those that wait for their turn to leave.
    condvar: Condvar,
    /// For one thread that waits for its turn to leave.
    turn: Condvar,
}

#[derive(Default)]
struct Traffic {
    forks: usize,
    arriving: usize,
    leaving: usize,
    /// How many of the leaving threads make no progress and are no longer waited for.
    stuck: usize,
    /// How many threads wait for their turn to leave.
    queued: usize,
    /// How many of them may leave without waiting for their turn.
    permits: usize,
    /// How many threads have left.
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
        lock(&self.traffic)
    }

    /// Waits on `condvar` until `ready`, or until no thread has left for `wait_limit`.
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

    /// Begins to leave Python. The caller is detached.
    fn leave(&'static self) -> Departure {
        let mut traffic = self.traffic();
        traffic.queued += 1;
        // A large number of threads that all wake up every second would do nothing else: later ones wait longer.
        let wait_limit = WAIT_LIMIT + Duration::from_millis(traffic.queued as u64);
        let mut traffic = self.wait(&self.turn, traffic, wait_limit, Traffic::may_leave);
        traffic.queued -= 1;
        if !traffic.may_leave() {
            traffic.stuck = traffic.leaving;
        }
        traffic.leave();
        Departure(self)
    }

    /// As `leave`, but never blocks; `None`: it would have to.
    fn try_leave(&'static self) -> Option<Departure> {
        let mut traffic = self.traffic();
        traffic.may_leave().then(|| {
            traffic.leave();
            Departure(self)
        })
    }

    /// Before a fork: lets no thread begin to enter or leave, and waits for those that have. The caller is detached.
    fn close(&self) {
        let mut traffic = self.traffic();
        traffic.forks += 1;
        drop(self.wait(&self.condvar, traffic, WAIT_LIMIT, Traffic::may_fork));
    }

    /// After the fork.
    fn open(&self) {
        self.traffic().forks -= 1;
        self.condvar.notify_all();
        self.turn.notify_one();
    }

    /// Notifies threads that wait to fork.
    fn crossed(&self, traffic: MutexGuard<'_, Traffic>) {
        let forks = traffic.forks > 0 && traffic.may_fork();
        drop(traffic);
        if forks {
            self.condvar.notify_all();
        }
    }
}

/// A thread that is entering Python.
pub struct Arrival(&'static ForkGuard);

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        traffic.arriving -= 1;
        self.0.crossed(traffic);
    }
}

/// A thread that is leaving Python, to end.
pub struct Departure(&'static ForkGuard);

impl Drop for Departure {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        traffic.leaving -= 1;
        traffic.stuck = traffic.stuck.min(traffic.leaving);
        traffic.left += 1;
        self.0.crossed(traffic);
        self.0.turn.notify_one();
    }
}
