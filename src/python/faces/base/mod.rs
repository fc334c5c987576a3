//! The part that all kinds of pools have in common.

mod class;
mod front;
mod methods;
mod submit;

pub use class::Base;
pub use submit::{Wait, check_callable};
