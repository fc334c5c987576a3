//! The native class of futures: its fields, and the steps by which they change. Its Python methods are in methods.rs.

use super::condition::Condition;
use super::state::{State, Word};
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::lock;
use crate::python::values::scope::Scope;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// The outcome of a future that was assigned to, as CPython keeps it; `None` stands for Python's None.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) result: Option<Py<PyAny>>,
    pub(super) exception: Option<Py<PyAny>>,
    /// `Future::outcome` was copied into these fields; the original stays, since other threads may be reading it.
    pub(super) has_former: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Field {
    Result,
    Exception,
}

impl Fields {
    pub(super) fn get(&mut self, field: Field) -> &mut Option<Py<PyAny>> {
        match field {
            Field::Result => &mut self.result,
            Field::Exception => &mut self.exception,
        }
    }
}

/// The watchers of a future, and what was assigned to it.
#[derive(Default)]
pub(super) struct Extras {
    pub(super) callbacks: Vec<Py<PyAny>>,
    pub(super) result_waits: Vec<Arc<ResultWait>>,
    pub(super) waiting: Option<Waiting>,
    pub(super) scope: Option<Arc<Scope>>,
    pub(super) fields: Option<Fields>,
}

/// The condition and the list that `concurrent.futures.wait` and `as_completed` ask for, one right after the other.
pub(super) struct Waiting {
    /// Held while they inspect the future.
    pub(super) condition: Py<Condition>,
    /// The list to which they append their waiters.
    pub(super) waiters: Py<PyList>,
}

/// The native half of `pyants.Future`.
#[pyclass(frozen, subclass, module = "pyants", name = "_Future")]
pub struct Future {
    pub(super) word: AtomicU8,
    /// The result or the exception. Written by the thread that moved the state to Finishing, before it moves the state
    /// on; if there are `Fields`, the outcome goes there instead. Read in the states Returned and Raised.
    pub(super) outcome: UnsafeCell<Option<Py<PyAny>>>,
    pub(super) extras: Mutex<Option<Box<Extras>>>,
    /// The id of the deadlock group of this future's task; 0: none.
    pub(super) deadlock_group: usize,
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

impl Future {
    pub(super) fn word(&self) -> Word {
        // Acquire: a state that is done makes the outcome visible.
        Word(self.word.load(Ordering::Acquire))
    }

    pub(super) fn state(&self) -> State {
        self.word().state()
    }

    /// Gives access to the extras and sets WATCHED, so that later changes notify what is put there.
    pub(super) fn watch<R>(&self, look: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = lock(&self.extras);
        // AcqRel: a thread that moves the state without the lock did so before this and is seen here, or sees the bit.
        self.word.fetch_or(Word::WATCHED, Ordering::AcqRel);
        look(extras.get_or_insert_with(Box::default))
    }

    /// As `watch`, unless the future is done: then returns its state.
    pub(super) fn watch_undone(&self, look: impl FnOnce(&mut Extras)) -> Result<(), State> {
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
    pub(super) fn step(&self, to: State, may: impl Fn(State) -> bool) -> Result<Word, State> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                may(Word(word).state()).then(|| Word(word).with(to).0)
            })
            .map(Word)
            .map_err(|word| Word(word).state())
    }
}
