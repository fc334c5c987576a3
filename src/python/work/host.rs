//! CPython as the pool's host: everything that CPython demands of a thread that calls it. What others hold of a pool is
//! in handles.rs.

use super::asyncio::AsyncCall;
use super::future::{Future, Start};
use super::task::Task;
use crate::pool::internal::Remains;
use crate::pool::internal::sync::lock;
use crate::pool::{Error, Host, Outcome, Worker};
use crate::python::interpreter::call::{self, Guarded};
use crate::python::interpreter::exc_info::{unraisable, with_traceback};
use crate::python::interpreter::gil::{self, Member};
use crate::python::interpreter::threading::{self, Roll};
use crate::python::interpreter::turns::Turns;
use crate::python::interpreter::wait::{Wakeups, ring};
use crate::python::interpreter::{contextvars, fork_count, fork_guard};
use crate::python::values::arguments::{Call, is_python_function};
use crate::python::values::hooks::{Hooks, INITIALIZER};
use crate::python::values::reporter::Report;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A pool's view of CPython.
pub struct PyHost {
    /// Shared with whatever may have to report an exception after the pool is gone.
    pub hooks: Arc<Hooks>,
    pool_name: String,
    /// Whether the interpreter exits without waiting for the pool's tasks.
    pub is_daemon: bool,
    /// The process, counted by forks, in which the pool was created.
    generation: u64,
    /// The worker threads registered with Python.
    pub roll: Roll,
    reports: Reports,
    /// The object that owns the pool, and the pool: set while it has yet to finish and nothing else keeps it alive.
    kept: Mutex<Option<(Py<PyAny>, Remains<PyHost>)>>,
}

/// Exceptions for a worker to report between its tasks.
#[derive(Default)]
struct Reports {
    waiting: Mutex<Vec<Report>>,
    are_some: AtomicBool,
}

impl PyHost {
    pub fn new(hooks: Hooks, pool_name: String, is_daemon: bool) -> Self {
        PyHost {
            hooks: Arc::new(hooks),
            pool_name,
            is_daemon,
            generation: fork_count::generation(),
            roll: Roll::default(),
            reports: Reports::default(),
            kept: Mutex::default(),
        }
    }

    /// Keeps the object that owns the pool until the last worker leaves.
    pub fn keep(&self, object: Py<PyAny>, pool: Remains<PyHost>) {
        let before = lock(&self.kept).replace((object, pool));
        drop(before);
    }

    /// Drops the kept pool if it has no workers any more. A worker calls this when it is no longer counted.
    pub fn let_go_as_the_last(&self) {
        let let_go = lock(&self.kept).take_if(|(_, pool)| pool.running() == 0);
        drop(let_go);
    }

    /// Leaves a report for a worker; the caller then summons one.
    pub(super) fn leave_report(&self, report: Report) {
        lock(&self.reports.waiting).push(report);
        self.reports.are_some.store(true, Ordering::Relaxed);
    }

    fn take_reports(&self) -> Vec<Report> {
        let mut waiting = lock(&self.reports.waiting);
        self.reports.are_some.store(false, Ordering::Relaxed);
        std::mem::take(&mut waiting)
    }

    /// Logs the reports that were left, where no worker will come for them.
    pub(super) fn log_reports(&self, py: Python<'_>) {
        for report in self.take_reports() {
            report.log(py, &self.hooks);
        }
    }

    /// Makes the pending reports; called by a worker between its tasks and after the last.
    fn see_to_reports(&self, py: Python<'_>) {
        if self.has_errand() {
            for report in self.take_reports() {
                report.tell(py, &self.hooks);
            }
        }
    }

    /// Whether the pool was created in this process, rather than in one from which it was forked.
    fn is_ours(&self) -> bool {
        self.generation == fork_count::generation()
    }

    /// Calls the initializer; `false`: it failed.
    fn set_up(&self, py: Python<'_>) -> bool {
        let Some((initializer, args)) = self.hooks.initializer(py) else {
            // Where the collector cleared the initializer, a worker must not work without it.
            return !self.hooks.has_initializer;
        };
        match initializer.guarded_call1(args) {
            Ok(_) => {
                self.hooks.set_failure(None);
                true
            }
            Err(raised) => {
                let failure = with_traceback(py, &raised).into_any().unbind();
                self.hooks.set_failure(Some(failure));
                self.hooks.report(py, &initializer, raised, INITIALIZER);
                false
            }
        }
    }

    /// Runs a call whose result is not wanted.
    fn run_call(&self, attached: &mut Attached<'_>, call: Call) -> Outcome<Task> {
        let py = attached.py;
        let (func, result) = call.call(py);
        let outcome = match result {
            Ok(_) => Outcome::Completed,
            Err(raised) => {
                self.hooks.report(py, &func, raised, "task");
                Outcome::Failed
            }
        };
        attached.let_others_in(&func);
        outcome
    }

    /// At the interpreter's exit: tells the log, and the threads that wait for these queued tasks, that they will not
    /// run.
    pub(super) fn dropped_at_exit(&self, py: Python<'_>, tasks: Vec<Task>) {
        let count = tasks.len();
        let mut wakeups = Wakeups::default();
        for task in tasks {
            task.cancel(py, &mut wakeups);
        }
        ring(py, wakeups);
        let message = "%s: the interpreter exits, %d accepted tasks are cancelled";
        self.log_cancelled(py, "warning", message, count);
    }

    fn log_cancelled(&self, py: Python<'_>, level: &str, message: &str, count: usize) {
        if count == 0 {
            return;
        }
        let logged = self
            .hooks
            .logger(py)
            .and_then(|logger| logger.guarded_method1(level, (message, &self.pool_name, count)));
        unraisable(py, logged);
    }
}

/// A worker thread while it is attached.
pub struct Attached<'py> {
    py: Python<'py>,
    turns: Turns,
    /// Threads to wake as soon as the worker detaches, and before it takes up another task.
    wakeups: Wakeups,
}

impl Attached<'_> {
    fn ring(&mut self) {
        ring(self.py, std::mem::take(&mut self.wakeups));
    }

    /// After a call of `func`: lets other threads run if it is time.
    fn let_others_in(&mut self, func: &Bound<'_, PyAny>) {
        let native = !is_python_function(func);
        self.turns.let_others_in(self.py, native, &mut self.wakeups);
    }

    /// Runs a call whose result goes to a future.
    fn run_for_future(&mut self, call: Call, future: Py<Future>) -> Outcome<Task> {
        let future = future.into_bound(self.py);
        if let Start::Cancelled(wakeups) = Future::start(&future) {
            drop(call);
            self.wakeups.append(wakeups);
            return Outcome::Cancelled;
        }
        let (func, result) = call.call(self.py);
        let outcome = if result.is_ok() {
            Outcome::Completed
        } else {
            Outcome::Failed
        };
        let wakeups = Future::finish(&future, result);
        self.wakeups.append(wakeups);
        self.let_others_in(&func);
        outcome
    }
}

impl Host for PyHost {
    type Task = Task;
    type Context<'a> = Attached<'a>;

    fn live(&self, worker: &Worker, body: impl FnOnce(&mut Attached<'_>)) {
        let (member, gate) = Member::join();
        let arrival = fork_guard::arrive();
        // Dropped when the thread has left the interpreter for good.
        let mut _departure = None;
        call::attach(|py| {
            drop(gate);
            gil::taken();
            unraisable(py, threading::set_up(py, worker, self.is_daemon));
            self.roll.arrive();
            drop(arrival);
            let mut is_set_up = false;
            let body = || {
                is_set_up = self.set_up(py);
                if is_set_up {
                    let mut attached = Attached {
                        py,
                        turns: Turns::new(py, member),
                        wakeups: Wakeups::default(),
                    };
                    body(&mut attached);
                    // The last task may have ended another thread's wait.
                    if self.is_ours() {
                        attached.ring();
                    }
                }
            };
            match self.hooks.new_context(py) {
                Some(context) => contextvars::run_in(&context, body),
                None => body(),
            }
            if self.is_ours() {
                self.see_to_reports(py);
                if is_set_up {
                    self.let_go_as_the_last();
                }
            }
            if !self.is_ours() {
                // A task has forked, and this is the child. The worker is its main thread and ends as that would: if
                // only the thread ended, idle workers of the child would keep the process.
                unraisable(py, threading::end_child(py));
            }
            _departure = Some(fork_guard::leave(py));
            self.roll.depart();
            unraisable(py, threading::tear_down(py));
        });
    }

    fn lost(&self) {
        let is_last = || {
            lock(&self.kept)
                .as_ref()
                .is_some_and(|(_, pool)| pool.running() == 0)
        };
        if !self.is_ours() || !is_last() {
            return;
        }
        // Seldom: a pool that is garbage, whose last worker could not be set up. Its thread has left Python already.
        let arrival = fork_guard::arrive();
        let mut _departure = None;
        call::attach(|py| {
            drop(arrival);
            self.let_go_as_the_last();
            _departure = Some(fork_guard::leave(py));
        });
    }

    fn run(&self, attached: &mut Attached<'_>, task: Task) -> Outcome<Task> {
        attached.ring();
        match task {
            Task::Call(call) => self.run_call(attached, call),
            Task::Future(call, future) => attached.run_for_future(call, future),
            Task::Async(call) => {
                let (turns, wakeups) = (&mut attached.turns, &mut attached.wakeups);
                AsyncCall::run(attached.py, &self.hooks, call, turns, wakeups)
            }
            Task::Map(map_task) => {
                match map_task.work(attached.py, &mut attached.turns, &mut attached.wakeups) {
                    Outcome::Unfinished(map_task) => Outcome::Unfinished(Task::Map(map_task)),
                    _ => Outcome::Completed,
                }
            }
        }
    }

    fn idle<R>(&self, attached: &mut Attached<'_>, wait: impl FnOnce() -> R) -> R {
        let wakeups = std::mem::take(&mut attached.wakeups);
        attached.turns.rest(attached.py, || {
            wakeups.ring();
            wait()
        })
    }

    fn see_to_errands(&self, attached: &mut Attached<'_>) {
        attached.ring();
        self.see_to_reports(attached.py);
    }

    #[inline]
    fn has_errand(&self) -> bool {
        // Relaxed: the core's fences make sure that a worker sees it in the end; see `Core::summon`.
        self.reports.are_some.load(Ordering::Relaxed)
    }

    #[cfg(not(Py_GIL_DISABLED))]
    fn parallelism(&self) -> u32 {
        1
    }

    fn spin_before_resuming(&self, changes: impl Fn() -> u64) {
        gil::spin_before_resuming(changes);
    }

    fn has_slow_start(&self) -> bool {
        self.hooks.has_initializer
    }

    fn retries_start(&self) -> bool {
        self.hooks.retry_initializer
    }

    fn is_stranded(&self) -> bool {
        !self.is_ours()
    }

    fn cancelled(&self, tasks: Vec<Task>) {
        let mut tasks = Some(tasks);
        call::aside(|py| {
            let tasks = tasks.take().unwrap_or_default();
            let is_call = |task: &&Task| matches!(task, Task::Call(_));
            // Those who wait for the other tasks are told.
            let calls = tasks.iter().filter(is_call).count();
            let mut wakeups = Wakeups::default();
            for task in tasks {
                task.fail(py, &self.hooks, &mut wakeups);
            }
            ring(py, wakeups);
            let message = "%s: a worker could not be set up, %d accepted tasks are cancelled";
            self.log_cancelled(py, "error", message, calls);
        });
        // Without an interpreter its objects cannot be dropped, so they are leaked.
        std::mem::forget(tasks);
    }

    fn refused(&self, task: Task, error: Error) {
        let mut task = Some(task);
        call::aside(|py| {
            if let Some(task) = task.take() {
                // May drop the last reference to a pool, which closes it.
                task.refuse(py, error);
            }
        });
        std::mem::forget(task);
    }
}

impl Drop for PyHost {
    fn drop(&mut self) {
        let hooks = std::mem::take(&mut self.hooks);
        if self.is_ours() && self.has_errand() {
            let mut reports = Some(self.take_reports());
            call::aside(|py| {
                for report in reports.take().into_iter().flatten() {
                    report.log(py, &hooks);
                }
            });
            std::mem::forget(reports);
        }
        let objects = hooks.retire();
        call::drop_attached((objects, hooks));
    }
}
