//! A worker pool in the manner of Go's [ants](https://github.com/panjf2000/ants).
//!
//! * [`pool`] is the core: OS threads started on demand, recycled and purged when idle, a limit on the tasks in flight
//!   that can be tuned while the pool runs, release and reboot. It knows nothing of Python.
//! * `python` (feature `python`) binds it to the Python package `pyants`.
//!
//! ```
//! use pyants::Pool;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! let pool = Pool::builder().capacity(4).build()?;
//! let sum = Arc::new(AtomicUsize::new(0));
//! for i in 0..1000 {
//!     let sum = Arc::clone(&sum);
//!     pool.submit(move || { sum.fetch_add(i, Ordering::Relaxed); })?; // blocks while all four workers are busy
//! }
//! pool.wait_idle(None);
//! assert_eq!(sum.load(Ordering::Relaxed), 499_500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A task whose value is wanted has a [`JoinHandle`]:
//!
//! ```
//! let pool = pyants::Pool::builder().capacity(4).build()?;
//! let handle = pool.submit_value(|| 6 * 7)?;
//! assert_eq!(handle.join()?, 42);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # Features
//!
//! * `parking_lot`, on by default: the locks are that crate's. Turn it off (`default-features = false`) for a program that forks
//!   and goes on with pools in the child.
//! * `python`: the bindings. They always have the standard library's locks.
//! * `faults`: tests may make thread starts fail in release builds, too.
//!
//! The crate needs Rust 1.85.

mod per_process;
pub mod pool;
#[cfg(feature = "python")]
mod python;

pub use pool::{
    Builder, Closure, Closures, Error, Host, JoinError, JoinHandle, MultiPool, OptionsError, Panic,
    Pool, Stats, Strategy, SubmitError,
};
