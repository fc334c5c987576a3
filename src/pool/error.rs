//! The errors of a pool.

use std::io;
use thiserror::Error;

/// The limit that an overload has hit, and the options that set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// As many tasks are in flight as may be.
    Tasks {
        /// The maximum number of workers.
        capacity: u32,
        /// The tasks that may wait for a worker.
        queue_size: u64,
    },
    /// This many submitters wait already.
    Waiting(usize),
    /// The operating system gives no further thread.
    Threads,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Tasks {
                capacity,
                queue_size,
            } => write!(
                f,
                "as many as capacity={capacity} and queue_size={queue_size} allow, and this submit does not wait for room (nonblocking)"
            ),
            Limit::Waiting(most) => write!(
                f,
                "and {most} submitters wait for room already, as many as max_blocking_tasks={most} allows"
            ),
            Limit::Threads => f.write_str(
                "the system gives no further thread, and this submit does not wait for a worker (nonblocking)",
            ),
        }
    }
}

/// Why a pool did not do what it was asked. [`SubmitError`] has an example.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
    /// The pool closed itself because a worker could not be set up.
    #[error("the pool is broken: a worker could not be set up")]
    Broken,
    /// No worker is free and the caller may not wait.
    #[error("the pool is overloaded: {in_flight} tasks are in flight, {limit}")]
    Overload {
        /// The tasks accepted and not yet done.
        in_flight: u64,
        /// The limit that was hit.
        limit: Limit,
    },
    /// Every worker of the pool waits for the pool.
    #[error("deadlock: every worker of the pool waits for the pool itself")]
    Deadlock,
    /// The time ran out.
    #[error("the time ran out")]
    Timeout,
    /// The caller's wait was interrupted.
    #[error("the wait was interrupted")]
    Interrupted,
    /// The operating system gives no thread, and the pool has none alive.
    #[error("no worker thread could be started, and none is alive")]
    Spawn(#[source] io::Error),
}

/// A task that was not accepted, and why.
///
/// Its message is the error's, and its source is the error's source: it adds the task, but no link to the chain.
///
/// ```
/// use pyants::{Error, Pool};
///
/// let pool = Pool::builder().capacity(1).nonblocking(true).build()?;
/// for number in 0..10 {
///     if let Err(refusal) = pool.submit(move || println!("{number}")) {
///         match refusal.error {
///             Error::Overload { in_flight, .. } => {
///                 println!("with {in_flight} tasks in flight the caller runs number {number} itself");
///                 refusal.into_task().run();
///             }
///             Error::Closed => break,
///             _ => return Err(refusal.into()),
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct SubmitError<T> {
    /// Why.
    pub error: Error,
    /// The task, handed back.
    pub task: T,
}

impl<T> SubmitError<T> {
    pub(super) fn new(error: Error, task: T) -> Self {
        SubmitError { error, task }
    }

    /// The task, handed back.
    pub fn into_task(self) -> T {
        self.task
    }
}

impl<T> std::fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for SubmitError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<T> std::fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubmitError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// Options from which no pool can be made, or a capacity that it cannot change to.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// No pool works without workers.
    #[error("the capacity has to be above 0, or None for any number of workers")]
    ZeroCapacity,
    /// An unlimited pool has no capacity to change, and a pre-allocated one has reserved for the one it has.
    #[error("the capacity of an unlimited or pre-allocated pool cannot change")]
    FixedCapacity,
    /// `pre_alloc` needs a capacity to reserve for.
    #[error("pre_alloc needs a capacity above 0: an unlimited pool has no size to reserve")]
    PreAllocWithoutCapacity,
    /// No thread can have such a name.
    #[error("a name cannot contain a null character")]
    NullInName,
    /// A `MultiPool` needs pools.
    #[error("a MultiPool needs at least one pool")]
    NoPools,
}
