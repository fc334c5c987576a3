//! The pool. README.md beside this file explains the protocol, and why no task is lost or run twice.
//!
//! A task's way: `submit/` lets it in or has it wait for a permit; `queue.rs` has it until `worker/`, which finds or
//! starts a worker, runs it. `deadlock/` notices workers that wait for their own pool. `shared.rs` is the state that
//! these share, `sync/` the locks and atomics below them all.

#![forbid(unsafe_code)]
// The models reach parts that nobody else does.
#![cfg_attr(any(loom, shuttle), allow(missing_docs))]

mod deadlock;
mod error;
mod faults;
mod host;
#[doc(hidden)]
pub mod internal;
mod join;
mod lifecycle;
mod multi;
mod options;
#[allow(clippy::module_inception)] // The file of `Pool` itself.
mod pool;
mod process_wide;
mod queue;
mod shared;
mod stats;
mod submit;
mod sync;
mod worker;

pub use error::{Error, Limit, OptionsError, SubmitError};
pub use host::{Closure, Closures, Host, Outcome, PanicHandler, Worker};
pub use join::{JoinError, JoinHandle, Panic};
pub use multi::{MultiPool, Strategy};
pub use options::{Builder, Options};
pub use pool::Pool;
pub use stats::Stats;
