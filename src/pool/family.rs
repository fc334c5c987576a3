//! Who waits for whom: a pool, or the pools of a `MultiPool`, whose workers may submit to each other.
//!
//! A worker that waits in line for its own family and for ever is *bound*. When all the workers of a family are bound,
//! none of them will ever end its task and let anybody in: that is a deadlock, and the last to come is told so.

use super::sync::atomic::{AtomicUsize, Ordering};
use super::sync::{Arc, thread_local};
use std::cell::Cell;

thread_local! {
    /// The address of the family whose worker this thread is, 0: none.
    static HOME: Cell<usize> = Cell::new(0);
}

/// See the module's description.
#[derive(Default)]
pub struct Family {
    /// The workers there are, in all pools.
    workers: AtomicUsize,
    /// Those of them that are bound.
    bound: AtomicUsize,
}

impl Family {
    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    /// This thread is a worker of the family from now on.
    pub fn move_in(self: &Arc<Self>) {
        HOME.with(|home| home.set(self.address()));
    }

    /// This thread is a worker of the family.
    pub fn is_home(self: &Arc<Self>) -> bool {
        HOME.with(Cell::get) == self.address()
    }

    /// A worker more, or one less.
    pub fn count_worker(&self, present: bool) {
        if present {
            self.workers.fetch_add(1, Ordering::SeqCst);
        } else {
            self.workers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A worker is about to be bound.
    pub fn bind(&self) {
        self.bound.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker is bound no longer.
    pub fn unbind(&self) {
        self.bound.fetch_sub(1, Ordering::SeqCst);
    }

    /// All the workers are bound.
    pub fn is_stuck(&self) -> bool {
        let bound = self.bound.load(Ordering::SeqCst);
        bound > 0 && bound >= self.workers.load(Ordering::SeqCst)
    }
}
