//! `map`: many calls of one function, without a future for each.
//!
//! The items lie in one block. As many *shares* in the job as there may be workers are submitted; a worker with a share
//! claims one item after another, calls the function, and puts the outcome where the reader of the results looks for it.
//! So nobody chooses how many items to hand out at a time, and no item waits behind another that is slow.

use super::errors;
use super::executor::{Scope, left};
use super::future::{Bells, LUCK};
use super::switch::Turns;
use super::task::is_python_function;
use super::wait::detached_from_daemons;
use crate::pool::sleeper::Sleeper;
use crate::pool::sync::{full_fence, lock};
use crate::pool::{Error, Outcome};
use crossbeam_utils::CachePadded;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Room for an item, or for what one came to, or for one after the other.
struct Place {
    state: AtomicU8,
    value: UnsafeCell<Option<Py<PyAny>>>,
}

impl Place {
    /// No outcome is there.
    const OPEN: u8 = 0;
    const RETURNED: u8 = 1;
    const RAISED: u8 = 2;

    fn new(value: Option<Py<PyAny>>) -> Self {
        Place {
            state: AtomicU8::new(Self::OPEN),
            value: UnsafeCell::new(value),
        }
    }
}

/// The calls of one `map`, shared by its workers and the reader of its results.
pub struct Job {
    func: Py<PyAny>,
    /// An item is a tuple of arguments.
    star: bool,
    /// Each item is taken by the worker that claims it. Where the results are in the order of the items, each result takes
    /// the place of its item.
    items: Box<[Place]>,
    /// The results where they are in the order of their coming.
    results: Option<Box<[Place]>>,
    /// The next item to be claimed; past the end: none is left.
    next: CachePadded<AtomicUsize>,
    /// Where the next outcome goes if they are in the order of their coming.
    filled: CachePadded<AtomicUsize>,
    /// So many items are called at most: fewer than there are once the job is cut short.
    end: AtomicUsize,
    /// The place that the reader waits for.
    awaited: CachePadded<AtomicUsize>,
    reader: Mutex<Option<Arc<Sleeper>>>,
    /// The job was cut short because no worker could be set up.
    broken: AtomicBool,
    /// The id of the family whose workers have the shares.
    family: usize,
    /// Of a shared pool: every share is a call of it.
    scope: Option<Arc<Scope>>,
}

// SAFETY: the parts that are not Sync by themselves are the places' values. An item is taken by the one thread whose
// `fetch_add` on `next` gave its index. A result is put in its place by the one thread that has its index, from the same or
// from `fetch_add` on `filled`, before it changes the state (SeqCst, and so Release); the one reader (`Results.reading`)
// takes it after it has seen that state (Acquire).
unsafe impl Sync for Job {}

/// Nobody waits.
const NOBODY: usize = usize::MAX;

impl Job {
    pub fn new(
        func: Py<PyAny>,
        items: &Bound<'_, PyList>,
        star: bool,
        ordered: bool,
        family: usize,
        scope: Option<Arc<Scope>>,
    ) -> Self {
        let items: Box<[_]> = items
            .iter()
            .map(|item| Place::new(Some(item.unbind())))
            .collect();
        let results = (!ordered).then(|| items.iter().map(|_| Place::new(None)).collect());
        Job {
            func,
            star,
            next: CachePadded::new(AtomicUsize::new(0)),
            filled: CachePadded::new(AtomicUsize::new(0)),
            end: AtomicUsize::new(items.len()),
            awaited: CachePadded::new(AtomicUsize::new(NOBODY)),
            reader: Mutex::new(None),
            broken: AtomicBool::new(false),
            items,
            results,
            family,
            scope,
        }
    }

    /// How many workers can have a share that makes sense.
    pub fn most_shares(&self, capacity: Option<u32>) -> usize {
        let capacity = capacity.map_or(usize::MAX, |capacity| capacity as usize);
        self.items.len().min(capacity)
    }

    fn claim(&self) -> Option<usize> {
        // Relaxed: the claim is all that is decided. What was put in `items` came here with the share.
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.items.len()).then_some(index)
    }

    /// Works on a share until no item is left, or for so long that the worker should look whether it is one too many.
    pub fn work(
        self: Arc<Self>,
        py: Python<'_>,
        turns: &mut Turns,
        bells: &mut Bells,
    ) -> Outcome<Arc<Self>> {
        // So many items between two looks at the clock; few, should they turn out slow.
        const MOST_AT_ONCE: u32 = 32;
        const LONG: Duration = Duration::from_micros(200);
        let func = self.func.bind(py);
        let native = !is_python_function(func);
        let mut at_once = 1;
        let begin = Instant::now();
        let mut since = begin;
        loop {
            for _ in 0..at_once {
                let Some(index) = self.claim() else {
                    self.leave();
                    return Outcome::Completed;
                };
                if !bells.is_empty() {
                    let bells = std::mem::take(bells);
                    py.detach(|| bells.ring());
                }
                self.call(func, index, bells);
            }
            let now = Instant::now();
            at_once = if now - since > LONG {
                1
            } else {
                MOST_AT_ONCE.min(at_once * 2)
            };
            since = now;
            if turns.let_others_in(py, native, bells) {
                since = Instant::now();
            }
            if now - begin > LONG {
                return Outcome::Unfinished(self);
            }
        }
    }

    fn call(&self, func: &Bound<'_, PyAny>, index: usize, bells: &mut Bells) {
        let py = func.py();
        // SAFETY: the index was claimed, once (see `Sync`).
        let item = unsafe { (*self.items[index].value.get()).take() };
        let item = item.map(|item| item.into_bound(py));
        let result = match item {
            Some(item) if self.star => match item.cast_into::<PyTuple>() {
                Ok(arguments) => func.call1(arguments),
                Err(error) => Err(error.into()),
            },
            Some(item) => func.call1((item,)),
            None => unreachable!("an item is claimed once"),
        };
        let (value, state) = match result {
            Ok(value) => (value.unbind(), Place::RETURNED),
            Err(raised) => (
                errors::with_traceback(py, &raised).into_any().unbind(),
                Place::RAISED,
            ),
        };
        let index = match self.results {
            None => index,
            Some(_) => self.filled.fetch_add(1, Ordering::Relaxed),
        };
        let place = &self.places()[index];
        // SAFETY: as above; and the reader waits for the state.
        unsafe { *place.value.get() = Some(value) };
        // The place, then who waits for it, both SeqCst; the reader does the opposite.
        place.state.swap(state, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) == index {
            bells.append(self.call_reader());
        }
    }

    /// Where the reader finds the results: one for every item.
    fn places(&self) -> &[Place] {
        self.results.as_ref().unwrap_or(&self.items)
    }

    /// The place is filled, or never will be.
    fn is_settled(&self, index: usize) -> bool {
        self.places()[index].state.load(Ordering::SeqCst) != Place::OPEN
            || index >= self.end.load(Ordering::SeqCst)
    }

    /// Shows the collector all that the job holds.
    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.func)?;
        for place in self.items.iter().chain(self.results.iter().flatten()) {
            // SAFETY: no worker has the job any more, and the reader does not read while the collector runs.
            visit.call(unsafe { &*place.value.get() })?;
        }
        Ok(())
    }

    fn call_reader(&self) -> Bells {
        let reader = lock(&self.reader).take();
        Bells::of(
            reader
                .into_iter()
                .filter(|reader| reader.settle())
                .collect(),
        )
    }

    /// No more items are called.
    pub fn cancel(&self) -> Bells {
        let claimed = self.next.swap(self.items.len(), Ordering::SeqCst);
        // Who cancels twice must not raise the end again.
        self.end.fetch_min(claimed, Ordering::SeqCst);
        full_fence();
        self.call_reader()
    }

    /// No worker can be set up: what has not started never will.
    pub fn break_off(&self) -> Bells {
        self.broken.store(true, Ordering::SeqCst);
        self.leave();
        self.cancel()
    }

    /// A share is at its end, or will not be worked on.
    pub fn leave(&self) {
        if let Some(scope) = &self.scope {
            scope.leave();
        }
    }
}

/// The results of a map, in order.
#[pyclass(frozen, weakref, module = "pyants", name = "_Results")]
pub struct Results {
    /// `None` once the garbage collector has cleared it.
    job: Mutex<Option<Arc<Job>>>,
    /// The place to be read next.
    position: AtomicUsize,
    /// Somebody reads.
    reading: AtomicBool,
    timeout: Option<Duration>,
    since: Instant,
}

impl Results {
    pub fn new(job: Arc<Job>, timeout: Option<Duration>) -> Self {
        Results {
            job: Mutex::new(Some(job)),
            position: AtomicUsize::new(0),
            reading: AtomicBool::new(false),
            timeout,
            since: Instant::now(),
        }
    }

    fn job(&self) -> Option<Arc<Job>> {
        lock(&self.job).clone()
    }

    /// The next outcome; `None`: there is none any more.
    fn read(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let index = self.position.load(Ordering::Relaxed);
        let job = self.job()?;
        let place = job.places().get(index)?;
        let mut state = place.state.load(Ordering::Acquire);
        if state == Place::OPEN {
            if let Err(error) = self.wait(py, &job, index) {
                return Some(Err(error));
            }
            state = place.state.load(Ordering::Acquire);
        }
        self.position.store(index + 1, Ordering::Relaxed);
        if state == Place::OPEN {
            return Some(Err(if job.broken.load(Ordering::SeqCst) {
                errors::broken_executor(py)
            } else {
                errors::cancelled(py)
            }));
        }
        // SAFETY: the state was seen, and this thread is the reader (see `Job`'s `Sync`).
        let value = unsafe { (*place.value.get()).take() }.expect("a place is read once");
        Some(if state == Place::RAISED {
            Err(PyErr::from_value(value.into_bound(py)))
        } else {
            Ok(value)
        })
    }

    fn wait(&self, py: Python<'_>, job: &Job, index: usize) -> PyResult<()> {
        while !job.is_settled(index) {
            let timeout = left(self.timeout, self.since);
            if timeout == Some(Duration::ZERO) {
                return Err(PyTimeoutError::new_err(()));
            }
            let sleeper = Sleeper::new(job.family, timeout.is_none());
            {
                let mut reader = lock(&job.reader);
                job.awaited.store(index, Ordering::SeqCst);
                // Who waits, then the place; a worker does the opposite, and takes the reader under the lock.
                full_fence();
                if job.is_settled(index) {
                    job.awaited.store(NOBODY, Ordering::Relaxed);
                    return Ok(());
                }
                sleeper.bind();
                *reader = Some(Arc::clone(&sleeper));
            }
            let (waited, raised) = detached_from_daemons(py, timeout, |patience| {
                sleeper.refuse_if_stuck();
                sleeper.wait(patience, &LUCK)
            });
            job.awaited.store(NOBODY, Ordering::Relaxed);
            sleeper.leave();
            lock(&job.reader).take();
            match (waited, raised) {
                (Ok(()), _) => {}
                (Err(Error::Interrupted), Some(raised)) => return Err(raised),
                (Err(Error::Timeout), _) => return Err(PyTimeoutError::new_err(())),
                (Err(error), _) => return Err(errors::raise(py, error, "map")),
            }
        }
        Ok(())
    }

    fn close(&self) {
        self.position.store(usize::MAX, Ordering::Relaxed);
        // Nobody but the reader waits, and that is whoever closes.
        drop(self.job().map(|job| job.cancel()));
    }
}

#[pymethods]
impl Results {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next result. After an exception, a time-out too, there is no further one, and what has not started is cancelled.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.reading.swap(true, Ordering::Acquire) {
            return Err(PyValueError::new_err(
                "map's iterator is being read already",
            ));
        }
        let read = self.read(py).transpose();
        if read.is_err() {
            self.close();
        }
        self.reading.store(false, Ordering::Release);
        read
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // This does not wait: who holds the lock is attached, and neither runs Python code nor detaches meanwhile.
        match &*lock(&self.job) {
            // Nobody else has the job: what it holds it holds for these results only. (Workers let go of it attached.)
            Some(job) if Arc::strong_count(job) == 1 => job.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        let job = lock(&self.job).take();
        drop(job);
    }

    /// Ends the iteration: what has not started is cancelled.
    #[pyo3(name = "close")]
    fn py_close(&self) -> PyResult<()> {
        if self.reading.swap(true, Ordering::Acquire) {
            return Err(PyValueError::new_err(
                "map's iterator is being read already",
            ));
        }
        self.close();
        self.reading.store(false, Ordering::Release);
        Ok(())
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // As with a generator, whoever has not begun to read wants the calls and not their results.
        if self.position.load(Ordering::Relaxed) > 0 {
            self.close();
        }
    }
}
