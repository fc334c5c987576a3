//! All seats of a pool, by index, in a table that grows and never moves.

use super::idle_stack::Links;
use super::seat::Seat;
use crate::pool::sync::Arc;
use crate::pool::sync::atomic::{AtomicU32, Ordering};
use crossbeam_utils::CachePadded;
use std::sync::OnceLock;
use std::time::Duration;

/// All seats of a pool, by index. The table grows in buckets that never move.
pub struct Seats {
    buckets: [OnceLock<Box<[CachePadded<Seat>]>>; Seats::BUCKETS],
    /// How many seats have been used at least once.
    used: AtomicU32,
    /// How long a worker may rest, in nanoseconds.
    expiry: u64,
}

impl Seats {
    /// The size of the first bucket; each further one is twice as large as the one before.
    const FIRST: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 16 };
    /// Enough for 2^31 seats.
    const BUCKETS: usize = 28;

    pub fn new(expiry: Option<Duration>) -> Self {
        let nanoseconds = expiry.map(|expiry| u64::try_from(expiry.as_nanos()));
        Seats {
            buckets: [const { OnceLock::new() }; Self::BUCKETS],
            used: AtomicU32::new(0),
            expiry: nanoseconds.and_then(Result::ok).unwrap_or(u64::MAX),
        }
    }

    /// How long a worker may rest, in nanoseconds.
    pub fn expiry(&self) -> u64 {
        self.expiry
    }

    /// The bucket of a seat and its place in it.
    fn place(index: u32) -> (usize, usize) {
        let step = index / Self::FIRST + 1;
        let bucket = step.ilog2();
        let before = Self::FIRST * ((1 << bucket) - 1);
        (bucket as usize, (index - before) as usize)
    }

    fn bucket(&self, bucket: usize) -> &[CachePadded<Seat>] {
        self.buckets[bucket].get_or_init(|| {
            (0..(Self::FIRST as usize) << bucket)
                .map(|_| CachePadded::new(Seat::new()))
                .collect()
        })
    }

    /// Allocates `count` seats.
    pub fn reserve(&self, count: u32) {
        for bucket in 0..=Self::place(count.saturating_sub(1)).0 {
            self.bucket(bucket);
        }
    }

    /// A seat never used before. Called by one thread at a time (under the spawn lock).
    pub fn fresh(&self) -> u32 {
        let index = self.used.load(Ordering::Relaxed);
        self.bucket(Self::place(index).0);
        // Release: a reader of the index also finds the bucket.
        self.used.store(index + 1, Ordering::Release);
        index
    }

    /// The seat with this index, which has been given out.
    pub fn get(&self, index: u32) -> &Seat {
        let (bucket, place) = Self::place(index);
        &self.buckets[bucket]
            .get()
            .expect("a seat given out has its bucket")[place]
    }

    /// How many seats were ever given out.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// All seats ever given out.
    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        (0..self.used()).map(|index| self.get(index))
    }
}

impl Links for Arc<Seats> {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.get(index).link
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            let place = Seats::place(index);
            if place != expected {
                assert_eq!(place, (expected.0 + 1, 0), "index {index}");
            }
            assert!(place.1 < (Seats::FIRST as usize) << place.0);
            expected = (place.0, place.1 + 1);
        }
        assert!(Seats::place(i32::MAX as u32).0 < Seats::BUCKETS);
    }
}
