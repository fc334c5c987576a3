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

        /// Call after a full fence if a decision depends on it.
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub fn len(&self) -> usize {
            self.0.len()
        }
    }
}

#[cfg(any(loom, shuttle))]
pub use super::sync::RunQueue;
