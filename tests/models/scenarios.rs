//! The scenarios of the models: a pool of one or two workers, one or two submitters, and something that interferes.
//!
//! loom runs each in every interleaving up to a number of preemptions, or shuttle in many random ones. A model fails if
//! a thread sleeps for ever, if a task runs twice or not at all, or if too many run at once.

use super::ledger::{Books, Ledger, Start, Task, options};
use pyants::pool::internal::ResultWait;
use pyants::pool::internal::faults::fail_spawns;
use pyants::pool::internal::sync::{AdaptiveSpin, Condvar, Mutex, WaitLimit, lock, wait};
use pyants::pool::{Error, MultiPool, Strategy, SubmitError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[cfg(loom)]
use loom::thread::{JoinHandle, spawn, yield_now};
#[cfg(shuttle)]
use shuttle::thread::{JoinHandle, spawn, yield_now};

/// Any number of tasks may wait for a worker.
const QUEUE: Option<u64> = None;
/// Every task has a worker of its own.
const HAND_OFF: Option<u64> = Some(0);

/// Runs `body` in a thread of the model.
fn beside(pool: &Books, body: impl FnOnce(&Books) + Send + 'static) -> JoinHandle<()> {
    let pool = pool.clone();
    spawn(move || body(&pool))
}

/// A submit succeeded, or failed as expected.
trait IsOkOr {
    fn is_ok_or(&self, expected: impl Fn(&Error) -> bool) -> bool;
}

impl IsOkOr for Result<(), SubmitError<Task>> {
    fn is_ok_or(&self, expected: impl Fn(&Error) -> bool) -> bool {
        self.as_ref()
            .err()
            .is_none_or(|refusal| expected(&refusal.error))
    }
}

fn end(thread: JoinHandle<()>) {
    thread.join().expect("the thread ends well");
}

/// Waits for something that other threads bring about without notifying anybody.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now();
    }
}

/// A task that waits for another one: only two workers get both done.
struct Gate {
    open: Mutex<bool>,
    condvar: Condvar,
}

/// The waiting task, and the one for which it waits.
fn gate() -> (impl FnOnce() + Send, impl FnOnce() + Send) {
    let gate = Arc::new(Gate {
        open: Mutex::new(false),
        condvar: Condvar::new(),
    });
    let other = Arc::clone(&gate);
    let pass = move || {
        let mut open = lock(&gate.open);
        while !*open {
            open = wait(&gate.condvar, open, None);
        }
    };
    let open = move || {
        *lock(&other.open) = true;
        other.condvar.notify_all();
    };
    (pass, open)
}

/// Two tasks that each wait until the other has begun.
fn meeting() -> [Box<dyn FnOnce() + Send>; 2] {
    let ((pass, open), (other_pass, other_open)) = (gate(), gate());
    [
        Box::new(move || {
            open();
            other_pass();
        }),
        Box::new(move || {
            other_open();
            pass();
        }),
    ]
}

/// The second task is put into the queue while the worker goes to rest.
pub fn submit_against_park() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    pool.put(1);
    pool.drain();
}

/// Two submitters, which may each trust the other's search for a worker.
pub fn two_submits_against_park() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    let other = beside(&pool, |pool| pool.put(1));
    pool.put(2);
    end(other);
    pool.drain();
}

/// As above, with a second worker that may be started.
pub fn two_workers_park() {
    let pool = Books::open(options(2, QUEUE), 2);
    let other = beside(&pool, |pool| pool.put(0));
    pool.put(1);
    end(other);
    pool.drain();
}

/// A queue of one place, for which the submitter waits.
pub fn bounded_queue() {
    let pool = Books::open(options(1, Some(1)), 1);
    pool.put(0);
    pool.put(1);
    pool.put(2);
    pool.drain();
}

/// The same with two submitters, each of which may read too low a count of ended tasks while the other enters.
pub fn bounded_queue_of_two_submitters() {
    let pool = Books::open(options(1, Some(1)), 1);
    let other = beside(&pool, |pool| {
        pool.put(0);
        pool.put(1);
    });
    pool.put(2);
    end(other);
    pool.drain();
}

/// The submitter waits for the only worker.
pub fn blocked_submit_against_finish() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    pool.put(1);
}

/// Two submitters wait for the only worker.
pub fn blocked_submits_against_finish() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    let other = beside(&pool, |pool| pool.put(0));
    pool.put(1);
    end(other);
}

/// One submitter waits for one of two workers.
pub fn blocked_submit_against_two() {
    let pool = Books::open(options(2, HAND_OFF), 2);
    pool.put(0);
    pool.put(1);
    pool.put(2);
}

/// A submitter that does not wait is refused or served, and no other submitter waits for ever because of it.
pub fn try_submit_against_blocked_submit() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let other = beside(&pool, |pool| pool.put(1));
    let offered = pool.offer_once(2).map_err(|refusal| refusal.error);
    assert!(matches!(offered, Ok(()) | Err(Error::Overload { .. })));
    end(other);
}

/// The worker is told to leave while a task is on its way to it.
fn expire_during_submit(queue_size: Option<u64>) {
    let pool = Books::open(options(1, queue_size), 1);
    pool.put(0);
    let expiry = beside(&pool, |pool| pool.expire_all());
    pool.put(1);
    pool.drain();
    end(expiry);
}

pub fn submit_against_expire() {
    expire_during_submit(QUEUE);
}

pub fn hand_off_against_expire() {
    expire_during_submit(HAND_OFF);
}

/// With two workers, one of which may be told to leave.
pub fn two_workers_expire() {
    let pool = Books::open(options(2, QUEUE), 2);
    pool.put(0);
    pool.put(1);
    let expiry = beside(&pool, |pool| pool.expire_all());
    pool.put(2);
    pool.drain();
    end(expiry);
}

/// A task that enters before the pool closes is run, a later one is refused.
pub fn submit_against_close() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    let closer = beside(&pool, |pool| assert!(pool.release()));
    let refused = pool
        .try_hard(1)
        .is_err_and(|refusal| matches!(refusal.error, Error::Closed));
    end(closer);
    assert!(refused || pool.try_hard(2).is_err());
}

/// The same before the pool has any worker.
pub fn first_submit_against_close() {
    let pool = Books::open(options(1, QUEUE), 1);
    let closer = beside(&pool, |pool| assert!(pool.release()));
    let _ = pool.try_hard(1);
    end(closer);
}

/// The submitter that waits for a permit is let in or refused.
pub fn blocked_submit_against_close() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let closer = beside(&pool, |pool| assert!(pool.release()));
    let _ = pool.try_hard(1);
    end(closer);
}

/// A detached task waits for the only worker.
pub fn detached_against_finish() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    pool.put_to_wait(1).expect("the pool is open");
    pool.drain();
}

/// A detached task and a submitter wait.
pub fn detached_against_blocked_submit() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    let other = beside(&pool, |pool| {
        pool.put_to_wait(0).expect("the pool is open");
    });
    pool.put(1);
    end(other);
    pool.drain();
}

/// A detached task begins to wait while the pool closes: it runs, or the host gets it.
pub fn detached_against_close() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let closer = beside(&pool, |pool| assert!(pool.release()));
    let _ = pool.put_to_wait(1);
    end(closer);
    pool.watch_gone(&mut WaitLimit::new(None))
        .expect("nothing hinders it");
}

/// A detached task is taken back while the worker is about to let it in: one of the two gets it, and a submitter behind
/// it is let in nevertheless.
pub fn withdraw_against_let_in() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let place = pool.wait_for_permit(1).expect("the pool is open");
    let other = beside(&pool, |pool| pool.put(2));
    if let Some(place) = place {
        pool.withdraw(&place);
        assert!(!pool.withdraw(&place), "a task is taken back once");
    }
    end(other);
    pool.drain();
}

/// The same while the pool closes: the host gets it, or the thread that takes it back.
pub fn withdraw_against_close() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let place = pool.wait_for_permit(1).expect("the pool is open");
    let closer = beside(&pool, |pool| assert!(pool.release()));
    if let Some(place) = place {
        pool.withdraw(&place);
    }
    end(closer);
    pool.watch_gone(&mut WaitLimit::new(None))
        .expect("nothing hinders it");
}

/// After a release the workers leave, and a thread that waits for that is notified.
pub fn close_and_wait() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    assert!(pool.release());
    pool.watch_gone(&mut WaitLimit::new(None))
        .expect("nothing hinders it");
    assert_eq!(pool.running(), 0);
}

/// A task comes while a pool without a limit closes, perhaps too late, and a thread waits for the end.
pub fn close_and_wait_against_submit() {
    let pool = Books::open(options(1, QUEUE), 1);
    let submitter = beside(&pool, |pool| {
        let result = pool.offer_once(0);
        assert!(result.is_ok_or(|error| matches!(error, Error::Closed)));
    });
    assert!(pool.release());
    pool.watch_gone(&mut WaitLimit::new(None))
        .expect("nothing hinders it");
    end(submitter);
}

/// Two threads wait for the end, each of which may find the other about to join the last thread.
pub fn two_wait_for_the_end() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    assert!(pool.release());
    let wait = |pool: &Books| {
        pool.watch_gone(&mut WaitLimit::new(None))
            .expect("nothing hinders it");
        assert!(pool.is_without_threads());
    };
    let other = beside(&pool, wait);
    wait(&pool);
    end(other);
}

/// The workers are counted while they are started: there is one for each task, and no more.
pub fn start_workers_against_submit() {
    let pool = Books::open(options(3, QUEUE), 2);
    let (pass, open) = gate();
    let counter = beside(&pool, |pool| pool.start_workers());
    pool.start_workers();
    pool.put_action(0, pass);
    pool.put_action(1, open);
    end(counter);
    pool.drain();
}

/// The pool is closed and opened again during a submit.
pub fn submit_against_reboot() {
    let pool = Books::open(options(1, QUEUE), 1);
    let closer = beside(&pool, |pool| {
        assert!(pool.release());
        pool.reboot();
    });
    let _ = pool.try_hard(0);
    end(closer);
    pool.put(1);
    pool.drain();
}

/// The same where every task has a worker of its own, and the submitter may wait.
pub fn hand_off_against_reboot() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let closer = beside(&pool, |pool| {
        assert!(pool.release());
        pool.reboot();
    });
    let _ = pool.try_hard(1);
    end(closer);
    pool.put(2);
}

/// The pool is tuned down while workers rest or work.
pub fn tune_down_against_submit() {
    let pool = Books::open(options(2, QUEUE), 2);
    pool.put(0);
    pool.put(1);
    let tuner = beside(&pool, |pool| pool.tune(1).expect("it has a capacity"));
    pool.put(2);
    pool.drain();
    end(tuner);
    until(|| pool.running() <= 1);
}

/// The pool is tuned down and up while there are more tasks than workers: one that steps aside counts itself out, and comes
/// back with the search token.
pub fn tune_down_and_up_with_a_backlog() {
    let pool = Books::open(options(3, QUEUE), 3);
    let tuner = beside(&pool, |pool| {
        for capacity in [1, 3, 1, 3] {
            pool.tune(capacity).expect("it has a capacity");
        }
    });
    for task in 0..8 {
        pool.put(task);
    }
    pool.drain();
    end(tuner);
    // Nobody would be woken for this one if the token were lost.
    pool.put(8);
    pool.drain();
}

/// The same where every task has a worker of its own.
pub fn hand_off_tune_down() {
    let pool = Books::open(options(2, HAND_OFF), 2);
    pool.put(0);
    pool.put(1);
    let tuner = beside(&pool, |pool| pool.tune(1).expect("it has a capacity"));
    pool.put(2);
    end(tuner);
    until(|| pool.running() <= 1);
}

/// The pool is tuned up while a submitter waits, or is about to.
pub fn tune_up_against_blocked_submit() {
    let pool = Books::open(options(1, HAND_OFF), 2);
    pool.put(0);
    let tuner = beside(&pool, |pool| pool.tune(2).expect("it has a capacity"));
    pool.put(1);
    end(tuner);
}

/// The first task ends only after the waiting submitter was let in: tuning must do that.
pub fn tuning_up_lets_in() {
    let pool = Books::open(options(1, HAND_OFF), 2);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    let tuner = beside(&pool, |pool| pool.tune(2).expect("it has a capacity"));
    pool.put_action(1, open);
    pool.drain();
    end(tuner);
}

/// The same for a task in the queue: tuning must start a worker for it.
pub fn tuning_up_serves_the_queue() {
    let pool = Books::open(options(1, QUEUE), 2);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    let tuner = beside(&pool, |pool| pool.tune(2).expect("it has a capacity"));
    pool.put_action(1, open);
    end(tuner);
    pool.drain();
}

/// Tasks that block raise the number of workers.
pub fn blocking_tasks() {
    let pool = Books::open(options(2, QUEUE), 2);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    pool.put_action(1, open);
}

/// The same from two submitters at once.
fn block_two(queue_size: Option<u64>) {
    let pool = Books::open(options(2, queue_size), 2);
    let (pass, open) = gate();
    let other = beside(&pool, |pool| pool.put_action(0, pass));
    pool.put_action(1, open);
    end(other);
}

pub fn blocking_tasks_of_two() {
    block_two(QUEUE);
}

pub fn hand_off_blocking_tasks() {
    block_two(HAND_OFF);
}

/// Tasks that block, after the only worker was told to leave.
fn block_after_expire(queue_size: Option<u64>) {
    let pool = Books::open(options(2, queue_size), 2);
    pool.put(0);
    let expiry = beside(&pool, |pool| pool.expire_all());
    let (pass, open) = gate();
    pool.put_action(1, pass);
    pool.put_action(2, open);
    end(expiry);
}

pub fn blocking_tasks_against_expire() {
    block_after_expire(QUEUE);
}

pub fn hand_off_blocking_tasks_against_expire() {
    block_after_expire(HAND_OFF);
}

/// The system refuses the first thread.
fn refuse_first_thread(capacity: u32, queue_size: Option<u64>) {
    fail_spawns(1);
    let pool = Books::open(options(capacity, queue_size), capacity as usize);
    let other = beside(&pool, |pool| {
        let _ = pool.try_hard(0);
    });
    let _ = pool.try_hard(1);
    end(other);
    assert!(pool.accepted() >= 1);
    pool.drain();
}

pub fn failing_spawn() {
    refuse_first_thread(1, QUEUE);
}

pub fn hand_off_failing_spawn() {
    refuse_first_thread(2, HAND_OFF);
}

/// The system gives one thread and no other: a submitter that is refused one is served by the first worker.
pub fn second_spawn_fails() {
    let pool = Books::open(options(2, HAND_OFF), 2);
    fail_spawns(0);
    pool.put(0);
    fail_spawns(-1);
    let other = beside(&pool, |pool| pool.put(1));
    pool.put(2);
    end(other);
    fail_spawns(0);
}

/// A worker that cannot be set up closes the pool.
pub fn broken_worker() {
    let pool = Books::open_broken(options(1, QUEUE));
    let other = beside(&pool, |pool| {
        let _ = pool.try_hard(0);
    });
    let _ = pool.try_hard(1);
    end(other);
}

/// A pool is opened again as soon as it is broken: tasks that enter then are run.
pub fn broken_worker_against_reboot() {
    let pool = Books::open_with_starts(options(1, QUEUE), [Start::Fails], false, 1);
    let _ = pool.try_hard(0);
    until(|| pool.is_closed());
    pool.reboot();
    pool.put(1);
    pool.drain();
    assert!(pool.has_run(1), "a task that came in after the reboot");
}

fn retry_start(capacity: u32, queue_size: Option<u64>) {
    let options = options(capacity, queue_size);
    let pool = Books::open_with_starts(options, [Start::Fails], true, capacity as usize);
    let other = beside(&pool, |pool| pool.put(0));
    pool.put(1);
    end(other);
    pool.drain();
}

/// The first worker cannot be set up, and the next start tries again.
pub fn retried_start() {
    retry_start(1, QUEUE);
}

/// The same where each task has a worker of its own, and others wait for a permit.
pub fn hand_off_retried_start() {
    retry_start(1, HAND_OFF);
}

/// The first of two workers cannot be set up; the other may take its task.
pub fn retried_start_of_two() {
    retry_start(2, QUEUE);
}

/// The same where each task has a worker of its own.
pub fn hand_off_retried_start_of_two() {
    retry_start(2, HAND_OFF);
}

/// The only worker submits to its own full pool.
pub fn worker_that_waits_for_itself() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    let inner = pool.clone();
    pool.put_action(0, move || {
        let refused = inner
            .try_hard(1)
            .is_err_and(|refusal| matches!(refusal.error, Error::Deadlock));
        inner.demand(refused, "a worker that waits for itself is told so");
    });
    pool.drain();
}

/// A worker waits for the result of a task that only it could run, or another worker, if there may be one.
fn wait_for_a_task(pool: &Books, deadlock: bool) {
    let inner = pool.clone();
    pool.put_action(0, move || {
        let result_wait = ResultWait::new(inner.deadlock_group_id(), true);
        result_wait.block();
        let other = Arc::clone(&result_wait);
        inner.put_action(1, move || {
            if other.settle() {
                other.ring();
            }
        });
        result_wait.refuse_if_stuck();
        let waited = result_wait.wait(
            &mut WaitLimit::new(None),
            &AdaptiveSpin::new(Duration::ZERO),
        );
        result_wait.leave();
        inner.demand(
            matches!(waited, Err(Error::Deadlock)) == deadlock,
            "a worker is told of a deadlock where there is one",
        );
    });
    pool.drain();
}

/// The only worker waits for a task of its own pool.
pub fn worker_that_waits_for_its_own_task() {
    wait_for_a_task(&Books::open(options(1, QUEUE), 1), true);
}

/// One of two workers waits for a task that the other runs.
pub fn worker_that_waits_for_another() {
    wait_for_a_task(&Books::open(options(2, QUEUE), 2), false);
}

/// Both workers begin to wait for each other's result: one of them is refused, and not the other.
pub fn workers_that_wait_for_each_other() {
    let pool = Books::open(options(2, QUEUE), 2);
    let told = Arc::new(AtomicUsize::new(0));
    let result_waits = Arc::new(Mutex::new(Vec::new()));
    // Both run before either waits.
    for (number, meet) in meeting().into_iter().enumerate() {
        let (inner, result_waits, told) =
            (pool.clone(), Arc::clone(&result_waits), Arc::clone(&told));
        pool.put_action(number, move || {
            let own = ResultWait::new(inner.deadlock_group_id(), true);
            lock(&result_waits).push(Arc::clone(&own));
            meet();
            own.block();
            own.refuse_if_stuck();
            let waited = own.wait(
                &mut WaitLimit::new(None),
                &AdaptiveSpin::new(Duration::ZERO),
            );
            own.leave();
            if matches!(waited, Err(Error::Deadlock)) {
                told.fetch_add(1, Relaxed);
            }
            // The result for which the other one waits.
            for result_wait in lock(&result_waits).iter() {
                if result_wait.settle() {
                    result_wait.ring();
                }
            }
        });
    }
    pool.drain();
    assert_eq!(told.load(Relaxed), 1, "one of the two is told");
}

// Waits that end. In a model time passes when a thread waits for it (see standins.rs).

/// A thread that waits for the pool to be at rest is not misled while a waiter's task is let in.
pub fn let_in_against_wait_idle() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    let other = beside(&pool, |pool| pool.put(1));
    until(|| pool.waiting() == 1);
    open();
    pool.drain();
    assert!(pool.has_run(1), "it waited before the pool came to rest");
    end(other);
}

/// A pool at rest accepts a task.
fn assert_open_to(pool: &Books, number: usize) {
    pool.drain();
    pool.offer_once(number)
        .expect("there is room, and nobody waits");
    pool.drain();
}

const MOMENT: Duration = Duration::from_millis(1);

/// A submitter's time runs out just as the worker is about to let it in.
pub fn submit_timeout_against_finish() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let late = pool.try_within(1, WaitLimit::new(Some(MOMENT)));
    assert!(late.is_ok_or(|error| matches!(error, Error::Timeout)));
    assert_open_to(&pool, 2);
}

/// The same with another waiter behind it.
pub fn submit_timeout_before_another() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let other = beside(&pool, |pool| pool.put(1));
    let late = pool.try_within(2, WaitLimit::new(Some(MOMENT)));
    assert!(late.is_ok_or(|error| matches!(error, Error::Timeout)));
    end(other);
    assert_open_to(&pool, 3);
}

/// A submitter checks for an interrupt just as the worker is about to let it in: it is passed over meanwhile.
fn interrupt(interrupted: bool, other: bool) {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let other = other.then(|| beside(&pool, |pool| pool.put(1)));
    let mut is_interrupted = || interrupted;
    let wait_limit = WaitLimit::new(None).interruptible(&mut is_interrupted);
    let stopped = pool.try_within(2, wait_limit);
    assert!(stopped.is_ok_or(|error| interrupted && matches!(error, Error::Interrupted)));
    other.into_iter().for_each(end);
    assert_open_to(&pool, 3);
}

/// It is interrupted at its first check.
pub fn interrupt_against_finish() {
    interrupt(true, false);
}

/// It is not: it is let in, after however many checks.
pub fn held_against_finish() {
    interrupt(false, false);
}

/// It is interrupted while another one waits.
pub fn interrupt_beside_another() {
    interrupt(true, true);
}

/// It only checks, while another one waits.
pub fn held_beside_another() {
    interrupt(false, true);
}

/// Threads wait for the pool to be at rest, with a time limit or until interrupted, and for its end.
pub fn limited_waits_against_finish() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    let in_time = pool.wait_idle(Some(MOMENT));
    assert!(!in_time || pool.has_run(0));
    let mut is_interrupted = || true;
    let mut wait_limit = WaitLimit::new(None).interruptible(&mut is_interrupted);
    let waited = pool.watch_idle(&mut wait_limit);
    assert!(pool.has_run(0) || matches!(waited, Err(Error::Interrupted)));
    assert!(pool.release());
    if pool.watch_gone(&mut WaitLimit::new(Some(MOMENT))).is_ok() {
        assert_eq!(pool.running(), 0);
    }
}

/// A worker that rests is told to leave when its time has come, however often it rested before.
pub fn rest_until_overdue() {
    let mut options = options(1, QUEUE);
    options.expiry = Some(MOMENT);
    let pool = Books::open(options, 1);
    pool.put(0);
    pool.put(1);
    until(|| pool.running() == 0);
    pool.drain();
}

/// A worker waits for its own task's result, but with a time limit: that is no deadlock.
pub fn worker_that_waits_for_a_moment() {
    let pool = Books::open(options(1, QUEUE), 1);
    let inner = pool.clone();
    pool.put_action(0, move || {
        let result_wait = ResultWait::new(inner.deadlock_group_id(), false);
        result_wait.block();
        let other = Arc::clone(&result_wait);
        inner.put_action(1, move || {
            if other.settle() {
                other.ring();
            }
        });
        result_wait.refuse_if_stuck();
        let mut wait_limit = WaitLimit::new(Some(MOMENT));
        let waited = result_wait.wait(&mut wait_limit, &AdaptiveSpin::new(Duration::ZERO));
        result_wait.leave();
        inner.demand(
            matches!(waited, Err(Error::Timeout)),
            "a wait with a limit of time ends with that",
        );
    });
    pool.drain();
}

// Other interference.

/// Once the pool is gone no worker starts, although a submitter may still be looking for one.
pub fn submit_against_the_end() {
    let pool = Books::open(options(2, QUEUE), 2);
    let ender = beside(&pool, |pool| {
        assert!(pool.release());
        pool.await_end();
    });
    let _ = pool.try_hard(0);
    let _ = pool.try_hard(1);
    end(ender);
}

/// Tasks are taken back while the worker is told to leave.
pub fn extract_against_expire() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    let expiry = beside(&pool, |pool| pool.expire_all());
    pool.put(1);
    pool.put(2);
    pool.extract(1);
    pool.drain();
    end(expiry);
}

/// The same by a thread other than the submitter, whose task it may examine meanwhile.
pub fn extract_against_submit() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    let other = beside(&pool, |pool| pool.extract(1));
    pool.put(1);
    pool.put(2);
    end(other);
    pool.drain();
}

/// A surplus worker leaves the rest of its task to another.
fn leave_unfinished(queue_size: Option<u64>) {
    let pool = Books::open(options(2, queue_size), 2);
    pool.put_in_parts(0);
    pool.put_in_parts(1);
    let tuner = beside(&pool, |pool| pool.tune(1).expect("it has a capacity"));
    pool.drain();
    end(tuner);
    until(|| pool.running() <= 1);
    assert!(pool.has_run(0) && pool.has_run(1));
}

pub fn unfinished_against_tune_down() {
    leave_unfinished(QUEUE);
}

/// The same where every task has a worker of its own.
pub fn hand_off_unfinished_against_tune_down() {
    leave_unfinished(HAND_OFF);
}

/// The second worker's start takes until the third task has run: nobody may count on it meanwhile.
pub fn slow_start() {
    let (pass, open) = gate();
    let starts = [Start::Succeeds, Start::Does(Box::new(pass))];
    let pool = Books::open_slow(options(2, QUEUE), starts, 2);
    pool.put(0);
    pool.put(1);
    pool.put_action(2, open);
    pool.drain();
}

/// The second worker cannot be set up, while the first works.
fn break_beside_a_healthy_one(queue_size: Option<u64>, retries_start: bool) {
    let starts = [Start::Succeeds, Start::Fails];
    let pool = Books::open_with_starts(options(2, queue_size), starts, retries_start, 2);
    for task in 0..3 {
        let put = pool.try_hard(task);
        assert!(put.is_ok() || !retries_start && pool.is_broken());
    }
    pool.drain();
}

pub fn second_worker_breaks() {
    break_beside_a_healthy_one(QUEUE, false);
}

pub fn second_worker_is_retried() {
    break_beside_a_healthy_one(QUEUE, true);
}

pub fn hand_off_second_worker_breaks() {
    break_beside_a_healthy_one(HAND_OFF, false);
}

pub fn hand_off_second_worker_is_retried() {
    break_beside_a_healthy_one(HAND_OFF, true);
}

/// Two submit to a pool with one permit, and the system refuses the first threads.
fn fail_spawns_of_a_full_pool(count: i64) {
    fail_spawns(count);
    let pool = Books::open(options(1, HAND_OFF), 1);
    let try_once = |pool: &Books, number| {
        let put = pool.try_hard(number);
        assert!(put.is_ok_or(|error| matches!(error, Error::Spawn(_))));
    };
    let other = beside(&pool, move |pool| try_once(pool, 0));
    try_once(&pool, 1);
    end(other);
    fail_spawns(0);
    assert_open_to(&pool, 2);
}

pub fn failing_spawn_before_the_waiters() {
    fail_spawns_of_a_full_pool(1);
}

pub fn failing_spawns_before_the_waiters() {
    fail_spawns_of_a_full_pool(2);
}

/// The same with a detached task: it runs, or the host gets it.
pub fn failing_spawn_before_a_detached_task() {
    fail_spawns(2);
    let pool = Books::open(options(1, HAND_OFF), 1);
    let other = beside(&pool, |pool| {
        let _ = pool.put_to_wait(0);
    });
    let _ = pool.try_hard(1);
    end(other);
    fail_spawns(0);
    assert_open_to(&pool, 2);
}

/// The system refuses a thread to the tuner, or to the submitter that then gets a permit.
fn tune_up_without_threads(queue_size: Option<u64>) {
    let pool = Books::open(options(1, queue_size), 2);
    fail_spawns(0);
    pool.put(0);
    fail_spawns(1);
    let tuner = beside(&pool, |pool| pool.tune(2).expect("it has a capacity"));
    pool.put(1);
    pool.put(2);
    end(tuner);
    pool.drain();
    fail_spawns(0);
}

pub fn failing_spawn_against_tune_up() {
    tune_up_without_threads(QUEUE);
}

pub fn hand_off_failing_spawn_against_tune_up() {
    tune_up_without_threads(HAND_OFF);
}

/// The system refuses a thread for a waiter as the only worker leaves.
pub fn failing_spawn_against_expire() {
    let pool = Books::open(options(1, HAND_OFF), 2);
    fail_spawns(0);
    pool.put(0);
    fail_spawns(-1);
    let tuner = beside(&pool, |pool| pool.tune(2).expect("it has a capacity"));
    let expiry = beside(&pool, |pool| pool.expire_all());
    let put = pool.try_hard(1);
    assert!(put.is_ok_or(|error| matches!(error, Error::Spawn(_))));
    end(tuner);
    end(expiry);
    fail_spawns(0);
    assert_open_to(&pool, 2);
}

/// There is an errand as the worker goes to rest.
pub fn errand_against_park() {
    let pool = Books::open(options(1, QUEUE), 1);
    pool.put(0);
    pool.leave_errand();
    until(|| pool.is_errand_done());
}

/// The same as it leaves: it does the errand, or another is started.
pub fn errand_against_expire() {
    let pool = Books::open(options(1, HAND_OFF), 1);
    pool.put(0);
    let expiry = beside(&pool, |pool| pool.expire_all());
    pool.leave_errand();
    until(|| pool.is_errand_done());
    end(expiry);
}

/// A task comes as the worker is busy with an errand.
pub fn errand_against_submit() {
    let pool = Books::open(options(2, QUEUE), 2);
    let other = beside(&pool, |pool| pool.leave_errand());
    pool.put(0);
    pool.drain();
    end(other);
    until(|| pool.is_errand_done());
}

/// A waiting detached task is let in by tuning up.
pub fn detached_against_tune_up() {
    let pool = Books::open(options(1, HAND_OFF), 2);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    pool.put_action_to_wait(1, open);
    pool.tune(2).expect("it has a capacity");
    pool.drain();
}

/// One of two workers waits for a permit, and the other, which could have freed one, is surplus and leaves.
pub fn tune_down_to_a_deadlock() {
    let pool = Books::open(options(2, HAND_OFF), 2);
    let inner = pool.clone();
    pool.put_action(0, move || {
        let put = inner.try_hard(2);
        inner.demand(
            put.is_ok_or(|error| matches!(error, Error::Deadlock)),
            "it is let in or told of the deadlock",
        );
    });
    pool.put(1);
    let tuner = beside(&pool, |pool| pool.tune(1).expect("it has a capacity"));
    pool.drain();
    end(tuner);
}

/// Of two workers at rest, the one that is called as one too many finds a task, which waits for a permit.
pub fn tune_down_with_a_task_on_its_way() {
    let pool = Books::open(options(2, HAND_OFF), 2);
    let (pass, open) = gate();
    pool.put_action(0, pass);
    pool.put(1);
    open();
    pool.watch_idle(&mut WaitLimit::new(None))
        .expect("nobody interrupts");
    let tuner = beside(&pool, |pool| pool.tune(1).expect("it has a capacity"));
    let inner = pool.clone();
    pool.put_action(2, move || {
        let put = inner.try_hard(3);
        inner.demand(
            put.is_ok_or(|error| matches!(error, Error::Deadlock)),
            "it is let in or told of the deadlock",
        );
    });
    pool.drain();
    end(tuner);
}

/// Two submitters spin for a permit before they wait.
fn spin_for_permit(queue_size: Option<u64>) {
    let pool = Books::open_on_many_processors(options(1, queue_size), 1);
    pool.put(0);
    let other = beside(&pool, |pool| pool.put(1));
    pool.put(2);
    end(other);
    pool.drain();
}

pub fn submitters_spin_for_a_permit() {
    spin_for_permit(Some(1));
}

/// The same where every task has a worker of its own: they spin for that, too.
pub fn hand_off_submitters_spin_for_a_permit() {
    spin_for_permit(HAND_OFF);
}

/// Two pools whose tasks are not counted.
fn two_pools(strategy: Strategy) -> Arc<MultiPool<Ledger>> {
    let many = MultiPool::with_hosts(2, strategy, &options(1, HAND_OFF), Ledger::uncounted);
    Arc::new(many.expect("the options are good"))
}

/// Two submitters to two pools: each is served by either.
fn share_two_pools(strategy: Strategy) {
    let pools = two_pools(strategy);
    let served = Arc::new(AtomicUsize::new(0));
    let submit = |pools: &MultiPool<Ledger>, served: &Arc<AtomicUsize>| {
        for _ in 0..2 {
            let served = Arc::clone(served);
            let task = Task::uncounted(move || {
                served.fetch_add(1, Relaxed);
            });
            pools.submit(task).expect("the pools are open");
        }
    };
    let other = {
        let (pools, served) = (Arc::clone(&pools), Arc::clone(&served));
        spawn(move || submit(&pools, &served))
    };
    submit(&pools, &served);
    end(other);
    pools
        .watch_idle(&mut WaitLimit::new(None))
        .expect("nobody interrupts");
    assert_eq!(served.load(Relaxed), 4);
}

pub fn two_submitters_in_turn() {
    share_two_pools(Strategy::RoundRobin);
}

pub fn two_submitters_to_the_least_busy() {
    share_two_pools(Strategy::LeastTasks);
}

/// A worker submits a task, which counts itself as served, or is told of the deadlock.
fn submit_or_be_told(pools: &MultiPool<Ledger>, served: Arc<AtomicUsize>, told: &AtomicUsize) {
    let task = Task::uncounted(move || {
        served.fetch_add(1, Relaxed);
    });
    match pools.submit(task).map_err(|refusal| refusal.error) {
        Ok(()) => {}
        Err(Error::Deadlock) => drop(told.fetch_add(1, Relaxed)),
        Err(error) => unreachable!("{error}"),
    }
}

/// The workers of two full pools submit to both: one is refused, and frees a permit for the other.
pub fn workers_of_two_pools_wait() {
    let pools = two_pools(Strategy::RoundRobin);
    let told = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicUsize::new(0));
    for meet in meeting() {
        let (inner, told, served) = (Arc::clone(&pools), Arc::clone(&told), Arc::clone(&served));
        let task = Task::uncounted(move || {
            meet();
            submit_or_be_told(&inner, served, &told);
        });
        pools.submit(task).expect("the pools are open");
    }
    pools
        .watch_idle(&mut WaitLimit::new(None))
        .expect("nobody interrupts");
    assert_eq!((told.load(Relaxed), served.load(Relaxed)), (1, 1));
}

/// Several pools are released during a submit to them.
pub fn submit_against_release_of_two() {
    let pools = two_pools(Strategy::RoundRobin);
    let other = {
        let pools = Arc::clone(&pools);
        spawn(move || {
            assert!(pools.release());
            assert!(pools.watch_gone(&mut WaitLimit::new(None)).is_ok());
        })
    };
    for _ in 0..3 {
        let _ = pools.submit(Task::uncounted(|| ()));
    }
    end(other);
}

/// A worker submits to several pools, all of them full at first: the first with a permit takes the task.
pub fn worker_served_by_another_pool() {
    let pools = two_pools(Strategy::RoundRobin);
    let served = Arc::new(AtomicUsize::new(0));
    let serve = || {
        let served = Arc::clone(&served);
        Task::uncounted(move || {
            served.fetch_add(1, Relaxed);
        })
    };
    let (inner, third, by_worker) = (Arc::clone(&pools), serve(), Arc::clone(&served));
    let first = Task::uncounted(move || {
        if inner.submit(third).is_ok() {
            by_worker.fetch_add(1, Relaxed);
        }
    });
    pools.submit(first).expect("the pools are open");
    pools.submit(serve()).expect("the pools are open");
    pools
        .watch_idle(&mut WaitLimit::new(None))
        .expect("nobody interrupts");
    assert_eq!(served.load(Relaxed), 3);
}

/// While a submitter from outside asks in vain for a thread for a blocked worker, the other worker blocks, and is told of
/// the deadlock: then its permit serves the first.
pub fn vain_ask_against_deadlock() {
    fail_spawns(0);
    let many = MultiPool::with_hosts(
        3,
        Strategy::RoundRobin,
        &options(1, HAND_OFF),
        Ledger::uncounted,
    );
    let pools = Arc::new(many.expect("the options are good"));
    let told = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicUsize::new(0));
    let mut opens: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    let mut ends: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..2 {
        let (pass, open) = gate();
        opens.push(Box::new(open));
        let (await_end, ended) = gate();
        ends.push(Box::new(await_end));
        let (inner, told, served) = (Arc::clone(&pools), Arc::clone(&told), Arc::clone(&served));
        let task = Task::uncounted(move || {
            pass();
            submit_or_be_told(&inner, served, &told);
            ended();
        });
        pools.submit(task).expect("the pools are open");
    }
    fail_spawns(-1);
    opens.into_iter().for_each(|open| open());
    // From outside, without waiting.
    let (index, offer) = pools.offer(Task::uncounted(|| ()));
    let detached = pools.submit_detached(index, offer, pyants::pool::internal::Accounting::Counted);
    assert!(detached.is_ok());
    drop(detached);
    ends.into_iter().for_each(|await_end| await_end());
    fail_spawns(0);
    assert!(told.load(Relaxed) >= 1);
}
