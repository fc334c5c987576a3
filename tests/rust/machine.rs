//! Sequences of operations, made at random by proptest, from one to three threads at once; a ledger has the fate of each
//! task. A sequence that fails is made shorter. `PYANTS_MACHINE=5000` tries so many of them, others each time.

use super::support::{eventually, join, limited, open, open_multi, watch};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use pyants::pool::internal::Accounting;
use pyants::pool::{Closures, Host, Options, Outcome, SubmitError, Worker};
use pyants::{
    Error, JoinError, JoinHandle, MultiPool, OptionsError, Pool, Stats, Strategy as Choice,
};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak};
use std::thread::{self, yield_now};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// The most workers of a pool.
const MOST: u32 = 3;

/// How a task is submitted.
#[derive(Clone, Copy, Debug)]
enum How {
    Blocking,
    Trying,
    /// For so many microseconds.
    Within(u64),
}

/// What a task does.
#[derive(Clone, Debug)]
enum Work {
    Nothing,
    /// Gives up its processor so many times.
    Yield(u8),
    Fail,
    Panic,
    /// Goes on for so many rounds.
    Rounds(u8),
    /// Submits another.
    Submit(How, Box<Work>),
}

#[derive(Clone, Debug)]
enum Operation {
    Submit(How, Work),
    /// Submits a detached task, and may take it back.
    Detach(Work, bool),
    Tune(u32),
    Release,
    ReleaseWithin(u64),
    Reboot,
    WaitIdle(u64),
    /// Tells idle workers to leave.
    Expire,
    /// Takes back the tasks in the queue whose numbers this divides.
    Extract(usize),
    Yield,
}

#[derive(Clone, Debug)]
struct Setting {
    /// 0: a single pool, not one of several.
    pools: usize,
    choice: Choice,
    capacity: Option<u32>,
    queue_size: Option<u64>,
    nonblocking: bool,
    max_blocking_tasks: Option<usize>,
    expiry: Option<Duration>,
    pre_alloc: bool,
    /// So many of the first workers cannot be set up.
    fickle: u32,
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Completed,
    Failed,
    /// It was handed back, and counts as rejected.
    Rejected,
    /// It was handed back since the pool was closed.
    Closed,
    Withdrawn,
    Extracted,
    /// No worker could be set up for it.
    Cancelled,
    /// It was dropped without any of these.
    Lost,
}

#[derive(Default)]
struct Ledger {
    fates: Mutex<Vec<Vec<Fate>>>,
    /// The tasks that began, in this order.
    begun: Mutex<Vec<usize>>,
    /// What should never have happened.
    wrong: Mutex<Vec<String>>,
    active: AtomicUsize,
    most_active: AtomicUsize,
}

impl Ledger {
    fn task(self: &Arc<Self>, work: Work) -> Task {
        let mut fates = self.fates.lock().unwrap();
        fates.push(Vec::new());
        Task {
            number: fates.len() - 1,
            work,
            is_over: false,
            ledger: Arc::clone(self),
        }
    }

    fn count(&self, fate: Fate) -> u64 {
        let fates = self.fates.lock().unwrap();
        fates.iter().filter(|fates| **fates == [fate]).count() as u64
    }

    fn complain(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

struct Task {
    number: usize,
    work: Work,
    is_over: bool,
    ledger: Arc<Ledger>,
}

impl Task {
    fn end(mut self, fate: Fate) {
        self.is_over = true;
        self.ledger.fates.lock().unwrap()[self.number].push(fate);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_over {
            self.ledger.fates.lock().unwrap()[self.number].push(Fate::Lost);
        }
    }
}

/// A pool, or several.
enum Face<H: Host> {
    One(Arc<Pool<H>>),
    Several(Arc<MultiPool<H>>),
}

impl<H: Host> Clone for Face<H> {
    fn clone(&self) -> Self {
        match self {
            Face::One(pool) => Face::One(Arc::clone(pool)),
            Face::Several(pools) => Face::Several(Arc::clone(pools)),
        }
    }
}

impl<H: Host> Face<H> {
    fn pools(&self) -> &[Pool<H>] {
        match self {
            Face::One(pool) => std::slice::from_ref(&**pool),
            Face::Several(pools) => pools.pools(),
        }
    }

    fn stats(&self) -> Stats {
        match self {
            Face::One(pool) => pool.stats(),
            Face::Several(pools) => pools.stats(),
        }
    }

    fn release(&self) {
        match self {
            Face::One(pool) => pool.release(),
            Face::Several(pools) => pools.release(),
        };
    }

    fn release_within(&self, time: Duration) -> Result<(), Error> {
        match self {
            Face::One(pool) => pool.release_timeout(time),
            Face::Several(pools) => pools.release_timeout(time),
        }
    }

    fn reboot(&self) {
        match self {
            Face::One(pool) => pool.reboot(),
            Face::Several(pools) => pools.reboot(),
        }
    }

    fn wait_idle(&self, time: Duration) -> bool {
        match self {
            Face::One(pool) => pool.wait_idle(Some(time)),
            Face::Several(pools) => pools.wait_idle(Some(time)),
        }
    }

    fn tune(&self, capacity: u32) -> Result<(), OptionsError> {
        match self {
            Face::One(pool) => pool.tune(capacity),
            Face::Several(pools) => pools.tune(capacity),
        }
    }
}

impl Face<Player> {
    fn open(setting: &Setting, ledger: &Arc<Ledger>) -> Arc<Self> {
        let options = Options {
            capacity: setting.capacity,
            queue_size: setting.queue_size,
            nonblocking: setting.nonblocking,
            max_blocking_tasks: setting.max_blocking_tasks,
            expiry: setting.expiry,
            pre_alloc: setting.pre_alloc,
            ..Options::default()
        };
        let home = Arc::<OnceLock<Weak<Self>>>::default();
        let fickle = Arc::new(AtomicU32::new(setting.fickle));
        let player = || Player {
            home: Arc::clone(&home),
            ledger: Arc::clone(ledger),
            fickle: Arc::clone(&fickle),
        };
        let face = Arc::new(if setting.pools == 0 {
            Face::One(watch(
                Pool::with_host(player(), options).expect("the options are good"),
            ))
        } else {
            let pools = MultiPool::with_hosts(setting.pools, setting.choice, &options, player);
            Face::Several(Arc::new(pools.expect("the options are good")))
        });
        home.set(Arc::downgrade(&face)).expect("it is set once");
        face
    }

    fn submit(&self, how: How, task: Task) -> Result<(), SubmitError<Task>> {
        match (self, how) {
            (Face::One(pool), How::Blocking) => pool.submit(task),
            (Face::One(pool), How::Trying) => pool.try_submit(task),
            (Face::One(pool), How::Within(time)) => pool.submit_timeout(task, micros(time)),
            (Face::Several(pools), How::Blocking) => pools.submit(task),
            (Face::Several(pools), How::Trying) => pools.try_submit(task),
            (Face::Several(pools), How::Within(time)) => pools.submit_timeout(task, micros(time)),
        }
    }

    fn detach(&self, task: Task, withdraw: bool) {
        let detached = match self {
            Face::One(pool) => pool.submit_detached(pool.offer(task), Accounting::Counted),
            Face::Several(pools) => {
                let (index, offer) = pools.offer(task);
                pools.submit_detached(index, offer, Accounting::Counted)
            }
        };
        match detached {
            Ok(Some(detached)) if withdraw => {
                if let Some(task) = detached.withdraw() {
                    task.end(Fate::Withdrawn);
                }
            }
            Ok(_) => {}
            Err(refusal) => refuse(refusal.task, &refusal.error),
        }
    }

    fn operate(&self, operation: &Operation, setting: &Setting, ledger: &Arc<Ledger>) {
        match operation {
            Operation::Submit(how, work) => {
                submit(self, setting.into(), *how, ledger.task(work.clone()));
            }
            Operation::Detach(work, withdraw) => {
                self.detach(ledger.task(work.clone()), *withdraw);
            }
            Operation::Tune(capacity) => {
                let fixed = setting.pre_alloc || setting.capacity.is_none();
                for pool in self.pools() {
                    // One that has the capacity already does not mind.
                    if pool.tune(*capacity).is_err() && !fixed {
                        ledger.complain(format!("it cannot be tuned to {capacity}"));
                    }
                }
            }
            Operation::Release => self.release(),
            Operation::ReleaseWithin(time) => {
                if let Err(Error::Spawn(_) | Error::Deadlock) = self.release_within(micros(*time)) {
                    ledger.complain("a release that neither ended nor timed out".into());
                }
            }
            Operation::Reboot => self.reboot(),
            Operation::WaitIdle(time) => {
                self.wait_idle(micros(*time));
            }
            Operation::Expire => self.pools().iter().for_each(Pool::expire_all),
            Operation::Extract(divisor) => {
                for pool in self.pools() {
                    for task in pool.extract_if(|task| task.number % divisor == 0) {
                        task.end(Fate::Extracted);
                    }
                }
            }
            Operation::Yield => yield_now(),
        }
    }
}

fn micros(time: u64) -> Duration {
    Duration::from_micros(time)
}

/// The ways in which a submitter may be refused.
#[derive(Clone, Copy)]
struct Refusals {
    overload: bool,
    deadlock: bool,
}

impl From<&Setting> for Refusals {
    fn from(setting: &Setting) -> Self {
        Refusals {
            overload: setting.nonblocking || setting.max_blocking_tasks.is_some(),
            deadlock: false,
        }
    }
}

fn submit(face: &Face<Player>, refusals: Refusals, how: How, task: Task) {
    let ledger = Arc::clone(&task.ledger);
    let number = task.number;
    let Err(refusal) = face.submit(how, task) else {
        return;
    };
    let may_be = match refusal.error {
        Error::Closed => true,
        Error::Overload { .. } => refusals.overload || matches!(how, How::Trying),
        Error::Timeout => matches!(how, How::Within(_)),
        Error::Deadlock => refusals.deadlock && matches!(how, How::Blocking),
        _ => false,
    };
    if !may_be || refusal.task.number != number {
        ledger.complain(format!("{how:?} was refused: {}", refusal.error));
    }
    refuse(refusal.task, &refusal.error);
}

fn refuse(task: Task, error: &Error) {
    task.end(match error {
        Error::Closed => Fate::Closed,
        _ => Fate::Rejected,
    });
}

/// Runs the tasks.
struct Player {
    home: Arc<OnceLock<Weak<Face<Player>>>>,
    ledger: Arc<Ledger>,
    fickle: Arc<AtomicU32>,
}

impl Host for Player {
    type Task = Task;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        let one_less = |left: u32| left.checked_sub(1);
        let fickle = &self.fickle;
        if (fickle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)).is_err() {
            body(&mut ());
        }
    }

    fn retries_start(&self) -> bool {
        true
    }

    fn run(&self, _context: &mut (), mut task: Task) -> Outcome<Task> {
        let ledger = &self.ledger;
        let active = ledger.active.fetch_add(1, Ordering::SeqCst) + 1;
        ledger.most_active.fetch_max(active, Ordering::SeqCst);
        let work = std::mem::replace(&mut task.work, Work::Nothing);
        let mut fate = Some(Fate::Completed);
        let mut panics = false;
        match work {
            Work::Nothing => {}
            Work::Yield(times) => (0..times).for_each(|_| yield_now()),
            Work::Fail => fate = Some(Fate::Failed),
            Work::Panic => {
                fate = Some(Fate::Failed);
                panics = true;
            }
            Work::Rounds(0) => {}
            Work::Rounds(left) => {
                task.work = Work::Rounds(left - 1);
                fate = None;
            }
            Work::Submit(how, work) => {
                if let Some(face) = self.home.get().and_then(Weak::upgrade) {
                    let refusals = Refusals {
                        overload: true,
                        deadlock: true,
                    };
                    submit(&face, refusals, how, ledger.task(*work));
                }
            }
        }
        ledger.active.fetch_sub(1, Ordering::SeqCst);
        let Some(fate) = fate else {
            return Outcome::Unfinished(task);
        };
        ledger.begun.lock().unwrap().push(task.number);
        task.end(fate);
        match fate {
            Fate::Completed => Outcome::Completed,
            _ if panics => resume_unwind(Box::new("on purpose")),
            _ => Outcome::Failed,
        }
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, tasks: Vec<Task>) {
        tasks.into_iter().for_each(|task| task.end(Fate::Cancelled));
    }

    fn refused(&self, task: Task, error: Error) {
        refuse(task, &error);
    }
}

fn play(setting: &Setting, threads: &[Vec<Operation>]) -> Result<(), TestCaseError> {
    let ledger = Arc::<Ledger>::default();
    let face = Face::open(setting, &ledger);
    let start = Arc::new(Barrier::new(threads.len()));
    let players: Vec<_> = threads
        .iter()
        .map(|operations| {
            let (face, ledger) = (Arc::clone(&face), Arc::clone(&ledger));
            let (start, setting, operations) =
                (Arc::clone(&start), setting.clone(), operations.clone());
            thread::spawn(move || {
                start.wait();
                for operation in &operations {
                    face.operate(operation, &setting, &ledger);
                }
            })
        })
        .collect();
    players.into_iter().for_each(join);

    prop_assert!(
        face.wait_idle(SOON),
        "it does not come to rest: {:?}",
        face.stats()
    );
    let wrong = ledger.wrong.lock().unwrap().clone();
    prop_assert!(wrong.is_empty(), "{wrong:?}");
    for (number, fates) in ledger.fates.lock().unwrap().iter().enumerate() {
        prop_assert!(
            fates.len() == 1 && fates[0] != Fate::Lost,
            "task {number} ended as {fates:?}"
        );
    }
    let stats = face.stats();
    let count = |fate| ledger.count(fate);
    prop_assert_eq!((stats.busy, stats.queued, stats.waiting), (0, 0, 0));
    prop_assert_eq!(stats.completed, count(Fate::Completed));
    prop_assert_eq!(stats.failed, count(Fate::Failed));
    prop_assert_eq!(
        stats.cancelled,
        count(Fate::Extracted) + count(Fate::Cancelled)
    );
    prop_assert_eq!(stats.rejected, count(Fate::Rejected));
    prop_assert_eq!(
        stats.submitted,
        stats.completed + stats.failed + stats.cancelled
    );
    prop_assert!(stats.spawned >= stats.peak_running.into());

    let operations = || threads.iter().flatten();
    let tuned = operations().filter_map(|operation| match operation {
        Operation::Tune(capacity) if !setting.pre_alloc => Some(*capacity),
        _ => None,
    });
    if let Some(capacity) = setting.capacity {
        let most = capacity.max(tuned.max().unwrap_or(0)) * setting.pools.max(1) as u32;
        prop_assert!(stats.peak_running <= most, "{stats:?}");
        prop_assert!(ledger.most_active.load(Ordering::SeqCst) <= most as usize);
        let nests = operations().any(|operation| match operation {
            Operation::Submit(_, work) | Operation::Detach(work, _) => {
                matches!(work, Work::Submit(..))
            }
            _ => false,
        });
        if most == 1 && threads.len() == 1 && !nests {
            let begun = ledger.begun.lock().unwrap();
            prop_assert!(begun.is_sorted(), "not first come, first served: {begun:?}");
        }
    }

    // It still works, unless a worker could not be set up, and its workers leave.
    face.reboot();
    let may_fail = setting.fickle > 0;
    submit(
        &face,
        Refusals {
            overload: false,
            deadlock: false,
        },
        How::Within(SOON.as_micros() as u64),
        ledger.task(Work::Nothing),
    );
    prop_assert!(face.wait_idle(SOON));
    prop_assert!(may_fail || face.stats().completed == stats.completed + 1);
    if let Err(error) = face.release_within(SOON) {
        return Err(TestCaseError::fail(format!(
            "the workers do not leave: {error}, {:?}",
            face.stats()
        )));
    }
    prop_assert_eq!(face.stats().running, 0);
    eventually("the tasks have let go of the pool", || {
        Arc::strong_count(&face) == 1
    });
    Ok(())
}

fn hows() -> impl Strategy<Value = How> {
    prop_oneof![
        3 => Just(How::Blocking),
        1 => Just(How::Trying),
        1 => (0..200_u64).prop_map(How::Within),
    ]
}

fn works() -> impl Strategy<Value = Work> {
    let leaf = || {
        prop_oneof![
            4 => Just(Work::Nothing),
            2 => (1..20_u8).prop_map(Work::Yield),
            1 => Just(Work::Fail),
            1 => Just(Work::Panic),
            1 => (1..5_u8).prop_map(Work::Rounds),
        ]
    };
    prop_oneof![
        3 => leaf(),
        1 => (hows(), leaf()).prop_map(|(how, work)| Work::Submit(how, Box::new(work))),
    ]
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => (hows(), works()).prop_map(|(how, work)| Operation::Submit(how, work)),
        2 => (works(), any::<bool>()).prop_map(|(work, back)| Operation::Detach(work, back)),
        2 => (1..=MOST).prop_map(Operation::Tune),
        1 => Just(Operation::Release),
        1 => (0..300_u64).prop_map(Operation::ReleaseWithin),
        2 => Just(Operation::Reboot),
        1 => (0..100_u64).prop_map(Operation::WaitIdle),
        1 => Just(Operation::Expire),
        1 => (1..4_usize).prop_map(Operation::Extract),
        1 => Just(Operation::Yield),
    ]
}

fn settings() -> impl Strategy<Value = Setting> {
    let choices = prop_oneof![Just(Choice::RoundRobin), Just(Choice::LeastTasks)];
    let capacities = prop_oneof![5 => (1..=MOST).prop_map(Some), 1 => Just(None)];
    let queue_sizes =
        prop_oneof![2 => Just(Some(0)), 2 => (1..4_u64).prop_map(Some), 1 => Just(None)];
    let most_blocking = prop_oneof![3 => Just(None), 1 => (1..3_usize).prop_map(Some)];
    let expiries = prop_oneof![
        Just(None),
        Just(Some(micros(50))),
        Just(Some(Duration::from_secs(1)))
    ];
    (
        prop_oneof![2 => Just(0), 1 => 1..4_usize],
        choices,
        capacities,
        queue_sizes,
        prop::bool::weighted(0.15),
        most_blocking,
        expiries,
        prop::bool::weighted(0.1),
        prop_oneof![4 => Just(0), 1 => 1..4_u32],
    )
        .prop_map(
            |(
                pools,
                choice,
                capacity,
                queue_size,
                nonblocking,
                max_blocking_tasks,
                expiry,
                pre_alloc,
                fickle,
            )| Setting {
                pools,
                choice,
                capacity,
                queue_size,
                nonblocking,
                max_blocking_tasks,
                expiry,
                pre_alloc: pre_alloc && capacity.is_some(),
                fickle,
            },
        )
}

/// Plays so many sequences, or as many as PYANTS_MACHINE says.
fn run<V: std::fmt::Debug>(
    cases: u32,
    sequences: impl Strategy<Value = V>,
    play: impl Fn(V) -> Result<(), TestCaseError>,
) {
    let more = std::env::var("PYANTS_MACHINE").ok();
    let config = Config {
        cases: (more.as_ref()).map_or(cases, |count| count.parse().expect("a number")),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let mut runner = match more {
        Some(_) => TestRunner::new(config),
        // The same ones each time.
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    if let Err(error) = runner.run(&sequences, play) {
        panic!("{error}");
    }
}

fn by_threads<O: std::fmt::Debug>(
    operations: impl Strategy<Value = O>,
) -> impl Strategy<Value = Vec<Vec<O>>> {
    prop::collection::vec(prop::collection::vec(operations, 1..25), 1..=3)
}

#[test]
fn every_sequence_of_operations_balances() {
    limited(|| {
        run(
            100,
            (settings(), by_threads(operations())),
            |(setting, threads)| play(&setting, &threads),
        );
    });
}

/// What a task that returns something does before.
#[derive(Clone, Debug)]
enum Body {
    Nothing,
    Yield(u8),
    Panic,
    /// Submits another and does this with its handle.
    Submit(How, Box<Body>, Ending),
}

/// What is done with a handle.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Join,
    /// Waits for so many microseconds, then for ever.
    JoinWithin(u64),
    Cancel,
    Drop,
}

#[derive(Clone, Debug)]
enum Step {
    Submit(How, Body, Ending),
    Tune(u32),
    ReleaseAndReboot,
    WaitIdle(u64),
    Expire,
}

/// Whether each task ran, as it is told when its closure is dropped.
#[derive(Default)]
struct Values {
    ran: Mutex<Vec<Vec<bool>>>,
    wrong: Mutex<Vec<String>>,
    rejected: AtomicUsize,
}

struct Guard {
    number: usize,
    ran: bool,
    values: Arc<Values>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.values.ran.lock().unwrap()[self.number].push(self.ran);
    }
}

type Function = Box<dyn FnOnce() -> usize + Send>;

impl Face<Closures> {
    fn submit(
        &self,
        how: How,
        function: Function,
    ) -> Result<JoinHandle<usize>, SubmitError<Function>> {
        match (self, how) {
            (Face::One(pool), How::Blocking) => pool.submit_value(function),
            (Face::One(pool), How::Trying) => pool.try_submit_value(function),
            (Face::One(pool), How::Within(time)) => {
                pool.submit_value_timeout(function, micros(time))
            }
            (Face::Several(pools), How::Blocking) => pools.submit_value(function),
            (Face::Several(pools), How::Trying) => pools.try_submit_value(function),
            (Face::Several(pools), How::Within(time)) => {
                pools.submit_value_timeout(function, micros(time))
            }
        }
    }

    /// Submits a task, and does with its handle what is to be done. In a worker either may be a deadlock.
    fn call(&self, values: &Arc<Values>, how: How, body: &Body, ending: Ending, in_worker: bool) {
        let number = {
            let mut ran = values.ran.lock().unwrap();
            ran.push(Vec::new());
            ran.len() - 1
        };
        let mut guard = Guard {
            number,
            ran: false,
            values: Arc::clone(values),
        };
        let (pools, whole) = (self.clone(), body.clone());
        let function: Function = Box::new(move || {
            guard.ran = true;
            match &whole {
                Body::Nothing => {}
                Body::Yield(times) => (0..*times).for_each(|_| yield_now()),
                Body::Panic => resume_unwind(Box::new("on purpose")),
                Body::Submit(how, body, ending) => {
                    pools.call(&guard.values, *how, body, *ending, true);
                }
            }
            guard.number
        });
        let complain = |what: String| values.wrong.lock().unwrap().push(what);
        let handle = match self.submit(how, function) {
            Ok(handle) => handle,
            Err(refusal) => {
                match (refusal.error, how) {
                    (Error::Closed, _) => return,
                    (Error::Overload { .. }, How::Trying) | (Error::Timeout, How::Within(_)) => {}
                    (Error::Deadlock, How::Blocking) if in_worker => {}
                    (error, _) => complain(format!("{how:?} was refused: {error}")),
                }
                values.rejected.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        let mut taken_back = false;
        let result = match ending {
            Ending::Drop => return,
            Ending::Join => handle.join(),
            Ending::Cancel => {
                taken_back = handle.cancel();
                handle.join()
            }
            Ending::JoinWithin(time) => handle
                .join_timeout(micros(time))
                .unwrap_or_else(JoinHandle::join),
        };
        let is_right = match &result {
            Ok(value) => *value == number && !taken_back && !matches!(body, Body::Panic),
            Err(JoinError::Panicked(_)) => matches!(body, Body::Panic) && !taken_back,
            Err(JoinError::Cancelled) => taken_back,
            Err(JoinError::Deadlock) => in_worker && !taken_back,
            Err(_) => false,
        };
        if !is_right {
            complain(format!("{number}, {body:?}, {ending:?} gave {result:?}"));
        }
    }
}

fn play_values(setting: &Setting, threads: &[Vec<Step>]) -> Result<(), TestCaseError> {
    let builder = Pool::builder()
        .capacity(setting.capacity)
        .queue_size(setting.queue_size)
        .expiry(setting.expiry);
    // A queue of its own keeps a task from the idle workers of other pools, and who waits for it is not found out.
    let builder = match setting.pools {
        0 => builder,
        _ => builder.queue_size(0),
    };
    let pools = if setting.pools == 0 {
        Face::One(open(builder))
    } else {
        Face::Several(open_multi(setting.pools, setting.choice, &builder))
    };
    let values = Arc::<Values>::default();
    let players: Vec<_> = (threads.iter().cloned())
        .map(|steps| {
            let (pools, values) = (pools.clone(), Arc::clone(&values));
            thread::spawn(move || {
                for step in &steps {
                    match step {
                        Step::Submit(how, body, ending) => {
                            pools.call(&values, *how, body, *ending, false);
                        }
                        // Likewise a task whose worker is tuned away before it begins.
                        Step::Tune(_) if matches!(pools, Face::Several(_)) => {}
                        Step::Tune(capacity) => drop(pools.tune(*capacity)),
                        Step::ReleaseAndReboot => {
                            pools.release();
                            pools.reboot();
                        }
                        Step::WaitIdle(time) => drop(pools.wait_idle(micros(*time))),
                        Step::Expire => pools.pools().iter().for_each(Pool::expire_all),
                    }
                }
            })
        })
        .collect();
    players.into_iter().for_each(join);

    let stats = || pools.stats();
    prop_assert!(
        pools.wait_idle(SOON),
        "it does not come to rest: {:?}",
        stats()
    );
    let wrong = values.wrong.lock().unwrap().clone();
    prop_assert!(wrong.is_empty(), "{wrong:?}");
    let ran = values.ran.lock().unwrap();
    prop_assert!(ran.iter().all(|ran| ran.len() == 1), "{ran:?}");
    let runs = ran.iter().filter(|ran| **ran == [true]).count() as u64;
    let stats = stats();
    prop_assert_eq!((stats.busy, stats.queued, stats.waiting), (0, 0, 0));
    prop_assert_eq!(stats.completed + stats.failed, runs);
    prop_assert_eq!(stats.submitted, runs + stats.cancelled);
    prop_assert_eq!(
        stats.rejected,
        values.rejected.load(Ordering::SeqCst) as u64
    );
    Ok(())
}

fn steps() -> impl Strategy<Value = Step> {
    let endings = || {
        prop_oneof![
            3 => Just(Ending::Join),
            1 => (0..200_u64).prop_map(Ending::JoinWithin),
            2 => Just(Ending::Cancel),
            2 => Just(Ending::Drop),
        ]
    };
    let leaf = prop_oneof![
        3 => Just(Body::Nothing),
        2 => (1..20_u8).prop_map(Body::Yield),
        1 => Just(Body::Panic),
    ];
    let bodies = leaf.prop_recursive(3, 3, 1, move |body| {
        (hows(), body, endings())
            .prop_map(|(how, body, ending)| Body::Submit(how, Box::new(body), ending))
    });
    prop_oneof![
        10 => (hows(), bodies, endings()).prop_map(|(how, body, ending)| Step::Submit(how, body, ending)),
        1 => (1..=MOST).prop_map(Step::Tune),
        1 => Just(Step::ReleaseAndReboot),
        1 => (0..100_u64).prop_map(Step::WaitIdle),
        1 => Just(Step::Expire),
    ]
}

#[test]
fn every_sequence_of_tasks_that_are_waited_for_balances() {
    limited(|| {
        run(
            100,
            (settings(), by_threads(steps())),
            |(setting, threads)| play_values(&setting, &threads),
        );
    });
}
