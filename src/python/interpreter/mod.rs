//! CPython: what calls it, waits without it, and outlives it. Knows no pool.

pub mod call;
pub mod contextvars;
pub mod descriptor;
pub mod exc_info;
pub mod exit;
pub mod finalizer;
pub mod fork_count;
pub mod fork_guard;
pub mod gil;
pub mod lookup;
pub mod thread_id;
pub mod threading;
pub mod turns;
pub mod wait;
