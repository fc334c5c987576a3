//! The pool. README.md beside this file tells the protocol, and why no task is lost or run twice.
//!
//! The story of a task: `submit.rs` lets it in or has it wait in `waiters.rs`; `wake.rs` finds or starts a worker;
//! `worker.rs` runs it. The parts that keep count: `admission.rs` (tasks), `worker_count.rs` (workers), `deadlock_group.rs` (who waits for
//! whom). The parts that keep order: `run_queue.rs`, `idle_stack.rs`, `seat.rs`.

#![forbid(unsafe_code)]

mod admission;
mod core;
mod deadlock_group;
mod error;
#[cfg(not(any(loom, shuttle)))]
mod expiry;
#[cfg(any(loom, shuttle))]
#[doc(hidden)]
pub mod expiry;
#[doc(hidden)]
pub mod faults;
mod host;
#[cfg(not(any(loom, shuttle)))]
mod idle_stack;
#[cfg(any(loom, shuttle))]
#[doc(hidden)]
pub mod idle_stack;
mod lifecycle;
mod multi;
mod options;
#[doc(hidden)]
pub mod pace;
#[allow(clippy::module_inception)] // The file of `Pool` itself.
mod pool;
mod process;
#[doc(hidden)]
pub mod result_wait;
mod run_queue;
#[cfg(not(any(loom, shuttle)))]
mod seat;
#[cfg(any(loom, shuttle))]
#[doc(hidden)]
pub mod seat;
mod shortage;
mod stats;
mod submit;
#[doc(hidden)]
pub mod sync;
mod threads;
mod token;
mod waiters;
mod wake;
#[doc(hidden)]
pub mod watch;
mod worker;
mod worker_count;

pub use error::{Error, Limit, OptionsError, SubmitError};
pub use host::{Closure, Closures, Host, Outcome, PanicHandler, Worker};
pub use multi::{MultiPool, Strategy};
pub use options::{Builder, Options};
pub use pool::Pool;
#[doc(hidden)]
pub use pool::Remains;
pub use stats::Stats;
#[doc(hidden)]
pub use submit::{Accounting, Detached, Offer};
#[doc(hidden)]
pub use threads::Exit;

/// The `deadlock_group_id` of the pool, or `MultiPool`, whose worker this thread is; 0: of none.
#[doc(hidden)]
pub fn home_id() -> usize {
    deadlock_group::DeadlockGroup::home_id()
}

/// To be called in a child that was just forked, before it makes a pool.
#[cfg(not(any(loom, shuttle)))]
#[doc(hidden)]
pub fn forget_process() {
    process::Process::forget();
}
