//! `Future`: the outcome of a task, as a `concurrent.futures.Future` whose state is held natively.

mod attributes;
mod class;
mod complete;
mod condition;
mod instance;
mod methods;
mod outcome;
mod state;
mod watchers;

pub use attributes::install;
pub use class::Future;
pub use complete::Start;
pub use instance::{FutureClass, prepare, share};
