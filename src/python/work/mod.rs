//! The work of a pool's workers: calls that futures, maps or loops of asyncio wait for.

pub mod awaitable;
pub mod future;
pub mod host;
pub mod job;
pub mod mailbox;
pub mod task;
