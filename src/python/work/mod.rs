//! What a pool's workers run: calls for futures, maps and asyncio loops.

pub mod awaitable;
pub mod future;
pub mod host;
pub mod job;
pub mod mailbox;
pub mod task;
