//! The native class of futures: its fields, and access to them. Its Python methods are in methods.rs.

use super::condition::Condition;
use super::state::{AtomicWord, State, Word};
use crate::pool::internal::ResultWait;
use crate::pool::internal::sync::lock;
use crate::python::values::scope::Scope;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::cell::UnsafeCell;
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
#[derive(Default)]
pub struct Future {
    pub(super) word: AtomicWord,
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

impl Future {
    pub(super) fn word(&self) -> Word {
        self.word.load()
    }

    pub(super) fn state(&self) -> State {
        self.word().state()
    }

    /// Gives access to the extras and sets WATCHED, so that later changes notify what is put there.
    pub(super) fn watch<R>(&self, look: impl FnOnce(&mut Extras) -> R) -> R {
        let mut extras = lock(&self.extras);
        self.word.set_watched();
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
}
