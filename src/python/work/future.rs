//! `Future`: the outcome of a task, as a `concurrent.futures.Future` whose state is held natively.
//!
//! The state is one byte, and a future that nobody watches changes it without any lock:
//!
//! ```text
//!  state      CPython's name          moved by                      to
//!  ---------  -----------------------  ----------------------------  ----------------------------
//!  Pending    PENDING                  the worker                    Running
//!                                      the thread that cancels       Cancelled
//!                                      the thread with the outcome   Finishing
//!  Running    RUNNING                  the thread with the outcome   Finishing
//!  Finishing  RUNNING                  the same thread               Returned, Raised, Written
//!  Cancelled  CANCELLED                the worker                    Notified
//!  Notified   CANCELLED_AND_NOTIFIED
//!  Returned   FINISHED
//!  Raised     FINISHED
//!  Written    FINISHED
//! ```
//!
//! The bit WATCHED says that somebody must be notified: callbacks, threads in `result()`, or a condition that
//! `concurrent.futures.wait` or `as_completed` asked for. They are kept in `extras`, under a lock. Once the bit is set,
//! anything they are notified of changes only under that lock and, if there is a condition, only while it is held: so a
//! thread that holds the condition sees the future frozen, as CPython's own code expects.
//!
//! Tests and debuggers also assign to `_state`, `_result` and `_exception`, from any thread and in any state. After the
//! first assignment the outcome is kept in `extras` as CPython keeps it, a result and an exception side by side, and
//! the state is Written instead of Returned or Raised.

use crate::pool::Error;
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::condition::{Condition, Held};
use crate::python::interpreter::instance::{self, Layout};
use crate::python::interpreter::lookup;
use crate::python::interpreter::wait::detached;
use crate::python::interpreter::wakeups::{SPIN, Wakeups, ring};
use crate::python::values::errors;
use crate::python::values::scope::Scope;
use pyo3::exceptions::{PyException, PyRecursionError, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum State {
    Pending,
    Running,
    Finishing,
    Cancelled,
    Notified,
    Returned,
    Raised,
    Written,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u8);

impl Word {
    const STATE: u8 = 0b0111;
    const WATCHED: u8 = 0b1000;

    fn state(self) -> State {
        match self.0 & Self::STATE {
            0 => State::Pending,
            1 => State::Running,
            2 => State::Finishing,
            3 => State::Cancelled,
            4 => State::Notified,
            5 => State::Returned,
            6 => State::Raised,
            _ => State::Written,
        }
    }

    fn is_watched(self) -> bool {
        self.0 & Self::WATCHED != 0
    }

    /// The same watched bit with another state.
    fn with(self, state: State) -> Word {
        Word(self.0 & Self::WATCHED | state as u8)
    }
}

impl State {
    fn is_done(self) -> bool {
        matches!(
            self,
            State::Cancelled | State::Notified | State::Returned | State::Raised | State::Written
        )
    }

    /// Whether `Future::outcome` may be read.
    fn has_outcome(self) -> bool {
        matches!(self, State::Returned | State::Raised)
    }

    fn is_cancelled(self) -> bool {
        matches!(self, State::Cancelled | State::Notified)
    }

    /// Whether the outcome may still be set.
    fn is_open(self) -> bool {
        matches!(self, State::Pending | State::Running)
    }

    fn name(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Running | State::Finishing => "RUNNING",
            State::Cancelled => "CANCELLED",
            State::Notified => "CANCELLED_AND_NOTIFIED",
            State::Returned | State::Raised | State::Written => "FINISHED",
        }
    }

    /// The state for a name assigned to `_state`.
    fn of_name(name: &str) -> Option<State> {
        [
            State::Pending,
            State::Running,
            State::Cancelled,
            State::Notified,
            State::Written,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// The outcome of a future that was assigned to, as CPython keeps it; `None` stands for Python's None.
#[derive(Default)]
struct Fields {
    result: Option<Py<PyAny>>,
    exception: Option<Py<PyAny>>,
    /// `Future::outcome` was copied into these fields; the original stays, since other threads may be reading it.
    has_former: bool,
}

#[derive(Clone, Copy)]
enum Field {
    Result,
    Exception,
}

impl Fields {
    fn get(&mut self, field: Field) -> &mut Option<Py<PyAny>> {
        match field {
            Field::Result => &mut self.result,
            Field::Exception => &mut self.exception,
        }
    }
}

/// A result and an exception.
type Outcome<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// The watchers of a future, and what was assigned to it.
#[derive(Default)]
struct Extras {
    callbacks: Vec<Py<PyAny>>,
    result_waits: Vec<Arc<ResultWait>>,
    waiting: Option<Waiting>,
    scope: Option<Arc<Scope>>,
    fields: Option<Fields>,
}

/// The condition and the list that `concurrent.futures.wait` and `as_completed` ask for, one right after the other.
struct Waiting {
    /// Held while they inspect the future.
    condition: Py<Condition>,
    /// The list to which they append their waiters.
    waiters: Py<PyList>,
}

/// The native half of `pyants.Future`.
#[pyclass(frozen, subclass, module = "pyants", name = "_Future")]
pub struct Future {
    word: AtomicU8,
    /// The result or the exception. Written by the thread that moved the state to Finishing, before it moves the state
    /// on; if there are `Fields`, the outcome goes there instead. Read in the states Returned and Raised.
    outcome: UnsafeCell<Option<Py<PyAny>>>,
    extras: Mutex<Option<Box<Extras>>>,
    /// The id of the deadlock group of this future's task; 0: none.
    deadlock_group: usize,
}

// SAFETY: `outcome` is the only field that is not Sync by itself. One thread writes it, once: only one thread moves the
// state to Finishing, and the state can get there again only after an assignment to `_state`, which first creates
// `Fields`. Other threads read it after they have loaded (Acquire) the state that the writer stored after it (Release).
// After that only the garbage collector's `__clear__` writes it, when no other reference is left.
unsafe impl Sync for Future {}

impl Default for Future {
    fn default() -> Self {
        Future {
            word: AtomicU8::new(State::Pending as u8),
            outcome: UnsafeCell::new(None),
            extras: Mutex::new(None),
            deadlock_group: 0,
        }
    }
}

static LAYOUT: Layout<Future> = Layout::new();

/// Must be called before the first future is made.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    LAYOUT.learn(&Bound::new(py, Future::default())?)
}

/// A Python class of futures that derives from the native one.
pub struct FutureClass(Py<PyType>);

impl FutureClass {
    pub fn new(class: Bound<'_, PyType>) -> PyResult<Self> {
        if class.is_subclass_of::<Future>()? {
            Ok(FutureClass(class.unbind()))
        } else {
            let name = "future_class";
            Err(errors::wrong_type(
                name,
                "a subclass of pyants.Future",
                &class,
            ))
        }
    }

    pub fn class(&self) -> &Py<PyType> {
        &self.0
    }

    /// A pending future for a task of that deadlock group.
    pub fn task_future<'py>(
        &self,
        py: Python<'py>,
        deadlock_group: usize,
    ) -> PyResult<Bound<'py, Future>> {
        let future = Future {
            deadlock_group,
            ..Future::default()
        };
        // SAFETY: the class derives from the class of `Future`: `new` checked it.
        unsafe { LAYOUT.instance(self.0.bind(py), future) }
    }
}

/// The kind of thread that completes a future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// A worker, which has no caller to raise to.
    Worker,
    /// A thread that called a method of the future.
    User,
}

impl Future {
    /// Has the future notify the scope when it is done. Must be called before any other thread can reach the future.
    pub fn enter_scope(&self, scope: Arc<Scope>) {
        self.watch(|extras| extras.scope = Some(scope));
    }

    /// Stops the scope from waiting for the future, whose call was taken out of the executor.
    pub fn leave_scope(&self) {
        let scope = lock(&self.extras)
            .as_mut()
            .and_then(|extras| extras.scope.take());
        if let Some(scope) = scope {
            scope.leave();
        }
    }

    /// Whether the future belongs to a task of this scope.
    pub fn is_of(&self, scope: &Arc<Scope>) -> bool {
        lock(&self.extras)
            .as_ref()
            .and_then(|extras| extras.scope.as_ref())
            .is_some_and(|own| Arc::ptr_eq(own, scope))
    }

    fn word(&self) -> Word {
        // Acquire: a state that is done makes the outcome visible.
        Word(self.word.load(Ordering::Acquire))
    }

    fn state(&self) -> State {
        self.word().state()
    }

    /// Gives access to the extras and sets WATCHED, so that later changes notify what is put there.
    fn watch<R>(&self, look: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = lock(&self.extras);
        // AcqRel: a thread that moves the state without the lock did so before this and is seen here, or sees the bit.
        self.word.fetch_or(Word::WATCHED, Ordering::AcqRel);
        look(extras.get_or_insert_with(Box::default))
    }

    /// As `watch`, unless the future is done: then returns its state.
    fn watch_undone(&self, look: impl FnOnce(&mut Extras)) -> Result<(), State> {
        self.watch(|extras| {
            let state = self.state();
            if state.is_done() {
                return Err(state);
            }
            look(extras);
            Ok(())
        })
    }

    /// Moves the state to `to` if `may` allows it, and notifies nobody. Returns the word before.
    fn step(&self, to: State, may: impl Fn(State) -> bool) -> Result<Word, State> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                may(Word(word).state()).then(|| Word(word).with(to).0)
            })
            .map(Word)
            .map_err(|word| Word(word).state())
    }

    /// Moves the state to `to` if `may` allows it, and notifies CPython's waiters by the method `tell`.
    fn tell(
        slf: &Bound<'_, Self>,
        to: State,
        may: impl Fn(State) -> bool,
        tell: Option<&str>,
    ) -> PyResult<Result<(), State>> {
        let this = slf.get();
        let mut word = this.word();
        while !word.is_watched() {
            if !may(word.state()) {
                return Ok(Err(word.state()));
            }
            match this.word.compare_exchange_weak(
                word.0,
                word.with(to).0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(Ok(())),
                Err(now) => word = Word(now),
            }
        }
        Self::tell_watched(slf, to, may, tell)
    }

    /// Reads the condition or the waiters' list, if they were asked for before.
    fn waiting_now<R>(&self, get: impl FnOnce(&Waiting) -> R) -> Option<R> {
        lock(&self.extras)
            .as_ref()
            .and_then(|extras| extras.waiting.as_ref().map(get))
    }

    /// The same, but creates them if need be.
    fn make_waiting<R>(slf: &Bound<'_, Self>, get: impl FnOnce(&Waiting) -> R) -> PyResult<R> {
        let py = slf.py();
        instance::track(slf.as_any());
        let mut new = Some(Waiting {
            condition: Condition::untracked(py)?,
            waiters: PyList::empty(py).unbind(),
        });
        // If another thread was faster, `new` is dropped after the lock is released.
        Ok(slf.get().watch(|extras| {
            if extras.waiting.is_none() {
                extras.waiting = new.take();
            }
            get(extras.waiting.as_ref().expect("it was put there"))
        }))
    }

    /// `_condition`, which `concurrent.futures.wait` and `as_completed` hold while they inspect the future.
    pub fn condition_now<'py>(py: Python<'py>, this: &Self) -> Option<Bound<'py, PyAny>> {
        this.waiting_now(|waiting| waiting.condition.bind(py).as_any().clone())
    }

    pub fn make_condition<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::make_waiting(slf, |waiting| {
            waiting.condition.bind(slf.py()).as_any().clone()
        })
    }

    /// `_waiters`, the list to which they append their waiters.
    pub fn waiters_now<'py>(py: Python<'py>, this: &Self) -> Option<Bound<'py, PyAny>> {
        this.waiting_now(|waiting| waiting.waiters.bind(py).as_any().clone())
    }

    pub fn make_waiters<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::make_waiting(slf, |waiting| {
            waiting.waiters.bind(slf.py()).as_any().clone()
        })
    }

    /// `_state`: the interned strings with which CPython's code compares it.
    pub fn state_name<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match self.state() {
            State::Pending => intern!(py, "PENDING"),
            State::Running | State::Finishing => intern!(py, "RUNNING"),
            State::Cancelled => intern!(py, "CANCELLED"),
            State::Notified => intern!(py, "CANCELLED_AND_NOTIFIED"),
            State::Returned | State::Raised | State::Written => intern!(py, "FINISHED"),
        }
        .clone()
    }

    /// Applies an assignment: moves the state as `to` says and changes the fields. If the future is then
    /// done, waiting threads are woken; callbacks and waiters are not notified: nor are they of a CPython future.
    fn assign(
        slf: &Bound<'_, Self>,
        to: impl Fn(State) -> State,
        change: impl FnOnce(&mut Fields) -> Option<Py<PyAny>>,
    ) {
        let (py, this) = (slf.py(), slf.get());
        instance::track(slf.as_any());
        // The former value is dropped after the lock is released.
        let (result_waits, _before) = this.watch(|extras| {
            let fields = extras.fields.get_or_insert_default();
            let mut before = (Fields::default(), None);
            // These states are final, and since the future is watched, no thread enters them without this lock.
            let state = this.state();
            if state.has_outcome() {
                let (result, exception) = this.own_outcome(py, state);
                let taken_over = Fields {
                    result: result.map(Bound::unbind),
                    exception: exception.map(Bound::unbind),
                    has_former: true,
                };
                before.0 = std::mem::replace(fields, taken_over);
            }
            before.1 = change(fields);
            // AcqRel, as every step; a thread that reads the fields also takes the lock.
            let moved = |word| Some(Word(word).with(to(Word(word).state())).0);
            let _ = this
                .word
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
            let result_waits = if this.state().is_done() {
                std::mem::take(&mut extras.result_waits)
            } else {
                Vec::new()
            };
            (result_waits, before)
        });
        ring(py, Wakeups::settle(result_waits));
    }

    /// `_state = value`.
    pub fn assign_state(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = value.cast::<PyString>().ok();
        let named = name.and_then(|name| State::of_name(name.to_str().ok()?));
        let state = named.ok_or_else(|| {
            let states = "PENDING, RUNNING, CANCELLED, CANCELLED_AND_NOTIFIED or FINISHED";
            errors::wrong_value("_state", states, value)
        })?;
        Self::assign(slf, |_| state, |_| None);
        Ok(())
    }

    fn assign_field(slf: &Bound<'_, Self>, field: Field, value: Option<Bound<'_, PyAny>>) {
        let finished = |state: State| {
            if state.has_outcome() {
                State::Written
            } else {
                state
            }
        };
        Self::assign(slf, finished, |fields| {
            std::mem::replace(fields.get(field), value.map(Bound::unbind))
        });
    }

    /// The outcome with which the worker, or a setter, finished a future in this state.
    fn own_outcome<'py>(&self, py: Python<'py>, state: State) -> Outcome<'py> {
        match state {
            State::Returned => (Some(self.outcome(py)), None),
            State::Raised => (None, Some(self.outcome(py))),
            _ => (None, None),
        }
    }

    /// `_result` and `_exception`.
    fn fields<'py>(&self, py: Python<'py>) -> Outcome<'py> {
        let state = self.state();
        if state.has_outcome() {
            return self.own_outcome(py, state);
        }
        let extras = lock(&self.extras);
        let fields = extras.as_ref().and_then(|extras| extras.fields.as_ref());
        let get = |value: &Option<Py<PyAny>>| value.as_ref().map(|value| value.bind(py).clone());
        fields.map_or((None, None), |fields| {
            (get(&fields.result), get(&fields.exception))
        })
    }

    /// The outcome of a done future in this state.
    fn read<'py>(slf: &Bound<'py, Self>, mut state: State) -> PyResult<Outcome<'py>> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            match state {
                State::Returned | State::Raised => return Ok(this.own_outcome(py, state)),
                State::Written => {
                    // A thread that makes several assignments holds the condition until all are made.
                    let _held = Self::hold(py, this)?;
                    state = this.state();
                    if state == State::Written {
                        return Ok(this.fields(py));
                    }
                }
                State::Cancelled | State::Notified => return Err(errors::cancelled(py)),
                // The future was done, and another state was assigned since. CPython raises this in that case.
                _ => return Err(PyTimeoutError::new_err(())),
            }
        }
    }

    /// Holds the condition, if there is one.
    fn hold(py: Python<'_>, this: &Self) -> PyResult<Option<Held>> {
        let condition = lock(&this.extras)
            .as_ref()
            .and_then(|extras| extras.waiting.as_ref())
            .map(|waiting| waiting.condition.bind(py).clone());
        condition.as_ref().map(Condition::hold).transpose()
    }

    #[cold]
    fn tell_watched(
        slf: &Bound<'_, Self>,
        to: State,
        may: impl Fn(State) -> bool,
        tell: Option<&str>,
    ) -> PyResult<Result<(), State>> {
        let (py, this) = (slf.py(), slf.get());
        let mut held: Option<Held> = None;
        let waiters = loop {
            let condition = {
                let extras = lock(&this.extras);
                let waiting = extras.as_ref().and_then(|extras| extras.waiting.as_ref());
                if waiting.is_none() || held.is_some() {
                    if let Err(state) = this.step(to, &may) {
                        return Ok(Err(state));
                    }
                    break waiting.map(|waiting| waiting.waiters.clone_ref(py));
                }
                waiting.map(|waiting| waiting.condition.bind(py).clone())
            };
            // Another thread may have asked for the condition since, so look for it again.
            held = condition.as_ref().map(Condition::hold).transpose()?;
        };
        if let (Some(tell), Some(waiters)) = (tell, waiters) {
            for waiter in waiters.bind(py).iter() {
                waiter.guarded_method1(tell, (slf,))?;
            }
        }
        if let Some(held) = held {
            held.notify_all(py)?;
        }
        Ok(Ok(()))
    }

    /// After the future is done: calls the callbacks and returns the wakeups of the threads that wait for it.
    fn announce(slf: &Bound<'_, Self>, by: Caller) -> PyResult<Wakeups> {
        let this = slf.get();
        if !this.word().is_watched() {
            return Ok(Wakeups::default());
        }
        let (callbacks, result_waits, scope) = match lock(&this.extras).as_mut() {
            None => return Ok(Wakeups::default()),
            Some(extras) => (
                std::mem::take(&mut extras.callbacks),
                std::mem::take(&mut extras.result_waits),
                extras.scope.take(),
            ),
        };
        let wakeups = Wakeups::settle(result_waits);
        // Wake the waiting threads first: a callback may wait for one of them.
        let wakeups = if callbacks.is_empty() {
            wakeups
        } else {
            ring(slf.py(), wakeups);
            Wakeups::default()
        };
        let called = callbacks
            .iter()
            .try_for_each(|callback| Self::call_back(slf, callback.bind(slf.py()), by));
        if let Some(scope) = scope {
            scope.leave();
        }
        called.map(|()| wakeups)
    }

    /// Calls a callback, which may set another future, whose callbacks may set others, and so on. Python's own
    /// recursion limit does not count native frames, or counts them too late for a thread's stack.
    fn call_nested(callback: &Bound<'_, PyAny>, slf: &Bound<'_, Self>) -> PyResult<()> {
        const DEEPEST: u32 = 500;
        thread_local! {
            static DEPTH: Cell<u32> = const { Cell::new(0) };
        }
        let depth = DEPTH.get();
        if depth >= DEEPEST {
            let message = "maximum recursion depth exceeded in callbacks of futures";
            return Err(PyRecursionError::new_err(message));
        }
        DEPTH.set(depth + 1);
        let called = callback.guarded_call1((slf,));
        DEPTH.set(depth);
        called.map(drop)
    }

    /// Logs what a callback raises, as CPython's futures do; raises it if it is no `Exception` and there is a caller.
    fn call_back(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>, by: Caller) -> PyResult<()> {
        let py = slf.py();
        let Err(raised) = Self::call_nested(callback, slf) else {
            return Ok(());
        };
        if by == Caller::User && !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        errors::log(
            py,
            &raised,
            "error",
            "exception calling callback for %r",
            slf,
            || {
                py.import("logging")?
                    .guarded_method1("getLogger", ("concurrent.futures",))
            },
        );
        Ok(())
    }

    /// Reports a failed notification as unraisable: a worker has no caller to raise it to.
    fn settled(slf: &Bound<'_, Self>, announced: PyResult<Wakeups>) -> Wakeups {
        announced.unwrap_or_else(|failure| {
            failure.write_unraisable(slf.py(), Some(slf.as_any()));
            Wakeups::default()
        })
    }

    /// The worker takes up the task. `None`: it may run. Otherwise it was cancelled, and the watchers are notified.
    pub fn start(slf: &Bound<'_, Self>) -> Option<Wakeups> {
        match slf
            .get()
            .step(State::Running, |state| state == State::Pending)
        {
            Ok(_) => None,
            Err(_) => Some(Self::withdraw(slf)),
        }
    }

    /// The task will not run: cancels the future if need be and notifies the watchers.
    pub fn withdraw(slf: &Bound<'_, Self>) -> Wakeups {
        let cancelled = Self::cancel_now(slf, Caller::Worker).and_then(|(_, wakeups)| {
            Self::tell(
                slf,
                State::Notified,
                |state| state == State::Cancelled,
                Some("add_cancelled"),
            )
            .map(|_| wakeups)
        });
        // `announce` has done this already, unless the future was assigned to.
        slf.get().leave_scope();
        Self::settled(slf, cancelled)
    }

    /// Cancels the future if it is pending; returns whether it is cancelled now.
    fn cancel_now(slf: &Bound<'_, Self>, by: Caller) -> PyResult<(bool, Wakeups)> {
        match Self::tell(slf, State::Cancelled, |state| state == State::Pending, None)? {
            Ok(()) => Self::announce(slf, by).map(|wakeups| (true, wakeups)),
            Err(state) => Ok((state.is_cancelled(), Wakeups::default())),
        }
    }

    /// The worker sets the outcome of the task.
    pub fn finish(slf: &Bound<'_, Self>, outcome: PyResult<Bound<'_, PyAny>>) -> Wakeups {
        let (outcome, raised) = match outcome {
            Ok(result) => (result, false),
            Err(raised) => (errors::with_traceback(slf.py(), &raised).into_any(), true),
        };
        let finished = Self::conclude(slf, outcome, raised, Caller::Worker);
        Self::settled(
            slf,
            finished.map(|wakeups| {
                wakeups.unwrap_or_else(|| {
                    // Another thread has set the outcome: it stays, as with CPython's futures. If it was assigned, the
                    // scope was not notified.
                    slf.get().leave_scope();
                    Wakeups::default()
                })
            }),
        )
    }

    /// Sets the outcome; `None`: there is one already, or the future is cancelled.
    fn conclude(
        slf: &Bound<'_, Self>,
        outcome: Bound<'_, PyAny>,
        raised: bool,
        by: Caller,
    ) -> PyResult<Option<Wakeups>> {
        let this = slf.get();
        // A thread that holds the condition sees no change, not even the step to Finishing.
        let held = if this.word().is_watched() {
            Self::hold(slf.py(), this)?
        } else {
            None
        };
        let Ok(word) = this.step(State::Finishing, State::is_open) else {
            return Ok(None);
        };
        if instance::may_hold_others(&outcome) {
            instance::track(slf.as_any());
        }
        let (mut to, field, tell) = if raised {
            (State::Raised, Field::Exception, "add_exception")
        } else {
            (State::Returned, Field::Result, "add_result")
        };
        let mut outcome = Some(outcome.unbind());
        let mut _before = None;
        if let Some(fields) = word
            .is_watched()
            .then(|| lock(&this.extras))
            .as_mut()
            .and_then(|extras| extras.as_deref_mut()?.fields.as_mut())
        {
            to = State::Written;
            _before = std::mem::replace(fields.get(field), outcome.take());
        } else {
            // SAFETY: only this thread moved the state to Finishing, no other thread has or will (see `Sync`), and none
            // reads the outcome before the state moves on.
            unsafe { *this.outcome.get() = outcome.take() };
        }
        let told = Self::tell(slf, to, |state| state == State::Finishing, Some(tell));
        if let (Ok(Err(_)), true) = (&told, to.has_outcome()) {
            // Another state was assigned meanwhile, so nothing will ever read this outcome. SAFETY: as above; no other
            // thread moves the state to one in which the outcome is read.
            outcome = unsafe { (*this.outcome.get()).take() };
        }
        drop((held, outcome));
        let wakeups = Self::announce(slf, by)?;
        told.map(|_| Some(wakeups))
    }

    /// The outcome; the caller has seen a state that has one.
    fn outcome<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the outcome was written before that state, and is never written again (see `Sync`), not even if the
        // state changes.
        let outcome = unsafe { &*self.outcome.get() };
        outcome
            .as_ref()
            .map_or_else(|| py.None().into_bound(py), |value| value.bind(py).clone())
    }

    /// Waits until the future is done and returns its state.
    fn wait(slf: &Bound<'_, Self>, timeout: Option<Duration>, doing: &str) -> PyResult<State> {
        let (py, this) = (slf.py(), slf.get());
        let state = this.state();
        if state.is_done() {
            return Ok(state);
        }
        if timeout == Some(Duration::ZERO) {
            return Err(PyTimeoutError::new_err(()));
        }
        let result_wait = ResultWait::new(this.deadlock_group, timeout.is_none());
        let watched = this.watch_undone(|extras| {
            extras.result_waits.push(Arc::clone(&result_wait));
            result_wait.block();
        });
        if let Err(state) = watched {
            return Ok(state);
        }
        let (waited, raised) = detached(py, timeout, |wait_limit| {
            result_wait.refuse_if_stuck();
            result_wait.wait(wait_limit, &SPIN)
        });
        result_wait.leave();
        if waited.is_err() {
            this.watch(|extras| {
                extras
                    .result_waits
                    .retain(|other| !Arc::ptr_eq(other, &result_wait));
            });
        }
        match (waited, raised) {
            (Ok(()), _) => Ok(this.state()),
            (Err(Error::Interrupted), Some(raised)) => Err(raised),
            (Err(Error::Timeout), _) => Err(PyTimeoutError::new_err(())),
            (Err(error), _) => Err(errors::raise(py, error, doing)),
        }
    }
}

/// A timeout as `threading` reads it: a negative one counts as 0.
pub fn read_timeout(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    timeout
        .map(|timeout| {
            let seconds: f64 = timeout.extract()?;
            Ok(if seconds > 0.0 {
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            } else {
                Duration::ZERO
            })
        })
        .transpose()
}

#[pymethods]
impl Future {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Future::default()
    }

    /// Replaces the `__init__` of `concurrent.futures.Future`, which would create a condition.
    #[pyo3(signature = ())]
    fn __init__(&self) {}

    /// Cancels the call if it has not started; returns whether it is cancelled.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let (cancelled, wakeups) = Self::cancel_now(slf, Caller::User)?;
        ring(slf.py(), wakeups);
        Ok(cancelled)
    }

    /// Whether the call was cancelled.
    fn cancelled(&self) -> bool {
        self.state().is_cancelled()
    }

    /// Whether the call is running.
    fn running(&self) -> bool {
        matches!(self.state(), State::Running | State::Finishing)
    }

    /// Whether the call was cancelled, has returned or has raised.
    fn done(&self) -> bool {
        self.state().is_done()
    }

    /// Returns what the call returned, or raises its exception; blocks until the call is done.
    ///
    /// Args:
    ///     timeout: Seconds; None for no limit.
    ///
    /// Raises:
    ///     TimeoutError: The time is over.
    ///     CancelledError: The call was cancelled.
    ///     PoolDeadlockError: A worker would block for ever, waiting for its own pool.
    #[pyo3(signature = (timeout = None))]
    fn result<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut state = slf.get().state();
        if !state.is_done() {
            state = Self::wait(slf, read_timeout(timeout)?, "result")?;
        }
        if state == State::Returned {
            return Ok(slf.get().outcome(py));
        }
        match Self::read(slf, state)? {
            (_, Some(exception)) => Err(PyErr::from_value(exception)),
            (result, None) => Ok(result.unwrap_or_else(|| py.None().into_bound(py))),
        }
    }

    /// Returns the call's exception, or None; blocks, and raises, as result() does.
    #[pyo3(signature = (timeout = None))]
    fn exception<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let state = Self::wait(slf, read_timeout(timeout)?, "exception")?;
        Self::read(slf, state).map(|(_, exception)| exception)
    }

    /// Has fn(future) called when the future is done: by the thread that completes it, or at once if it is done.
    ///
    /// Callbacks are called in the order in which they were added; an exception in one is logged.
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Bound<'_, PyAny>) -> PyResult<()> {
        let callback = r#fn.clone().unbind();
        instance::track(slf.as_any());
        match slf
            .get()
            .watch_undone(|extras| extras.callbacks.push(callback))
        {
            Ok(()) => Ok(()),
            Err(_) => Self::call_back(slf, &r#fn, Caller::User),
        }
    }

    /// For executors and tests: marks the call as running; returns False, and notifies waiters, if cancelled.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let Err(state) = slf
            .get()
            .step(State::Running, |state| state == State::Pending)
        else {
            return Ok(true);
        };
        let notified = Self::tell(
            slf,
            State::Notified,
            |state| state == State::Cancelled,
            Some("add_cancelled"),
        )?;
        if notified.is_ok() {
            return Ok(false);
        }
        lookup::GET_LOGGER
            .get(py)
            .guarded_call1(("concurrent.futures",))?
            .guarded_method1(
                "critical",
                (
                    "Future %s in unexpected state: %s",
                    slf.as_ptr() as usize,
                    state.name(),
                ),
            )?;
        Err(pyo3::exceptions::PyRuntimeError::new_err(
            "Future in unexpected state",
        ))
    }

    /// For executors and tests: sets the result of the call.
    fn set_result(slf: &Bound<'_, Self>, result: Bound<'_, PyAny>) -> PyResult<()> {
        Self::set(slf, result, false)
    }

    /// For executors and tests: sets the exception of the call.
    fn set_exception(slf: &Bound<'_, Self>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let raised = !exception.is_none();
        Self::set(slf, exception, raised)
    }

    /// Blocks as result() does until the future is done, with whatever outcome.
    #[pyo3(signature = (timeout = None))]
    fn _wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::wait(slf, read_timeout(timeout)?, "waiting for a result").map(drop)
    }

    /// For annotations: Future[int].
    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        item: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        lookup::generic_alias(class, item)
    }

    #[getter]
    fn _result<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.fields(py).0
    }

    #[setter(_result)]
    fn assign_result(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) {
        Self::assign_field(slf, Field::Result, value);
    }

    #[getter]
    fn _exception<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.fields(py).1
    }

    #[setter(_exception)]
    fn assign_exception(slf: &Bound<'_, Self>, value: Option<Bound<'_, PyAny>>) {
        Self::assign_field(slf, Field::Exception, value);
    }

    #[getter]
    fn _done_callbacks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.watch(|extras| {
            extras
                .callbacks
                .iter()
                .map(|callback| callback.clone_ref(py))
                .collect()
        })
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        instance::track(slf.as_any());
        instance::set_attribute(slf.as_any(), name, Some(value))
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        instance::set_attribute(slf.as_any(), name, None)
    }

    /// The `__dict__` of a subclass.
    #[getter(_dict)]
    fn get_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        instance::track(slf.as_any());
        instance::dict(slf.as_any())
    }

    #[setter(_dict)]
    fn set_dict(slf: &Bound<'_, Self>, dict: &Bound<'_, PyAny>) -> PyResult<()> {
        instance::track(slf.as_any());
        instance::set_dict(slf.as_any(), dict)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let name = slf.get_type().name()?;
        Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "cannot pickle '{name}' object: what it waits for happens in this process"
        )))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let mut has_outcome = self.state().has_outcome();
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile, and
        // the collector runs attached and alone.
        if let Some(extras) = lock(&self.extras).as_deref() {
            if let Some(fields) = &extras.fields {
                has_outcome |= fields.has_former;
                visit.call(&fields.result)?;
                visit.call(&fields.exception)?;
            }
            if let Some(waiting) = &extras.waiting {
                visit.call(&waiting.condition)?;
                visit.call(&waiting.waiters)?;
            }
            for callback in &extras.callbacks {
                visit.call(callback)?;
            }
        }
        if has_outcome {
            // SAFETY: as in `outcome`.
            visit.call(unsafe { &*self.outcome.get() })?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let extras = lock(&self.extras).take();
        let had_former = extras
            .as_ref()
            .and_then(|extras| extras.fields.as_ref())
            .is_some_and(|fields| fields.has_former);
        drop(extras);
        if self.state().has_outcome() || had_former {
            // SAFETY: the collector clears only what has no other reference, one object after another.
            let outcome = unsafe { (*self.outcome.get()).take() };
            drop(outcome);
        }
    }
}

impl Future {
    fn set(slf: &Bound<'_, Self>, outcome: Bound<'_, PyAny>, raised: bool) -> PyResult<()> {
        let py = slf.py();
        match Self::conclude(slf, outcome, raised, Caller::User)? {
            Some(wakeups) => {
                ring(py, wakeups);
                Ok(())
            }
            None => {
                let message = format!("{}: {}", slf.get().state().name(), errors::shown(slf));
                Err(errors::invalid_state(py, message))
            }
        }
    }
}
