//! The tasks of the models, and the counts kept of them: every accepted task runs exactly once, and no other ever runs.
//!
//! The counts are plain atomics of the standard library, which no model checker explores: they add no states. They are
//! checked when the last part of the pool is dropped, after its last thread has left.

use pyants::pool::internal::sync::WaitLimit;
use pyants::pool::internal::{Accounting, Detached};
use pyants::pool::{Error, Host, Options, Outcome, Pool, SubmitError, Worker};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

type Action = Box<dyn FnOnce() + Send>;

/// A task: its number in the counts, an action besides being counted, and the number of parts in which it is done.
pub struct Task {
    number: usize,
    action: Option<Action>,
    parts: usize,
}

/// How a worker's start goes.
pub enum Start {
    Fails,
    /// It runs this first.
    Does(Action),
    Succeeds,
}

/// The number of tasks that can be counted.
const TASKS: usize = 12;

/// The host of the models.
#[derive(Default)]
pub struct Ledger {
    accepted: [AtomicU8; TASKS],
    ran: [AtomicU8; TASKS],
    cancelled: [AtomicU8; TASKS],
    now: AtomicUsize,
    most: AtomicUsize,
    most_allowed: usize,
    uncounted: bool,
    /// How the next starts of workers go; later ones succeed.
    starts: Mutex<VecDeque<Start>>,
    every_start_fails: bool,
    retries_start: bool,
    has_slow_start: bool,
    parallelism: u32,
    /// There is an errand to do.
    errand: AtomicBool,
    /// A thread was told that the pool is gone.
    gone: AtomicBool,
    complaint: Mutex<Option<&'static str>>,
}

std::thread_local! {
    /// The pools made and not yet dropped. All threads of a model run on one thread of the system.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// No pool has outlived its threads and its handles.
pub fn assert_nothing_leaked() {
    assert_eq!(OPEN.get(), 0, "a pool was never dropped");
}

impl Task {
    fn new(number: usize) -> Self {
        Task {
            number,
            action: None,
            parts: 1,
        }
    }

    fn of(number: usize, action: impl FnOnce() + Send + 'static) -> Self {
        Task {
            action: Some(Box::new(action)),
            ..Task::new(number)
        }
    }

    /// A task that is not counted.
    pub fn uncounted(action: impl FnOnce() + Send + 'static) -> Self {
        Task::of(0, action)
    }
}

impl Ledger {
    /// For pools whose tasks are counted elsewhere.
    pub fn uncounted() -> Self {
        OPEN.set(OPEN.get() + 1);
        let mut ledger = Ledger::of(usize::MAX);
        ledger.uncounted = true;
        ledger
    }

    /// At most `most_allowed` tasks may ever run at once. A second worker awake already goes on standby.
    fn of(most_allowed: usize) -> Self {
        let mut ledger = Ledger::default();
        ledger.most_allowed = most_allowed;
        ledger.parallelism = 1;
        ledger
    }

    fn complain(&self, complaint: &'static str) {
        *self.complaint.lock().expect("nobody panics with it") = Some(complaint);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
        if std::thread::panicking() {
            return;
        }
        if self.uncounted {
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
        if self.gone.load(Relaxed) {
            self.complain("a worker begins in a pool that is gone");
        }
        let start = self
            .starts
            .lock()
            .expect("nobody panics with it")
            .pop_front();
        match start {
            Some(Start::Fails) => return,
            Some(Start::Does(action)) => action(),
            Some(Start::Succeeds) => {}
            None if self.every_start_fails => return,
            None => {}
        }
        body(&mut ());
        self.see_to_errands(&mut ());
    }

    fn has_errand(&self) -> bool {
        self.errand.load(Relaxed)
    }

    fn see_to_errands(&self, _context: &mut ()) {
        self.errand.store(false, Relaxed);
    }

    fn retries_start(&self) -> bool {
        self.retries_start
    }

    fn has_slow_start(&self) -> bool {
        self.has_slow_start
    }

    fn run(&self, _context: &mut (), mut task: Task) -> Outcome<Task> {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
        if let Some(action) = task.action.take() {
            action();
        }
        task.parts -= 1;
        if task.parts == 0 {
            self.ran[task.number].fetch_add(1, Relaxed);
        }
        self.now.fetch_sub(1, Relaxed);
        if task.parts == 0 {
            Outcome::Completed
        } else {
            Outcome::Unfinished(task)
        }
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn parallelism(&self) -> u32 {
        self.parallelism
    }

    fn cancelled(&self, tasks: Vec<Task>) {
        for task in tasks {
            self.cancelled[task.number].fetch_add(1, Relaxed);
        }
    }

    fn refused(&self, task: Task, _error: Error) {
        self.cancelled[task.number].fetch_add(1, Relaxed);
    }
}

/// A pool whose tasks are counted, to be cloned into the threads of a model.
#[derive(Clone)]
pub struct Books(pub Arc<Pool<Ledger>>);

impl std::ops::Deref for Books {
    type Target = Pool<Ledger>;
    fn deref(&self) -> &Pool<Ledger> {
        &self.0
    }
}

impl Books {
    /// At most `most_allowed` tasks may ever run at once.
    pub fn open(options: Options, most_allowed: usize) -> Self {
        Self::with(options, Ledger::of(most_allowed))
    }

    /// On many processors: a submitter that finds no permit spins for one.
    pub fn open_on_many_processors(options: Options, most_allowed: usize) -> Self {
        let mut ledger = Ledger::of(most_allowed);
        ledger.parallelism = 8;
        Self::with(options, ledger)
    }

    /// A pool none of whose workers can be set up.
    pub fn open_broken(options: Options) -> Self {
        let mut ledger = Ledger::of(0);
        ledger.every_start_fails = true;
        Self::with(options, ledger)
    }

    /// A pool with these first starts of workers. If one fails, either the pool breaks or the next start tries again.
    pub fn open_with_starts(
        options: Options,
        starts: impl IntoIterator<Item = Start>,
        retries_start: bool,
        most_allowed: usize,
    ) -> Self {
        let mut ledger = Ledger::of(most_allowed);
        ledger.starts = Mutex::new(starts.into_iter().collect());
        ledger.retries_start = retries_start;
        Self::with(options, ledger)
    }

    /// A pool with these first starts of workers, which may be slow.
    pub fn open_slow(
        options: Options,
        starts: impl IntoIterator<Item = Start>,
        most_allowed: usize,
    ) -> Self {
        let mut ledger = Ledger::of(most_allowed);
        ledger.starts = Mutex::new(starts.into_iter().collect());
        ledger.has_slow_start = true;
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

    /// Submits task `number`, waiting for a permit.
    pub fn try_hard(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.note(number, self.submit(Task::new(number)))
    }

    /// Submits task `number`, waiting for a permit while `wait_limit` lasts.
    pub fn try_within(
        &self,
        number: usize,
        mut wait_limit: WaitLimit<'_>,
    ) -> Result<(), SubmitError<Task>> {
        self.note(number, self.submit_with(Task::new(number), &mut wait_limit))
    }

    /// Submits task `number`, which is done in two parts.
    pub fn put_in_parts(&self, number: usize) {
        let task = Task {
            parts: 2,
            ..Task::new(number)
        };
        self.note(number, self.submit(task))
            .expect("the pool is open");
    }

    /// Takes task `number` back if it waits for a worker.
    pub fn extract(&self, number: usize) {
        for task in self.extract_if(|task| task.number == number) {
            self.host().cancelled[task.number].fetch_add(1, Relaxed);
        }
    }

    /// Waits until the pool is gone: no worker may start from then on.
    pub fn await_end(&self) {
        self.watch_gone(&mut WaitLimit::new(None))
            .expect("nothing hinders it");
        self.host().gone.store(true, Relaxed);
    }

    /// Submits task `number`, waiting for a permit; it must be accepted.
    pub fn put(&self, number: usize) {
        self.try_hard(number).expect("the pool is open");
    }

    /// As `put`, for a task that does something.
    pub fn put_action(&self, number: usize, action: impl FnOnce() + Send + 'static) {
        let task = Task::of(number, action);
        self.note(number, self.submit(task))
            .expect("the pool is open");
    }

    /// Submits task `number` without waiting.
    pub fn offer_once(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.note(number, self.try_submit(Task::new(number)))
    }

    /// Submits task `number`, which waits by itself if no permit is free.
    pub fn put_to_wait(&self, number: usize) -> Result<(), SubmitError<Task>> {
        self.wait_for_permit(number).map(drop)
    }

    /// The same for a task that does something.
    pub fn put_action_to_wait(&self, number: usize, action: impl FnOnce() + Send + 'static) {
        let task = Task::of(number, action);
        self.note(
            number,
            self.submit_detached(self.offer(task), Accounting::Counted),
        )
        .expect("the pool is open");
    }

    /// The same; returns a handle if it waits.
    pub fn wait_for_permit(
        &self,
        number: usize,
    ) -> Result<Option<Detached<Ledger>>, SubmitError<Task>> {
        self.note(
            number,
            self.submit_detached(self.offer(Task::new(number)), Accounting::Counted),
        )
    }

    /// Leaves an errand, and does it here if there is no worker, or none that stays.
    pub fn leave_errand(&self) {
        self.host().errand.store(true, Relaxed);
        if !self.remains().summon() {
            self.host().see_to_errands(&mut ());
        }
    }

    /// No errand is left.
    pub fn is_errand_done(&self) -> bool {
        !self.host().has_errand()
    }

    /// The task ran.
    pub fn has_run(&self, number: usize) -> bool {
        self.host().ran[number].load(Relaxed) > 0
    }

    /// Takes a waiting task back; returns whether it was waiting.
    pub fn withdraw(&self, place: &Detached<Ledger>) -> bool {
        let task = place.withdraw();
        if let Some(task) = task {
            self.host().cancelled[task.number].fetch_add(1, Relaxed);
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

    /// Asserts in a task, whose panics the pool contains.
    pub fn demand(&self, truth: bool, complaint: &'static str) {
        if !truth {
            self.host().complain(complaint);
        }
    }

    /// Waits until nothing is in flight; for ever if a wake-up is lost.
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
