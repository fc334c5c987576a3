//! The thread that reads the results of a map: its wait for the next one, and how a worker ends that.

use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::{full_fence, lock};
use crate::python::interpreter::thread_id::this_thread;
use crate::python::interpreter::wait::Wakeups;
use crate::python::values::wait_for_result;
use crossbeam_utils::CachePadded;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct Reader {
    /// The index of the result for which it waits.
    awaited: CachePadded<AtomicUsize>,
    waiting: Mutex<Option<Arc<ResultWait>>>,
    /// The thread that read the last result; 0: none has been read.
    thread: AtomicU64,
    /// The id of the deadlock group of the workers.
    deadlock_group: usize,
}

impl Reader {
    /// The reader waits for no result.
    const NONE: usize = usize::MAX;

    pub(super) fn new(deadlock_group: usize) -> Self {
        Reader {
            awaited: CachePadded::new(AtomicUsize::new(Self::NONE)),
            waiting: Mutex::new(None),
            thread: AtomicU64::new(0),
            deadlock_group,
        }
    }

    /// This thread reads a result.
    pub(super) fn is_here(&self) {
        self.thread.store(this_thread(), Ordering::Relaxed);
    }

    /// Whether this thread read the last result.
    pub(super) fn was_here(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == this_thread()
    }

    /// After the result has come: whether the reader waits for it.
    pub(super) fn awaits(&self, index: usize) -> bool {
        // The caller has put the result into its slot, and reads here which one is awaited, both SeqCst; `wait` does
        // the opposite.
        self.awaited.load(Ordering::SeqCst) == index
    }

    /// Ends the wait, if there is one.
    pub(super) fn wake(&self) -> Wakeups {
        let waiting = lock(&self.waiting).take();
        Wakeups::settle(waiting)
    }

    /// Waits until woken, unless the result `is_settled`.
    pub(super) fn wait(
        &self,
        py: Python<'_>,
        index: usize,
        timeout: Option<Duration>,
        is_settled: impl Fn() -> bool,
    ) -> PyResult<()> {
        let result_wait = ResultWait::new(self.deadlock_group, timeout.is_none());
        {
            let mut waiting = lock(&self.waiting);
            self.awaited.store(index, Ordering::SeqCst);
            // Notes the reader, then reads the slot; a worker does the opposite, and takes the reader under this lock.
            full_fence();
            if is_settled() {
                self.awaited.store(Self::NONE, Ordering::Relaxed);
                return Ok(());
            }
            result_wait.block();
            *waiting = Some(Arc::clone(&result_wait));
        }
        let waited = wait_for_result::wait(py, &result_wait, timeout, "map");
        self.awaited.store(Self::NONE, Ordering::Relaxed);
        lock(&self.waiting).take();
        waited
    }
}
