//! CPython: what calls it, waits without it, and outlives it. Knows no pool.

pub mod call;
pub mod condition;
pub mod context;
pub mod exit;
pub mod fork_guard;
pub mod gil;
pub mod instance;
pub mod lookup;
pub mod process;
pub mod switch;
pub mod threads;
pub mod wait;
pub mod wakeups;
