//! Tests of the core through its public Rust API: the invariants that the pool promises, one topic per module.
//!
//! Nothing here sleeps to let something happen: a test waits for a condition, and fails with the condition's name if it
//! does not come true in time. The models (tests/models) explore interleavings; these tests run real threads.
#![cfg(not(any(loom, shuttle)))]

mod capacity;
mod counters;
mod deadlock;
mod errands;
mod expiry;
mod hosts;
mod join;
mod lifecycle;
mod machine;
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
