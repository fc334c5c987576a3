//! Several pools behind one front: less contention, at the price of a choice.

use super::error::{Error, OptionsError, SubmitError};
use super::family::Family;
use super::host::Host;
use super::options::Options;
use super::stats::Stats;
use super::submit::Offer;
use super::sync::{Arc, Mutex, Patience, lock};
use super::{Builder, Pool};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How a `MultiPool` chooses a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// One after another.
    RoundRobin,
    /// The one with the fewest tasks: running, queued, or waiting to come in; of several the first.
    LeastTasks,
}

/// Several pools behind one front.
///
/// ```
/// use pyants::{MultiPool, Pool, Strategy};
///
/// let pools = MultiPool::new(2, Strategy::LeastTasks, &Pool::builder().capacity(4))?;
/// pools.submit(|| println!("in one of the two"))?;
/// assert_eq!(pools.stats().capacity, Some(8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MultiPool<H: Host = super::Closures> {
    pools: Vec<Pool<H>>,
    strategy: Strategy,
    next: AtomicUsize,
    closed: AtomicBool,
    /// Held by release and reboot, so that the flag and the pools agree.
    lifecycle: Mutex<()>,
}

impl<H: Host> MultiPool<H> {
    /// `size` pools with the same options; `host` makes each its host. The pools' names are `{name}-{index}`.
    pub fn with_hosts(
        size: usize,
        strategy: Strategy,
        options: &Options,
        mut host: impl FnMut() -> H,
    ) -> Result<Self, OptionsError> {
        if size == 0 {
            return Err(OptionsError::NoPools);
        }
        let family = Arc::new(Family::default());
        let pools = (0..size)
            .map(|index| {
                let options = Options {
                    name: format!("{}-{index}", options.name),
                    ..options.clone()
                };
                Pool::of_family(host(), options, &family)
            })
            .collect::<Result<Vec<_>, _>>()?;
        family.found(pools.iter().map(Pool::member).collect());
        Ok(MultiPool {
            pools,
            strategy,
            next: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            lifecycle: Mutex::new(()),
        })
    }

    /// The pools.
    pub fn pools(&self) -> &[Pool<H>] {
        &self.pools
    }

    fn least_tasks(&self) -> usize {
        let tasks = |pool: &Pool<H>| pool.core.in_flight() + pool.core.line.len() as u64;
        (0..self.pools.len())
            .min_by_key(|&index| tasks(&self.pools[index]))
            .expect("there is at least one pool")
    }

    fn choose(&self) -> usize {
        match self.strategy {
            Strategy::RoundRobin => self.next.fetch_add(1, Ordering::Relaxed) % self.pools.len(),
            Strategy::LeastTasks => self.least_tasks(),
        }
    }

    /// Offers a task to the pool chosen, then to all others that may have room.
    #[doc(hidden)]
    pub fn offer(&self, task: H::Task) -> (usize, Offer<H::Task>) {
        if self.is_closed() {
            return (self.broken().unwrap_or(0), Offer::Closed(task));
        }
        let chosen = self.choose();
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

    /// The second half of a submit, which began with an offer by the pool with this index. Without `patience` it does not
    /// wait for room.
    #[doc(hidden)]
    pub fn follow_up(
        &self,
        mut index: usize,
        mut offer: Offer<H::Task>,
        mut patience: Option<&mut Patience<'_>>,
    ) -> Result<(), SubmitError<H::Task>> {
        if let Some(patience) = &mut patience {
            patience.roams = true;
        }
        while let Some(task) = self.pools[index]
            .core
            .follow_up(offer, patience.as_deref_mut())?
        {
            (index, offer) = self.offer(task);
        }
        Ok(())
    }

    /// Submits a task to the pool chosen, or to one that has room; waits for the one chosen where none has.
    pub fn submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        let (index, offer) = self.offer(task.into());
        self.follow_up(index, offer, Some(&mut Patience::new(None)))
    }

    /// As `submit`, without waiting.
    pub fn try_submit(&self, task: impl Into<H::Task>) -> Result<(), SubmitError<H::Task>> {
        let (index, offer) = self.offer(task.into());
        self.follow_up(index, offer, None)
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
    pub fn tune(&self, capacity: u32) {
        self.pools.iter().for_each(|pool| pool.tune(capacity));
    }

    /// A pool that closed itself, because a worker could not be set up.
    fn broken(&self) -> Option<usize> {
        self.pools.iter().position(Pool::is_broken)
    }

    /// Closes all pools; `false`: they were closed already.
    pub fn release(&self) -> bool {
        let lifecycle = lock(&self.lifecycle);
        let was_whole = self.broken().is_none();
        let was_open = !self.closed.swap(true, Ordering::SeqCst);
        let closed: Vec<_> = self.pools.iter().map(|pool| pool.core.close()).collect();
        drop(lifecycle);
        for (pool, answers) in self.pools.iter().zip(closed) {
            if let Some(answers) = answers {
                pool.core.deliver(answers);
            }
        }
        was_open && was_whole
    }

    /// Waits until all pools are idle, or `patience` ends.
    #[doc(hidden)]
    pub fn watch_idle(&self, patience: &mut Patience<'_>) -> Result<(), Error> {
        // A task may submit to a pool already seen idle: only a round in which nothing came in anywhere counts.
        let entered = || {
            self.pools
                .iter()
                .map(|pool| pool.core.admission.entered())
                .collect::<Vec<_>>()
        };
        loop {
            let before = entered();
            for pool in &self.pools {
                pool.watch_idle(patience)?;
            }
            if entered() == before {
                return Ok(());
            }
        }
    }

    /// Waits until every worker of all pools has left. The pools that have not when `patience` ends, by index.
    #[doc(hidden)]
    pub fn watch_gone(&self, patience: &mut Patience<'_>) -> Result<(), (Error, Vec<usize>)> {
        for (index, pool) in self.pools.iter().enumerate() {
            if let Err(error) = pool.watch_gone(patience) {
                let late = (index..self.pools.len())
                    .filter(|&index| !self.pools[index].core.is_gone())
                    .collect();
                return Err((error, late));
            }
        }
        Ok(())
    }

    /// Opens the pools if they are closed.
    pub fn reboot(&self) {
        let _lifecycle = lock(&self.lifecycle);
        if self.is_closed() {
            self.next.store(0, Ordering::Relaxed);
            self.pools.iter().for_each(Pool::reboot);
            self.closed.store(false, Ordering::SeqCst);
        }
    }

    /// No task is accepted: the pools were released, together or one by one, or one of them closed itself.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.pools.iter().any(Pool::is_closed)
    }
}

impl MultiPool {
    /// `size` pools of Rust closures, each as `builder` has it; a panic handler is not taken along.
    pub fn new(size: usize, strategy: Strategy, builder: &Builder) -> Result<Self, OptionsError> {
        Self::with_hosts(size, strategy, &builder.options, super::Closures::default)
    }
}
