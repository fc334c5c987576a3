//! The condition of a future: `concurrent.futures.wait` and `as_completed` ask each of their futures for one. Mostly it
//! is acquired and released and no more. So it is a lock, cheap to create and invisible to the garbage collector, on
//! which the methods of `threading.Condition` work if somebody calls them.

use crate::pool::internal::sync::{lock, wait};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::thread_id::this_thread;
use crate::python::interpreter::wait::detached;
use crate::python::interpreter::{descriptor, lookup};
use crate::python::values::errors;
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::impl_::trampoline::get_trampoline_function;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use pyo3::{Borrowed, PyTraverseError, PyTypeInfo, PyVisit, ffi};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

/// Owned by no thread, as from the start.
const FREE: u64 = 0;

/// A re-entrant lock with the methods of a condition.
#[pyclass(frozen, module = "pyants", name = "_Condition")]
#[derive(Default)]
pub struct Condition {
    /// The identity of the owning thread.
    owner: AtomicU64,
    /// How often the owner has acquired it. Only the owner reads and writes it.
    depth: AtomicU32,
    /// How many threads sleep until it is free.
    sleeping: AtomicU32,
    mutex: Mutex<()>,
    condvar: Condvar,
    /// The locks of threads that wait to be notified; created for the first of them.
    waiters: OnceLock<Py<PyAny>>,
}

impl Condition {
    /// A new condition, invisible to the garbage collector until it holds something (`_waiters`).
    pub fn untracked(py: Python<'_>) -> PyResult<Py<Self>> {
        let condition = Py::new(py, Condition::default())?;
        let object = condition.as_ptr();
        // SAFETY: this thread is attached, and `object` is a live object that no other thread knows yet. Only an object
        // of a type with garbage collection can be untracked.
        unsafe {
            if ffi::PyObject_IS_GC(object) != 0 {
                ffi::PyObject_GC_UnTrack(object.cast());
            }
        }
        Ok(condition)
    }

    /// Acquires it if it is free.
    fn take(&self, me: u64) -> bool {
        // SeqCst: a thread that goes to sleep counts itself, then tries; the thread that releases it does the opposite.
        let taken = self
            .owner
            .compare_exchange(FREE, me, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if taken {
            self.depth.store(1, Ordering::Relaxed);
        }
        taken
    }

    /// Acquires it, re-entrantly too; returns whether it could within `timeout` (`None`: without limit).
    fn take_within(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<bool> {
        let me = this_thread();
        if self.owner.load(Ordering::Relaxed) == me {
            let depth = self.depth.load(Ordering::Relaxed);
            let deeper = depth
                .checked_add(1)
                .ok_or_else(|| PyOverflowError::new_err("the lock was taken too often"))?;
            self.depth.store(deeper, Ordering::Relaxed);
            return Ok(true);
        }
        if self.take(me) {
            return Ok(true);
        }
        if timeout == Some(Duration::ZERO) {
            return Ok(false);
        }
        let (taken, raised) = detached(py, timeout, |wait_limit| {
            loop {
                let mut mutex = lock(&self.mutex);
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                let taken = self.take(me);
                if !taken && !wait_limit.is_over() {
                    mutex = wait(&self.condvar, mutex, wait_limit.next_wait());
                }
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                drop(mutex);
                if taken || self.take(me) {
                    return true;
                }
                if wait_limit.is_over() || wait_limit.is_interrupted() {
                    // A notification for this thread went to no other: pass it on.
                    self.wake_one();
                    return false;
                }
            }
        });
        match raised {
            Some(raised) if !taken => Err(raised),
            _ => Ok(taken),
        }
    }

    /// Acquires it again, in spite of interruptions; the last one is raised afterwards.
    fn take_back(&self, py: Python<'_>) -> PyResult<()> {
        let mut outcome = Ok(());
        loop {
            match self.take_within(py, None) {
                Ok(_) => return outcome,
                Err(raised) => outcome = Err(raised),
            }
        }
    }

    /// Wakes one thread that sleeps until it is free.
    fn wake_one(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            // A thread that is about to sleep does so by then.
            drop(lock(&self.mutex));
            self.condvar.notify_one();
        }
    }

    fn give_up(&self) {
        self.owner.store(FREE, Ordering::SeqCst);
        self.wake_one();
    }

    fn owned(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == this_thread()
    }

    /// Acquires it for the future's own code.
    pub fn hold(slf: &Bound<'_, Self>) -> PyResult<Held> {
        slf.get().take_within(slf.py(), None)?;
        Ok(Held(slf.clone().unbind()))
    }

    /// The owner releases it once for each time it acquired it.
    fn put_back(&self) {
        match self.depth.load(Ordering::Relaxed) {
            0 | 1 => self.give_up(),
            depth => self.depth.store(depth - 1, Ordering::Relaxed),
        }
    }

    /// Acquires it if that does not block.
    fn enter_now(&self) -> bool {
        let me = this_thread();
        if self.owner.load(Ordering::Relaxed) != me {
            return self.take(me);
        }
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth.saturating_add(1), Ordering::Relaxed);
        depth < u32::MAX
    }

    /// Releases it; `false`: this thread does not own it.
    fn exit_now(&self) -> bool {
        let owned = self.owned();
        if owned {
            self.put_back();
        }
        owned
    }

    fn enter(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().take_within(slf.py(), None)
    }

    fn exit(_slf: &Bound<'_, Self>) -> PyResult<bool> {
        Err(PyRuntimeError::new_err("cannot release un-acquired lock"))
    }
}

/// A condition that this thread has acquired.
pub struct Held(Py<Condition>);

impl Held {
    /// Wakes all threads that wait to be notified.
    pub fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        Condition::notify_all(self.0.bind(py))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.get().put_back();
    }
}

/// The truth value of an object.
struct Truth(bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        call::guard_thread();
        object.is_truthy().map(Truth)
    }
}

#[pymethods]
impl Condition {
    /// As threading.RLock.acquire: blocking may be anything with a truth value, timeout an int or a float.
    #[pyo3(signature = (blocking = Truth(true), timeout = -1.0))]
    fn acquire(&self, py: Python<'_>, blocking: Truth, timeout: f64) -> PyResult<bool> {
        const NONE: f64 = -1.0;
        // `threading.TIMEOUT_MAX`.
        const LONGEST: f64 = 9_223_372_036.0;
        let timeout = match (blocking, timeout) {
            (Truth(true), NONE) => None,
            (Truth(false), NONE) => Some(Duration::ZERO),
            (Truth(false), _) => {
                let message = "can't specify a timeout for a non-blocking call";
                return Err(PyValueError::new_err(message));
            }
            (Truth(true), seconds) if seconds > LONGEST => {
                return Err(PyOverflowError::new_err("timeout value is too large"));
            }
            (Truth(true), seconds) => Some(Duration::try_from_secs_f64(seconds).map_err(|_| {
                PyValueError::new_err("timeout value must be a non-negative number")
            })?),
        };
        self.take_within(py, timeout)
    }

    /// Waits until notified; see threading.Condition.
    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lookup::CONDITION
            .get(slf.py())
            .guarded_method1(intern!(slf.py(), "wait"), (slf, timeout))
    }

    /// Waits until predicate() holds; see threading.Condition.
    #[pyo3(signature = (predicate, timeout = None))]
    fn wait_for<'py>(
        slf: &Bound<'py, Self>,
        predicate: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lookup::CONDITION
            .get(slf.py())
            .guarded_method1(intern!(slf.py(), "wait_for"), (slf, predicate, timeout))
    }

    /// Wakes n of the waiting threads; see threading.Condition.
    #[pyo3(signature = (n = None))]
    fn notify(slf: &Bound<'_, Self>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let (condition, notify) = (lookup::CONDITION.get(py), intern!(py, "notify"));
        match n {
            None => condition.guarded_method1(notify, (slf,)),
            Some(n) => condition.guarded_method1(notify, (slf, n)),
        }
        .map(drop)
    }

    /// Wakes all waiting threads; see threading.Condition.
    fn notify_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if !this.owned() {
            return Err(PyRuntimeError::new_err("cannot notify on un-acquired lock"));
        }
        let py = slf.py();
        match this.waiters.get() {
            None => Ok(()),
            Some(waiters) => {
                let count = waiters.bind(py).len()?.into_pyobject(py)?;
                Self::notify(slf, Some(count.as_any()))
            }
        }
    }

    /// Asked for by the methods of threading.Condition.
    fn _is_owned(&self) -> bool {
        self.owned()
    }

    fn _release_save(&self) -> PyResult<(u32, u64)> {
        if !self.owned() {
            return Err(PyRuntimeError::new_err("cannot release un-acquired lock"));
        }
        let saved = (self.depth.load(Ordering::Relaxed), this_thread());
        self.give_up();
        Ok(saved)
    }

    fn _acquire_restore(&self, py: Python<'_>, saved: (u32, u64)) -> PyResult<()> {
        let outcome = self.take_back(py);
        self.depth.store(saved.0, Ordering::Relaxed);
        outcome
    }

    #[getter]
    fn _waiters(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if this.waiters.get().is_none() {
            let waiters = lookup::DEQUE.invoke(py, ())?.unbind();
            if this.waiters.set(waiters).is_ok() {
                // SAFETY: this thread is attached, and the live object is not tracked yet: this is reached only once,
                // and nothing else tracks it (`untracked`).
                unsafe {
                    if ffi::PyObject_GC_IsTracked(slf.as_ptr()) == 0 {
                        ffi::PyObject_GC_Track(slf.as_ptr().cast());
                    }
                }
            }
        }
        let waiters = this.waiters.get().expect("it was put there");
        Ok(waiters.clone_ref(py))
    }

    /// No `__clear__` is needed: the list of waiters clears itself.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.waiters.get())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        format!(
            "<pyants._Condition at {:#x} owner={} count={}>",
            slf.as_ptr() as usize,
            this.owner.load(Ordering::Relaxed),
            this.depth.load(Ordering::Relaxed),
        )
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(errors::cannot_pickle(slf, ""))
    }
}

/// A method that ignores its arguments, if any; mostly done by `$now`, otherwise by `$slowly`.
macro_rules! add_method {
    ($class:expr, $name:literal, $flags:ident $kind:ident($($extra:ty),*), $now:ident, $slowly:ident, $value:path) => {{
        /// # Safety
        /// Must be called by the interpreter, attached, with a condition.
        unsafe fn slowly(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
            // SAFETY: promised by the caller, who keeps `slf` alive until the call returns.
            let slf = unsafe { Borrowed::from_ptr(py, slf).cast_unchecked::<Condition>() };
            Condition::$slowly(&slf).map(|_| $value(py).into_ptr())
        }
        /// # Safety
        /// As that of `slowly`.
        unsafe extern "C" fn method(slf: *mut ffi::PyObject, $(_: $extra),*) -> *mut ffi::PyObject {
            // SAFETY: promised by the caller, as in `slowly`. Only what is behind the trampoline can panic.
            unsafe {
                let py = Python::assume_attached();
                if Borrowed::from_ptr(py, slf).cast_unchecked::<Condition>().get().$now() {
                    $value(py).into_ptr()
                } else {
                    get_trampoline_function!(noargs, slowly)(slf, std::ptr::null_mut())
                }
            }
        }
        let function = ffi::PyMethodDefPointer { $kind: method };
        // SAFETY: the function is of that kind, for instances of this class.
        unsafe {
            let doc = "As that of threading.RLock.";
            descriptor::add_method($class, $name, ffi::$flags, function, doc)?;
        }
    }};
}

fn yes(py: Python<'_>) -> Bound<'_, PyAny> {
    PyBool::new(py, true).to_owned().into_any()
}

fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

/// Installs the methods that are called for each future of a `wait`, and so must cost next to nothing.
pub fn install(py: Python<'_>) -> PyResult<()> {
    type Object = *mut ffi::PyObject;
    type Objects = *mut *mut ffi::PyObject;
    let class = &Condition::type_object(py);
    add_method! { class, c"__enter__", METH_NOARGS PyCFunction(Object), enter_now, enter, yes }
    add_method! { class, c"release", METH_NOARGS PyCFunction(Object), exit_now, exit, none }
    add_method! { class, c"__exit__", METH_FASTCALL PyCFunctionFast(Objects, ffi::Py_ssize_t), exit_now, exit, none }
    Ok(())
}
