//! The seam between the pool and the environment that runs its tasks.

use super::error::Error;
use super::sync::processors;
use super::worker::threads::Exit;
use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// How the run of a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<T> {
    /// It returned.
    Completed,
    /// It panicked or raised.
    Failed,
    /// It was not run: it was taken back while it waited for a worker.
    Cancelled,
    /// It has not ended and continues with this: on the same worker, or on another if there are too many workers.
    Unfinished(T),
}

/// Which worker a thread is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// The thread's name, `{pool}_{number}`.
    pub name: String,
    /// The worker's number in its pool; numbers of workers that have left are reused.
    pub number: u32,
    /// The end of the thread, to wait for.
    #[doc(hidden)]
    pub exit: Exit,
}

/// The environment in which a pool runs its tasks.
///
/// Pools of closures have [`Closures`]. A host of one's own has tasks of any type, and gives each worker a context for its
/// life: a connection, say, or, as here, a buffer that is used again and again.
///
/// ```
/// use pyants::Pool;
/// use pyants::pool::{Host, Options, Outcome, Worker};
/// use std::sync::mpsc::{Sender, channel};
///
/// struct Reverser {
///     reversed: Sender<String>,
/// }
///
/// impl Host for Reverser {
///     type Task = String;
///     type Context<'a> = Vec<char>;
///
///     fn live(&self, _worker: &Worker, body: impl FnOnce(&mut Vec<char>)) {
///         body(&mut Vec::new());
///     }
///
///     fn run(&self, buffer: &mut Vec<char>, task: String) -> Outcome<String> {
///         buffer.clear();
///         buffer.extend(task.chars().rev());
///         match self.reversed.send(buffer.iter().collect()) {
///             Ok(()) => Outcome::Completed,
///             Err(_) => Outcome::Failed,
///         }
///     }
///
///     fn idle<R>(&self, _buffer: &mut Vec<char>, wait: impl FnOnce() -> R) -> R {
///         wait()
///     }
///
///     fn cancelled(&self, tasks: Vec<String>) {
///         eprintln!("{} strings are not reversed", tasks.len());
///     }
/// }
///
/// let (sender, reversed) = channel();
/// let options = Options { capacity: Some(2), ..Options::default() };
/// let pool = Pool::with_host(Reverser { reversed: sender }, options)?;
/// pool.submit("stressed")?;
/// assert_eq!(reversed.recv()?, "desserts");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait Host: Send + Sync + Sized + 'static {
    /// The tasks that are submitted.
    type Task: Send + 'static;
    /// The context that a worker thread holds while it may run tasks.
    type Context<'a>;

    /// Runs `body` with everything that a worker thread needs for its whole life. A host that cannot set the worker up
    /// (its initializer failed, say) returns without calling `body`: the pool then closes itself and cancels the tasks
    /// that have not started, unless `retries_start` says otherwise.
    fn live(&self, worker: &Worker, body: impl FnOnce(&mut Self::Context<'_>));

    /// `live` may succeed next time: only the worker whose body it did not call is lost, and its tasks are left to the
    /// other workers; if there are none, the tasks that wait for a worker are cancelled.
    fn retries_start(&self) -> bool {
        false
    }

    /// A worker that `live` could not set up is counted no longer. Called on its thread, after `live`.
    fn lost(&self) {}

    /// Runs one task to its end. The host catches and reports the task's panics; if a panic gets out nevertheless, the
    /// task counts as failed and the worker lives on.
    fn run(&self, context: &mut Self::Context<'_>, task: Self::Task) -> Outcome<Self::Task>;

    /// Runs `wait`, which blocks or makes system calls, while holding nothing that others wait for.
    fn idle<R>(&self, context: &mut Self::Context<'_>, wait: impl FnOnce() -> R) -> R;

    /// How many tasks can make progress at a time, if none of them waits for anything.
    fn parallelism(&self) -> u32 {
        processors()
    }

    /// Called after `idle` by a worker that has found a task, and by a submitter whose wait is over, before they
    /// continue. May hold the thread up for some microseconds if it will run better then. `changes()` is another number whenever the
    /// pool's queue has changed.
    fn spin_before_resuming(&self, changes: impl Fn() -> u64) {
        let _ = changes;
    }

    /// `live` runs user code before it calls its body, which may take time or need the pool.
    fn has_slow_start(&self) -> bool {
        false
    }

    /// There is something for a worker to do besides tasks (`Remains::summon`). If it is still there when a worker
    /// leaves, `live` takes care of it, after its body.
    fn has_errand(&self) -> bool {
        false
    }

    /// Does what `has_errand` announced.
    fn see_to_errands(&self, context: &mut Self::Context<'_>) {
        let _ = context;
    }

    /// The process was forked while this worker ran a task, and this is the child: the worker must no longer touch the
    /// pool, which is the parent's.
    fn is_stranded(&self) -> bool {
        false
    }

    /// Takes back accepted tasks that will not run.
    fn cancelled(&self, tasks: Vec<Self::Task>);

    /// Takes back a detached task, for which nobody waits, that was refused.
    fn refused(&self, task: Self::Task, error: Error) {
        drop((task, error));
    }
}

/// A task of a Rust pool.
///
/// A closure that is `Send` need not be `Sync`, but the error that hands it back should be, for `?` to turn it into a
/// `Box<dyn Error + Send + Sync>`. So the closure is kept in a mutex, which is never locked.
pub struct Closure(Mutex<Box<Body>>);

/// A closure that says how its run ended.
type Body = dyn FnOnce() -> Outcome<Infallible> + Send;

impl Closure {
    /// Runs the task here and now.
    pub fn run(self) {
        self.call();
    }

    pub(super) fn with_outcome(
        body: impl FnOnce() -> Outcome<Infallible> + Send + 'static,
    ) -> Self {
        Closure(Mutex::new(Box::new(body)))
    }

    fn call(self) -> Outcome<Infallible> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)()
    }
}

impl<F: FnOnce() + Send + 'static> From<F> for Closure {
    fn from(task: F) -> Self {
        Closure::with_outcome(move || {
            task();
            Outcome::Completed
        })
    }
}

impl std::fmt::Debug for Closure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closure(..)")
    }
}

/// Called with the payload of a task's panic.
pub type PanicHandler = Arc<dyn Fn(Box<dyn Any + Send>) + Send + Sync>;

/// The host that runs Rust closures.
#[derive(Clone, Default)]
pub struct Closures {
    pub(super) panic_handler: Option<PanicHandler>,
}

impl Host for Closures {
    type Task = Closure;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        body(&mut ());
    }

    fn run(&self, _context: &mut (), task: Closure) -> Outcome<Closure> {
        match catch_unwind(AssertUnwindSafe(|| task.call())) {
            Ok(Outcome::Completed) => Outcome::Completed,
            Ok(Outcome::Failed) => Outcome::Failed,
            Ok(Outcome::Cancelled) => Outcome::Cancelled,
            Ok(Outcome::Unfinished(never)) => match never {},
            Err(payload) => {
                // The panic hook has already printed the message. It also prints a panic of the handler, which is
                // caught here: no task ends a worker.
                if let Some(handler) = &self.panic_handler {
                    let _ = catch_unwind(AssertUnwindSafe(|| handler(payload)));
                }
                Outcome::Failed
            }
        }
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, tasks: Vec<Closure>) {
        drop(tasks);
    }
}
