//! Several pools behind one front: less contention, in return for choosing a pool.

use super::deadlock::group::DeadlockGroup;
use super::error::{Error, Limit, OptionsError, SubmitError};
use super::host::{Closures, Host};
use super::options::{Builder, Options};
use super::pool::Pool;
use super::shared::Core;
use super::stats::Stats;
use super::submit::Offer;
use super::submit::detached::{Accounting, Detached};
use super::submit::waiter::PermitOf;
use super::submit::waiters::Waiters;
use super::sync::{Arc, Mutex, WaitLimit, lock, thread};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a `MultiPool` chooses a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Strategy {
    /// One after another.
    RoundRobin,
    /// The one with the fewest tasks: running, queued or waiting for a permit; of several the first.
    LeastTasks,
}

/// Several pools behind one front.
///
/// ```
/// use pyants::{MultiPool, Pool, Strategy};
///
/// let pools = MultiPool::new(2, Strategy::LeastTasks, &Pool::builder().capacity(4))?;
/// pools.submit(|| println!("in one of the two"))?;
/// assert_eq!(pools.submit_value(|| 6 * 7)?.join()?, 42);
/// assert_eq!(pools.stats().capacity, Some(8)); // Of both together; of each:
/// assert!(pools.pools().iter().all(|pool| pool.capacity() == Some(4)));
/// pools.release_timeout(std::time::Duration::from_secs(60))?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct MultiPool<H: Host = Closures> {
    pools: Vec<Pool<H>>,
    deadlock_group: Arc<DeadlockGroup>,
    /// The submitters that find no permit in any pool; the first pool with a permit lets them in.
    waiters: Arc<Waiters<H::Task>>,
    strategy: Strategy,
    turns: Turns,
    /// Held by release and reboot.
    lifecycle: Mutex<()>,
}

/// The pool whose turn is next. A thread that submits one task after another takes a whole run of turns at once and
/// uses them up by itself: a multiple of the number of pools, so that they get equal shares.
struct Turns {
    next: CachePadded<AtomicU64>,
    /// Tells these turns from all others, and from those before a reboot.
    id: AtomicU64,
}

/// The turns of a thread.
#[derive(Clone, Copy)]
struct Run {
    id: u64,
    next: u64,
    left: u64,
    /// How many turns it has had, up to `Turns::RUN`.
    had: u64,
}

thread_local! {
    /// The turns in the pools to which this thread last submitted.
    static RUN: Cell<Run> = const { Cell::new(Run { id: 0, next: 0, left: 0, had: 0 }) };
}

impl Turns {
    /// About how many turns a thread takes at once, after it has taken that many one by one.
    const RUN: u64 = 64;

    fn new() -> Self {
        Turns {
            next: CachePadded::new(AtomicU64::new(0)),
            id: AtomicU64::new(Self::fresh_id()),
        }
    }

    fn fresh_id() -> u64 {
        static IDS: AtomicU64 = AtomicU64::new(1);
        IDS.fetch_add(1, Ordering::Relaxed)
    }

    fn restart(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.id.store(Self::fresh_id(), Ordering::Relaxed);
    }

    #[inline]
    fn take(&self, pools: usize) -> usize {
        let id = self.id.load(Ordering::Relaxed);
        let mut run = RUN.get();
        if run.id != id {
            (run.id, run.left, run.had) = (id, 0, 0);
        }
        if run.left == 0 {
            let pools = pools as u64;
            let is_short = run.had < Self::RUN;
            run.left = if is_short {
                1
            } else {
                pools * (Self::RUN / pools).max(1)
            };
            run.next = self.next.fetch_add(run.left, Ordering::Relaxed);
        }
        RUN.set(Run {
            next: run.next + 1,
            left: run.left - 1,
            had: (run.had + 1).min(Self::RUN),
            ..run
        });
        (run.next % pools as u64) as usize
    }
}

impl<H: Host> std::fmt::Debug for MultiPool<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MultiPool")
            .field("pools", &self.pools)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

impl<H: Host> MultiPool<H> {
    /// Makes `size` pools with the same options; `host` makes the host of each. Their names are `{name}-{index}`.
    pub fn with_hosts(
        size: usize,
        strategy: Strategy,
        options: &Options,
        mut host: impl FnMut() -> H,
    ) -> Result<Self, OptionsError> {
        if size == 0 {
            return Err(OptionsError::NoPools);
        }
        let deadlock_group = Arc::new(DeadlockGroup::default());
        let waiters = Arc::new(Waiters::new(Arc::clone(&deadlock_group), size));
        let pools = (0..size)
            .map(|index| {
                let options = Options {
                    name: format!("{}-{index}", options.name),
                    ..options.clone()
                };
                let shared = Some((Arc::clone(&waiters), index));
                // So that the pool with the fewest tasks is found by one number of each pool.
                let counted = strategy == Strategy::LeastTasks;
                Pool::of_group(host(), options, &deadlock_group, shared, counted)
            })
            .collect::<Result<Vec<_>, _>>()?;
        deadlock_group.found(pools.iter().map(Pool::member).collect());
        Ok(MultiPool {
            pools,
            deadlock_group,
            waiters,
            strategy,
            turns: Turns::new(),
            lifecycle: Mutex::new(()),
        })
    }

    /// The pools.
    pub fn pools(&self) -> &[Pool<H>] {
        &self.pools
    }

    pub(super) fn deadlock_group_id(&self) -> usize {
        self.deadlock_group.id()
    }

    fn least_tasks(&self) -> usize {
        let tasks = |pool: &Pool<H>| pool.core.in_flight() + pool.core.waiting() as u64;
        (0..self.pools.len())
            .min_by_key(|&index| tasks(&self.pools[index]))
            .expect("there is at least one pool")
    }

    fn choose(&self) -> usize {
        match self.strategy {
            Strategy::RoundRobin => self.turns.take(self.pools.len()),
            Strategy::LeastTasks => self.least_tasks(),
        }
    }

    /// Settles the offer in the pool with this index or, if the system gives that no thread, in others, one after
    /// another, those with a permit first. `counts`: one of them counts a refusal.
    fn bring_to_end<R>(
        &self,
        index: usize,
        offer: Offer<H::Task>,
        counts: bool,
        mut bring: impl FnMut(&Arc<Core<H>>, Offer<H::Task>) -> Result<R, SubmitError<H::Task>>,
    ) -> Result<R, SubmitError<H::Task>> {
        let at = |step: usize| &self.pools[(index + step) % self.pools.len()].core;
        let mut result = bring(at(0), offer);
        let (mut last, mut full) = (0, None);
        for step in 1..self.pools.len() {
            match result {
                Err(refusal) if lacks_thread(&refusal.error) => {
                    let SubmitError { error, task } = refusal;
                    result = match at(step).offer(task) {
                        Offer::Full(task) => {
                            full = full.or(Some(at(step)));
                            Err(SubmitError::new(error, task))
                        }
                        offer => {
                            if counts && matches!(error, Error::Overload { .. }) {
                                let rejected = &at(last).tallies.rejected;
                                rejected.fetch_sub(1, Ordering::Relaxed);
                            }
                            last = step;
                            bring(at(step), offer)
                        }
                    };
                }
                _ => break,
            }
        }
        match (result, full) {
            (
                Err(SubmitError {
                    error: Error::Spawn(_),
                    task,
                }),
                Some(core),
            ) => {
                result = bring(core, Offer::Full(task));
            }
            (unchanged, _) => result = unchanged,
        }
        result.map_err(|refusal| match refusal.error {
            Error::Closed if self.broken().is_some() => {
                SubmitError::new(Error::Broken, refusal.task)
            }
            _ => refusal,
        })
    }

    /// As a pool does before a submitter waits, but for a permit of any pool.
    fn spin_for_permit(&self, index: usize) -> bool {
        let core = &self.pools[index].core;
        core.may_spin_for_permit()
            && self.waiters.len() == 0
            && core.permit_spin.spin(|| {
                self.pools
                    .iter()
                    .any(|pool| pool.core.admission.has_permit())
            })
    }

    /// Submits a task to the chosen pool, or to one that has a permit; if none has, waits until one does.
    pub fn submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        let (index, offer) = self.offer(task.into());
        self.follow_up(index, offer, Some(&mut WaitLimit::new(None)))
    }

    /// As `submit`, without waiting.
    pub fn try_submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        let (index, offer) = self.offer(task.into());
        self.follow_up(index, offer, None)
    }

    /// As `submit`, but waits for at most `timeout`.
    pub fn submit_timeout(
        &self,
        task: impl Into<H::Task>,
        timeout: Duration,
    ) -> Result<(), SubmitError<H::Task>> {
        let (index, offer) = self.offer(task.into());
        self.follow_up(index, offer, Some(&mut WaitLimit::new(Some(timeout))))
    }

    /// Waits until every accepted task is done, for at most `timeout` (`None`: no limit); returns whether that
    /// happened. As [`Pool::wait_idle`].
    pub fn wait_idle(&self, timeout: Option<Duration>) -> bool {
        self.watch_idle(&mut WaitLimit::new(timeout)).is_ok()
    }

    /// Closes all pools, and waits until their accepted tasks are done and their workers have left.
    ///
    /// # Errors
    /// As [`Pool::release_timeout`].
    pub fn release_timeout(&self, timeout: Duration) -> Result<(), Error> {
        if !self.release() {
            return Err(Error::Closed);
        }
        self.watch_gone(&mut WaitLimit::new(Some(timeout)))
            .map_err(|(error, _)| error)
    }

    /// Waits until the accepted tasks of closed pools are done and their workers have left. As [`Pool::wait_gone`].
    ///
    /// # Errors
    /// [`Error::Timeout`] when the time runs out.
    pub fn wait_gone(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.watch_gone(&mut WaitLimit::new(timeout))
            .map_err(|(error, _)| error)
    }

    /// The numbers of all pools, summed.
    pub fn stats(&self) -> Stats {
        self.pools
            .iter()
            .map(Pool::stats)
            .reduce(|a, b| a + b)
            .expect("there is at least one pool")
    }

    /// Sets the capacity of each pool.
    ///
    /// # Errors
    /// As [`Pool::tune`].
    pub fn tune(&self, capacity: u32) -> Result<(), OptionsError> {
        self.pools.iter().try_for_each(|pool| pool.tune(capacity))
    }

    /// The index of a pool that closed itself because a worker could not be set up.
    fn broken(&self) -> Option<usize> {
        self.pools.iter().position(Pool::is_broken)
    }

    /// Closes all pools; `false`: they were closed already.
    pub fn release(&self) -> bool {
        let lifecycle = lock(&self.lifecycle);
        let was_whole = self.broken().is_none();
        let closed: Vec<_> = self.pools.iter().map(|pool| pool.core.close()).collect();
        drop(lifecycle);
        let was_open = closed.iter().any(Option::is_some);
        for (pool, answers) in self.pools.iter().zip(closed) {
            if let Some(answers) = answers {
                pool.core.deliver(answers);
            }
        }
        was_open && was_whole
    }

    /// Opens the pools if they are closed.
    pub fn reboot(&self) {
        let _lifecycle = lock(&self.lifecycle);
        if self.is_closed() {
            self.turns.restart();
            self.pools.iter().for_each(Pool::reboot);
        }
    }

    /// No task is accepted: the pools were released, together or one by one, or one of them closed itself.
    pub fn is_closed(&self) -> bool {
        self.deadlock_group.is_closed()
    }
}

/// The methods of several pools that belong to `pool::internal`.
#[doc(hidden)]
impl<H: Host> MultiPool<H> {
    /// Offers a task to the chosen pool, then to all others that may have a permit.
    pub fn offer(&self, task: H::Task) -> (usize, Offer<H::Task>) {
        if self.is_closed() {
            return (self.broken().unwrap_or(0), Offer::Closed(task));
        }
        let chosen = self.choose();
        if self.waiters.is_ready() {
            return (chosen, Offer::Full(task)); // Nobody overtakes the waiters.
        }
        let mut offer = self.pools[chosen].offer(task);
        for step in 1..self.pools.len() {
            let Offer::Full(task) = offer else { break };
            let index = (chosen + step) % self.pools.len();
            offer = self.pools[index].offer(task);
            if !matches!(offer, Offer::Full(_)) {
                return (index, offer);
            }
        }
        (chosen, offer)
    }

    /// The second half of a submit, for an offer by the pool with this index. Without `wait_limit` it does not wait.
    pub fn follow_up(
        &self,
        mut index: usize,
        mut offer: Offer<H::Task>,
        mut wait_limit: Option<&mut WaitLimit<'_>>,
    ) -> Result<(), SubmitError<H::Task>> {
        if wait_limit.is_some() && matches!(offer, Offer::Full(_)) && self.spin_for_permit(index) {
            let Offer::Full(task) = offer else {
                unreachable!("it was looked at just now")
            };
            (index, offer) = self.offer(task);
        }
        while let Some(task) = self.bring_to_end(index, offer, true, |core, offer| {
            core.follow_up(offer, wait_limit.as_deref_mut(), PermitOf::AnyPool)
        })? {
            (index, offer) = self.offer(task);
        }
        Ok(())
    }

    /// As `follow_up`, but the caller never waits: a task that finds no permit waits for any pool by itself (`Some`).
    /// If it is refused later, the host of one of the pools gets it.
    pub fn submit_detached(
        &self,
        index: usize,
        offer: Offer<H::Task>,
        accounting: Accounting,
    ) -> Result<Option<Detached<H>>, SubmitError<H::Task>> {
        let counts = accounting == Accounting::Counted;
        self.bring_to_end(index, offer, counts, |core, offer| {
            core.submit_detached(offer, accounting, PermitOf::AnyPool)
        })
    }

    /// The pool with this index has a resting worker, while workers of other pools are awake.
    pub fn is_crowded(&self, index: usize) -> bool {
        !self.pools[index].core.idle.is_empty()
            && (0..self.pools.len())
                .any(|other| other != index && self.pools[other].core.awake() > 0)
    }

    /// Waits until all pools are idle, or `wait_limit` ends.
    pub fn watch_idle(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        // A task may submit to a pool already seen idle: only a round in which no task entered anywhere counts.
        let entered = || {
            self.pools
                .iter()
                .map(|pool| pool.core.admission.entered())
                .collect::<Vec<_>>()
        };
        loop {
            let before = entered();
            for pool in &self.pools {
                pool.watch_idle(wait_limit)?;
            }
            if entered() == before && !self.waiters.is_ready() {
                return Ok(());
            }
            thread::yield_now();
        }
    }

    /// Waits until all workers of all pools have left; else returns the indices of the pools that still have some.
    pub fn watch_gone(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), (Error, Vec<usize>)> {
        for (index, pool) in self.pools.iter().enumerate() {
            if let Err(error) = pool.watch_gone(wait_limit) {
                let late = (index..self.pools.len())
                    .filter(|&index| !self.pools[index].core.is_gone())
                    .collect();
                return Err((error, late));
            }
        }
        Ok(())
    }
}

/// The system refused the pool a thread; another pool may have a worker.
fn lacks_thread(error: &Error) -> bool {
    matches!(
        error,
        Error::Spawn(_)
            | Error::Overload {
                limit: Limit::Threads,
                ..
            }
    )
}

impl MultiPool {
    /// Makes `size` pools of Rust closures with the options and the panic handler of `builder`.
    pub fn new(size: usize, strategy: Strategy, builder: &Builder) -> Result<Self, OptionsError> {
        Self::with_hosts(size, strategy, &builder.options, || builder.host.clone())
    }
}
