//! How a pool is to be, fixed when it is made; only the capacity can change later.

use super::error::OptionsError;
use std::time::Duration;

/// The capacity of an unlimited pool, and the largest there is.
pub(super) const MAX_CAPACITY: u32 = i32::MAX as u32;

/// The options of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers there may be; `None`: as many as there are tasks.
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
        self.capacity = self
            .capacity
            .filter(|&capacity| capacity > 0)
            .map(|capacity| capacity.min(MAX_CAPACITY));
        if self.pre_alloc && self.capacity.is_none() {
            return Err(OptionsError::PreAllocWithoutCapacity);
        }
        if self.name.contains('\0') {
            return Err(OptionsError::NullInName);
        }
        Ok(self)
    }
}
