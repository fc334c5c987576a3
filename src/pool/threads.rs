//! The threads of a pool, from just before they are started until the operating system has ended them.
//!
//! A thread is gone when it is joined: then its stack is free, and a fork finds no trace of it. It is joined by those who
//! wait for its pool to be gone, and otherwise by threads, of any pool, that leave later and find that it has ended: so few
//! ended threads ever wait to be joined, and no thread waits for another's last deeds.

use super::error::Error;
use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use super::sync::thread::kernel;
use super::sync::{Arc, Mutex, WaitLimit, lock, thread, thread_local};
use super::watch::Watch;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::OnceLock;

/// The end of a thread, for those who wait for it.
#[derive(Clone)]
pub struct Exit(Arc<Door>);

struct Door {
    /// The kernel's number of the thread, which the thread notes first of all.
    id: OnceLock<kernel::Id>,
    /// The thread has nothing left to do but to end.
    left: AtomicBool,
    watch: Watch,
    /// Taken by whoever joins the thread, and held until it has ended. The thread itself never locks it.
    handle: Mutex<Option<thread::JoinHandle>>,
}

impl Exit {
    /// Starts a thread.
    pub fn start(
        name: String,
        stack_size: Option<usize>,
        body: impl FnOnce(&Exit) + Send + 'static,
    ) -> io::Result<Exit> {
        let exit = Exit(Arc::new(Door {
            id: OnceLock::new(),
            left: AtomicBool::new(false),
            watch: Watch::new(),
            handle: Mutex::new(None),
        }));
        // Locked until the handle is there: whoever joins the thread may come before.
        let mut handle = lock(&exit.0.handle);
        let own = exit.clone();
        *handle = Some(thread::spawn(name, stack_size, move || {
            let _ = own.0.id.set(kernel::id());
            body(&own);
        })?);
        drop(handle);
        Ok(exit)
    }

    /// The thread has nothing left to do but to end.
    pub fn has_left(&self) -> bool {
        self.0.left.load(Ordering::Acquire)
    }

    /// Waits until the thread has ended.
    pub fn wait(&self, wait_limit: &mut WaitLimit<'_>) -> Result<(), Error> {
        self.0.watch.wait_until(|| self.has_left(), wait_limit)?;
        self.join();
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.0.left.store(true, Ordering::Release);
        self.0.watch.notify();
    }

    fn kernel_id(&self) -> kernel::Id {
        self.0.id.get().copied().flatten()
    }

    /// Joins the thread, which has nothing left to do but to end.
    pub fn join(&self) {
        let mut handle = lock(&self.0.handle);
        if let Some(handle) = handle.take() {
            handle.join();
            kernel::wait_ended(self.kernel_id());
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

thread_local! {
    /// The `Threads` that this thread is of; 0: it is of none. (Nothing is dropped with it: it can be read for as long as the
    /// thread runs, from other thread-locals' destructors too.)
    #[allow(clippy::missing_const_for_thread_local)] // The model checkers' macros know no `const`.
    static HOME: Cell<usize> = Cell::new(0);
}

/// The threads of a pool: its workers.
#[derive(Default)]
pub struct Threads {
    /// All that are not joined. A thread is counted before it is started.
    count: AtomicUsize,
    /// Those that have not left. Unlike `worker_count.running` it counts them until they have nothing left to do but to end.
    present: AtomicUsize,
    /// Those that have left and nobody joins yet. Changed under the lock of `Left` only.
    left: AtomicUsize,
    /// For those who wait until all are joined.
    watch: Watch,
}

impl Threads {
    /// This thread is one of them from now on.
    pub fn move_in(self: &Arc<Self>) {
        HOME.with(|home| home.set(self.address()));
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    /// This thread is one of them.
    pub fn is_home(self: &Arc<Self>) -> bool {
        HOME.with(Cell::get) == self.address()
    }

    /// All that are not joined.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Those that have not left.
    pub fn present(&self) -> usize {
        self.present.load(Ordering::SeqCst)
    }

    /// Counts one that is about to be started.
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.present.fetch_add(1, Ordering::SeqCst);
    }

    /// One of them has nothing left to do but to end.
    pub fn leave(&self) {
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }

    /// One that was counted is not started after all.
    pub fn take_back(&self) {
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }
}

/// The threads of a process that have left and are to be joined, those first that left first.
#[derive(Default)]
pub struct Left(Mutex<VecDeque<(Arc<Threads>, Exit)>>);

impl Left {
    pub fn put(&self, threads: &Arc<Threads>, exit: &Exit) {
        let mut left = lock(&self.0);
        left.push_back((Arc::clone(threads), exit.clone()));
        threads.left.fetch_add(1, Ordering::SeqCst);
    }

    /// Joins the first of those that may be joined, so far down the list; whether there was one. The caller holds no lock
    /// and nothing that a thread may want as it ends.
    fn join_one(
        &self,
        depth: usize,
        mut may_join: impl FnMut(&Arc<Threads>, &Exit) -> bool,
    ) -> bool {
        let found = {
            let mut left = lock(&self.0);
            let place =
                (left.iter().take(depth)).position(|(threads, exit)| may_join(threads, exit));
            let found = place.and_then(|place| left.remove(place));
            if let Some((threads, _)) = &found {
                threads.left.fetch_sub(1, Ordering::SeqCst);
            }
            found
        };
        let Some((threads, exit)) = found else {
            return false;
        };
        exit.join();
        threads.count.fetch_sub(1, Ordering::SeqCst);
        threads.watch.notify();
        true
    }

    /// Joins two threads that have ended, if there are any among the first: one would leave as many as there are.
    pub fn join_ended(&self) {
        for _ in 0..2 {
            // Where the system does not tell, the first of a crowd will have.
            let is_crowd = lock(&self.0).len() > CROWD;
            if !self.join_one(CROWD, |_, exit| {
                kernel::has_ended(exit.kernel_id()).unwrap_or(is_crowd)
            }) {
                return;
            }
        }
    }

    /// Joins all threads of a pool, who have left or are about to, as long as `is_closed`: a pool that is opened again keeps
    /// what it has then.
    pub fn join_all(&self, threads: &Arc<Threads>, is_closed: impl Fn() -> bool) {
        loop {
            while self.join_one(usize::MAX, |other, _| Arc::ptr_eq(other, threads)) {}
            if threads.count() == 0 || !is_closed() {
                return;
            }
            // Others join the rest: each has but to end.
            let _ = threads.watch.wait_until(
                || threads.count() == 0 || threads.left.load(Ordering::SeqCst) > 0 || !is_closed(),
                &mut WaitLimit::new(None),
            );
        }
    }
}

/// How many threads are looked at for some that have ended.
const CROWD: usize = 16;
