//! The pool. README.md beside this file explains the protocol, and why no task is lost or run twice.
//!
//! A task's way: `submit.rs` lets it in or has it wait in `waiters.rs`; `wake.rs` finds or starts a worker; `worker.rs`
//! runs it. What is counted: `admission.rs` (tasks), `worker_count.rs` (workers), `deadlock_group.rs` (blocked
//! workers). What is kept in order: `run_queue.rs`, `idle_stack.rs`, `seat.rs`.

#![forbid(unsafe_code)]
// The models reach parts that nobody else does.
#![cfg_attr(any(loom, shuttle), allow(missing_docs))]

mod admission;
mod core;
mod deadlock_group;
mod error;
mod expiry;
mod faults;
mod host;
mod idle_stack;
#[doc(hidden)]
pub mod internal;
mod join;
mod lifecycle;
mod multi;
mod options;
#[doc(hidden)]
pub mod pace;
#[allow(clippy::module_inception)] // The file of `Pool` itself.
mod pool;
mod process;
mod result_wait;
mod run_queue;
mod seat;
mod shortage;
mod stats;
mod submit;
mod sync;
mod threads;
mod token;
mod waiters;
mod wake;
mod watch;
mod worker;
mod worker_count;

pub use error::{Error, Limit, OptionsError, SubmitError};
pub use host::{Closure, Closures, Host, Outcome, PanicHandler, Worker};
pub use join::{JoinError, JoinHandle, Panic};
pub use multi::{MultiPool, Strategy};
pub use options::{Builder, Options};
pub use pool::Pool;
pub use stats::Stats;
