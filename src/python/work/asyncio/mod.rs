//! Calls that asyncio loops wait for.

mod async_call;
mod event_loop;
mod mailbox;
mod methods;
mod settle;
mod spin;

pub use async_call::{AsyncCall, PermitWait, Post, Prospect};
pub use mailbox::Mailbox;
pub use methods::prepare;
