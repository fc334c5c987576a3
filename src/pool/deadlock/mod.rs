//! Deadlocks: workers that wait for their own pool.

pub mod group;
mod member;
pub mod result_wait;
