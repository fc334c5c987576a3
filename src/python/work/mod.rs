//! The work of a pool's workers: calls for futures, maps and asyncio loops.

pub mod asyncio;
pub mod future;
mod handles;
pub mod host;
pub mod map;
pub mod task;
