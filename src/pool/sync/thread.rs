//! Starts threads, and tells when the system has ended them.

use crate::pool::faults;
use std::io;

#[cfg(loom)]
use loom::thread as threads;
#[cfg(shuttle)]
use shuttle::thread as threads;
#[cfg(not(any(loom, shuttle)))]
use std::thread as threads;

/// A handle that joins a thread.
pub struct JoinHandle(threads::JoinHandle<()>);

impl JoinHandle {
    /// Waits until the thread has ended.
    pub fn join(self) {
        if let Err(payload) = self.0.join() {
            super::drop_payload(payload);
        }
    }
}

/// On Linux a join returns a moment before the kernel removes the thread from the process, by which CPython judges
/// whether a process that forks has threads.
pub mod kernel {
    #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
    use std::path::Path;
    use std::time::{Duration, Instant};

    /// The kernel's id of a thread; `None` if the kernel cannot be asked.
    pub type Id = Option<i32>;

    /// The kernel's id of this thread.
    pub fn id() -> Id {
        #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
        {
            let own = std::fs::read_link("/proc/thread-self").ok()?;
            own.file_name()?.to_str()?.parse().ok()
        }
        #[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
        None
    }

    /// The process has no thread of that id any more; `None`: the kernel cannot be asked.
    pub fn has_ended(id: Id) -> Option<bool> {
        #[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
        return id.map(|id| !Path::new(&format!("/proc/self/task/{id}")).exists());
        #[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
        id.map(|_| true)
    }

    /// Waits until the process has no thread of that id. If the id has been given to another thread already, the
    /// wait ends nevertheless.
    pub fn wait_ended(id: Id) {
        const LIMIT: Duration = Duration::from_millis(50);
        let start = Instant::now();
        while has_ended(id) == Some(false) && start.elapsed() < LIMIT {
            std::thread::yield_now();
        }
    }
}

/// Starts a thread. The error is the operating system's.
#[cfg(not(any(loom, shuttle)))]
pub fn spawn(
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle> {
    faults::spawn_fails()?;
    let mut builder = std::thread::Builder::new().name(name);
    if let Some(bytes) = stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(body).map(JoinHandle)
}

/// The model checker's threads have neither names nor stack sizes.
#[cfg(any(loom, shuttle))]
pub fn spawn(
    _name: String,
    _stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle> {
    faults::spawn_fails()?;
    Ok(JoinHandle(threads::spawn(body)))
}

/// Sleeps for about that long. In a model, where no time passes, other threads go first.
pub fn doze(duration: std::time::Duration) {
    #[cfg(not(any(loom, shuttle)))]
    std::thread::sleep(duration);
    #[cfg(any(loom, shuttle))]
    super::standins::pass(duration);
}

pub use threads::yield_now;
