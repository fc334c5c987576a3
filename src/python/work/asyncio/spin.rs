//! Whether a loop spins for its results before it goes to sleep.

use crate::pool::internal::sync::AdaptiveSpin;
use crate::python::interpreter::{call, gil};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The longest spin: more than it takes to wake a worker.
const MOST_SPIN: Duration = Duration::from_micros(50);
/// Under the GIL a spin, however short, costs two waits for the GIL. So after this many calls in a row for which it was
/// in vain, the loop spins for only one call in `ONE_OF`.
const FEW_IN_VAIN: u32 = 4;
const ONE_OF: u32 = 64;

pub(super) struct LoopSpin {
    /// The loop is about to spin; or it never does, since it does not show what else it has to do.
    is_settled: AtomicBool,
    /// For how many calls in a row spinning was in vain or not tried. Written by the loop's thread.
    vain: AtomicU32,
    adaptive_spin: AdaptiveSpin,
}

impl LoopSpin {
    pub(super) fn new() -> Self {
        LoopSpin {
            is_settled: AtomicBool::new(false),
            vain: AtomicU32::new(0),
            adaptive_spin: AdaptiveSpin::new(MOST_SPIN),
        }
    }

    /// On the loop's thread, which makes a call: whether to have it spin for the result.
    pub(super) fn is_wanted(&self) -> bool {
        if self.is_settled.load(Ordering::Relaxed) {
            return false;
        }
        let vain = self.vain.load(Ordering::Relaxed);
        if vain >= FEW_IN_VAIN && vain % ONE_OF != 0 {
            self.vain.store(vain.wrapping_add(1), Ordering::Relaxed);
            return false;
        }
        self.is_settled.store(true, Ordering::Relaxed);
        true
    }

    /// The loop spins now, or will not after all: the next call may ask for it again.
    pub(super) fn begin(&self) {
        self.is_settled.store(false, Ordering::Relaxed);
    }

    /// The loop never spins.
    pub(super) fn never(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// On the loop's thread: spins until there is mail.
    pub(super) fn spin(&self, py: Python<'_>, has_mail: impl Fn() -> bool + Send) {
        let found = call::detach(py, || {
            let found = self.adaptive_spin.spin_for(MOST_SPIN, has_mail);
            if found {
                gil::spin_before_resuming(|| 0);
            }
            found
        });
        let vain = self.vain.load(Ordering::Relaxed).wrapping_add(1);
        let vain = if found { 0 } else { vain };
        self.vain.store(vain, Ordering::Relaxed);
    }
}
