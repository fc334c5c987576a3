//! CPython: what calls it, waits without it, and outlives it. Knows no pool.

pub mod bells;
pub mod border;
pub mod call;
pub mod condition;
pub mod context;
pub mod exit;
pub mod gil;
pub mod instance;
pub mod known;
pub mod process;
pub mod switch;
pub mod threads;
pub mod wait;
