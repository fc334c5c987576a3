//! Shared by the tests: deadlines, gates, and a check that no pool and no thread is left behind.

use pyants::pool::internal::faults;
use pyants::pool::{Builder, Error, Host, Pool, SubmitError};
use pyants::{MultiPool, Strategy};
use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a test may take. On an idle machine no test needs a hundredth of it: it tells a hang from a slow machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long a condition may take to come true; less than a test, so that the failure names the condition.
const SOON: Duration = Duration::from_secs(60);

/// How tasks wait for a worker: handed off, in a short queue, in an unlimited queue.
pub const QUEUE_SIZES: [Option<u64>; 3] = [Some(0), Some(3), None];

/// Injected thread failures affect the whole process: a test that injects them runs alone.
static THREAD_STARTS: RwLock<()> = RwLock::new(());

thread_local! {
    /// For each pool that this test made: whether anything of it is left.
    static POOLS: RefCell<Vec<Box<dyn Fn() -> bool>>> = const { RefCell::new(Vec::new()) };
}

/// Runs a test. It fails if it takes too long, or if a pool that it made and dropped does not go away with all of its
/// threads.
pub fn limited(test: impl FnOnce() + Send + 'static) {
    let _shared = THREAD_STARTS.read().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

/// As [`limited`], while no other test runs: for those that call [`faults::fail_spawns`].
pub fn limited_alone(test: impl FnOnce() + Send + 'static) {
    let _alone = THREAD_STARTS
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    struct Heal;
    impl Drop for Heal {
        fn drop(&mut self) {
            faults::fail_spawns(0);
        }
    }
    let _heal = Heal;
    run(|| {
        test();
        faults::fail_spawns(0);
    });
}

fn run(test: impl FnOnce() + Send + 'static) {
    let (sender, ended) = channel::<()>();
    let thread = thread::spawn(move || {
        let _sender = sender; // Dropped at the end, however the test ends.
        test();
        let pools = POOLS.take();
        eventually("every pool dropped is gone, with its threads", || {
            pools.iter().all(|is_gone| is_gone())
        });
    });
    if ended.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
        panic!("the test hangs: not done in {DEADLINE:?}");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// Makes the test fail if anything is left of the pool when it ends.
pub fn watch<H: Host>(pool: Pool<H>) -> Arc<Pool<H>> {
    let remains = pool.remains();
    POOLS.with_borrow_mut(|pools| pools.push(Box::new(move || remains.are_gone())));
    Arc::new(pool)
}

/// Makes a watched pool.
pub fn open(builder: Builder) -> Arc<Pool> {
    watch(builder.build().expect("the options are good"))
}

/// Makes several watched pools behind one front.
pub fn open_multi(size: usize, strategy: Strategy, builder: &Builder) -> Arc<MultiPool> {
    let multi = MultiPool::new(size, strategy, builder).expect("the options are good");
    for pool in multi.pools() {
        let remains = pool.remains();
        POOLS.with_borrow_mut(|pools| pools.push(Box::new(move || remains.are_gone())));
    }
    Arc::new(multi)
}

/// Waits for a condition that other threads bring about; fails if it does not come true.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true: {what}");
        thread::sleep(Duration::from_micros(200)); // Between two checks; nothing relies on it.
    }
}

/// Waits until every accepted task is done.
#[track_caller]
pub fn drain(pool: &Pool) {
    assert!(
        pool.wait_idle(Some(SOON)),
        "the pool does not come to rest: {:?}",
        pool.stats()
    );
}

/// Closes the pool and waits until its workers have left.
#[track_caller]
pub fn close(pool: &Pool) {
    if let Err(error) = pool.release_timeout(SOON) {
        panic!("the workers do not leave: {error}, {:?}", pool.stats());
    }
    assert_eq!(pool.running(), 0);
}

/// Runs `body` in a thread of its own.
pub fn beside<P: Send + Sync + 'static, T: Send + 'static>(
    pool: &Arc<P>,
    body: impl FnOnce(&P) -> T + Send + 'static,
) -> JoinHandle<T> {
    let pool = Arc::clone(pool);
    thread::spawn(move || body(&pool))
}

/// The result of a thread of the test; panics if the thread did.
#[track_caller]
pub fn join<T>(thread: JoinHandle<T>) -> T {
    eventually("a thread of the test ends", || thread.is_finished());
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The error and the task of a submit that must be refused.
#[track_caller]
pub fn refused<T>(submitted: Result<(), SubmitError<T>>) -> (Error, T) {
    let refusal = submitted.expect_err("the task is refused");
    (refusal.error, refusal.task)
}

/// Asserts that a value matches a pattern, and prints it if not.
macro_rules! assert_is {
    ($value:expr, $pattern:pat) => {{
        let value = $value;
        assert!(
            matches!(value, $pattern),
            "{value:?} is no {}",
            stringify!($pattern)
        );
    }};
}
pub(crate) use assert_is;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds the tasks that pass through it until it is opened.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    condvar: Condvar,
}

#[derive(Default)]
struct GateState {
    /// How many tasks have come to the gate.
    arrived: usize,
    /// How many of them may go on.
    permitted: usize,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits at the gate, as its tasks do.
    pub fn pass(&self) {
        let mut state = lock(&self.state);
        let turn = state.arrived;
        state.arrived += 1;
        self.condvar.notify_all();
        while state.permitted <= turn {
            state = self
                .condvar
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A task that waits at the gate.
    pub fn task(self: &Arc<Self>) -> impl FnOnce() + Send + 'static {
        let gate = Arc::clone(self);
        move || gate.pass()
    }

    /// Lets all tasks through, now and later.
    pub fn open(&self) {
        lock(&self.state).permitted = usize::MAX;
        self.condvar.notify_all();
    }

    /// Lets one more through, in the order of arrival.
    pub fn let_one(&self) {
        lock(&self.state).permitted += 1;
        self.condvar.notify_all();
    }

    pub fn arrived(&self) -> usize {
        lock(&self.state).arrived
    }

    /// Waits until `count` tasks have come to the gate.
    #[track_caller]
    pub fn await_arrivals(&self, count: usize) {
        eventually("the tasks have come to the gate", || {
            self.arrived() >= count
        });
    }
}

/// So many workers of the pool, each with a task, are busy until the gate is opened.
#[track_caller]
pub fn occupy(pool: &Pool, workers: usize) -> Arc<Gate> {
    let gate = Gate::new();
    for _ in 0..workers {
        pool.submit(gate.task()).expect("a worker is free");
    }
    gate.await_arrivals(workers);
    gate
}

/// A pool whose workers are all busy until the gate is opened.
pub fn busy(builder: Builder) -> (Arc<Pool>, Arc<Gate>) {
    let pool = open(builder);
    let capacity = pool.capacity().expect("a pool that can be full");
    let gate = occupy(&pool, capacity as usize);
    (pool, gate)
}

/// Records events in order.
pub struct Journal<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Journal(Arc::clone(&self.0))
    }
}

impl<T: Clone + Debug + Send + 'static> Journal<T> {
    pub fn new() -> Self {
        Journal(Arc::default())
    }

    pub fn note(&self, entry: T) {
        lock(&self.0).push(entry);
    }

    /// A task that records `entry`.
    pub fn task(&self, entry: T) -> impl FnOnce() + Send + 'static {
        let journal = self.clone();
        move || journal.note(entry)
    }

    pub fn entries(&self) -> Vec<T> {
        lock(&self.0).clone()
    }
}

/// How often each task of a test has run.
pub struct Ledger {
    runs: Vec<AtomicUsize>,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl Ledger {
    pub fn of(tasks: usize) -> Arc<Self> {
        Arc::new(Ledger {
            runs: (0..tasks).map(|_| AtomicUsize::new(0)).collect(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        })
    }

    /// The task with this number.
    pub fn task(self: &Arc<Self>, number: usize) -> impl FnOnce() + Send + 'static {
        let ledger = Arc::clone(self);
        move || {
            let running = ledger.running.fetch_add(1, Ordering::SeqCst) + 1;
            ledger.most_running.fetch_max(running, Ordering::SeqCst);
            ledger.runs[number].fetch_add(1, Ordering::SeqCst);
            ledger.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Submits all the tasks, in equal parts from `submitters` threads, and joins those.
    pub fn submit_all(self: &Arc<Self>, pool: &Arc<Pool>, submitters: usize) {
        let part = self.runs.len() / submitters;
        let submitters: Vec<_> = (0..submitters)
            .map(|submitter| {
                let ledger = Arc::clone(self);
                beside(pool, move |pool| {
                    for number in submitter * part..(submitter + 1) * part {
                        pool.submit(ledger.task(number))
                            .expect("it takes every task");
                    }
                })
            })
            .collect();
        submitters.into_iter().for_each(join);
    }

    /// How often the task has run.
    pub fn runs(&self, number: usize) -> usize {
        self.runs[number].load(Ordering::SeqCst)
    }

    /// The most tasks ever seen running at once.
    pub fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub fn assert_all_ran_once(&self) {
        for number in 0..self.runs.len() {
            assert_eq!(self.runs(number), 1, "how often task {number} ran");
        }
    }
}
