//! What all kinds of pools have in common.

mod class;
mod front;
mod garbage;
mod methods;
mod submit;

pub use class::Base;
pub use garbage::install;
pub use submit::{Wait, check_callable};
