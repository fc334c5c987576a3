//! What the tests may break on purpose: thread starts, and (in model checks only) the steps of the protocol.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

/// How many of the next thread starts fail; negative: all. Plain atomics of the standard library, so that a model
/// check neither explores nor forbids them.
static FAILING_SPAWNS: AtomicI64 = AtomicI64::new(0);

/// Makes the next `count` thread starts of the process fail as if the operating system had no more threads to give;
/// a negative `count` fails all of them until this is called with 0.
pub fn fail_spawns(count: i64) {
    FAILING_SPAWNS.store(count, Ordering::Relaxed);
}

pub(super) fn spawn_fails() -> io::Result<()> {
    let failing = FAILING_SPAWNS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            0 => None,
            left if left < 0 => Some(left),
            left => Some(left - 1),
        })
        .is_ok();
    if failing {
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "thread start refused by a test",
        ))
    } else {
        Ok(())
    }
}

/// A step of the protocol that a model check leaves out to show that it notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Step {
    /// A worker that has put itself on the idle stack looks into the run queue once more.
    LookAgainBeforeParking = 1,
    /// Whoever gives a permit back looks for a submitter that began to wait meanwhile.
    LookAgainAfterGivingBack = 2,
    /// A worker that is no longer counted looks for a task whose submitter had counted on it.
    LookAgainAfterLeaving = 3,
    /// Whoever lays the search token down looks for a task whose submitter had trusted the searcher.
    LookAgainAfterSearching = 4,
    /// A worker that comes back because it is needed after all takes the search token again.
    SearchAgainAfterComingBack = 5,
}

#[cfg(any(loom, shuttle))]
mod model {
    use super::Step;
    use std::sync::atomic::{AtomicU8, Ordering};

    static SKIPPED: AtomicU8 = AtomicU8::new(0);

    /// Leaves `step` out of the protocol from now on; `None` restores it.
    pub fn skip(step: Option<Step>) {
        SKIPPED.store(step.map_or(0, |step| step as u8), Ordering::Relaxed);
    }

    pub fn skipped(step: Step) -> bool {
        SKIPPED.load(Ordering::Relaxed) == step as u8
    }
}
#[cfg(any(loom, shuttle))]
pub use model::skip;

/// Whether a model check left `step` out. Always false, and compiled away, outside of model checks.
#[inline]
pub(super) fn skipped(step: Step) -> bool {
    #[cfg(any(loom, shuttle))]
    return model::skipped(step);
    #[cfg(not(any(loom, shuttle)))]
    {
        let _ = step;
        false
    }
}
