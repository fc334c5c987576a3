//! The work of a pool's workers: calls for futures, maps and asyncio loops.

pub mod awaitable;
pub mod future;
pub mod host;
pub mod job;
pub mod mailbox;
pub mod task;
