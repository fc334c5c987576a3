//! The Python objects that a pool was given besides its tasks: handler, logger, initializer.

use super::errors;
use crate::pool::internal::sync::lock;
use crate::python::interpreter::call::Guarded;
use crate::python::interpreter::{contextvars, exc_info, lookup};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::Mutex;

/// The Python objects that a pool was given besides its tasks.
#[derive(Default)]
pub struct Objects {
    pub(super) panic_handler: Option<Py<PyAny>>,
    pub(super) logger: Option<Py<PyAny>>,
    pub(super) initializer: Option<Py<PyAny>>,
    pub(super) initargs: Option<Py<PyTuple>>,
    /// The initializer's last exception, for callers whose tasks found no worker.
    pub(super) failure: Option<Py<PyAny>>,
    /// If threads inherit their context: the context that the next worker copies.
    pub(super) context: Option<Py<PyAny>>,
}

/// The same objects, where the garbage collector can clear them. Under the lock no Python is called and no reference
/// dropped; and only attached threads take it, since a forked child may find it held otherwise.
#[derive(Default)]
pub struct Hooks {
    objects: Mutex<Objects>,
    /// There is an initializer, or was before the collector cleared it.
    pub has_initializer: bool,
    /// If the initializer fails only that worker is lost, and the next start tries again.
    pub retry_initializer: bool,
}

impl Hooks {
    pub fn new(objects: Objects, retry_initializer: bool) -> Self {
        Hooks {
            has_initializer: objects.initializer.is_some(),
            retry_initializer,
            objects: Mutex::new(objects),
        }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Objects) -> R) -> R {
        look(&mut lock(&self.objects))
    }

    /// Another set with the same objects.
    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        let objects = self.with(|objects| Objects {
            panic_handler: cloned(py, &objects.panic_handler),
            logger: cloned(py, &objects.logger),
            initializer: cloned(py, &objects.initializer),
            initargs: cloned(py, &objects.initargs),
            ..Objects::default()
        });
        Hooks {
            objects: Mutex::new(objects),
            has_initializer: self.has_initializer,
            retry_initializer: self.retry_initializer,
        }
    }

    /// Shows the objects to the garbage collector: always all of them, since it asks more than once and relies on the
    /// same answer.
    pub fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // Does not block: a thread with the lock is attached and neither runs Python code nor detaches meanwhile, and
        // the collector runs attached and alone.
        self.with(|objects| {
            visit.call(&objects.panic_handler)?;
            visit.call(&objects.logger)?;
            visit.call(&objects.initializer)?;
            visit.call(&objects.initargs)?;
            visit.call(&objects.failure)?;
            visit.call(&objects.context)
        })
    }

    /// The pool, which showed the objects to the collector, is gone: drops all of them but the logger, which late
    /// reports need.
    pub fn retire(&self) -> Objects {
        self.with(|objects| {
            let logger = objects.logger.take();
            let rest = std::mem::take(objects);
            objects.logger = logger;
            rest
        })
    }

    /// Reports an exception that `func` raised to the panic handler, or else to the log.
    pub fn report(&self, py: Python<'_>, func: &Bound<'_, PyAny>, raised: PyErr, what: &str) {
        let Some(handler) = self.panic_handler(py) else {
            return self.log(py, func, &raised, what);
        };
        let error = exc_info::with_traceback(py, &raised);
        if let Err(failure) = exc_info::handling(py, &raised, || handler.guarded_call1((error,))) {
            self.log(py, &handler, &failure, "panic_handler");
        }
    }

    /// Logs an exception that `func`, for example a task, raised.
    pub fn log(&self, py: Python<'_>, func: &Bound<'_, PyAny>, raised: &PyErr, what: &str) {
        let message = format!("exception in {what} %s");
        // An initializer that breaks the pool is logged as critical, as by CPython's executor.
        let level = if what == INITIALIZER && !self.retry_initializer {
            "critical"
        } else {
            "error"
        };
        errors::log(py, raised, level, &message, name_of(func), || {
            self.logger(py)
        });
    }

    pub fn has_panic_handler(&self) -> bool {
        self.with(|objects| objects.panic_handler.is_some())
    }

    /// Drops the objects.
    pub fn clear(&self) {
        let objects = self.with(std::mem::take);
        drop(objects);
    }

    fn panic_handler<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let handler = self.with(|objects| cloned(py, &objects.panic_handler))?;
        Some(handler.into_bound(py))
    }

    pub fn logger<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.with(|objects| cloned(py, &objects.logger)) {
            Some(given) => Ok(given.into_bound(py)),
            None => lookup::GET_LOGGER.invoke(py, ("pyants",)),
        }
    }

    pub fn initializer<'py>(
        &self,
        py: Python<'py>,
    ) -> Option<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        self.with(|objects| {
            let initializer = objects.initializer.as_ref()?.bind(py).clone();
            Some((initializer, objects.initargs.as_ref()?.bind(py).clone()))
        })
    }

    pub fn set_failure(&self, failure: Option<Py<PyAny>>) {
        let before = self.with(|objects| std::mem::replace(&mut objects.failure, failure));
        drop(before);
    }

    /// Has workers that are started from now on begin in a copy of the caller's context.
    pub fn lend_context(&self, py: Python<'_>) {
        if let Some(context) = exc_info::unraisable(py, contextvars::current(py)) {
            let context = Some(context.unbind());
            let before = self.with(|objects| std::mem::replace(&mut objects.context, context));
            drop(before);
        }
    }

    /// The context in which a worker begins; `None`: an empty one.
    pub fn new_context<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let context = self.with(|objects| cloned(py, &objects.context))?;
        exc_info::unraisable(py, contextvars::copy(context.bind(py)))
    }

    /// Sets the initializer's failure as the cause, so that it shows why a task found no worker.
    pub fn with_failure(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let failure = self.with(|objects| cloned(py, &objects.failure));
        if let Some(failure) = failure {
            error.set_cause(py, Some(PyErr::from_value(failure.into_bound(py))));
        }
        error
    }
}

fn cloned<T>(py: Python<'_>, object: &Option<Py<T>>) -> Option<Py<T>> {
    object.as_ref().map(|object| object.clone_ref(py))
}

/// The name of an initializer in the log.
pub const INITIALIZER: &str = "initializer";

/// The name of a callable in the log.
pub fn name_of(func: &Bound<'_, PyAny>) -> String {
    let named = || -> PyResult<String> {
        let qualname: String = func.getattr("__qualname__")?.extract()?;
        match func
            .getattr("__module__")
            .and_then(|module| module.extract::<String>())
        {
            Ok(module) => Ok(format!("{module}.{qualname}")),
            Err(_) => Ok(qualname),
        }
    };
    named().unwrap_or_else(|_| errors::shown(func))
}
