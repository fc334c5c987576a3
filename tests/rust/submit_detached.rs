//! Detached tasks, which wait by themselves; tasks that are taken back; tasks that end in several rounds.

use super::counters::assert_adds_up;
use super::support::{Gate, assert_is, beside, eventually, join, limited, refused, watch};
use pyants::pool::internal::sync::WaitLimit;
use pyants::pool::internal::{Accounting, Detached};
use pyants::pool::{Host, Options, Outcome, SubmitError, Worker};
use pyants::{Error, MultiPool, Pool, Strategy};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::Duration;

const SOON: Option<Duration> = Some(Duration::from_secs(60));

#[derive(Debug)]
enum Task {
    /// Waits at the gate.
    Hold(Arc<Held>),
    /// Records its number.
    Note(u32),
    /// It was taken back while it waited.
    TakenBack,
    /// Records its number that many times, once per round.
    Rounds(u32, u32),
    /// Continues, round after round, until it is told to stop.
    Until(Arc<AtomicBool>),
}

/// A gate that implements `Debug`.
#[derive(Default)]
struct Held(Gate);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held(..)")
    }
}

impl Task {
    fn number(&self) -> u32 {
        match self {
            Task::Note(number) | Task::Rounds(number, _) => *number,
            Task::Hold(_) | Task::TakenBack | Task::Until(_) => 0,
        }
    }
}

/// A host that records what it does.
#[derive(Default)]
struct Diary {
    setup_fails: AtomicBool,
    ran: Mutex<Vec<u32>>,
    refused: Mutex<Vec<(u32, Error)>>,
    when_refused: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Host for Diary {
    type Task = Task;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        if !self.setup_fails.load(Ordering::SeqCst) {
            body(&mut ());
        }
    }

    fn run(&self, _context: &mut (), task: Task) -> Outcome<Task> {
        if let Task::Hold(gate) = &task {
            gate.0.pass();
            return Outcome::Completed;
        }
        if let Task::TakenBack = task {
            return Outcome::Cancelled;
        }
        if let Task::Until(over) = &task {
            yield_now();
            return if over.load(Ordering::SeqCst) {
                Outcome::Completed
            } else {
                Outcome::Unfinished(task)
            };
        }
        self.ran.lock().unwrap().push(task.number());
        match task {
            Task::Rounds(number, left) if left > 1 => {
                Outcome::Unfinished(Task::Rounds(number, left - 1))
            }
            _ => Outcome::Completed,
        }
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, tasks: Vec<Task>) {
        drop(tasks);
    }

    fn refused(&self, task: Task, error: Error) {
        self.refused.lock().unwrap().push((task.number(), error));
        if let Some(call) = &*self.when_refused.lock().unwrap() {
            call();
        }
    }
}

fn options(capacity: u32, queue_size: Option<u64>) -> Options {
    Options {
        capacity: Some(capacity),
        queue_size,
        expiry: None,
        ..Options::default()
    }
}

fn open(options: Options) -> Arc<Pool<Diary>> {
    watch(Pool::with_host(Diary::default(), options).expect("the options are good"))
}

/// A pool of one worker, busy until the gate is opened.
fn busy(options: Options) -> (Arc<Pool<Diary>>, Arc<Held>) {
    let pool = open(options);
    let gate = Arc::new(Held::default());
    pool.submit(Task::Hold(Arc::clone(&gate)))
        .expect("a worker is free");
    gate.0.await_arrivals(1);
    (pool, gate)
}

fn submit_detached(pool: &Pool<Diary>, task: Task) -> Result<(), SubmitError<Task>> {
    pool.submit_detached(pool.offer(task), Accounting::Counted)
        .map(drop)
}

/// Submits a task that must wait, and returns its handle.
fn submit_waiting(pool: &Pool<Diary>, number: u32) -> Detached<Diary> {
    pool.submit_detached(pool.offer(Task::Note(number)), Accounting::Counted)
        .expect("it may wait")
        .expect("there is no room")
}

#[track_caller]
fn drain(pool: &Pool<Diary>) {
    assert!(pool.wait_idle(SOON), "no rest: {:?}", pool.stats());
}

#[test]
fn a_task_with_a_permit_comes_in_at_once() {
    limited(|| {
        for queue_size in [Some(0), Some(3), None] {
            let pool = open(options(1, queue_size));
            submit_detached(&pool, Task::Note(1)).expect("there is room");
            assert_eq!(pool.stats().submitted, 1);
            drain(&pool);
            assert_eq!(*pool.host().ran.lock().unwrap(), [1]);
        }
    });
}

#[test]
fn a_task_without_a_permit_waits_while_its_submitter_goes_on() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(0)));
        for number in 1..=3 {
            submit_detached(&pool, Task::Note(number)).expect("it may wait");
        }
        assert_eq!((pool.waiting(), pool.stats().submitted), (3, 1));
        // The waiting tasks are still to be done.
        assert!(!pool.wait_idle(Some(Duration::from_millis(5))));
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [1, 2, 3]);
        let stats = pool.stats();
        assert_eq!(
            (pool.waiting(), stats.submitted, stats.completed),
            (0, 4, 4)
        );
        assert_eq!(stats.rejected, 0);
    });
}

#[test]
fn detached_tasks_and_blocked_submitters_are_served_first_come_first_served() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(0)));
        let mut submitters = Vec::new();
        for number in 1..=8 {
            if number % 2 == 0 {
                submit_detached(&pool, Task::Note(number)).expect("it may wait");
            } else {
                submitters.push(beside(&pool, move |pool| {
                    pool.submit(Task::Note(number)).expect("it is let in");
                }));
            }
            eventually("it waits", || pool.waiting() == number as usize);
        }
        gate.0.open();
        submitters.into_iter().for_each(join);
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), Vec::from_iter(1..=8));
    });
}

#[test]
fn a_spare_task_waits_in_its_turn_and_takes_no_place() {
    limited(|| {
        let (pool, gate) = busy(Options {
            max_blocking_tasks: Some(1),
            ..options(1, Some(0))
        });
        let spare =
            |number| pool.submit_detached(pool.offer(Task::Note(number)), Accounting::Spare);
        spare(1).expect("it may wait");
        spare(2).expect("it may wait");
        assert_eq!(pool.waiting(), 0);
        submit_detached(&pool, Task::Note(3)).expect("nobody waits yet");
        spare(4).expect("it may wait");
        assert_eq!(pool.waiting(), 1);
        let (error, _) = refused(submit_detached(&pool, Task::Note(5)));
        assert_is!(error, Error::Overload { .. });
        assert_eq!(pool.stats().rejected, 1);
        // The waiting tasks are still to be done.
        assert!(!pool.wait_idle(Some(Duration::from_millis(5))));
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [1, 2, 3, 4]);
        let stats = pool.stats();
        assert_eq!((pool.waiting(), stats.completed), (0, 5));
        assert_eq!(stats.rejected, 1);
    });
}

#[test]
fn a_spare_task_that_is_refused_is_not_counted() {
    limited(|| {
        let (pool, gate) = busy(Options {
            nonblocking: true,
            ..options(1, Some(0))
        });
        let (error, task) = refused(
            pool.submit_detached(pool.offer(Task::Note(1)), Accounting::Spare)
                .map(drop),
        );
        assert_is!(error, Error::Overload { .. });
        assert_eq!((task.number(), pool.stats().rejected), (1, 0));
        gate.0.open();
        let (pool, gate) = busy(options(1, Some(0)));
        pool.submit_detached(pool.offer(Task::Note(2)), Accounting::Spare)
            .expect("it may wait");
        assert!(pool.release());
        assert_eq!(pool.host().refused.lock().unwrap().len(), 1);
        assert_eq!((pool.waiting(), pool.stats().rejected), (0, 0));
        gate.0.open();
    });
}

#[test]
fn a_close_gives_waiting_detached_tasks_to_the_host() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(1)));
        for number in 1..=3 {
            submit_detached(&pool, Task::Note(number)).expect("it may wait");
        }
        assert!(pool.release());
        {
            let refused = pool.host().refused.lock().unwrap();
            let numbers: Vec<u32> = refused.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [2, 3]);
            assert!(
                refused
                    .iter()
                    .all(|(_, error)| matches!(error, Error::Closed))
            );
        }
        assert_eq!(pool.waiting(), 0);
        gate.0.open();
        pool.release_timeout(Duration::ZERO)
            .expect_err("it is closed already");
        eventually("the worker has left", || pool.running() == 0);
        assert_eq!(*pool.host().ran.lock().unwrap(), [1]);
        let (error, task) = refused(submit_detached(&pool, Task::Note(4)));
        assert_is!(error, Error::Closed);
        assert_eq!(task.number(), 4);
        let stats = pool.stats();
        assert_adds_up(&stats, 2..=2);
        assert_eq!(stats.completed, 2);
        assert_eq!(pool.host().refused.lock().unwrap().len(), 2);
    });
}

#[test]
fn a_waiter_of_a_pool_that_breaks_is_told_so() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(1)));
        submit_detached(&pool, Task::Note(1)).expect("there is room in the queue");
        submit_detached(&pool, Task::Note(2)).expect("it may wait");
        pool.host().setup_fails.store(true, Ordering::SeqCst);
        pool.tune(2).expect("it has a capacity"); // Another worker is started for the waiting tasks, and cannot be set up.
        submit_detached(&pool, Task::Note(3)).ok();
        eventually("the pool is broken", || pool.is_broken());
        gate.0.open();
        eventually("the workers have left", || pool.running() == 0);
        for (_, error) in pool.host().refused.lock().unwrap().iter() {
            assert_is!(error, Error::Broken);
        }
        // The task that kept the worker busy and the one in the queue entered; those that waited may have.
        assert_adds_up(&pool.stats(), 2..=4);
    });
}

#[test]
fn a_task_that_may_not_wait_is_refused() {
    limited(|| {
        let nonblocking = Options {
            nonblocking: true,
            ..options(1, Some(0))
        };
        let full_waiters = Options {
            max_blocking_tasks: Some(2),
            ..options(1, Some(0))
        };
        for (options, may_wait) in [(nonblocking, 0), (full_waiters, 2)] {
            let (pool, gate) = busy(options);
            for number in 0..may_wait {
                submit_detached(&pool, Task::Note(number)).expect("it may wait");
            }
            let (error, task) = refused(submit_detached(&pool, Task::Note(9)));
            assert_is!(error, Error::Overload { in_flight: 1, .. });
            assert_eq!(task.number(), 9);
            assert_eq!(pool.stats().rejected, 1);
            gate.0.open();
            drain(&pool);
            assert!(pool.host().refused.lock().unwrap().is_empty());
        }
    });
}

#[test]
fn a_waiting_task_that_is_withdrawn_leaves_its_place_at_once() {
    limited(|| {
        let (pool, gate) = busy(Options {
            max_blocking_tasks: Some(2),
            ..options(1, Some(0))
        });
        let places = [1, 2].map(|number| submit_waiting(&pool, number));
        assert_is!(
            refused(submit_detached(&pool, Task::Note(9))).0,
            Error::Overload { .. }
        );
        for (index, place) in places.iter().enumerate() {
            let task = place.withdraw().expect("it waits");
            assert_eq!(task.number() as usize, index + 1);
            assert!(place.withdraw().is_none(), "it is taken back once");
            assert_eq!(pool.waiting(), 1 - index);
        }
        // Their places are free again, and later tasks are served in order.
        let other = submit_waiting(&pool, 3);
        submit_detached(&pool, Task::Note(4)).expect("there is a place");
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [3, 4]);
        assert!(other.withdraw().is_none(), "it was let in");
        // A withdrawn task was never accepted.
        let stats = pool.stats();
        assert_eq!(
            (stats.submitted, stats.completed, stats.cancelled),
            (3, 3, 0)
        );
    });
}

#[test]
fn withdrawing_the_last_waiter_leaves_the_pool_at_rest() {
    limited(|| {
        for withdrawn in 1..=5 {
            let (pool, gate) = busy(options(1, Some(0)));
            let places: Vec<_> = (1..=5)
                .map(|number| submit_waiting(&pool, number))
                .collect();
            for place in places.iter().rev().take(withdrawn) {
                place.withdraw().expect("it waits");
            }
            assert_eq!(pool.waiting(), 5 - withdrawn);
            gate.0.open();
            drain(&pool);
            // Permits are free as before anybody waited.
            pool.try_submit(Task::Note(7)).expect("there is room");
            drain(&pool);
            let mut expected = Vec::from_iter(1..=5 - withdrawn as u32);
            expected.push(7);
            assert_eq!(*pool.host().ran.lock().unwrap(), expected);
        }
    });
}

#[test]
fn a_task_withdrawn_from_a_closed_pool_was_refused_before() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(0)));
        let places = [1, 2, 3].map(|number| submit_waiting(&pool, number));
        assert!(places[1].withdraw().is_some());
        assert!(pool.release());
        assert!(places.iter().all(|place| place.withdraw().is_none()));
        let refused = pool.host().refused.lock().unwrap();
        let numbers: Vec<u32> = refused.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3]);
        gate.0.open();
    });
}

#[test]
fn withdrawing_a_great_many_costs_each_a_few_steps() {
    limited(|| {
        const TASKS: u32 = 100_000;
        let (pool, gate) = busy(options(1, Some(0)));
        let places: Vec<_> = (1..=TASKS)
            .map(|number| submit_waiting(&pool, number))
            .collect();
        // From both ends, and every other one first: searching for each would take minutes.
        let evens = places.iter().step_by(2);
        for place in evens.chain(places.iter().rev().skip(1).step_by(2).rev()) {
            place.withdraw();
        }
        for place in &places {
            place.withdraw();
        }
        assert_eq!(pool.waiting(), 0);
        gate.0.open();
        drain(&pool);
        assert!(pool.host().ran.lock().unwrap().is_empty());
    });
}

#[test]
fn every_detached_task_is_run_refused_or_withdrawn_once() {
    limited(|| {
        const TASKS: u32 = 1_500;
        for queue_size in [Some(0), Some(2)] {
            let pool = open(options(2, queue_size));
            let submitters: Vec<_> = (0..3)
                .map(|submitter| {
                    beside(&pool, move |pool| {
                        let mut withdrawn = Vec::new();
                        for task in 0..TASKS {
                            let number = submitter * TASKS + task;
                            let place = pool.submit_detached(
                                pool.offer(Task::Note(number)),
                                Accounting::Counted,
                            );
                            let place = place.expect("it is open").filter(|_| task % 3 > 0);
                            let task = place.and_then(|place| place.withdraw());
                            withdrawn.extend(task.map(|task| task.number()));
                        }
                        withdrawn
                    })
                })
                .collect();
            let mut seen: Vec<u32> = submitters.into_iter().flat_map(join).collect();
            drain(&pool);
            seen.extend(pool.host().ran.lock().unwrap().iter());
            seen.sort_unstable();
            assert_eq!(seen, Vec::from_iter(0..3 * TASKS));
        }
    });
}

#[test]
fn every_detached_task_runs_once_or_is_refused_once() {
    limited(|| {
        const SUBMITTERS: u32 = 3;
        const TASKS: u32 = 400;
        for queue_size in [Some(0), Some(2)] {
            let pool = open(options(2, queue_size));
            let submitters: Vec<_> = (0..SUBMITTERS)
                .map(|submitter| {
                    beside(&pool, move |pool| {
                        (0..TASKS)
                            .map(|task| submitter * TASKS + task)
                            .filter(|&number| submit_detached(pool, Task::Note(number)).is_ok())
                            .collect::<Vec<u32>>()
                    })
                })
                .collect();
            eventually("some have run", || pool.stats().completed > 50);
            assert!(pool.release());
            let mut accepted: Vec<u32> = submitters.into_iter().flat_map(join).collect();
            eventually("the workers have left", || pool.running() == 0);
            let mut seen = pool.host().ran.lock().unwrap().clone();
            let refused = pool.host().refused.lock().unwrap();
            seen.extend(refused.iter().map(|(number, _)| *number));
            accepted.sort_unstable();
            seen.sort_unstable();
            assert_eq!(seen, accepted);
            let admitted = (accepted.len() - refused.len()) as u64;
            assert_adds_up(&pool.stats(), admitted..=admitted);
        }
    });
}

#[test]
fn tasks_that_wait_can_be_taken_back() {
    limited(|| {
        let (pool, gate) = busy(options(1, None));
        for number in 1..=6 {
            pool.submit(Task::Note(number)).expect("the pool is open");
        }
        let taken = pool.extract_if(|task| task.number() % 2 == 0);
        let numbers: Vec<u32> = taken.iter().map(Task::number).collect();
        assert_eq!(numbers, [2, 4, 6]);
        let stats = pool.stats();
        assert_adds_up(&stats, 7..=7);
        assert_eq!((stats.cancelled, stats.queued), (3, 3));
        assert!(pool.extract_if(|task| task.number() > 10).is_empty());
        assert_eq!(pool.stats().cancelled, 3);
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [1, 3, 5]);
        assert_eq!(pool.stats().submitted, 7);
    });
}

#[test]
fn the_oldest_task_that_waits_can_be_taken_back() {
    limited(|| {
        let (pool, gate) = busy(options(1, None));
        for number in 1..=6 {
            pool.submit(Task::Note(number)).expect("the pool is open");
        }
        let taken: Vec<u32> = [
            pool.extract_one(|_| true),
            pool.extract_one(|task| task.number() > 3),
            pool.extract_one(|task| task.number() > 6),
        ]
        .iter()
        .flatten()
        .map(Task::number)
        .collect();
        assert_eq!(taken, [1, 4]);
        let stats = pool.stats();
        assert_adds_up(&stats, 7..=7);
        assert_eq!((stats.cancelled, stats.queued), (2, 4));
        gate.0.open();
        drain(&pool);
        // The others keep their order.
        assert_eq!(*pool.host().ran.lock().unwrap(), [2, 3, 5, 6]);
    });
}

#[test]
fn a_task_taken_back_frees_a_permit_for_waiters() {
    limited(|| {
        let (pool, gate) = busy(options(1, Some(2)));
        for number in 1..=2 {
            pool.submit(Task::Note(number)).expect("there is room");
        }
        let submitter = beside(&pool, |pool| {
            pool.submit(Task::Note(3)).expect("it is let in");
        });
        eventually("it waits", || pool.waiting() == 1);
        submit_detached(&pool, Task::Note(4)).expect("it may wait");
        assert_eq!(pool.extract_if(|_| true).len(), 2);
        join(submitter);
        assert_eq!(pool.waiting(), 0);
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [3, 4]);
    });
}

#[test]
fn nothing_is_lost_where_tasks_are_taken_back_while_workers_come_and_go() {
    limited(|| {
        const TASKS: u32 = 2_000;
        let pool = open(Options {
            expiry: Some(Duration::from_micros(50)),
            ..options(2, None)
        });
        let submitter = beside(&pool, |pool| {
            for number in 1..=TASKS {
                pool.submit(Task::Note(number)).expect("the pool is open");
            }
        });
        let mut seen = Vec::new();
        while !submitter.is_finished() {
            let taken = pool.extract_if(|task| task.number() % 3 == 0);
            seen.extend(taken.iter().map(Task::number));
        }
        join(submitter);
        drain(&pool);
        assert_eq!(pool.stats().cancelled, seen.len() as u64);
        seen.extend(pool.host().ran.lock().unwrap().iter());
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(1..=TASKS));
    });
}

#[test]
fn a_task_that_was_taken_back_counts_as_cancelled() {
    limited(|| {
        for queue_size in [Some(0), Some(1), None] {
            let pool = open(options(1, queue_size));
            for _ in 0..5 {
                pool.submit(Task::TakenBack).expect("the pool is open");
                pool.submit(Task::Note(1)).expect("the pool is open");
            }
            drain(&pool);
            let stats = pool.stats();
            assert_eq!((stats.submitted, stats.completed), (10, 5));
            assert_eq!((stats.cancelled, stats.failed), (5, 0));
        }
    });
}

#[test]
fn a_task_that_is_not_at_its_end_goes_on_before_later_ones() {
    limited(|| {
        let (pool, gate) = busy(options(1, None));
        pool.submit(Task::Rounds(1, 3)).expect("the pool is open");
        pool.submit(Task::Note(2)).expect("the pool is open");
        pool.submit(Task::Rounds(3, 2)).expect("the pool is open");
        gate.0.open();
        drain(&pool);
        assert_eq!(*pool.host().ran.lock().unwrap(), [1, 1, 1, 2, 3, 3]);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.completed), (4, 4));
    });
}

#[test]
fn a_worker_too_many_leaves_its_task_to_another_between_two_goes() {
    limited(|| {
        for queue_size in [Some(0), Some(3), None] {
            let pool = open(options(3, queue_size));
            let over = Arc::new(AtomicBool::new(false));
            for _ in 0..3 {
                pool.submit(Task::Until(Arc::clone(&over)))
                    .expect("the pool is open");
            }
            eventually("all of them have begun", || {
                pool.running() == 3 && pool.stats().queued == 0
            });
            pool.tune(1).expect("it has a capacity");
            eventually("one worker is left", || pool.running() == 1);
            // Without a queue every task that entered counts as busy.
            let busy = if queue_size == Some(0) { 3 } else { 1 };
            eventually("two tasks wait for it", || pool.stats().busy == busy);
            let stats = pool.stats();
            assert_adds_up(&stats, 3..=3);
            assert_eq!(stats.completed, 0);
            over.store(true, Ordering::SeqCst);
            drain(&pool);
            let stats = pool.stats();
            assert_eq!((stats.submitted, stats.completed), (3, 3));
        }
    });
}

#[test]
fn a_task_that_is_not_at_its_end_is_one_task_until_it_is() {
    limited(|| {
        for queue_size in [Some(0), Some(1), None] {
            for capacity in [1, 3] {
                let pool = open(options(capacity, queue_size));
                for number in 1..=6 {
                    pool.submit(Task::Rounds(number, 100))
                        .expect("the pool is open");
                    // A task that moves between workers meanwhile may be seen twice, or not at all.
                    let stats = pool.stats();
                    assert!(stats.submitted <= 6 + u64::from(capacity), "{stats:?}");
                }
                // An accepted task is finished: closing waits for all of its rounds.
                pool.release_timeout(Duration::from_secs(60))
                    .expect("the workers leave");
                assert_eq!(pool.host().ran.lock().unwrap().len(), 600);
                let stats = pool.stats();
                assert_adds_up(&stats, 6..=6);
                assert_eq!(stats.completed, 6);
            }
        }
    });
}

#[test]
fn a_host_that_is_told_of_a_refusal_may_turn_to_the_pools() {
    for together in [true, false] {
        limited(move || {
            let multi = MultiPool::with_hosts(
                2,
                Strategy::RoundRobin,
                &options(1, Some(0)),
                Diary::default,
            )
            .expect("the options are good");
            let multi = Arc::new(multi);
            let gates = [0, 1].map(|index| {
                let gate = Arc::new(Held::default());
                let pool = &multi.pools()[index];
                pool.submit(Task::Hold(Arc::clone(&gate)))
                    .expect("a worker is free");
                gate.0.await_arrivals(1);
                let inner = Arc::downgrade(&multi);
                *pool.host().when_refused.lock().unwrap() = Some(Box::new(move || {
                    let multi = inner.upgrade().expect("it is in use");
                    multi.release();
                    multi.tune(2).expect("it has a capacity");
                    multi.reboot();
                }));
                submit_waiting(pool, 5);
                gate
            });
            let own = Arc::clone(&multi);
            let released = std::thread::spawn(move || {
                if together {
                    own.release()
                } else {
                    own.pools().iter().all(Pool::release)
                }
            });
            assert!(join(released));
            for gate in gates {
                gate.0.open();
            }
            for pool in multi.pools() {
                assert_eq!(pool.host().refused.lock().unwrap().len(), 1);
                pool.host().when_refused.lock().unwrap().take();
            }
            multi.release();
            multi
                .watch_gone(&mut WaitLimit::new(SOON))
                .expect("the workers leave");
        });
    }
}

#[test]
fn a_waiter_of_any_pool_is_not_kept_out_by_waiters_of_one() {
    limited(|| {
        const TASKS: u32 = 1000;
        for size in [1, 2] {
            let options = options(1, Some(0));
            let multi = MultiPool::with_hosts(size, Strategy::RoundRobin, &options, Diary::default);
            let multi = Arc::new(multi.expect("the options are good"));
            let gate = Arc::new(Held::default());
            for pool in multi.pools() {
                pool.submit(Task::Hold(Arc::clone(&gate)))
                    .expect("a worker is free");
            }
            gate.0.await_arrivals(size);
            for number in 1..=TASKS {
                submit_waiting(&multi.pools()[0], number);
                if size == 2 {
                    submit_waiting(&multi.pools()[1], number);
                }
            }
            let submitter = {
                let multi = Arc::clone(&multi);
                std::thread::spawn(move || multi.submit(Task::Note(0)).expect("it is open"))
            };
            let tasks = TASKS as usize * size;
            eventually("it waits", || multi.stats().waiting == tasks + 1);
            gate.0.open();
            join(submitter);
            for pool in multi.pools() {
                assert!(pool.wait_idle(SOON));
            }
            let ran = |pool: &Pool<Diary>| pool.host().ran.lock().unwrap().clone();
            let place = multi
                .pools()
                .iter()
                .find_map(|pool| ran(pool).iter().position(|&number| number == 0));
            assert!(place.expect("it ran") < 10, "{place:?}");
            multi.release();
        }
    });
}

/// Two pools of one worker each, busy until its gate is opened.
fn two_busy() -> (MultiPool<Diary>, [Arc<Held>; 2]) {
    let options = options(1, Some(0));
    let multi = MultiPool::with_hosts(2, Strategy::RoundRobin, &options, Diary::default)
        .expect("the options are good");
    let gates: [Arc<Held>; 2] = Default::default();
    for (pool, gate) in multi.pools().iter().zip(&gates) {
        pool.submit(Task::Hold(Arc::clone(gate)))
            .expect("a worker is free");
        gate.0.await_arrivals(1);
    }
    (multi, gates)
}

fn stand_anywhere(multi: &MultiPool<Diary>, number: u32) -> Detached<Diary> {
    let (index, offer) = multi.offer(Task::Note(number));
    multi
        .submit_detached(index, offer, Accounting::Counted)
        .expect("it may wait")
        .expect("there is no room")
}

#[test]
fn a_task_detached_with_several_pools_is_taken_by_whichever_has_a_permit() {
    limited(|| {
        for first in [0, 1] {
            let (multi, gates) = two_busy();
            let places: Vec<_> = (1..=4)
                .map(|number| stand_anywhere(&multi, number))
                .collect();
            assert_eq!(multi.stats().waiting, 4);
            let taken = places[1].withdraw().expect("it waits");
            assert_eq!((taken.number(), multi.stats().waiting), (2, 3));
            gates[first].0.open();
            eventually("one worker takes all of them", || {
                *multi.pools()[first].host().ran.lock().unwrap() == [1, 3, 4]
            });
            assert!(places[0].withdraw().is_none());
            gates[1 - first].0.open();
            multi
                .watch_idle(&mut WaitLimit::new(SOON))
                .expect("all is done");
            assert_eq!(multi.stats().rejected, 0);
        }
    });
}

#[test]
fn a_task_detached_with_several_pools_is_refused_once_when_one_of_them_is_closed() {
    limited(|| {
        let (multi, gates) = two_busy();
        let place = stand_anywhere(&multi, 1);
        assert!(multi.pools()[1].release());
        assert!(place.withdraw().is_none());
        let refused: Vec<_> = multi
            .pools()
            .iter()
            .flat_map(|pool| std::mem::take(&mut *pool.host().refused.lock().unwrap()))
            .map(|(number, error)| (number, error.to_string()))
            .collect();
        assert_eq!(refused, [(1, Error::Closed.to_string())]);
        for gate in gates {
            gate.0.open();
        }
    });
}
