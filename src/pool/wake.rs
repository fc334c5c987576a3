//! Which worker is woken or started for the tasks in the run queue, and when none need be.
//!
//! There is one *search token*. Its holder is a worker (or a thread about to wake or start one) that has no task yet
//! and will look into the run queue; while it is held, a submitter need wake nobody. A worker that finds a task lays
//! the token down and, if more tasks wait, wakes the next: so few workers drain a burst of short tasks, and tasks that
//! block raise the number of workers one after another.

use super::core::Core;
use super::deadlock_group::Member;
use super::faults::{Step, skipped};
use super::host::{Host, Worker};
use super::seat::Call;
use super::sync::atomic::Ordering;
use super::sync::{Arc, Mutex, full_fence, lock};
use super::threads::Exit;
use super::token::Searching;
use super::worker;
use std::io;
use std::sync::Weak;

/// The result of starting a worker.
pub(super) enum Spawn<T> {
    /// The worker has the task that was given for it.
    Started,
    /// As many workers are alive as may be, or as are needed.
    NotNeeded(Option<T>),
    /// The system refused the thread.
    Failed(Option<T>, io::Error),
}

impl<H: Host> Core<H> {
    /// A worker must be woken or started for a task that was put into the run queue before this call.
    #[inline]
    pub fn is_wake_due(&self) -> bool {
        // The task is in the queue; then the check who is idle. A worker does the opposite before it rests.
        full_fence();
        self.can_call_searcher() || self.lacks_workers()
    }

    /// Nobody searches, and a worker could.
    #[inline]
    fn can_call_searcher(&self) -> bool {
        !self.is_looked_after() && (!self.idle.is_empty() || self.may_start_searcher())
    }

    /// A worker will look into the queue soon enough.
    #[inline]
    fn is_looked_after(&self) -> bool {
        match self.token.state() {
            Searching::Nobody => false,
            Searching::Searcher => true,
            // It watches others at work: if all of them rest there is nothing to watch.
            Searching::Standby => self.awake() > 1,
        }
    }

    /// A worker may be started to search. Not if every task has a worker of its own: `lacks_workers` starts those.
    #[inline]
    fn may_start_searcher(&self) -> bool {
        !self.hand_off
            && self.worker_count.is_below_capacity()
            && !self.has_enough()
            && !self.has_enough_arriving()
            && self.may_start()
    }

    /// Each task in the queue has an arriving worker that will look into the queue as soon as it is set up.
    #[inline]
    fn has_enough_arriving(&self) -> bool {
        let arriving = self.arriving.load(Ordering::Relaxed);
        arriving > 0 && self.queue.len() <= arriving as usize
    }

    /// It makes sense to ask the system for a thread.
    #[inline]
    pub fn may_start(&self) -> bool {
        !self.shortage.is_pausing(|| self.now()) || self.worker_count.present() == 0
    }

    /// The workers are counted, and each task in flight has one: those without a task look for one before they rest, or
    /// rest where they can be called.
    #[inline]
    fn has_enough(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
            && self.in_flight() <= u64::from(self.worker_count.running())
    }

    /// Every task is to have a worker of its own, and there are more tasks than workers.
    #[inline]
    fn lacks_workers(&self) -> bool {
        self.hand_off
            && self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && self.may_start()
    }

    /// As `wake`, if a worker must be woken or started for a task in the queue.
    pub fn wake_if_due(self: &Arc<Self>) {
        if !self.queue.is_empty() && self.is_wake_due() {
            self.wake();
        }
    }

    /// Wakes or starts the workers needed for the tasks in the run queue.
    pub fn wake(self: &Arc<Self>) {
        while self.lacks_workers() {
            if !matches!(self.spawn_worker(None, false), Spawn::Started) {
                break; // The task stays where the workers alive will find it.
            }
        }
        while self.can_call_searcher() && self.token.take() {
            self.token.hand_over(self.look());
            if self.call_resting(Call::Search) {
                return; // The called worker has the token.
            }
            let mut thread_refused = false;
            if self.may_start_searcher() {
                // A worker that runs user code before it looks for a task is not waited for: it is *arriving*.
                let searching = !self.host.has_slow_start();
                match self.spawn_worker(None, searching) {
                    Spawn::Started if searching => return, // The new worker has the token.
                    Spawn::Started | Spawn::NotNeeded(_) => {}
                    Spawn::Failed(..) => thread_refused = true,
                }
            }
            // A submitter may have trusted the token meanwhile, and a worker may have gone to rest: check again. If the
            // system refuses threads, only a resting worker can help.
            if !self.token.lay_down()
                || skipped(Step::LookAgainAfterSearching)
                || self.queue.is_empty()
                || thread_refused && self.idle.is_empty()
            {
                return;
            }
        }
    }

    /// Starts workers until every task in flight has one, or as many as may be are alive; from now on no others.
    pub fn muster(self: &Arc<Self>) {
        self.counted.store(true, Ordering::Relaxed);
        while self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && matches!(self.spawn_worker(None, false), Spawn::Started)
        {}
    }

    /// As `wake`, but starts no worker.
    pub fn wake_resting(&self) {
        full_fence();
        while !self.queue.is_empty()
            && !self.idle.is_empty()
            && !self.is_looked_after()
            && self.token.take()
        {
            self.token.hand_over(self.look());
            if self.call_resting(Call::Search) || !self.token.lay_down() {
                return;
            }
        }
    }

    /// Calls a resting worker, to check or with the search token; `false`: none rests.
    pub fn call_resting(&self, call: Call) -> bool {
        while let Some(seat) = self.idle.pop(&self.seats) {
            if self.call(seat, call) {
                return true;
            }
        }
        false
    }

    /// Makes a worker do what the host has for it besides tasks, which is there before this call: a resting worker is
    /// called or a new one started, since busy ones may stay so for long. Those check before they rest and as they
    /// leave. `false`: there is no worker.
    pub fn summon(self: &Arc<Self>) -> bool {
        // The errand is there; then the check who rests, and whether any worker is alive. A worker does the opposite.
        full_fence();
        self.call_resting(Call::Look)
            || matches!(self.spawn_worker(None, false), Spawn::Started)
            || self.worker_count.present() > 0
    }

    /// Calls the worker in a seat popped from the idle stack; `false`: it had left.
    pub fn call(&self, seat: u32, call: Call) -> bool {
        let called = self.seats.get(seat).call(call);
        if !called {
            self.vacate(seat);
        }
        called
    }

    /// Returns a seat that no worker uses any more.
    pub fn vacate(&self, seat: u32) {
        self.vacant
            .push(&self.seats, seat)
            .expect("the stack of vacant seats is never closed");
    }

    /// A seat for a worker. The caller holds the spawn lock.
    pub fn find_seat(&self) -> u32 {
        // A seat left by an expired worker on top of the idle stack is as good as vacant. If another thread is faster,
        // and this pops the seat of a resting worker instead, that worker checks and rests again.
        while self
            .idle
            .top()
            .is_some_and(|top| self.seats.get(top).is_left())
        {
            let Some(seat) = self.idle.pop(&self.seats) else {
                break;
            };
            self.call(seat, Call::Look);
        }
        self.vacant
            .pop(&self.seats)
            .unwrap_or_else(|| self.seats.fresh())
    }

    /// Starts a worker, with a task of its own or to look for one, with the search token or without. The caller holds
    /// no lock.
    pub fn spawn_worker(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<H::Task> {
        let spawn = self.start_worker(task, searching);
        if matches!(spawn, Spawn::Failed(..)) {
            // The blocked workers have no hope for another worker any more.
            self.deadlock_group.break_deadlock();
        }
        spawn
    }

    /// As `spawn_worker`, without checking for a deadlock.
    pub fn start_worker(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<H::Task> {
        // Counted first, then the check whether anything is left to do; a thread that waits for the pool to be gone
        // checks first whether anything is left to do, then the count.
        self.threads.add();
        let spawn = self.spawn_counted(task, searching);
        if !matches!(spawn, Spawn::Started) {
            self.uncount_thread();
        }
        if matches!(spawn, Spawn::Failed(..)) {
            self.ask_again();
        }
        spawn
    }

    /// The system refused a thread: the expiry thread asks for it again after a pause, or else the waiters do.
    pub fn ask_again(self: &Arc<Self>) {
        // In a model no time passes.
        if cfg!(any(loom, shuttle)) {
            return;
        }
        let pool: Weak<dyn Member> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn Member>));
        let is_closed = || self.admission.is_closed();
        let pause = self.shortage.pause();
        if !(self.process.expiry).ask_again(&self.seats, pool, pause, is_closed) {
            self.deadlock_group.set_unattended(true);
        }
    }

    fn spawn_counted(self: &Arc<Self>, task: Option<H::Task>, searching: bool) -> Spawn<H::Task> {
        let _spawning = lock(&self.spawning);
        if !self.may_start() {
            // Refused a moment ago, perhaps while this thread waited for the lock.
            return Spawn::Failed(task, io::ErrorKind::WouldBlock.into());
        }
        let needed = match &task {
            Some(_) => true,
            None if self.has_enough() && !self.host.has_errand() => false,
            None => !self.admission.is_closed() || self.in_flight() > 0,
        };
        if !(needed && self.worker_count.reserve()) {
            return Spawn::NotNeeded(task);
        }
        let number = self.find_seat();
        let arriving = task.is_none() && !searching;
        if arriving {
            self.arriving.fetch_add(1, Ordering::Relaxed);
        }
        // The task is handed over in a parcel that both sides can open, since a failed start drops its closure.
        let parcel = Arc::new(Mutex::new(task));
        let thread = {
            let parcel = Arc::clone(&parcel);
            let name = format!("{}_{number}", self.options.name);
            self.start_thread(name.clone(), move |core, exit| {
                let worker = Worker {
                    name,
                    number,
                    exit: exit.clone(),
                };
                worker::run(core, &worker, &parcel, searching, arriving);
            })
        };
        match thread {
            Ok(()) => {
                self.worker_count.confirm();
                // Counted once it is there: a start that fails must give no hope. It may have left by now, or be
                // blocked; a thread that takes that for a deadlock passes the spawn lock before its last check.
                self.deadlock_group.count_worker(true);
                if self.shortage.is_on() {
                    self.shortage.end();
                    self.deadlock_group.set_unattended(false);
                }
                self.tallies.spawned.fetch_add(1, Ordering::Relaxed);
                Spawn::Started
            }
            Err(error) => {
                self.worker_count.abort();
                self.shortage.begin(self.now());
                if arriving {
                    self.arriving.fetch_sub(1, Ordering::Relaxed);
                }
                self.vacate(number);
                Spawn::Failed(lock(&parcel).take(), error)
            }
        }
    }
}

impl<H: Host> Core<H> {
    /// Starts the thread of a worker that was counted.
    fn start_thread(
        self: &Arc<Self>,
        name: String,
        body: impl FnOnce(&Arc<Self>, &Exit) + Send + 'static,
    ) -> io::Result<()> {
        let core = Arc::clone(self);
        Exit::start(name, self.options.stack_size, move |own| {
            core.threads.move_in();
            body(&core, own);
            if core.host.is_stranded() {
                std::mem::forget((core, own.clone()));
                return;
            }
            core.leave_for_good(own);
        })
        .map(drop)
    }

    /// The last thing that a worker does.
    fn leave_for_good(&self, exit: &Exit) {
        self.process.left.join_ended();
        self.process.left.put(&self.threads, exit);
        exit.leave();
        self.threads.leave();
        self.watch.notify();
    }

    /// A counted thread of a worker is not started after all.
    fn uncount_thread(&self) {
        self.threads.take_back();
        self.watch.notify();
    }
}
