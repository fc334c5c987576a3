//! The array of a map's items and outcomes, which grows while workers use it.

use pyo3::prelude::*;
use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

/// A slot for an item, for an outcome, or for the one after the other.
pub(super) struct Slot {
    pub(super) state: AtomicU8,
    pub(super) value: UnsafeCell<Option<Py<PyAny>>>,
}

impl Slot {
    /// There is no outcome yet.
    pub(super) const OPEN: u8 = 0;
    pub(super) const RETURNED: u8 = 1;
    pub(super) const RAISED: u8 = 2;

    pub(super) fn new(value: Option<Py<PyAny>>) -> Self {
        Slot {
            state: AtomicU8::new(Self::OPEN),
            value: UnsafeCell::new(value),
        }
    }
}

/// A growing array: a block for the slots that exist from the start, then segments, each twice as long as the one
/// before. No slot is ever moved, so workers can use some while others are added.
pub(super) struct Slots {
    block: Box<[Slot]>,
    segments: [OnceLock<Box<[Slot]>>; Self::SEGMENTS],
}

impl Slots {
    /// The length of the first segment.
    const FIRST: usize = 32;
    /// This many segments hold more slots than fit in memory.
    const SEGMENTS: usize = 40;

    pub(super) fn new(block: Box<[Slot]>) -> Self {
        Slots {
            block,
            segments: [const { OnceLock::new() }; Self::SEGMENTS],
        }
    }

    /// The segment, and the index in it, of the slot that is `after` slots behind the block.
    fn locate(after: usize) -> (usize, usize) {
        let number = ((after + Self::FIRST) / Self::FIRST).ilog2();
        (
            number as usize,
            after + Self::FIRST - (Self::FIRST << number),
        )
    }

    /// Returns an existing slot.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &Slot {
        match self.block.get(index) {
            Some(slot) => slot,
            None => self.get_after(index - self.block.len()),
        }
    }

    fn get_after(&self, after: usize) -> &Slot {
        let (number, offset) = Self::locate(after);
        let segment = self.segments[number].get();
        &segment.expect("there is a slot for each item")[offset]
    }

    /// Returns the slot at the end, and creates its segment if need be.
    pub(super) fn add(&self, index: usize) -> &Slot {
        let after = index - self.block.len();
        let (number, offset) = Self::locate(after);
        let segment = self.segments[number].get_or_init(|| {
            (0..Self::FIRST << number)
                .map(|_| Slot::new(None))
                .collect()
        });
        &segment[offset]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        let segments = self.segments.iter().map_while(OnceLock::get);
        self.block.iter().chain(segments.flatten())
    }
}
