//! The classes that users see, and their methods.

pub mod async_pool;
pub mod base;
pub mod block;
pub mod executor;
pub mod fastcall;
pub mod map_feed;
pub mod multi;
pub mod patched_submit;
pub mod pool;
pub mod with_func;
