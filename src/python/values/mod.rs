//! Values passed between Python and a pool: calls, options, hooks, errors.

pub mod arguments;
pub mod errors;
pub mod hooks;
pub mod options;
pub mod reporter;
pub mod scope;
pub mod wait_for_result;
