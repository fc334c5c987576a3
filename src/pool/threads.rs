//! The threads of a pool, from just before they are started until the operating system has ended them.
//!
//! A thread is gone when it is joined: then its stack is free, and a fork finds no trace of it. It is joined by those who
//! wait for the pool to be gone, and otherwise by the expiry thread as it makes its rounds and by threads that leave
//! later, so that few ended threads ever wait to be joined.

use super::core::Core;
use super::error::Error;
use super::host::Host;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::{Arc, Mutex, Patience, lock, thread};
use super::watch::Watch;
use std::collections::VecDeque;
use std::io;

/// The end of a thread, for those who wait for it.
#[derive(Clone)]
pub struct Exit(Arc<Door>);

struct Door {
    /// The thread has nothing left to do but to end.
    left: AtomicBool,
    watch: Watch,
    /// Taken by whoever joins the thread, and held until it has ended. The thread itself never locks it.
    handle: Mutex<Option<thread::JoinHandle>>,
}

impl Exit {
    fn new() -> Self {
        Exit(Arc::new(Door {
            left: AtomicBool::new(false),
            watch: Watch::new(),
            handle: Mutex::new(None),
        }))
    }

    /// The thread has nothing left to do but to end.
    pub fn has_left(&self) -> bool {
        self.0.left.load(Ordering::Acquire)
    }

    /// Waits until the thread has ended.
    pub fn wait(&self, patience: &mut Patience<'_>) -> Result<(), Error> {
        self.0.watch.wait_until(|| self.has_left(), patience)?;
        self.join();
        Ok(())
    }

    fn leave(&self) {
        self.0.left.store(true, Ordering::Release);
        self.0.watch.notify();
    }

    /// Joins the thread, which has left: it takes but a moment.
    fn join(&self) {
        let mut handle = lock(&self.0.handle);
        if let Some(handle) = handle.take() {
            handle.join();
        }
    }
}

impl PartialEq for Exit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Exit {}

impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exit")
            .field("has_left", &self.has_left())
            .finish()
    }
}

/// What a thread is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Worker,
    Expiry,
}

/// See the module's description.
pub struct Threads {
    /// All that are not joined. A thread is counted before it is started.
    count: AtomicUsize,
    /// The workers that have not left. Unlike `crew.running` it counts them until they have nothing left to do but to end.
    workers: AtomicUsize,
    /// Those that have left, and are to be joined.
    leaving: Mutex<VecDeque<Exit>>,
    /// How many these are. Changed under the lock only.
    left: AtomicUsize,
}

impl Threads {
    pub fn new() -> Self {
        Threads {
            count: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
            leaving: Mutex::new(VecDeque::new()),
            left: AtomicUsize::new(0),
        }
    }

    /// All that are not joined.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// The workers that have not left.
    pub fn workers(&self) -> usize {
        self.workers.load(Ordering::SeqCst)
    }

    /// Some are to be joined.
    pub fn are_leaving(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }

    fn take(&self) -> Option<Exit> {
        let mut leaving = lock(&self.leaving);
        let exit = leaving.pop_front()?;
        self.left.fetch_sub(1, Ordering::SeqCst);
        Some(exit)
    }
}

/// Where so many are to be joined, those who leave later do it.
const CROWD: usize = 16;

impl<H: Host> Core<H> {
    /// Counts a thread that is about to be started.
    pub fn count_thread(&self, role: Role) {
        self.threads.count.fetch_add(1, Ordering::SeqCst);
        if role == Role::Worker {
            self.threads.workers.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A thread that was counted is not started after all.
    pub fn uncount_thread(&self, role: Role) {
        if role == Role::Worker {
            self.threads.workers.fetch_sub(1, Ordering::SeqCst);
        }
        self.threads.count.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }

    /// Starts a thread that was counted.
    pub fn start_thread(
        self: &Arc<Self>,
        role: Role,
        name: String,
        stack_size: Option<usize>,
        body: impl FnOnce(&Arc<Self>, &Exit) + Send + 'static,
    ) -> io::Result<()> {
        let exit = Exit::new();
        // Locked until the handle is there: whoever joins the thread may come before.
        let mut handle = lock(&exit.0.handle);
        let (core, own) = (Arc::clone(self), exit.clone());
        *handle = Some(thread::spawn(name, stack_size, move || {
            body(&core, &own);
            if core.host.is_stranded() {
                std::mem::forget((core, own));
                return;
            }
            core.leave_for_good(role, own);
        })?);
        Ok(())
    }

    /// The last that a thread does.
    fn leave_for_good(&self, role: Role, exit: Exit) {
        if self.threads.left.load(Ordering::Relaxed) >= CROWD {
            // More than one, or there would never be fewer.
            self.join_some(2);
        }
        {
            let mut leaving = lock(&self.threads.leaving);
            leaving.push_back(exit.clone());
            self.threads.left.fetch_add(1, Ordering::SeqCst);
        }
        exit.leave();
        if role == Role::Worker {
            self.threads.workers.fetch_sub(1, Ordering::SeqCst);
        }
        self.watch.notify();
    }

    /// Joins at most so many of the threads that have left, those first that left first. The caller holds no lock and
    /// nothing that a thread may want as it ends.
    pub fn join_some(&self, most: usize) {
        for _ in 0..most {
            let Some(exit) = self.threads.take() else {
                return;
            };
            exit.join();
            self.threads.count.fetch_sub(1, Ordering::SeqCst);
            self.watch.notify();
        }
    }
}
