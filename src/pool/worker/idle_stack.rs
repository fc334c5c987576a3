//! A lock-free stack of seats, last in, first out (a Treiber stack).
//!
//! The stack holds indices. The links lie in the seats, and seats are never freed, so following a stale link reads
//! memory that is still a seat. A stale link does no harm either: every change of the head raises its sequence number,
//! and the compare-and-swap that would install the stale link fails.
//!
//! ```text
//!  63       62..32            31..0
//!  +--------+-----------------+-------------------------------+
//!  | closed | sequence number | index of the top seat, plus 1 |
//!  +--------+-----------------+-------------------------------+
//! ```
//!
//! The sequence number has 31 bits: to be deceived, a thread would have to be delayed between its load and its
//! compare-and-swap for an exact multiple of two billion changes.
//!
//! Orderings: a push publishes the seat and its link with a release; a pop acquires them. Every change of the head is a
//! read-modify-write, none a plain store, so each continues the release sequence of the pushes before it, and a pop
//! that reads the head left behind by another pop still acquires what the push of its own seat released.

use crate::pool::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

/// Gives access to the links of the stacked seats.
pub trait Links {
    /// The link of seat `index`.
    fn link(&self, index: u32) -> &AtomicU32;
}

/// The stack is closed: nothing can be pushed.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Head(u64);

impl Head {
    const CLOSED: u64 = 1 << 63;
    const SEQUENCE: u64 = 1 << 32;
    const SEQUENCE_MASK: u64 = (Self::CLOSED - 1) & !(Self::SEQUENCE - 1);

    fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    /// The top seat's index plus 1, or 0 if the stack is empty: the value that a link holds.
    fn link(self) -> u32 {
        self.0 as u32
    }

    /// The head after this one, with another top.
    fn next(self, link: u32) -> Head {
        let sequence = self.0.wrapping_add(Self::SEQUENCE) & Self::SEQUENCE_MASK;
        Head(self.0 & Self::CLOSED | sequence | u64::from(link))
    }

    fn closed(self) -> Head {
        Head(self.0 | Self::CLOSED)
    }

    fn open(self) -> Head {
        Head(self.0 & !Self::CLOSED)
    }
}

/// See the module's description.
pub struct IdleStack {
    head: CachePadded<AtomicU64>,
}

impl IdleStack {
    #[allow(clippy::new_without_default)]
    /// An empty, open stack.
    pub fn new() -> Self {
        IdleStack {
            head: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Pushes seat `index`, which is on no stack.
    pub fn push(&self, links: &impl Links, index: u32) -> Result<(), Closed> {
        // Relaxed: nothing is read through the head here, the CAS confirms it.
        let mut head = Head(self.head.load(Ordering::Relaxed));
        loop {
            if head.is_closed() {
                return Err(Closed);
            }
            // Relaxed: published by the release below.
            links.link(index).store(head.link(), Ordering::Relaxed);
            // Release: publishes the link and all that the pusher did to the seat. Acquire is not needed: the link
            // only passes on an index that a later pop will acquire through the release sequence.
            match self.replace(head, head.next(index + 1), Ordering::Release) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Pops the top seat.
    pub fn pop(&self, links: &impl Links) -> Option<u32> {
        // Acquire: the link of the top seat is read next.
        let mut head = Head(self.head.load(Ordering::Acquire));
        loop {
            let index = head.link().checked_sub(1)?;
            // Relaxed, and possibly stale: if the seat was popped meanwhile the CAS fails.
            let below = links.link(index).load(Ordering::Relaxed);
            // Acquire on success is implied by the load that read this same value.
            match self.replace(head, head.next(below), Ordering::Acquire) {
                Ok(()) => return Some(index),
                Err(now) => head = now,
            }
        }
    }

    /// The top seat as it was a moment ago.
    pub fn top(&self) -> Option<u32> {
        Head(self.head.load(Ordering::Acquire))
            .link()
            .checked_sub(1)
    }

    /// The stack holds no seat. Call after a full fence if a decision depends on it.
    pub fn is_empty(&self) -> bool {
        Head(self.head.load(Ordering::Relaxed)).link() == 0
    }

    /// Closes the stack and takes all seats; follow the [`Links`] from the returned index.
    pub fn close(&self) -> Option<u32> {
        let mut head = Head(self.head.load(Ordering::Acquire));
        loop {
            match self.replace(head, head.next(0).closed(), Ordering::Acquire) {
                Ok(()) => return head.link().checked_sub(1),
                Err(now) => head = now,
            }
        }
    }

    /// Opens a closed stack.
    pub fn open(&self) {
        let mut head = Head(self.head.load(Ordering::Relaxed));
        // Release: a worker that gets on the stack afterwards and passes a full fence sees everything done before this.
        while let Err(now) = self.replace(head, head.next(head.link()).open(), Ordering::Release) {
            head = now;
        }
    }

    fn replace(&self, old: Head, new: Head, success: Ordering) -> Result<(), Head> {
        // Acquire on failure: the caller continues with the head read here.
        self.head
            .compare_exchange_weak(old.0, new.0, success, Ordering::Acquire)
            .map(drop)
            .map_err(Head)
    }
}
