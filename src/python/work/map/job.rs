//! The job of a `map`: its items, and how workers claim, call and cancel them.

use super::reader::Reader;
use super::slots::{Slot, Slots};
use crate::pool::internal::sync::full_fence;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::exc_info;
use crate::python::interpreter::wait::Wakeups;
use crate::python::values::scope::Scope;
use crossbeam_utils::CachePadded;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The calls of one `map`, shared by its workers and the reader of its results.
pub struct Job {
    pub(super) func: Py<PyAny>,
    /// Each item is a tuple of arguments.
    star: bool,
    /// Its claimer takes an item out. If the results keep the order of the items, each takes the slot of its item.
    items: Slots,
    /// The results, if they come in the order of completion.
    results: Option<Slots>,
    /// How many items there are so far.
    added: CachePadded<AtomicUsize>,
    /// The next item to be claimed; `CLOSED`: no more are.
    next: CachePadded<AtomicUsize>,
    /// The slot of the next outcome, if they come in the order of completion.
    filled: CachePadded<AtomicUsize>,
    /// Only items before this index are called: all, unless the job is cut short.
    end: AtomicUsize,
    /// The map tasks sure to be worked on: the pool has accepted them, and they have not ended.
    pub(super) workers: AtomicUsize,
    /// The map tasks that may be worked on later: they wait for a permit or are queued.
    pub(super) spare: AtomicUsize,
    pub(super) reader: Reader,
    /// The job was cut short because no worker could be set up.
    broken: AtomicBool,
    /// Of a shared pool: each map task is a call of it, except those that still wait for a worker when no item is left.
    pub(super) scope: Option<Arc<Scope>>,
    /// How many of the scope's calls are map tasks that have not begun.
    pub(super) waiting: AtomicU64,
}

// SAFETY: only the slots' values are not Sync by themselves. An item is put into its slot by the one thread that has
// the `Feed` by `&mut`, before it raises `added` (SeqCst, and so Release), and is taken by the one thread whose step on
// `next` yielded its index, after that thread has seen an `added` beyond the index (Acquire). A result is put into its
// slot by the one thread that has its index, from the same step or from `fetch_add` on `filled`, before it changes the
// state (SeqCst, and so Release); the one reader (`Results.reading`) takes it after it has seen that state (Acquire).
unsafe impl Sync for Job {}

/// No more items are claimed.
const CLOSED: usize = usize::MAX;

impl Job {
    /// A job with these items; a `Feed` may add more.
    pub fn new(
        func: Py<PyAny>,
        items: &Bound<'_, PyList>,
        star: bool,
        ordered: bool,
        deadlock_group: usize,
        scope: Option<Arc<Scope>>,
    ) -> Self {
        let items: Box<[_]> = items
            .iter()
            .map(|item| Slot::new(Some(item.unbind())))
            .collect();
        let results =
            (!ordered).then(|| Slots::new(items.iter().map(|_| Slot::new(None)).collect()));
        Job {
            func,
            star,
            added: CachePadded::new(AtomicUsize::new(items.len())),
            next: CachePadded::new(AtomicUsize::new(0)),
            filled: CachePadded::new(AtomicUsize::new(0)),
            end: AtomicUsize::new(usize::MAX),
            workers: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            reader: Reader::new(deadlock_group),
            broken: AtomicBool::new(false),
            items: Slots::new(items),
            results,
            scope,
            waiting: AtomicU64::new(0),
        }
    }

    /// How many items there are so far.
    pub fn len(&self) -> usize {
        self.added.load(Ordering::Relaxed)
    }

    pub fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// Adds an item.
    ///
    /// # Safety
    /// Only one thread at a time may add items.
    pub unsafe fn add(&self, item: Py<PyAny>) {
        let index = self.len();
        if let Some(results) = &self.results {
            results.add(index);
        }
        let slot = self.items.add(index);
        // SAFETY: no other thread adds items, and none claims this one before it is counted (see `Sync`).
        unsafe { *slot.value.get() = Some(item) };
        // SeqCst: adds the item, then reads the workers (`is_idle`); a map task that ends does the opposite.
        self.added.store(index + 1, Ordering::SeqCst);
    }

    /// Whether no worker is sure to take an item that was added before this call.
    pub fn is_idle(&self) -> bool {
        self.workers.load(Ordering::SeqCst) == 0
    }

    /// Whether no item is left to be claimed.
    pub fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::SeqCst) >= self.added.load(Ordering::SeqCst)
    }

    /// How many map tasks there are.
    pub fn map_tasks(&self) -> usize {
        // Relaxed: one map task more or less than there are workers does no harm.
        self.workers.load(Ordering::Relaxed) + self.spare.load(Ordering::Relaxed)
    }

    pub(super) fn claim(&self) -> Option<usize> {
        let mut index = self.next.load(Ordering::Relaxed);
        loop {
            // Acquire: makes the items visible. A plain `fetch_add` would skip over an item that is yet to come.
            if index >= self.added.load(Ordering::Acquire) {
                return None;
            }
            // Relaxed: only the claim itself is decided here.
            match self.next.compare_exchange_weak(
                index,
                index + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(index),
                Err(now) => index = now,
            }
        }
    }

    pub(super) fn call(&self, func: &Bound<'_, PyAny>, index: usize, wakeups: &mut Wakeups) {
        let py = func.py();
        // SAFETY: the index was claimed, once (see `Sync`).
        let item = unsafe { (*self.items.get(index).value.get()).take() };
        let item = item.map(|item| item.into_bound(py));
        let result = match item {
            Some(item) if self.star => match item.cast_into::<PyTuple>() {
                Ok(arguments) => func.guarded_call1(arguments),
                Err(error) => Err(error.into()),
            },
            Some(item) => func.guarded_call1((item,)),
            None => unreachable!("an item is claimed once"),
        };
        let (value, state) = match result {
            Ok(value) => (value.unbind(), Slot::RETURNED),
            Err(raised) => (
                exc_info::with_traceback(py, &raised).into_any().unbind(),
                Slot::RAISED,
            ),
        };
        let index = match self.results {
            None => index,
            // AcqRel: the slot may have been created for a later item, seen only by a worker that was here earlier.
            Some(_) => self.filled.fetch_add(1, Ordering::AcqRel),
        };
        let slot = self.slots().get(index);
        // SAFETY: as above; and the reader waits for the state.
        unsafe { *slot.value.get() = Some(value) };
        slot.state.swap(state, Ordering::SeqCst);
        if self.reader.awaits(index) {
            wakeups.append(self.reader.wake());
        }
    }

    /// The slots in which the reader finds the results, one for each item.
    pub(super) fn slots(&self) -> &Slots {
        self.results.as_ref().unwrap_or(&self.items)
    }

    /// Whether the slot is filled or never will be.
    pub(super) fn is_settled(&self, index: usize) -> bool {
        self.slots().get(index).state.load(Ordering::SeqCst) != Slot::OPEN
            || index >= self.end.load(Ordering::SeqCst)
    }

    /// Shows the collector all that the job holds.
    pub(super) fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.func)?;
        let results = self.results.iter().flat_map(Slots::iter);
        for slot in self.items.iter().chain(results) {
            // SAFETY: no worker has the job any more, and the reader does not read while the collector runs.
            visit.call(unsafe { &*slot.value.get() })?;
        }
        Ok(())
    }

    /// Ends the job: no more items are called.
    pub fn cancel(&self) -> Wakeups {
        let claimed = self.next.swap(CLOSED, Ordering::SeqCst);
        // A second cancel must not raise the end again.
        self.end.fetch_min(claimed, Ordering::SeqCst);
        full_fence();
        self.let_waiting_go();
        self.reader.wake()
    }

    /// When the scope is closed: stops it from waiting for map tasks that find no item left.
    pub fn end_if_exhausted(&self) {
        // The caller closed the scope or claimed an item before this fence; the thread that does the other also checks.
        full_fence();
        if self.is_exhausted() && self.scope.as_ref().is_some_and(|scope| scope.is_closed()) {
            self.let_waiting_go();
        }
    }

    /// Releases the scope from all waiting map tasks, which are empty.
    fn let_waiting_go(&self) {
        let waiting = self.waiting.swap(0, Ordering::SeqCst);
        match &self.scope {
            Some(scope) if waiting > 0 => scope.leave_many(waiting),
            _ => {}
        }
    }

    /// Ends a map task's wait for a worker; `false`: the scope had been released from it.
    pub(super) fn end_wait(&self) -> bool {
        self.waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                waiting.checked_sub(1)
            })
            .is_ok()
    }

    /// No worker can be set up, so items that have not started never will.
    pub fn break_off(&self) -> Wakeups {
        self.broken.store(true, Ordering::SeqCst);
        self.cancel()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Whether the calling thread began to read the results; it will not go on.
    pub fn is_left(&self) -> bool {
        self.reader.was_here()
    }
}
