//! Calls that asyncio loops wait for.

mod call;
mod mailbox;
mod methods;
mod settle;

pub use call::{AsyncCall, PermitWait, Post, Prospect};
pub use mailbox::Mailbox;
pub use methods::prepare;
