//! What the models submit, and the books they keep of it: every accepted task runs exactly once, no other ever does.
//!
//! The books are plain atomics of the standard library, which no model checker explores: they add no states. They are
//! closed when the pool's last part is dropped, which is after its last thread has left.

use pyants::pool::{Enlisted, Error, Host, Options, Outcome, Pool, SubmitError, Worker};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A task: its number in the books, and what it does besides being counted.
pub struct Task(usize, Option<Box<dyn FnOnce() + Send>>);

/// How many tasks the books have room for.
const TASKS: usize = 12;

/// The world of the models.
#[derive(Default)]
pub struct Ledger {
    accepted: [AtomicU8; TASKS],
    ran: [AtomicU8; TASKS],
    cancelled: [AtomicU8; TASKS],
    now: AtomicUsize,
    most: AtomicUsize,
    most_allowed: usize,
    unbooked: bool,
    /// How many workers cannot be set up.
    failing_starts: AtomicUsize,
    retries_start: bool,
    complaint: Mutex<Option<&'static str>>,
}

std::thread_local! {
    /// The pools that were made and not yet dropped. All threads of a model share one thread of the system.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// No pool outlived its threads and its handles.
pub fn assert_nothing_leaked() {
    assert_eq!(OPEN.get(), 0, "a pool was never dropped");
}

impl Task {
    /// A task that is not in the books.
    pub fn unbooked(action: impl FnOnce() + Send + 'static) -> Self {
        Task(0, Some(Box::new(action)))
    }
}

impl Ledger {
    /// For pools whose tasks are counted elsewhere.
    pub fn unbooked() -> Self {
        OPEN.set(OPEN.get() + 1);
        let mut ledger = Ledger::default();
        ledger.unbooked = true;
        ledger
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
        if std::thread::panicking() {
            return;
        }
        if self.unbooked {
            return;
        }
        for task in 0..TASKS {
            let [accepted, ran, cancelled] =
                [&self.accepted, &self.ran, &self.cancelled].map(|book| book[task].load(Relaxed));
            assert_eq!(
                accepted,
                ran + cancelled,
                "task {task}: accepted {accepted}, ran {ran}, cancelled {cancelled}"
            );
        }
        assert_eq!(*self.complaint.lock().expect("nobody panics with it"), None);
        let most = self.most.load(Relaxed);
        assert!(most <= self.most_allowed, "{most} tasks ran at once");
    }
}

impl Host for Ledger {
    type Task = Task;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        let fails = self
            .failing_starts
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok();
        if !fails {
            body(&mut ());
        }
    }

    fn retries_start(&self) -> bool {
        self.retries_start
    }

    fn run(&self, _context: &mut (), Task(number, action): Task) -> Outcome<Task> {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
        self.ran[number].fetch_add(1, Relaxed);
        if let Some(action) = action {
            action();
        }
        self.now.fetch_sub(1, Relaxed);
        Outcome::Completed
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    /// So that the second worker already is one too many, and watches the first.
    fn parallelism(&self) -> u32 {
        1
    }

    fn cancelled(&self, tasks: Vec<Task>) {
        for Task(number, _) in tasks {
            self.cancelled[number].fetch_add(1, Relaxed);
        }
    }

    fn refused(&self, Task(number, _): Task, _error: Error) {
        self.cancelled[number].fetch_add(1, Relaxed);
    }
}

/// A pool with its books, to be cloned into the threads of a model.
#[derive(Clone)]
pub struct Books(pub Arc<Pool<Ledger>>);

impl std::ops::Deref for Books {
    type Target = Pool<Ledger>;
    fn deref(&self) -> &Pool<Ledger> {
        &self.0
    }
}

impl Books {
    /// No more than `most_allowed` tasks may ever run at once.
    pub fn open(options: Options, most_allowed: usize) -> Self {
        let mut ledger = Ledger::default();
        ledger.most_allowed = most_allowed;
        Self::with(options, ledger)
    }

    /// A pool none of whose workers can be set up.
    pub fn open_broken(options: Options) -> Self {
        let mut ledger = Ledger::default();
        ledger.failing_starts = AtomicUsize::new(usize::MAX);
        Self::with(options, ledger)
    }

    /// A pool whose first worker cannot be set up. Either the pool breaks, or the next start tries again.
    pub fn open_fickle(options: Options, retries_start: bool, most_allowed: usize) -> Self {
        let mut ledger = Ledger::default();
        ledger.failing_starts = AtomicUsize::new(1);
        ledger.retries_start = retries_start;
        ledger.most_allowed = most_allowed;
        Self::with(options, ledger)
    }

    fn with(options: Options, ledger: Ledger) -> Self {
        OPEN.set(OPEN.get() + 1);
        Books(Arc::new(
            Pool::with_host(ledger, options).expect("the options are good"),
        ))
    }

    fn note<R>(
        &self,
        number: usize,
        result: Result<R, SubmitError<Task>>,
    ) -> Result<R, SubmitError<Task>> {
        if result.is_ok() {
            self.host().accepted[number].fetch_add(1, Relaxed);
        }
        result
    }

    /// Submits task `number`, waiting for room.
    pub fn try_hard(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.note(number, self.submit(Task(number, None)))
    }

    /// Submits task `number`, waiting for room; it must be accepted.
    pub fn put(&self, number: usize) {
        self.try_hard(number).expect("the pool is open");
    }

    /// As `put`, of a task that does something.
    pub fn put_action(&self, number: usize, action: impl FnOnce() + Send + 'static) {
        let task = Task(number, Some(Box::new(action)));
        self.note(number, self.submit(task))
            .expect("the pool is open");
    }

    /// Submits task `number` without waiting.
    pub fn offer_once(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.note(number, self.try_submit(Task(number, None)))
    }

    /// Submits task `number`, which stands in line by itself where there is no room.
    pub fn put_in_line(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.stand_in_line(number).map(drop)
    }

    /// The same, with its place in line if it has one.
    pub fn stand_in_line(
        &self,
        number: usize,
    ) -> Result<Option<Enlisted<Ledger>>, SubmitError<Task>> {
        self.note(number, self.enlist(self.offer(Task(number, None))))
    }

    /// The task ran.
    pub fn has_run(&self, number: usize) -> bool {
        self.host().ran[number].load(Relaxed) > 0
    }

    /// Takes a task back from its place in line; whether it was there.
    pub fn withdraw(&self, place: &Enlisted<Ledger>) -> bool {
        let task = place.withdraw();
        if let Some(Task(number, _)) = task {
            self.host().cancelled[number].fetch_add(1, Relaxed);
            return true;
        }
        false
    }

    /// How many tasks were accepted.
    pub fn accepted(&self) -> usize {
        self.host()
            .accepted
            .iter()
            .filter(|accepted| accepted.load(Relaxed) > 0)
            .count()
    }

    /// To be said by a task, whose panics the pool contains.
    pub fn demand(&self, truth: bool, complaint: &'static str) {
        if !truth {
            *self.host().complaint.lock().expect("nobody panics with it") = Some(complaint);
        }
    }

    /// Waits until nothing is in flight: where a wake-up is lost, for ever.
    pub fn drain(&self) {
        assert!(self.wait_idle(None));
    }
}

/// A pool without an expiry thread.
pub fn options(capacity: u32, queue_size: Option<u64>) -> Options {
    Options {
        capacity: Some(capacity),
        queue_size,
        expiry: None,
        ..Options::default()
    }
}
