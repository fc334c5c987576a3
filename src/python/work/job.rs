//! `map`: many calls of one function, without a future for each.
//!
//! The items are kept in a growing array of places, filled while the input is read (`feed.rs`). The job submits *map
//! tasks*, at most as many as there may be workers. A worker with a map task claims one item after another, calls the
//! function, and puts the outcome where the reader of the results looks for it. So nobody has to choose a chunk size,
//! and no item waits behind a slow one. A map task ends when it finds no item; if more items come, the feed submits
//! another.

use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::{full_fence, lock};
use crate::pool::{Error, Outcome};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::process;
use crate::python::interpreter::switch::Turns;
use crate::python::interpreter::wait::detached;
use crate::python::interpreter::wakeups::{self, SPIN, Wakeups};
use crate::python::values::arguments::is_python_function;
use crate::python::values::errors;
use crate::python::values::scope::Scope;
use crossbeam_utils::CachePadded;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// A place for an item, for an outcome, or for the one after the other.
struct Place {
    state: AtomicU8,
    value: UnsafeCell<Option<Py<PyAny>>>,
}

impl Place {
    /// There is no outcome yet.
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

/// A growing array: a block for the places that exist from the start, then segments, each twice as long as the one
/// before. No place is ever moved, so workers can use some while others are added.
struct Places {
    block: Box<[Place]>,
    segments: [OnceLock<Box<[Place]>>; Self::SEGMENTS],
}

impl Places {
    /// The length of the first segment.
    const FIRST: usize = 32;
    /// This many segments hold more places than fit in memory.
    const SEGMENTS: usize = 40;

    fn new(block: Box<[Place]>) -> Self {
        Places {
            block,
            segments: [const { OnceLock::new() }; Self::SEGMENTS],
        }
    }

    /// The segment, and the index in it, of the place that is `after` places behind the block.
    fn locate(after: usize) -> (usize, usize) {
        let number = ((after + Self::FIRST) / Self::FIRST).ilog2();
        (
            number as usize,
            after + Self::FIRST - (Self::FIRST << number),
        )
    }

    /// Returns an existing place.
    #[inline]
    fn get(&self, index: usize) -> &Place {
        match self.block.get(index) {
            Some(place) => place,
            None => self.get_after(index - self.block.len()),
        }
    }

    fn get_after(&self, after: usize) -> &Place {
        let (number, offset) = Self::locate(after);
        let segment = self.segments[number].get();
        &segment.expect("there is a place for each item")[offset]
    }

    /// Returns the place at the end, and creates its segment if need be.
    fn add(&self, index: usize) -> &Place {
        let after = index - self.block.len();
        let (number, offset) = Self::locate(after);
        let segment = self.segments[number].get_or_init(|| {
            (0..Self::FIRST << number)
                .map(|_| Place::new(None))
                .collect()
        });
        &segment[offset]
    }

    fn iter(&self) -> impl Iterator<Item = &Place> {
        let segments = self.segments.iter().map_while(OnceLock::get);
        self.block.iter().chain(segments.flatten())
    }
}

/// The calls of one `map`, shared by its workers and the reader of its results.
pub struct Job {
    func: Py<PyAny>,
    /// Each item is a tuple of arguments.
    star: bool,
    /// Its claimer takes an item out. If the results keep the order of the items, each takes the place of its item.
    items: Places,
    /// The results, if they come in the order of completion.
    results: Option<Places>,
    /// How many items there are so far.
    added: CachePadded<AtomicUsize>,
    /// The next item to be claimed; `CLOSED`: no more are.
    next: CachePadded<AtomicUsize>,
    /// The place of the next outcome, if they come in the order of completion.
    filled: CachePadded<AtomicUsize>,
    /// Only items before this index are called: all, unless the job is cut short.
    end: AtomicUsize,
    /// The map tasks sure to be worked on: the pool has accepted them, and they have not ended.
    workers: AtomicUsize,
    /// The map tasks that may be worked on later: they wait for a permit or are queued.
    spare: AtomicUsize,
    /// The index for which the reader waits.
    awaited: CachePadded<AtomicUsize>,
    reader: Mutex<Option<Arc<ResultWait>>>,
    /// The thread that read the last result; 0: none has been read.
    read_by: AtomicU64,
    /// The job was cut short because no worker could be set up.
    broken: AtomicBool,
    /// The id of the deadlock group of the workers.
    deadlock_group: usize,
    /// Of a shared pool: each map task is a call of it, except those that still wait for a worker when no item is left.
    scope: Option<Arc<Scope>>,
    /// How many of the scope's calls are map tasks that have not begun.
    waiting: AtomicU64,
}

// SAFETY: only the places' values are not Sync by themselves. An item is put into its place by the one thread that has
// the `Feed` by `&mut`, before it raises `added` (SeqCst, and so Release), and is taken by the one thread whose step on
// `next` yielded its index, after that thread has seen an `added` beyond the index (Acquire). A result is put into its
// place by the one thread that has its index, from the same step or from `fetch_add` on `filled`, before it changes the
// state (SeqCst, and so Release); the one reader (`Results.reading`) takes it after it has seen that state (Acquire).
unsafe impl Sync for Job {}

/// The reader waits for no place.
const NOBODY: usize = usize::MAX;

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
            .map(|item| Place::new(Some(item.unbind())))
            .collect();
        let results =
            (!ordered).then(|| Places::new(items.iter().map(|_| Place::new(None)).collect()));
        Job {
            func,
            star,
            added: CachePadded::new(AtomicUsize::new(items.len())),
            next: CachePadded::new(AtomicUsize::new(0)),
            filled: CachePadded::new(AtomicUsize::new(0)),
            end: AtomicUsize::new(usize::MAX),
            workers: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            awaited: CachePadded::new(AtomicUsize::new(NOBODY)),
            reader: Mutex::new(None),
            read_by: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            items: Places::new(items),
            results,
            deadlock_group,
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
        let place = self.items.add(index);
        // SAFETY: no other thread adds items, and none claims this one before it is counted (see `Sync`).
        unsafe { *place.value.get() = Some(item) };
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

    fn claim(&self) -> Option<usize> {
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

    fn call(&self, func: &Bound<'_, PyAny>, index: usize, wakeups: &mut Wakeups) {
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
            Ok(value) => (value.unbind(), Place::RETURNED),
            Err(raised) => (
                errors::with_traceback(py, &raised).into_any().unbind(),
                Place::RAISED,
            ),
        };
        let index = match self.results {
            None => index,
            // AcqRel: the place may have been created for a later item, seen only by a worker that was here earlier.
            Some(_) => self.filled.fetch_add(1, Ordering::AcqRel),
        };
        let place = self.places().get(index);
        // SAFETY: as above; and the reader waits for the state.
        unsafe { *place.value.get() = Some(value) };
        // Writes the place, then reads which one is awaited, both SeqCst; the reader does the opposite.
        place.state.swap(state, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) == index {
            wakeups.append(self.call_reader());
        }
    }

    /// The places in which the reader finds the results, one for each item.
    fn places(&self) -> &Places {
        self.results.as_ref().unwrap_or(&self.items)
    }

    /// Whether the place is filled or never will be.
    fn is_settled(&self, index: usize) -> bool {
        self.places().get(index).state.load(Ordering::SeqCst) != Place::OPEN
            || index >= self.end.load(Ordering::SeqCst)
    }

    /// Shows the collector all that the job holds.
    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.func)?;
        let results = self.results.iter().flat_map(Places::iter);
        for place in self.items.iter().chain(results) {
            // SAFETY: no worker has the job any more, and the reader does not read while the collector runs.
            visit.call(unsafe { &*place.value.get() })?;
        }
        Ok(())
    }

    fn call_reader(&self) -> Wakeups {
        let reader = lock(&self.reader).take();
        Wakeups::of(
            reader
                .into_iter()
                .filter(|reader| reader.settle())
                .collect(),
        )
    }

    /// Ends the job: no more items are called.
    pub fn cancel(&self) -> Wakeups {
        let claimed = self.next.swap(CLOSED, Ordering::SeqCst);
        // A second cancel must not raise the end again.
        self.end.fetch_min(claimed, Ordering::SeqCst);
        full_fence();
        self.let_waiting_go();
        self.call_reader()
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
    fn end_wait(&self) -> bool {
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

    /// Whether the calling thread began to read the results; it will not go on.
    pub fn is_left(&self) -> bool {
        self.read_by.load(Ordering::Relaxed) == process::this_thread()
    }
}

/// The stages of a map task.
#[derive(PartialEq, Eq)]
enum Stage {
    /// It may be worked on later.
    Spare,
    /// It is sure to be worked on.
    Worked,
    /// It found no item left.
    Over,
}

/// The part of a job that one worker does. However it ends, its end is counted.
pub struct MapTask {
    pub job: Arc<Job>,
    stage: Stage,
    has_begun: bool,
}

impl MapTask {
    /// A map task for a pool that accepts or refuses it at once.
    pub fn sure(job: &Arc<Job>) -> Self {
        job.workers.fetch_add(1, Ordering::SeqCst);
        Self::new(job, Stage::Worked)
    }

    /// A map task that is not missed if the pool refuses it later.
    pub fn spare(job: &Arc<Job>) -> Self {
        job.spare.fetch_add(1, Ordering::Relaxed);
        Self::new(job, Stage::Spare)
    }

    /// Counts as a call of the job's scope, if there is one.
    fn new(job: &Arc<Job>, stage: Stage) -> Self {
        job.waiting.fetch_add(1, Ordering::SeqCst);
        MapTask {
            job: Arc::clone(job),
            stage,
            has_begun: false,
        }
    }

    fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            if !self.job.end_wait() {
                // An item may have come after all, as the scope was being closed.
                if let Some(scope) = &self.job.scope {
                    scope.follow();
                }
            }
        }
        if self.stage == Stage::Spare {
            self.job.workers.fetch_add(1, Ordering::SeqCst);
            self.job.spare.fetch_sub(1, Ordering::Relaxed);
            self.stage = Stage::Worked;
        }
    }

    /// The map task found no item: ends it unless an item has come meanwhile. Returns whether it ended.
    fn lay_down(&mut self) -> bool {
        let job = &self.job;
        job.workers.fetch_sub(1, Ordering::SeqCst);
        // SeqCst: this counts the worker out, then looks for items; the feed adds an item, then looks for workers. One
        // of them sees what the other has done, so no item is left without a worker to take it.
        if job.is_exhausted() {
            self.stage = Stage::Over;
            job.end_if_exhausted();
            return true;
        }
        job.workers.fetch_add(1, Ordering::SeqCst);
        false
    }

    /// Works until no item is left, or for so long that the worker should check whether it is one too many.
    pub fn work(
        mut self: Box<Self>,
        py: Python<'_>,
        turns: &mut Turns,
        wakeups: &mut Wakeups,
    ) -> Outcome<Box<Self>> {
        // The number of items between two looks at the clock; it starts small, in case they are slow.
        const MOST_AT_ONCE: u32 = 32;
        const LONG: Duration = Duration::from_micros(200);
        self.begin();
        let func = self.job.func.bind(py).clone();
        let native = !is_python_function(&func);
        let mut at_once = 1;
        let begin = Instant::now();
        let mut since = begin;
        loop {
            for _ in 0..at_once {
                let Some(index) = self.job.claim() else {
                    if self.lay_down() {
                        return Outcome::Completed;
                    }
                    continue;
                };
                if !wakeups.is_empty() {
                    let wakeups = std::mem::take(wakeups);
                    call::detach(py, || wakeups.ring());
                }
                self.job.call(&func, index, wakeups);
            }
            let now = Instant::now();
            at_once = if now - since > LONG {
                1
            } else {
                MOST_AT_ONCE.min(at_once * 2)
            };
            since = now;
            if turns.let_others_in(py, native, wakeups) {
                since = Instant::now();
            }
            if now - begin > LONG {
                return Outcome::Unfinished(self);
            }
        }
    }
}

impl Drop for MapTask {
    fn drop(&mut self) {
        match self.stage {
            Stage::Spare => drop(self.job.spare.fetch_sub(1, Ordering::Relaxed)),
            Stage::Worked => drop(self.job.workers.fetch_sub(1, Ordering::SeqCst)),
            Stage::Over => {}
        }
        let counts = self.has_begun || self.job.end_wait();
        match &self.job.scope {
            Some(scope) if counts => scope.leave(),
            _ => {}
        }
    }
}

/// The results of a map, in order.
#[pyclass(frozen, weakref, module = "pyants", name = "_Results")]
pub struct Results {
    /// `None` once the garbage collector has cleared it.
    job: Mutex<Option<Arc<Job>>>,
    /// How many results there will be.
    total: usize,
    /// The place to be read next.
    position: AtomicUsize,
    /// A thread is reading.
    reading: AtomicBool,
    timeout: Option<Duration>,
    since: Instant,
}

impl Results {
    /// The results of a job whose input is at its end; the timeout counts from `since`.
    pub fn new(job: Arc<Job>, timeout: Option<Duration>, since: Instant) -> Self {
        Results {
            total: job.len(),
            job: Mutex::new(Some(job)),
            position: AtomicUsize::new(0),
            reading: AtomicBool::new(false),
            timeout,
            since,
        }
    }

    fn job(&self) -> Option<Arc<Job>> {
        lock(&self.job).clone()
    }

    /// The next outcome; `None`: there are no more.
    fn read(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let index = self.position.load(Ordering::Relaxed);
        if index >= self.total {
            return None;
        }
        let job = self.job()?;
        job.read_by.store(process::this_thread(), Ordering::Relaxed);
        let place = job.places().get(index);
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
            let result_wait = ResultWait::new(job.deadlock_group, timeout.is_none());
            {
                let mut reader = lock(&job.reader);
                job.awaited.store(index, Ordering::SeqCst);
                // Notes the reader, then reads the place; a worker does the opposite, and takes the reader under this
                // lock.
                full_fence();
                if job.is_settled(index) {
                    job.awaited.store(NOBODY, Ordering::Relaxed);
                    return Ok(());
                }
                result_wait.block();
                *reader = Some(Arc::clone(&result_wait));
            }
            let (waited, raised) = detached(py, timeout, |wait_limit| {
                result_wait.refuse_if_stuck();
                result_wait.wait(wait_limit, &SPIN)
            });
            job.awaited.store(NOBODY, Ordering::Relaxed);
            result_wait.leave();
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
        // Only the reader waits, and it is the one that closes.
        drop(self.job().map(|job| job.cancel()));
    }
}

#[pymethods]
impl Results {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next result. After an exception (or a timeout) there are no more: calls that have not started are cancelled.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.reading.swap(true, Ordering::Acquire) {
            return Err(PyValueError::new_err(
                "map's iterator is being read already",
            ));
        }
        let read = self.read(py).transpose();
        // A loop over results that are ready spends its time here. So this is where Ctrl-C mostly arrives, and where it
        // ends the iteration.
        let read = read.and_then(|value| py.check_signals().map(|()| value));
        if read.is_err() {
            self.close();
        }
        self.reading.store(false, Ordering::Release);
        read.map_err(|raised| as_in_a_generator(py, raised))
    }

    /// Cancels calls that have not started if this thread has begun to read the results and is not at their end.
    fn _leave(&self, py: Python<'_>) {
        if let Some(job) = self.job().filter(|job| job.is_left()) {
            wakeups::ring(py, job.cancel());
        }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile.
        match &*lock(&self.job) {
            // With no other owner, the job holds its objects for these results only. (Workers drop it while attached.)
            Some(job) if Arc::strong_count(job) == 1 => job.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        let job = lock(&self.job).take();
        drop(job);
    }

    /// Ends the iteration and cancels calls that have not started.
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
        // As with a generator, a caller who has not begun to read wants the calls and not their results.
        if self.position.load(Ordering::Relaxed) > 0 {
            self.close();
        }
    }
}

/// A task's `StopIteration` must not pass for the end of the results: it is converted as in a generator.
fn as_in_a_generator(py: Python<'_>, raised: PyErr) -> PyErr {
    if !raised.is_instance_of::<PyStopIteration>(py) {
        return raised;
    }
    let error = PyRuntimeError::new_err("generator raised StopIteration");
    // As an `except` block would; a failure of this is no error.
    let _ = error
        .value(py)
        .setattr(pyo3::intern!(py, "__context__"), raised.value(py));
    error.set_cause(py, Some(raised));
    error
}

/// How much of the timeout is left, counted from `since`.
fn left(timeout: Option<Duration>, since: std::time::Instant) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_sub(since.elapsed()))
}
