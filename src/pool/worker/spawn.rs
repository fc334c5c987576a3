//! How a worker is started: its seat, its thread, and what is done when the system refuses the thread.

use super::seat::Call;
use super::threads::Exit;
use crate::pool::deadlock::group::Member;
use crate::pool::host::{Host, Worker};
use crate::pool::shared::Core;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{Arc, Mutex, lock};
use std::io;
use std::sync::Weak;

/// The result of starting a worker, and what comes back if none was started: the task that it was to begin with.
pub enum Spawn<T> {
    Started,
    /// As many workers are alive as may be, or as are needed.
    NotNeeded(T),
    /// The system refused the thread.
    Failed(T, io::Error),
}

impl<T> Spawn<T> {
    pub fn is_started(&self) -> bool {
        matches!(self, Spawn::Started)
    }

    fn map<R>(self, task: impl FnOnce(T) -> R) -> Spawn<R> {
        match self {
            Spawn::Started => Spawn::Started,
            Spawn::NotNeeded(own) => Spawn::NotNeeded(task(own)),
            Spawn::Failed(own, error) => Spawn::Failed(task(own), error),
        }
    }
}

impl<H: Host> Core<H> {
    /// Starts a worker that begins with this task. The caller holds no lock.
    pub fn spawn_with(self: &Arc<Self>, task: H::Task) -> Spawn<H::Task> {
        self.spawn(Some(task), false)
            .map(|task| task.expect("it was given to this function"))
    }

    /// Starts a worker that looks for a task; `searching`: it gets the caller's search token. The caller holds no lock.
    pub fn spawn_looking(self: &Arc<Self>, searching: bool) -> Spawn<()> {
        self.spawn(None, searching).map(drop)
    }

    /// As `spawn_looking`, without the token and without checking for a deadlock.
    pub fn spawn_unchecked(self: &Arc<Self>) -> Spawn<()> {
        self.start_worker(None, false).map(drop)
    }

    fn spawn(self: &Arc<Self>, task: Option<H::Task>, searching: bool) -> Spawn<Option<H::Task>> {
        let spawn = self.start_worker(task, searching);
        if matches!(spawn, Spawn::Failed(..)) {
            // The blocked workers have no hope for another worker any more.
            self.deadlock_group.break_deadlock();
        }
        spawn
    }

    fn start_worker(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<Option<H::Task>> {
        // Counted first, then the check whether anything is left to do; a thread that waits for the pool to be gone
        // checks first whether anything is left to do, then the count.
        self.threads.add();
        let spawn = self.spawn_counted(task, searching);
        if !spawn.is_started() {
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

    fn spawn_counted(
        self: &Arc<Self>,
        task: Option<H::Task>,
        searching: bool,
    ) -> Spawn<Option<H::Task>> {
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
                super::run(core, &worker, &parcel, searching, arriving);
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

    /// Returns a seat that no worker uses any more.
    pub fn vacate(&self, seat: u32) {
        self.vacant
            .push(&self.seats, seat)
            .expect("the stack of vacant seats is never closed");
    }
}
