//! Who is woken or started for the tasks in the run queue, and when nobody need be.
//!
//! There is one *search token*. Its holder is a worker (or somebody about to wake or start one) that has no task yet and
//! will look into the run queue; while somebody holds it, whoever puts a task there need wake nobody. A worker that
//! finds a task lays the token down, and if more tasks are waiting wakes the next: so a burst of short tasks is drained
//! by few workers, and tasks that block raise the number of workers one after another.

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

/// What came of starting a worker.
pub(super) enum Spawn<T> {
    /// It has the task that was given for it.
    Started,
    /// There are as many workers as may be, or are needed.
    NotNeeded(Option<T>),
    /// The system refused the thread.
    Failed(Option<T>, io::Error),
}

impl<H: Host> Core<H> {
    /// Somebody has to be woken or started for a task that was put into the run queue before this call.
    #[inline]
    pub fn is_wake_due(&self) -> bool {
        // The task is in the queue; now look who is idle. A worker does the opposite before it rests.
        full_fence();
        self.can_call_searcher() || self.lacks_workers()
    }

    /// Nobody searches, and somebody could.
    #[inline]
    fn can_call_searcher(&self) -> bool {
        !self.is_looked_after() && (!self.idle.is_empty() || self.may_start_searcher())
    }

    /// Somebody will look into the queue, soon enough.
    #[inline]
    fn is_looked_after(&self) -> bool {
        match self.token.state() {
            Searching::Nobody => false,
            Searching::Searcher => true,
            // It watches others at work. Where all have gone to rest there is nothing to watch.
            Searching::Standby => self.awake() > 1,
        }
    }

    /// A worker may be started to search. Where every task has a worker of its own there is none to search for: workers
    /// are started by `lacks_workers` alone.
    #[inline]
    fn may_start_searcher(&self) -> bool {
        !self.hand_off
            && self.worker_count.is_below_capacity()
            && !self.has_enough()
            && !self.has_enough_arriving()
            && self.may_start()
    }

    /// Each task in the queue has a worker on its way that will look into the queue as soon as it is set up.
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

    /// The workers are counted, and each task in flight has one: those that run none will look for a task before they rest,
    /// or rest where they can be called.
    #[inline]
    fn has_enough(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
            && self.in_flight() <= u64::from(self.worker_count.running())
    }

    /// There are more tasks than workers although every task is to have a worker of its own.
    #[inline]
    fn lacks_workers(&self) -> bool {
        self.hand_off
            && self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && self.may_start()
    }

    /// As `wake`, if there is a task in the queue that somebody has to be woken or started for.
    pub fn wake_if_due(self: &Arc<Self>) {
        if !self.queue.is_empty() && self.is_wake_due() {
            self.wake();
        }
    }

    /// Wakes or starts whoever is needed for the tasks in the run queue.
    pub fn wake(self: &Arc<Self>) {
        while self.lacks_workers() {
            if !matches!(self.spawn_worker(None, false), Spawn::Started) {
                break; // The task stays where the workers that are alive will find it.
            }
        }
        while self.can_call_searcher() && self.token.take() {
            self.token.hand_over(self.look());
            if self.call_resting(Call::Search) {
                return; // The token is with the worker that was called.
            }
            let mut thread_refused = false;
            if self.may_start_searcher() {
                // A worker that runs somebody's code before it looks for a task is none to wait for: it is *arriving*.
                let searching = !self.host.has_slow_start();
                match self.spawn_worker(None, searching) {
                    Spawn::Started if searching => return, // The token is with the new worker.
                    Spawn::Started | Spawn::NotNeeded(_) => {}
                    Spawn::Failed(..) => thread_refused = true,
                }
            }
            // A submitter may have trusted the token meanwhile, and a worker may have gone to rest: look again. Where
            // the system gives no thread, only a worker at rest can help.
            if !self.token.lay_down()
                || skipped(Step::LookAgainAfterSearching)
                || self.queue.is_empty()
                || thread_refused && self.idle.is_empty()
            {
                return;
            }
        }
    }

    /// Starts workers until every task in flight has one, or there are as many as may be; from now on there are none besides.
    pub fn muster(self: &Arc<Self>) {
        self.counted.store(true, Ordering::Relaxed);
        while self.worker_count.is_below_capacity()
            && self.in_flight() > u64::from(self.worker_count.running())
            && matches!(self.spawn_worker(None, false), Spawn::Started)
        {}
    }

    /// As `wake`, but starts nobody.
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

    /// Calls a worker at rest, to look around or with the search token; `false`: none rests.
    pub fn call_resting(&self, call: Call) -> bool {
        while let Some(seat) = self.idle.pop(&self.seats) {
            if self.call(seat, call) {
                return true;
            }
        }
        false
    }

    /// Has a worker see to what the host has for it besides tasks, which is there before this call: one at rest is called, or one
    /// is started, since those at work may be so for long. They look before they rest, and as they leave. `false`: there is
    /// no worker.
    pub fn summon(self: &Arc<Self>) -> bool {
        // The errand is there; now look who rests, and whether anybody is there at all. A worker does the opposite.
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

    /// Gives back a seat that no worker uses any more.
    pub fn vacate(&self, seat: u32) {
        self.vacant
            .push(&self.seats, seat)
            .expect("the stack of vacant seats is never closed");
    }

    /// A seat for a worker. The caller holds the spawn lock.
    pub fn find_seat(&self) -> u32 {
        // Seats that expired workers left on top of the idle stack are as good as vacant. Should another thread be
        // faster, and the seat below with a worker at rest be popped instead, the worker looks around and rests again.
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

    /// Starts a worker, with a task of its own or to look for one, and with the search token or without. The caller holds no
    /// lock.
    pub fn spawn_worker(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<H::Task> {
        let spawn = self.start_worker(task, searching);
        if matches!(spawn, Spawn::Failed(..)) {
            // Those that are bound have lost the hope for another worker.
            self.deadlock_group.break_deadlock();
        }
        spawn
    }

    /// As `spawn_worker`, without telling anybody.
    pub fn start_worker(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<H::Task> {
        // Counted first, then the look whether anything is left to do; who waits for the pool to be gone looks whether
        // anything is left to do, then at the count.
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

    /// The system refused a thread: the expiry thread asks for it again after a pause, or else those who wait do.
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
            // Refused a moment ago, when this thread waited for the lock perhaps.
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
        // The task is handed over in a parcel that both sides can open, since a thread that does not start drops what
        // it was given.
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
                // Counted when it is there: a start that fails must not make anybody hope. It may have left by now, or wait; whoever
                // takes that for a deadlock passes the spawn lock before the last look.
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
    /// Starts a worker's thread, which was counted.
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

    /// The last that a worker does.
    fn leave_for_good(&self, exit: &Exit) {
        self.process.left.join_ended();
        self.process.left.put(&self.threads, exit);
        exit.leave();
        self.threads.leave();
        self.watch.notify();
    }

    /// A worker's thread that was counted is not started after all.
    fn uncount_thread(&self) {
        self.threads.take_back();
        self.watch.notify();
    }
}
