//! Keyword options, checked one by one: the error for a wrong one names it, its value, and what is allowed.

use super::errors::{
    invalid_expiry, invalid_pre_alloc, invalid_size, invalid_strategy, must_be, shown, wrong_type,
    wrong_value,
};
use super::hooks::{Hooks, Objects};
use crate::pool::{Options, OptionsError, Strategy};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::lookup;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyDict, PyInt, PyString, PyTuple};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The expiry duration if 0 is given, as in ants.
const DEFAULT_EXPIRY: Duration = Duration::from_secs(1);
/// The smallest stack that `threading.stack_size` accepts, in bytes: from 3.14 on CPython keeps a part of it in
/// reserve.
const SMALLEST_STACK: usize = if cfg!(Py_3_14) { 52 } else { 32 } * 1024;
/// The default stack of a thread: what Linux gives the main thread.
const DEFAULT_STACK: usize = 8 * 1024 * 1024;

/// The options of a pool as Python gave them.
pub struct Given {
    pub options: Options,
    pub hooks: Hooks,
    /// Whether the interpreter exits without waiting for the pool's tasks.
    pub is_daemon: bool,
}

/// An argument that may be left out, which differs from passing `None`.
pub struct Argument<'py>(Option<Bound<'py, PyAny>>);

impl Argument<'_> {
    /// The argument was left out.
    pub const MISSING: Self = Argument(None);
}

impl<'py> FromPyObject<'_, 'py> for Argument<'py> {
    type Error = std::convert::Infallible;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Argument(Some(value.to_owned())))
    }
}

/// Reads the capacity and the keyword options.
pub fn read(
    py: Python<'_>,
    Argument(asked): &Argument<'_>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Given> {
    call::guard_thread(); // Python code may convert and show values.
    let keywords = Keywords(given.map_or_else(|| Ok(PyDict::new(py)), |given| given.copy())?);
    let capacity = asked
        .as_ref()
        .map_or(Ok(None), |value| read_capacity("capacity", value))?;
    let disable_purge = keywords.flag("disable_purge")?;
    let expiry = match keywords.given("expiry_duration")? {
        None => Some(DEFAULT_EXPIRY),
        Some(value) => read_expiry(&value, disable_purge)?,
    }
    .filter(|_| !disable_purge);
    let pre_alloc = keywords.flag("pre_alloc")?;
    let max_blocking_tasks = keywords
        .given("max_blocking_tasks")?
        .map_or(Ok(0), |value| read_count("max_blocking_tasks", &value))?;
    let queue_size = match keywords.given("queue_size")? {
        None => Some(0),
        Some(value) if value.is_none() => None,
        Some(value) => Some(read_count("queue_size", &value)?),
    };
    let options = Options {
        capacity,
        queue_size,
        expiry,
        nonblocking: keywords.flag("nonblocking")?,
        max_blocking_tasks: usize::try_from(max_blocking_tasks)
            .ok()
            .filter(|&most| most > 0),
        pre_alloc,
        stack_size: Some(match keywords.take("stack_size")? {
            None => default_stack_size(py),
            Some(value) => read_stack_size(&value)?,
        }),
        name: keywords
            .take("name")?
            .map_or_else(|| Ok(next_name()), |value| read_name(&value))?,
    };
    if pre_alloc && capacity.is_none() {
        let asked = asked.as_ref().map_or_else(|| "-1".to_owned(), shown);
        return Err(invalid_pre_alloc(
            py,
            format!("pre_alloc needs a capacity above 0 to reserve for, not {asked}"),
        ));
    }
    let objects = Objects {
        panic_handler: keywords.callable("panic_handler")?,
        logger: keywords.logger()?,
        initializer: keywords.callable("initializer")?,
        initargs: Some(keywords.initargs(py)?),
        ..Objects::default()
    };
    let hooks = Hooks::new(objects, keywords.flag("retry_initializer")?);
    let is_daemon = keywords.flag("daemon")?;
    keywords.refuse_rest()?;
    Ok(Given {
        options,
        hooks,
        is_daemon,
    })
}

/// The exception for options that the core refuses.
pub fn bad_options(py: Python<'_>, error: &OptionsError) -> PyErr {
    match error {
        OptionsError::PreAllocWithoutCapacity => invalid_pre_alloc(py, error.to_string()),
        OptionsError::NullInName | OptionsError::ZeroCapacity | OptionsError::FixedCapacity => {
            PyValueError::new_err(error.to_string())
        }
        OptionsError::NoPools => invalid_size(py, error.to_string()),
    }
}

/// Those that have not been read yet.
struct Keywords<'py>(Bound<'py, PyDict>);

impl<'py> Keywords<'py> {
    /// An option, if it was given.
    fn given(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.0.get_item(name)?;
        if value.is_some() {
            self.0.del_item(name)?;
        }
        Ok(value)
    }

    /// An option, if it was given and is not `None`.
    fn take(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.given(name)?.filter(|value| !value.is_none()))
    }

    fn flag(&self, name: &str) -> PyResult<bool> {
        match self.given(name)? {
            None => Ok(false),
            Some(value) => match value.cast::<PyBool>() {
                Ok(flag) => Ok(flag.is_true()),
                Err(_) => Err(wrong_type(name, "a bool", &value)),
            },
        }
    }

    fn callable(&self, name: &str) -> PyResult<Option<Py<PyAny>>> {
        match self.take(name)? {
            Some(value) if !value.is_callable() => {
                Err(wrong_type(name, "callable or None", &value))
            }
            value => Ok(value.map(Bound::unbind)),
        }
    }

    fn logger(&self) -> PyResult<Option<Py<PyAny>>> {
        match self.take("logger")? {
            Some(value) if !value.hasattr("error")? => {
                Err(wrong_type("logger", "a logging.Logger or None", &value))
            }
            value => Ok(value.map(Bound::unbind)),
        }
    }

    fn initargs(&self, py: Python<'py>) -> PyResult<Py<PyTuple>> {
        match self.given("initargs")? {
            None => Ok(PyTuple::empty(py).unbind()),
            Some(value) => match value.cast_into::<PyTuple>() {
                Ok(args) => Ok(args.unbind()),
                Err(error) => Err(wrong_type("initargs", "a tuple", &error.into_inner())),
            },
        }
    }

    fn refuse_rest(self) -> PyResult<()> {
        let Some((name, _)) = self.0.iter().next() else {
            return Ok(());
        };
        let unknown = format!("unknown option {}", shown(&name));
        Err(PyTypeError::new_err(match meant(&name) {
            Some(meant) => format!("{unknown}: did you mean '{meant}'?"),
            None => unknown,
        }))
    }
}

/// All options.
const OPTIONS: &str = "daemon disable_purge expiry_duration initargs initializer logger max_blocking_tasks name nonblocking \
    panic_handler pre_alloc queue_size retry_initializer stack_size";

/// The names of options in other libraries, if they differ.
const OTHER_NAMES: [(&str, &str); 7] = [
    (
        "capacity",
        "max_workers max_threads num_threads num_workers processes size threads workers",
    ),
    (
        "expiry_duration",
        "expiry idle_timeout keep_alive keepalive max_idle max_idle_time timeout ttl",
    ),
    ("max_blocking_tasks", "max_waiters max_waiting"),
    ("name", "prefix thread_name thread_name_prefix"),
    ("nonblocking", "block blocking"),
    ("panic_handler", "error_handler exception_handler on_error"),
    (
        "queue_size",
        "backlog max_pending max_queue max_queue_size maxsize queue queue_length",
    ),
];

/// The option that the caller probably meant.
fn meant(name: &Bound<'_, PyAny>) -> Option<String> {
    let given: String = name.extract().ok()?;
    let other = OTHER_NAMES
        .iter()
        .find(|(_, names)| names.split(' ').any(|name| name == given));
    if let Some((option, _)) = other {
        return Some((*option).to_owned());
    }
    let near = || -> PyResult<Option<String>> {
        let py = name.py();
        let options: Vec<_> = OPTIONS.split(' ').collect();
        let similar = py
            .import("difflib")?
            .guarded_method1("get_close_matches", (name, options, 1))?;
        similar
            .try_iter()?
            .next()
            .map(|option| option?.extract())
            .transpose()
    };
    near().ok().flatten()
}

/// The error for a value of the wrong type; an error that the value's own conversion raised is passed on.
fn conversion_failed(name: &str, allowed: &str, value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyTypeError>(value.py()) {
        wrong_type(name, allowed, value)
    } else {
        error
    }
}

/// An integer through `__index__`; `None` if it is larger than any that the core could use.
fn integer(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let integer = lookup::INDEX
        .invoke(value.py(), (value,))
        .map_err(|error| conversion_failed(name, allowed, value, error))?;
    Ok(integer.cast::<PyInt>()?.extract().ok())
}

/// A number of workers; `None` for 0 and below.
pub fn read_capacity(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    const ALLOWED: &str = "an int between -2147483648 and 2147483647";
    match integer(name, ALLOWED, value)?.and_then(|capacity| i32::try_from(capacity).ok()) {
        Some(capacity) => Ok(u32::try_from(capacity)
            .ok()
            .filter(|&capacity| capacity > 0)),
        None => Err(wrong_value(name, ALLOWED, value)),
    }
}

fn read_count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let allowed = if name == "queue_size" {
        "an int of at least 0, or None for no bound"
    } else {
        "an int of at least 0"
    };
    let count = integer(name, allowed, value)?.and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| wrong_value(name, allowed, value))
}

fn read_stack_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let allowed = format!("an int of at least {SMALLEST_STACK} (bytes)");
    let bytes =
        integer("stack_size", &allowed, value)?.and_then(|bytes| usize::try_from(bytes).ok());
    // More than a terabyte is surely a mistake, and would fail only later, when a worker is started.
    let bytes = bytes.filter(|bytes| (SMALLEST_STACK..=1 << 40).contains(bytes));
    bytes.ok_or_else(|| wrong_value("stack_size", &allowed, value))
}

fn read_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = value
        .cast::<PyString>()
        .map_err(|_| wrong_type("name", "a str or None", value))?
        .to_str()?
        .to_owned();
    if name.contains('\0') {
        Err(wrong_value("name", "a str without null characters", value))
    } else {
        Ok(name)
    }
}

/// Pools without a name are numbered, as those of `ThreadPoolExecutor` are.
fn next_name() -> String {
    static POOLS: AtomicU64 = AtomicU64::new(1);
    format!("Pool-{}", POOLS.fetch_add(1, Ordering::Relaxed))
}

fn seconds(name: &str, allowed: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(delta) = value.cast::<PyDelta>() {
        return delta.guarded_method0("total_seconds")?.extract();
    }
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(name, allowed, value));
    }
    match value.extract() {
        Ok(seconds) => Ok(seconds),
        // An int too large for a float.
        Err(_) if value.is_instance_of::<PyInt>() => Err(wrong_value(name, allowed, value)),
        Err(error) => Err(conversion_failed(name, allowed, value, error)),
    }
}

/// A finite duration of at least 0; `None` if it is too long to be represented.
fn duration(seconds: f64) -> Option<Duration> {
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        .filter(|_| seconds >= 0.0 && seconds.is_finite())
}

fn read_expiry(value: &Bound<'_, PyAny>, disable_purge: bool) -> PyResult<Option<Duration>> {
    let seconds = seconds("expiry_duration", TIMEOUT, value)?;
    match duration(seconds) {
        Some(Duration::ZERO) => Ok(Some(DEFAULT_EXPIRY)),
        Some(expiry) => Ok(Some(expiry)),
        None if disable_purge => Ok(None),
        None => Err(invalid_expiry(
            value.py(),
            must_be("expiry_duration", TIMEOUT, value),
        )),
    }
}

const TIMEOUT: &str = "a finite number of seconds of at least 0, or a datetime.timedelta";

/// A timeout.
pub fn read_timeout(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration(seconds("timeout", TIMEOUT, value)?)
        .ok_or_else(|| wrong_value("timeout", TIMEOUT, value))
}

/// A timeout as `threading` reads it: a negative one counts as 0.
pub fn read_threading_timeout(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
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

/// `threading.stack_size()` if it is set, else the platform's default for a thread.
fn default_stack_size(py: Python<'_>) -> usize {
    let set = || -> PyResult<usize> {
        // Asking resets it to 0.
        let bytes = lookup::STACK_SIZE.invoke(py, ())?.extract()?;
        if bytes > 0 {
            lookup::STACK_SIZE.invoke(py, (bytes,))?;
        }
        Ok(bytes)
    };
    let limit = || -> PyResult<usize> {
        let resource = py.import("resource")?;
        let limits = resource.guarded_method1("getrlimit", (resource.getattr("RLIMIT_STACK")?,))?;
        // Unlimited is negative, so it fails to extract.
        limits.get_item(0)?.extract()
    };
    set()
        .ok()
        .filter(|&bytes| bytes > 0)
        .or_else(|| limit().ok())
        .unwrap_or(DEFAULT_STACK)
        .max(SMALLEST_STACK)
}

/// The `LoadBalancingStrategy` with this value.
pub fn read_strategy(value: Option<&Bound<'_, PyAny>>) -> PyResult<Strategy> {
    let Some(value) = value else {
        return Ok(Strategy::RoundRobin);
    };
    match lookup::LOAD_BALANCING_STRATEGY
        .invoke(value.py(), (value,))
        .and_then(|strategy| strategy.extract::<i64>())
    {
        Ok(2) => Ok(Strategy::RoundRobin),
        Ok(4) => Ok(Strategy::LeastTasks),
        _ => {
            let allowed = "LoadBalancingStrategy.ROUND_ROBIN or LEAST_TASKS";
            Err(invalid_strategy(
                value.py(),
                must_be("strategy", allowed, value),
            ))
        }
    }
}

/// The number of pools of a `MultiPool`.
pub fn read_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let allowed = "an int between 1 and 2147483647";
    let size = integer("size", allowed, value)?
        .and_then(|size| i32::try_from(size).ok())
        .and_then(|size| usize::try_from(size).ok())
        .filter(|&size| size > 0);
    size.ok_or_else(|| invalid_size(value.py(), must_be("size", allowed, value)))
}
