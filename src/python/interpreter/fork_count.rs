//! Which process this is, counted by forks: what a parent made is told from what this process made.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The process, counted by forks.
#[inline]
pub fn generation() -> u64 {
    // Relaxed: it changes only in a child with a single thread.
    GENERATION.load(Ordering::Relaxed)
}

/// Called by the only thread of a child that was just forked.
pub fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// As `generation`, for `pyants._group`.
#[pyfunction]
pub fn _fork_count() -> u64 {
    generation()
}
