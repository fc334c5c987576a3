//! Calls that asyncio loops wait for.

mod call;
mod mailbox;
mod methods;
mod settle;

pub use call::{Awaitable, Place, Post, Prospect};
pub use mailbox::Mailbox;
pub use methods::prepare;
