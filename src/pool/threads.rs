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

/// See the module's description.
pub struct Threads {
    /// Those that are not joined. A thread is counted before it is started.
    count: AtomicUsize,
    /// How many of them are in `leaving`, whose lock is held while it changes.
    left: AtomicUsize,
    /// Those that have left, and are to be joined.
    leaving: Mutex<VecDeque<Exit>>,
}

impl Threads {
    pub fn new() -> Self {
        Threads {
            count: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            leaving: Mutex::new(VecDeque::new()),
        }
    }

    /// There are none, nor traces of any.
    pub fn are_gone(&self) -> bool {
        self.count() == 0
    }

    /// All have left; some may still have to be joined.
    pub fn have_left(&self) -> bool {
        self.left.load(Ordering::SeqCst) == self.count()
    }

    /// Those that are not joined.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Those that have left and are not joined may be joined by later ones from this number on.
    const CROWD: usize = 16;

    fn take(&self) -> Option<Exit> {
        let mut leaving = lock(&self.leaving);
        let exit = leaving.pop_front()?;
        self.left.fetch_sub(1, Ordering::SeqCst);
        Some(exit)
    }
}

impl<H: Host> Core<H> {
    /// Counts a thread that is about to be started.
    pub fn count_thread(&self) {
        self.threads.count.fetch_add(1, Ordering::SeqCst);
    }

    /// A thread that was counted is joined, or was not started.
    pub fn uncount_thread(&self) {
        self.threads.count.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }

    /// Starts a thread that was counted.
    pub fn start_thread(
        self: &Arc<Self>,
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
            core.leave_for_good(own);
        })?);
        Ok(())
    }

    /// The last that a thread does.
    fn leave_for_good(&self, exit: Exit) {
        if self.threads.left.load(Ordering::Relaxed) >= Threads::CROWD {
            // More than one, or there would never be fewer.
            self.join_some(2);
        }
        {
            let mut leaving = lock(&self.threads.leaving);
            leaving.push_back(exit.clone());
            self.threads.left.fetch_add(1, Ordering::SeqCst);
        }
        exit.leave();
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
            self.uncount_thread();
        }
    }
}
