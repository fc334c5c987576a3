//! The threads of a pool, from just before they are started until the operating system has ended them.
//!
//! A thread is gone when it is joined: then its stack is free, and a fork finds no trace of it. It is joined by a
//! thread that waits for its pool to be gone, or else by a worker, of any pool, that leaves later and finds that it has
//! ended. So few ended threads ever wait to be joined, and no thread waits for another's destructors.

use crate::pool::error::Error;
use crate::pool::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::pool::sync::thread::kernel;
use crate::pool::sync::watch::Watch;
use crate::pool::sync::{Arc, Mutex, WaitLimit, lock, thread, thread_local};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::OnceLock;

/// The end of a thread, to be waited for.
#[derive(Clone)]
pub struct Exit(Arc<Door>);

struct Door {
    /// The kernel's id of the thread, which the thread stores first of all.
    id: OnceLock<kernel::Id>,
    /// The thread does nothing more but end.
    left: AtomicBool,
    watch: Watch,
    /// Locked by the thread that joins this one until it has ended. The thread itself never locks it.
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
        // Locked until the handle is there: another thread may want to join this one before.
        let mut handle = lock(&exit.0.handle);
        let own = exit.clone();
        *handle = Some(thread::spawn(name, stack_size, move || {
            let _ = own.0.id.set(kernel::id());
            body(&own);
        })?);
        drop(handle);
        Ok(exit)
    }

    /// The thread does nothing more but end.
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

    /// Joins the thread, which does nothing more but end.
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
    /// The `Threads` to which this thread belongs; 0: none. (Needs no drop: it can be read while the thread runs, also
    /// from destructors of other thread-locals.)
    #[allow(clippy::missing_const_for_thread_local)] // The model checkers' macros know no `const`.
    static HOME: Cell<usize> = Cell::new(0);
}

/// The threads of a pool: its workers.
#[derive(Default)]
pub struct Threads {
    /// All that are not joined. A thread is counted before it is started.
    count: AtomicUsize,
    /// Those that have not left: unlike `worker_count.running`, it counts a worker until it does nothing more but end.
    present: AtomicUsize,
    /// Those that have left and that nobody joins yet. Changed only under the lock of `Left`.
    left: AtomicUsize,
    /// For threads that wait until all are joined, or the pool is open again.
    pub watch: Watch,
}

impl Threads {
    /// Makes this thread one of them.
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

    /// Counts a thread about to be started.
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.present.fetch_add(1, Ordering::SeqCst);
    }

    /// One of them does nothing more but end.
    pub fn leave(&self) {
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }

    /// The pool is open again: nobody waits for its threads any longer.
    pub fn opened(&self) {
        self.watch.notify();
    }

    /// A thread that was counted is not started after all.
    pub fn take_back(&self) {
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.watch.notify();
    }
}

/// The threads of a process that have left and must be joined, in the order in which they left.
#[derive(Default)]
pub struct Left(Mutex<VecDeque<(Arc<Threads>, Exit)>>);

impl Left {
    pub fn put(&self, threads: &Arc<Threads>, exit: &Exit) {
        let mut left = lock(&self.0);
        left.push_back((Arc::clone(threads), exit.clone()));
        threads.left.fetch_add(1, Ordering::SeqCst);
    }

    /// Joins the first that may be joined among the first `depth`; returns whether there was one. The caller holds no
    /// lock, and nothing that a thread may need in order to end.
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

    /// Joins two of the first threads that have ended, if there are any: joining one would not reduce their number.
    pub fn join_ended(&self) {
        for _ in 0..2 {
            // If the system cannot tell which have ended, the first of a crowd will have.
            let is_crowd = lock(&self.0).len() > CROWD;
            if !self.join_one(CROWD, |_, exit| {
                kernel::has_ended(exit.kernel_id()).unwrap_or(is_crowd)
            }) {
                return;
            }
        }
    }

    /// Joins all threads of a pool, which have left or are about to, while `is_closed`: a pool that is opened again
    /// keeps those it has then.
    pub fn join_all(&self, threads: &Arc<Threads>, is_closed: impl Fn() -> bool) {
        loop {
            while self.join_one(usize::MAX, |other, _| Arc::ptr_eq(other, threads)) {}
            if threads.count() == 0 || !is_closed() {
                return;
            }
            // Others join the rest: each is about to end.
            let _ = threads.watch.wait_until(
                || threads.count() == 0 || threads.left.load(Ordering::SeqCst) > 0 || !is_closed(),
                &mut WaitLimit::new(None),
            );
        }
    }
}

/// How many threads are checked for some that have ended.
const CROWD: usize = 16;
