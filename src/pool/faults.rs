//! Faults that tests inject: failing thread starts, and (in models only) steps of the protocol left out.

use std::io;

/// A build for tests can be broken; any other is as if this file were not there. (The models are release builds, and so
/// is the Python package, whose tests run against it as users install it.)
const ENABLED: bool = cfg!(any(debug_assertions, loom, shuttle, feature = "faults"));

#[cfg(not(any(loom, shuttle)))]
use std::sync::atomic::{AtomicI64, Ordering};

/// How many of the next thread starts fail; negative: all.
#[cfg(not(any(loom, shuttle)))]
static FAILING_SPAWNS: AtomicI64 = AtomicI64::new(0);

// All threads of a model run on one thread of the system, so a fault affects that model only.
#[cfg(any(loom, shuttle))]
std::thread_local! {
    static FAILING_SPAWNS: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
    static SKIPPED: std::cell::Cell<Option<Step>> = const { std::cell::Cell::new(None) };
}

/// Makes the next `count` thread starts of the process fail as if the operating system had no more threads; a negative
/// `count` fails all of them until this is called with 0.
///
/// # Panics
/// In a release build without the feature `faults`.
pub fn fail_spawns(count: i64) {
    if !ENABLED {
        panic!("a release build fails nothing on purpose without the feature `faults`");
    }
    #[cfg(not(any(loom, shuttle)))]
    FAILING_SPAWNS.store(count, Ordering::Relaxed);
    #[cfg(any(loom, shuttle))]
    FAILING_SPAWNS.set(count);
}

/// Counts one thread start; returns whether it must fail.
fn is_to_fail() -> bool {
    let next = |left: i64| (left != 0).then(|| if left < 0 { left } else { left - 1 });
    #[cfg(not(any(loom, shuttle)))]
    return FAILING_SPAWNS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .is_ok();
    #[cfg(any(loom, shuttle))]
    next(FAILING_SPAWNS.get())
        .inspect(|&left| FAILING_SPAWNS.set(left))
        .is_some()
}

/// How many of the injected failures are left.
#[cfg(not(any(loom, shuttle)))]
pub fn failing_spawns() -> i64 {
    FAILING_SPAWNS.load(Ordering::Relaxed)
}

pub(super) fn spawn_fails() -> io::Result<()> {
    if ENABLED && is_to_fail() {
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "thread start refused by a test",
        ))
    } else {
        Ok(())
    }
}

/// A step of the protocol that a model leaves out to show that it notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A worker that has put itself on the idle stack looks into the run queue once more.
    LookAgainBeforeParking,
    /// A worker that gives back a permit checks for a submitter that began to wait meanwhile.
    LookAgainAfterGivingBack,
    /// A worker that is no longer counted looks for a task whose submitter had counted on it.
    LookAgainAfterLeaving,
    /// The thread that lays down the search token checks for a task whose submitter had trusted the searcher.
    LookAgainAfterSearching,
    /// A worker that comes back because it is needed after all takes the search token again.
    SearchAgainAfterComingBack,
}

/// Leaves `step` out of the protocol from now on; `None` restores it.
#[cfg(any(loom, shuttle))]
pub fn skip(step: Option<Step>) {
    SKIPPED.set(step);
}

/// A model left `step` out. Always false, and compiled away, outside of models.
#[inline]
pub(super) fn skipped(step: Step) -> bool {
    #[cfg(any(loom, shuttle))]
    return SKIPPED.get() == Some(step);
    #[cfg(not(any(loom, shuttle)))]
    {
        let _ = step;
        false
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    #[test]
    fn a_release_build_breaks_nothing_unless_it_asks_to() {
        let asked = std::panic::catch_unwind(|| super::fail_spawns(0));
        let is_for_tests = cfg!(any(debug_assertions, feature = "faults"));
        assert_eq!(asked.is_ok(), is_for_tests);
    }
}
