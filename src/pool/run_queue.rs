//! Accepted tasks on their way to a worker: a lock-free queue, first in, first out.

#[cfg(not(any(loom, shuttle)))]
pub use real::RunQueue;

#[cfg(not(any(loom, shuttle)))]
mod real {
    use crossbeam_queue::SegQueue;
    use crossbeam_utils::CachePadded;

    pub struct RunQueue<T>(CachePadded<SegQueue<T>>);

    impl<T> RunQueue<T> {
        pub fn new() -> Self {
            RunQueue(CachePadded::new(SegQueue::new()))
        }

        pub fn push(&self, task: T) {
            self.0.push(task);
        }

        pub fn pop(&self) -> Option<T> {
            self.0.pop()
        }

        /// To be used after a full fence where a decision hangs on it.
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub fn len(&self) -> usize {
            self.0.len()
        }
    }
}

#[cfg(any(loom, shuttle))]
pub use model::RunQueue;

/// For model checks: a queue that promises no more than a lock-free one does. In particular `is_empty` is a relaxed
/// look that a full fence must stand before.
#[cfg(any(loom, shuttle))]
mod model {
    use super::super::sync::atomic::{AtomicUsize, Ordering};
    use super::super::sync::{Mutex, lock};
    use std::collections::VecDeque;

    pub struct RunQueue<T> {
        tasks: Mutex<VecDeque<T>>,
        len: AtomicUsize,
    }

    impl<T> RunQueue<T> {
        pub fn new() -> Self {
            RunQueue {
                tasks: Mutex::new(VecDeque::new()),
                len: AtomicUsize::new(0),
            }
        }

        pub fn push(&self, task: T) {
            let mut tasks = lock(&self.tasks);
            tasks.push_back(task);
            self.len.fetch_add(1, Ordering::Relaxed);
        }

        pub fn pop(&self) -> Option<T> {
            if self.len.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let mut tasks = lock(&self.tasks);
            let task = tasks.pop_front()?;
            self.len.fetch_sub(1, Ordering::Relaxed);
            Some(task)
        }

        pub fn is_empty(&self) -> bool {
            self.len.load(Ordering::Relaxed) == 0
        }

        pub fn len(&self) -> usize {
            self.len.load(Ordering::Relaxed)
        }
    }
}
