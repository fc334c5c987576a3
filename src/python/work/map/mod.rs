//! `map`: many calls of one function, without a future for each.
//!
//! The items are kept in a growing array of slots, filled while the input is read (`Feed`). The job submits *map
//! tasks*, at most as many as there may be workers. A worker with a map task claims one item after another, calls the
//! function, and puts the outcome where the reader of the results looks for it. So nobody has to choose a chunk size,
//! and no item waits behind a slow one. A map task ends when it finds no item; if more items come, the feed submits
//! another.

mod job;
mod map_task;
mod reader;
mod results;
mod slots;

pub use job::Job;
pub use map_task::MapTask;
pub use results::Results;
