//! `Pool` and its public methods, each a line or two.

use super::deadlock::group::{DeadlockGroup, Member};
use super::error::{Error, OptionsError, SubmitError};
use super::host::{Closures, Host};
use super::options::{Builder, Options};
use super::shared::Core;
use super::stats::Stats;
use super::submit::waiters::Waiters;
use super::sync::{Arc, WaitLimit, atomic};
use std::time::Duration;

/// A pool of worker threads.
///
/// Dropping it releases it without waiting: accepted tasks run to their end, then the threads leave.
///
/// ```
/// use pyants::Pool;
///
/// let pool = Pool::builder().capacity(2).name("hashing").build()?;
/// pool.submit(|| println!("on {:?}", std::thread::current().name()))?;
/// assert!(pool.wait_idle(None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<H: Host = Closures> {
    pub(super) core: Arc<Core<H>>,
}

impl Pool {
    /// A builder of a pool of Rust closures, with the defaults: unlimited, blocking, no queue, expiry after 1 s.
    ///
    /// ```
    /// use pyants::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder()
    ///     .capacity(8)
    ///     .queue_size(100)
    ///     .expiry(Duration::from_secs(10))
    ///     .panic_handler(|_payload| eprintln!("a task panicked"))
    ///     .build()?;
    /// assert_eq!(pool.capacity(), Some(8));
    /// # Ok::<(), pyants::OptionsError>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<H: Host> Pool<H> {
    /// A pool that runs its tasks in `host`. No thread is started before the first task.
    pub fn with_host(host: H, options: Options) -> Result<Self, OptionsError> {
        let deadlock_group = Arc::<DeadlockGroup>::default();
        let pool = Self::of_group(host, options, &deadlock_group, None, false)?;
        deadlock_group.found(vec![pool.member()]);
        Ok(pool)
    }

    pub(super) fn of_group(
        host: H,
        options: Options,
        deadlock_group: &Arc<DeadlockGroup>,
        shared_waiters: Option<(Arc<Waiters<H::Task>>, usize)>,
        counted: bool,
    ) -> Result<Self, OptionsError> {
        let options = options.validate()?;
        let core = Core::new(
            host,
            options,
            Arc::clone(deadlock_group),
            shared_waiters,
            counted,
        );
        Ok(Pool {
            core: Arc::new(core),
        })
    }

    pub(super) fn member(&self) -> std::sync::Weak<dyn Member> {
        Arc::downgrade(&(Arc::clone(&self.core) as Arc<dyn Member>))
    }

    /// The host that runs the tasks.
    pub fn host(&self) -> &H {
        &self.core.host
    }

    /// The options that the pool was made with, with its present capacity.
    pub fn options(&self) -> Options {
        Options {
            capacity: self.capacity(),
            ..self.core.options.clone()
        }
    }

    /// Submits a task. Blocks while the pool is full, unless the pool is nonblocking.
    ///
    /// # Errors
    /// Hands the task back with the error if the pool is closed, if it is full and the caller may not wait, if
    /// every worker of the pool would then wait for the pool, or if no thread can be started and none is alive.
    ///
    /// ```
    /// use pyants::{Error, Pool};
    ///
    /// let pool = Pool::builder().capacity(2).build()?;
    /// for i in 0..10 {
    ///     pool.submit(move || println!("{i}"))?; // Waits while two tasks are running.
    /// }
    /// pool.release();
    /// let refusal = pool.submit(|| ()).unwrap_err();
    /// assert!(matches!(refusal.error, Error::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        self.submit_with(task.into(), &mut WaitLimit::new(None))
    }

    /// As [`submit`](Self::submit), but never blocks.
    ///
    /// ```
    /// use pyants::{Error, Pool};
    /// use std::sync::mpsc::channel;
    ///
    /// let pool = Pool::builder().capacity(1).build()?;
    /// let (open, gate) = channel::<()>();
    /// pool.submit(move || gate.recv().unwrap_or_default())?;
    /// let refusal = pool.try_submit(|| println!("late")).unwrap_err();
    /// assert!(matches!(refusal.error, Error::Overload { .. }));
    /// refusal.into_task().run(); // The task was handed back.
    /// drop(open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        self.follow_up(self.core.offer(task.into()), None)
    }

    /// As [`submit`](Self::submit), but blocks for at most `timeout`.
    ///
    /// ```
    /// use pyants::{Error, Pool};
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder().capacity(1).build()?;
    /// let (open, gate) = channel::<()>();
    /// pool.submit(move || gate.recv().unwrap_or_default())?;
    /// let refusal = pool.submit_timeout(|| (), Duration::from_millis(5)).unwrap_err();
    /// assert!(matches!(refusal.error, Error::Timeout));
    /// drop(open);
    /// pool.submit_timeout(refusal.into_task(), Duration::from_secs(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit_timeout(
        &self,
        task: impl Into<H::Task>,
        timeout: Duration,
    ) -> Result<(), SubmitError<H::Task>> {
        self.submit_with(task.into(), &mut WaitLimit::new(Some(timeout)))
    }

    /// The number of workers, idle ones included.
    pub fn running(&self) -> u32 {
        self.core.worker_count.running()
    }

    /// The maximum number of workers; `None`: any number.
    pub fn capacity(&self) -> Option<u32> {
        self.core.worker_count.capacity()
    }

    /// How many more workers may be started, below 0 while there are too many; `None`: any number.
    pub fn free(&self) -> Option<i64> {
        self.capacity()
            .map(|capacity| i64::from(capacity) - i64::from(self.running()))
    }

    /// The submitters that wait for a permit.
    pub fn waiting(&self) -> usize {
        self.core.waiting()
    }

    /// The accepted tasks that wait for a worker.
    pub fn queued(&self) -> usize {
        self.core.queued()
    }

    /// All statistics of the pool.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// No task is accepted any more.
    pub fn is_closed(&self) -> bool {
        self.core.admission.is_closed()
    }

    /// The pool closed itself because a worker could not be set up.
    pub fn is_broken(&self) -> bool {
        self.core.broken.load(atomic::Ordering::Relaxed)
    }

    /// Changes the maximum number of workers. If raised, waiting submitters are let in. If lowered, surplus workers
    /// leave: idle ones now, busy ones after their task.
    ///
    /// # Errors
    /// [`OptionsError::ZeroCapacity`] for 0, and [`OptionsError::FixedCapacity`] for unlimited and pre-allocated pools, unless
    /// it is the capacity that they have: nothing changes then.
    ///
    /// ```
    /// let pool = pyants::Pool::builder().capacity(2).build()?;
    /// pool.tune(8)?;
    /// assert_eq!(pool.capacity(), Some(8));
    /// assert!(pool.tune(0).is_err());
    /// # Ok::<(), pyants::OptionsError>(())
    /// ```
    pub fn tune(&self, capacity: u32) -> Result<(), OptionsError> {
        self.core.tune(capacity)
    }

    /// No task is in flight, and no submitter waits.
    pub fn is_at_rest(&self) -> bool {
        self.core.is_idle()
    }

    /// Blocks until every accepted task is done, for at most `timeout` (`None`: no limit); returns whether they are.
    ///
    /// A task that waits for its own pool would wait for itself: without a timeout it gets `false` at once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = pyants::Pool::builder().capacity(2).queue_size(None).build()?;
    /// for _ in 0..100 {
    ///     pool.submit(|| ())?;
    /// }
    /// assert!(pool.wait_idle(Some(Duration::from_secs(60))));
    /// assert_eq!(pool.stats().completed, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_idle(&self, timeout: Option<Duration>) -> bool {
        self.watch_idle(&mut WaitLimit::new(timeout)).is_ok()
    }

    /// Closes the pool without waiting: accepted tasks still run, waiting submitters are refused, idle workers leave.
    /// `false`: it was closed already.
    pub fn release(&self) -> bool {
        self.core.release()
    }

    /// Closes the pool and blocks until the accepted tasks are done and the workers have left.
    ///
    /// # Errors
    /// [`Error::Closed`] if it was closed already, [`Error::Timeout`] when the time runs out; the pool stays closed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = pyants::Pool::builder().capacity(2).build()?;
    /// pool.submit(|| ())?;
    /// pool.release_timeout(Duration::from_secs(10))?;
    /// assert_eq!(pool.running(), 0);
    /// pool.reboot();
    /// pool.submit(|| ())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_timeout(&self, timeout: Duration) -> Result<(), Error> {
        if !self.release() {
            return Err(Error::Closed);
        }
        self.watch_gone(&mut WaitLimit::new(Some(timeout)))
    }

    /// Blocks until the accepted tasks of a closed pool are done and its workers have left, for at most `timeout`
    /// (`None`: no limit): after [`release`](Self::release), or after a [`release_timeout`](Self::release_timeout) that
    /// timed out.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the time runs out, [`Error::Deadlock`] if a task waits for its own pool without one.
    ///
    /// ```
    /// let pool = pyants::Pool::builder().capacity(2).build()?;
    /// pool.submit(|| println!("the last one"))?;
    /// pool.release();
    /// pool.wait_gone(None)?;
    /// assert_eq!(pool.running(), 0);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn wait_gone(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.watch_gone(&mut WaitLimit::new(timeout))
    }

    /// Opens a closed pool.
    pub fn reboot(&self) {
        self.core.reboot();
    }
}

impl<H: Host> std::fmt::Debug for Pool<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.core.options.name)
            .field("capacity", &self.capacity())
            .field("running", &self.running())
            .field("waiting", &self.waiting())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<H: Host> Drop for Pool<H> {
    fn drop(&mut self) {
        self.release();
    }
}

impl Builder {
    /// Builds the pool.
    pub fn build(self) -> Result<Pool, OptionsError> {
        Pool::with_host(self.host, self.options)
    }
}
