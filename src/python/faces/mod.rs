//! The classes that users see, and their methods.

pub mod async_pool;
pub mod base;
pub mod executor;
pub mod fastcall;
pub mod feed;
pub mod func;
pub mod multi;
pub mod patch;
pub mod pool;
