//! Tests of the core through its public Rust API: the invariants that the pool promises, a topic a module.
//!
//! Nothing here sleeps to let something happen: a test waits for a condition, and fails with its name if the condition
//! does not come true in time. The model checks (tests/models) play the interleavings; these tests play real threads.
#![cfg(not(any(loom, shuttle)))]

mod capacity;
mod counters;
mod deadlock;
mod errands;
mod expiry;
mod hosts;
mod lifecycle;
mod multi;
mod once;
mod options;
mod pace;
mod panics;
mod queue;
mod refusals;
mod result_wait;
mod spawn_failure;
mod stress;
mod submit_detached;
mod support;
mod tune;
mod waiters;
