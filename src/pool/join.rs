//! Tasks that return something: the handle by which their submitter waits for it, polls for it, or takes the task back.

use super::deadlock::result_wait::ResultWait;
use super::error::{Error, SubmitError};
use super::host::{Closure, Outcome};
use super::multi::MultiPool;
use super::pool::Pool;
use super::sync::{AdaptiveSpin, Arc, Mutex, WaitLimit, lock, spin};
use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Why a task has no value.
///
/// ```
/// use pyants::{JoinError, Pool};
///
/// let pool = Pool::builder().capacity(2).build()?;
/// let handle = pool.submit_value(|| -> u32 { panic!("no luck") })?;
/// match handle.join() {
///     Ok(value) => println!("{value}"),
///     Err(JoinError::Panicked(panic)) => assert_eq!(panic.message(), Some("no luck")),
///     Err(other) => return Err(other.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked.
    #[error("the task panicked{}", .0.message().map(|message| format!(": {message}")).unwrap_or_default())]
    Panicked(Panic),
    /// The task was never run: it was cancelled, or its pool has given it up.
    #[error("the task was cancelled before it began")]
    Cancelled,
    /// Every worker of the pool waits for the pool, the caller included.
    #[error("deadlock: every worker of the pool waits for the pool itself")]
    Deadlock,
}

/// The payload of a task's panic.
///
/// A payload that is `Send` need not be `Sync`, but an error had better be, for `?` to turn it into a
/// `Box<dyn Error + Send + Sync>`. So the payload lies beside its message, in a mutex that nobody ever locks.
pub struct Panic {
    payload: std::sync::Mutex<Box<dyn Any + Send>>,
    message: Option<String>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = (payload
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned()))
        .or_else(|| payload.downcast_ref::<String>().cloned());
        Panic {
            payload: std::sync::Mutex::new(payload),
            message,
        }
    }

    /// The message, unless the panic was raised with something else (`std::panic::panic_any`).
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The payload, for [`std::panic::resume_unwind`] or `downcast`.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Panic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Panic").field(&self.message).finish()
    }
}

enum Stage<F, T> {
    /// The task waits for a worker.
    Waiting(F),
    /// The task runs, or its closure was handed back.
    Begun,
    Over(Result<T, JoinError>),
    /// The handle has got the result.
    Taken,
}

struct State<F, T> {
    stage: Stage<F, T>,
    /// The thread that waits for the result.
    joiner: Option<Arc<ResultWait>>,
}

/// The state that a task and its handle share.
struct Call<F, T>(Mutex<State<F, T>>);

impl<F, T> Call<F, T> {
    /// The closure, to be run; `None`: somebody else has got it.
    fn begin(&self) -> Option<F> {
        self.advance_waiting(Stage::Begun).0
    }

    /// Moves a task that waits to the `next` stage; its closure, and the thread to be woken.
    fn advance_waiting(&self, next: Stage<F, T>) -> (Option<F>, Option<Arc<ResultWait>>) {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut state.stage, next) {
            Stage::Waiting(func) => (Some(func), Self::settle(&mut state)),
            other => {
                state.stage = other;
                (None, None)
            }
        }
    }

    /// Ends the wait of the thread that waits for the result, if this is one; the thread is to be woken if it sleeps.
    /// Under the lock: a worker never counts as blocked while what it waits for is there, which another would take for
    /// a deadlock.
    fn settle(state: &mut State<F, T>) -> Option<Arc<ResultWait>> {
        match state.stage {
            Stage::Over(_) => state.joiner.take().filter(|joiner| joiner.settle()),
            _ => None,
        }
    }

    fn end(&self, result: Result<T, JoinError>) {
        let mut state = lock(&self.0);
        state.stage = Stage::Over(result);
        let asleep = Self::settle(&mut state);
        drop(state);
        if let Some(joiner) = asleep {
            joiner.ring();
        }
    }
}

/// A call as its handle knows it, whatever its closure.
trait Joinable<T>: Send + Sync {
    fn is_over(&self) -> bool;
    /// Ends the call if it has not begun; whether it had not.
    fn cancel(&self) -> bool;
    /// The result if it is there; else `joiner` is told of it, or nobody.
    fn take(&self, joiner: Option<&Arc<ResultWait>>) -> Option<Result<T, JoinError>>;
}

impl<F: Send, T: Send> Joinable<T> for Call<F, T> {
    fn is_over(&self) -> bool {
        matches!(lock(&self.0).stage, Stage::Over(_))
    }

    fn cancel(&self) -> bool {
        let (func, asleep) = self.advance_waiting(Stage::Over(Err(JoinError::Cancelled)));
        if let Some(joiner) = asleep {
            joiner.ring();
        }
        func.is_some() // Dropped here, where no lock is held.
    }

    fn take(&self, joiner: Option<&Arc<ResultWait>>) -> Option<Result<T, JoinError>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Over(result) => Some(result),
            other => {
                state.stage = other;
                state.joiner = joiner.cloned();
                // Under the lock, where the result cannot come unseen.
                joiner.inspect(|joiner| joiner.block());
                None
            }
        }
    }
}

/// The task that a pool runs. Should the pool drop it unrun, whoever waits for its value hears of it.
struct Task<F: Send, T: Send>(Arc<Call<F, T>>);

impl<F: FnOnce() -> T + Send, T: Send> Task<F, T> {
    fn run(self) -> Outcome<Infallible> {
        let Some(func) = self.0.begin() else {
            return Outcome::Cancelled;
        };
        match catch_unwind(AssertUnwindSafe(func)) {
            Ok(value) => {
                self.0.end(Ok(value));
                Outcome::Completed
            }
            // The handle was dropped: this is a panic as any other task's.
            Err(payload) if Arc::strong_count(&self.0) == 1 => resume_unwind(payload),
            Err(payload) => {
                self.0.end(Err(JoinError::Panicked(Panic::new(payload))));
                Outcome::Failed
            }
        }
    }
}

impl<F: Send, T: Send> Drop for Task<F, T> {
    fn drop(&mut self) {
        self.0.cancel(); // Nothing, once it has begun.
    }
}

/// How long a thread spins for a value before it sleeps.
static SPIN: AdaptiveSpin = AdaptiveSpin::new(spin::FOR_RESULT);

/// The handle of a task that was submitted by [`Pool::submit_value`]. Dropping it lets the task go: it runs all the
/// same, and what it returns is dropped.
///
/// A panic of the task comes out of the handle and does not go to the pool's panic handler, as with the handles of
/// `std::thread` and tokio, and as rayon calls its panic handler for nobody's tasks only: a payload has one owner, and
/// the caller who joins knows best what to do. Once the handle is dropped, a panic goes to the handler as any task's.
pub struct JoinHandle<T> {
    call: Arc<dyn Joinable<T>>,
    /// The id of the pool, for a worker of it that waits.
    deadlock_group: usize,
}

impl<T> JoinHandle<T> {
    /// Waits until the task is done: for its value, or for why it has none.
    ///
    /// A worker may wait so for a task of its own pool. When each worker of the pool waits for the pool and for ever,
    /// the last one to do so gets [`JoinError::Deadlock`] instead, and the task is let go.
    pub fn join(self) -> Result<T, JoinError> {
        self.wait(&mut WaitLimit::new(None))
            .unwrap_or(Err(JoinError::Deadlock))
    }

    /// As [`join`](Self::join), but waits for at most `timeout`.
    ///
    /// # Errors
    /// The handle, when the time runs out.
    ///
    /// ```
    /// use pyants::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder().capacity(2).build()?;
    /// let mut handle = pool.submit_value(|| (1..=20).product::<u64>())?;
    /// let result = loop {
    ///     match handle.join_timeout(Duration::from_millis(100)) {
    ///         Ok(result) => break result,
    ///         Err(same) => handle = same, // Not yet.
    ///     }
    /// };
    /// assert_eq!(result?, 2_432_902_008_176_640_000);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        match self.wait(&mut WaitLimit::new(Some(timeout))) {
            Ok(result) => Ok(result),
            Err(Error::Deadlock) => Ok(Err(JoinError::Deadlock)), // A limit too far away to be one.
            Err(_) => Err(self),
        }
    }

    /// As [`join`](Self::join), but does not wait.
    ///
    /// # Errors
    /// The handle, if the task is not done.
    pub fn try_join(self) -> Result<Result<T, JoinError>, Self> {
        self.call.take(None).ok_or(self)
    }

    /// The task is done or cancelled: [`join`](Self::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.call.is_over()
    }

    /// Takes the task back if it has not begun; whether it had not. Its closure is dropped at once, and [`join`](Self::join)
    /// tells [`JoinError::Cancelled`]. Its place in the pool is free when a worker comes by it.
    ///
    /// ```
    /// use pyants::{JoinError, Pool};
    /// use std::sync::mpsc::channel;
    ///
    /// let pool = Pool::builder().capacity(1).queue_size(1).build()?;
    /// let (open, gate) = channel::<()>();
    /// pool.submit(move || gate.recv().unwrap_or_default())?;
    /// let handle = pool.submit_value(|| 42)?; // Waits for the only worker.
    /// assert!(handle.cancel());
    /// assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    /// drop(open);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.call.cancel()
    }

    fn wait(&self, wait_limit: &mut WaitLimit<'_>) -> Result<Result<T, JoinError>, Error> {
        if let Some(result) = self.call.take(None) {
            return Ok(result);
        }
        let joiner = ResultWait::new(self.deadlock_group, wait_limit.is_endless());
        if let Some(result) = self.call.take(Some(&joiner)) {
            return Ok(result);
        }
        joiner.refuse_if_stuck();
        let waited = joiner.wait(wait_limit, &SPIN);
        joiner.leave();
        // Of a result and an error that came at the same moment it is the result that counts.
        match (self.call.take(None), waited) {
            (Some(result), _) => Ok(result),
            (None, waited) => Err(waited.expect_err("a wait that was settled has a result")),
        }
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinHandle")
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Submits `func` by `submit`, to the pool with this id.
fn submit_value<F, T>(
    func: F,
    deadlock_group: usize,
    submit: impl FnOnce(Closure) -> Result<(), SubmitError<Closure>>,
) -> Result<JoinHandle<T>, SubmitError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let call = Arc::new(Call(Mutex::new(State {
        stage: Stage::Waiting(func),
        joiner: None,
    })));
    let task = Task(Arc::clone(&call));
    match submit(Closure::with_outcome(move || task.run())) {
        Ok(()) => Ok(JoinHandle {
            call,
            deadlock_group,
        }),
        Err(SubmitError { error, task }) => {
            let func = call.begin().expect("what was refused has not begun");
            drop(task);
            Err(SubmitError::new(error, func))
        }
    }
}

/// Tasks that return something.
impl Pool {
    /// As [`submit`](Self::submit), for a task whose value is wanted: the handle waits for it, polls for it, or takes the task
    /// back.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); the closure is handed back as it was.
    ///
    /// ```
    /// use pyants::Pool;
    ///
    /// let pool = Pool::builder().capacity(4).queue_size(None).build()?;
    /// let handles = (1..=10u64).map(|n| pool.submit_value(move || n * n)).collect::<Result<Vec<_>, _>>()?;
    /// let mut sum = 0;
    /// for handle in handles {
    ///     sum += handle.join()?;
    /// }
    /// assert_eq!(sum, 385);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn submit_value<F, T>(&self, func: F) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| self.submit(task))
    }

    /// As [`submit_value`](Self::submit_value), but never waits, as [`try_submit`](Self::try_submit).
    pub fn try_submit_value<F, T>(&self, func: F) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| self.try_submit(task))
    }

    /// As [`submit_value`](Self::submit_value), but waits for a permit for at most `timeout`.
    pub fn submit_value_timeout<F, T>(
        &self,
        func: F,
        timeout: Duration,
    ) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| {
            self.submit_timeout(task, timeout)
        })
    }
}

/// Tasks that return something.
impl MultiPool {
    /// As [`Pool::submit_value`].
    pub fn submit_value<F, T>(&self, func: F) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| self.submit(task))
    }

    /// As [`Pool::try_submit_value`].
    pub fn try_submit_value<F, T>(&self, func: F) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| self.try_submit(task))
    }

    /// As [`Pool::submit_value_timeout`].
    pub fn submit_value_timeout<F, T>(
        &self,
        func: F,
        timeout: Duration,
    ) -> Result<JoinHandle<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_value(func, self.deadlock_group_id(), |task| {
            self.submit_timeout(task, timeout)
        })
    }
}
