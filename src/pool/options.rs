//! The options of a pool, fixed when it is made except for the capacity, and the builder of pools of closures.

use super::error::OptionsError;
use super::host::Closures;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// The capacity of an unlimited pool, and the largest possible one.
pub(super) const MAX_CAPACITY: u32 = i32::MAX as u32;

/// The options of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// The maximum number of workers, at least 1; `None`: as many as there are tasks.
    pub capacity: Option<u32>,
    /// How many accepted tasks may wait for a worker; `None`: any number.
    pub queue_size: Option<u64>,
    /// How long a worker stays idle before it leaves; `None`: until the pool is released.
    pub expiry: Option<Duration>,
    /// A submitter never waits.
    pub nonblocking: bool,
    /// How many submitters may wait at once; `None`: any number.
    pub max_blocking_tasks: Option<usize>,
    /// Reserve the seats of all workers now.
    pub pre_alloc: bool,
    /// The stack of a worker thread, in bytes; `None`: the platform's default.
    pub stack_size: Option<usize>,
    /// Thread names are `{name}_{number}`.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            capacity: None,
            queue_size: Some(0),
            expiry: Some(Duration::from_secs(1)),
            nonblocking: false,
            max_blocking_tasks: None,
            pre_alloc: false,
            stack_size: None,
            name: "pyants".to_owned(),
        }
    }
}

impl Options {
    pub(super) fn validate(mut self) -> Result<Self, OptionsError> {
        if self.capacity == Some(0) {
            return Err(OptionsError::ZeroCapacity);
        }
        self.capacity = self.capacity.map(|capacity| capacity.min(MAX_CAPACITY));
        if self.pre_alloc && self.capacity.is_none() {
            return Err(OptionsError::PreAllocWithoutCapacity);
        }
        if self.name.contains('\0') {
            return Err(OptionsError::NullInName);
        }
        Ok(self)
    }
}

/// Makes a [`Pool`](super::Pool) of Rust closures.
///
/// Where there may be a limit, `None` is that there is none.
///
/// ```
/// use pyants::{OptionsError, Pool};
/// use std::time::Duration;
///
/// let pool = Pool::builder()
///     .capacity(8) // At most eight workers,
///     .queue_size(1000) // a thousand tasks that wait for one of them,
///     .max_blocking_tasks(16) // and sixteen threads that wait in `submit` for room.
///     .expiry(Duration::from_secs(30)) // Workers leave when they have had no task for so long.
///     .name("hashing") // Threads are named hashing_0, hashing_1 and so on.
///     .stack_size(256 << 10)
///     .panic_handler(|payload| eprintln!("a task panicked: {:?}", payload.downcast_ref::<&str>()))
///     .build()?;
/// assert_eq!(pool.options().queue_size, Some(1000));
///
/// let lasting = Pool::builder().queue_size(None).expiry(None).build()?; // Any number of tasks; workers stay.
/// assert_eq!(lasting.capacity(), None);
/// assert_eq!(Pool::builder().capacity(0).build().unwrap_err(), OptionsError::ZeroCapacity);
/// # Ok::<(), OptionsError>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until its pool is built"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) host: Closures,
}

impl Builder {
    /// The maximum number of workers, at least 1; `None`: any number, which is the default.
    pub fn capacity(mut self, workers: impl Into<Option<u32>>) -> Self {
        self.options.capacity = workers.into();
        self
    }

    /// How many accepted tasks may wait for a worker (default 0); `None`: any number.
    pub fn queue_size(mut self, tasks: impl Into<Option<u64>>) -> Self {
        self.options.queue_size = tasks.into();
        self
    }

    /// How long a worker stays idle before it leaves (default 1 s); `None`: until the pool is released.
    pub fn expiry(mut self, expiry: impl Into<Option<Duration>>) -> Self {
        self.options.expiry = expiry.into();
        self
    }

    /// A submitter never waits.
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.options.nonblocking = nonblocking;
        self
    }

    /// How many submitters may wait at once; `None`: any number, which is the default.
    pub fn max_blocking_tasks(mut self, submitters: impl Into<Option<usize>>) -> Self {
        self.options.max_blocking_tasks = submitters.into();
        self
    }

    /// Reserve the seats of all workers now. Needs a capacity, which is then fixed.
    pub fn pre_alloc(mut self, pre_alloc: bool) -> Self {
        self.options.pre_alloc = pre_alloc;
        self
    }

    /// The stack of a worker thread, in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.options.stack_size = Some(bytes);
        self
    }

    /// Thread names are `{name}_{number}`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// A function called on the worker's thread with the payload of a task's panic. Without one, the panic hook alone
    /// reports the panic.
    pub fn panic_handler(
        mut self,
        handler: impl Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.host.panic_handler = Some(Arc::new(handler));
        self
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
