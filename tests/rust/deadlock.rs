//! Tasks that submit to their own pool are served if possible, else get a deadlock error, and never hang.

use super::support::{
    Gate, Journal, assert_is, beside, drain, eventually, join, limited, open, open_multi, refused,
};
use pyants::{Error, MultiPool, Pool, Strategy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A task that submits another one to its own pool, and records the result.
fn nested(
    pool: &Arc<Pool>,
    gate: &Arc<Gate>,
    answers: &Journal<String>,
) -> impl FnOnce() + Send + 'static {
    let (pool, gate, answers) = (Arc::clone(pool), Arc::clone(gate), answers.clone());
    move || {
        gate.pass();
        let answer = pool.submit(|| {});
        answers.note(answer.map_or_else(|refusal| refusal.to_string(), |()| "accepted".to_owned()));
    }
}

const DEADLOCK: &str = "deadlock: every worker of the pool waits for the pool itself";

#[test]
fn a_task_may_submit_to_its_own_pool_while_there_is_a_permit() {
    limited(|| {
        for (capacity, queue_size) in [
            (Some(2), Some(0)),
            (Some(1), Some(1)),
            (Some(1), None),
            (None, Some(0)),
        ] {
            let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
            let (gate, answers) = (Gate::new(), Journal::new());
            gate.open();
            pool.submit(nested(&pool, &gate, &answers))
                .expect("there is room");
            drain(&pool);
            assert_eq!(answers.entries(), ["accepted"]);
            assert_eq!(pool.stats().completed, 2);
        }
    });
}

#[test]
fn the_last_worker_to_wait_for_its_own_full_pool_is_told_of_the_deadlock() {
    limited(|| {
        for capacity in [1, 2, 4] {
            let pool = open(Pool::builder().capacity(capacity));
            let (gate, answers) = (Gate::new(), Journal::new());
            for _ in 0..capacity {
                pool.submit(nested(&pool, &gate, &answers))
                    .expect("a worker is free");
            }
            gate.await_arrivals(capacity as usize);
            gate.open();
            drain(&pool);
            // The refused task ends, which lets in another, and so on.
            let answers = answers.entries();
            assert_eq!(answers.len(), capacity as usize);
            let deadlocks = answers.iter().filter(|&answer| answer == DEADLOCK).count();
            assert_eq!(deadlocks, 1, "{answers:?}");
            assert_eq!(pool.stats().rejected, 1);
            assert_eq!((pool.waiting(), pool.stats().busy), (0, 0));
        }
    });
}

#[test]
fn a_wait_with_a_limit_is_no_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let answers = Journal::new();
        let (own, noted) = (Arc::clone(&pool), answers.clone());
        pool.submit(move || {
            let (error, _) = refused(own.submit_timeout(|| {}, Duration::from_millis(2)));
            noted.note(error.to_string());
        })
        .expect("a worker is free");
        drain(&pool);
        assert_eq!(answers.entries(), [Error::Timeout.to_string()]);
    });
}

#[test]
fn a_submitter_from_outside_does_not_hide_a_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let (gate, answers) = (Gate::new(), Journal::new());
        pool.submit(nested(&pool, &gate, &answers))
            .expect("a worker is free");
        gate.await_arrivals(1);
        let outside = beside(&pool, |pool| pool.submit(|| {}));
        eventually("it waits", || pool.waiting() == 1);
        gate.open();
        join(outside).expect("it is let in once the task has ended");
        drain(&pool);
        assert_eq!(answers.entries(), [DEADLOCK]);
    });
}

#[test]
fn tasks_of_another_pool_are_no_deadlock() {
    limited(|| {
        let (inner, outer) = (
            open(Pool::builder().capacity(1)),
            open(Pool::builder().capacity(1)),
        );
        let gate = Gate::new();
        inner.submit(gate.task()).expect("a worker is free");
        let full = Arc::clone(&inner);
        let answers = Journal::new();
        let noted = answers.clone();
        outer
            .submit(move || noted.note(full.submit(|| {}).is_ok()))
            .expect("a worker is free");
        eventually("the task waits", || inner.waiting() == 1);
        gate.open();
        drain(&outer);
        assert_eq!(answers.entries(), [true]);
    });
}

#[test]
fn a_tune_down_that_leaves_only_waiting_workers_is_a_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let (gate, answers) = (Gate::new(), Journal::new());
        gate.open();
        let other = Gate::new();
        pool.submit(other.task()).expect("a worker is free");
        other.await_arrivals(1);
        pool.submit(nested(&pool, &gate, &answers))
            .expect("a worker is free");
        eventually("the task waits", || pool.waiting() == 1);
        // The other worker will leave without letting anybody in.
        pool.tune(1).expect("it has a capacity");
        other.open();
        drain(&pool);
        assert_eq!(answers.entries(), [DEADLOCK]);
        eventually("one is left", || pool.running() == 1);
    });
}

#[test]
fn a_tune_up_lets_the_waiting_workers_in() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let (gate, answers) = (Gate::new(), Journal::new());
        gate.open();
        let other = Gate::new();
        pool.submit(other.task()).expect("a worker is free");
        pool.submit(nested(&pool, &gate, &answers))
            .expect("a worker is free");
        eventually("the task waits", || pool.waiting() == 1);
        pool.tune(3).expect("it has a capacity");
        eventually("it is let in", || answers.entries() == ["accepted"]);
        other.open();
        drain(&pool);
    });
}

type Closure = Box<dyn FnOnce() + Send>;

/// Two threads submit tasks that each submit another. Counts those that are refused because of a deadlock.
fn nest<P: Send + Sync + 'static>(
    pool: &Arc<P>,
    tasks: u64,
    submit: fn(&P, Closure) -> Result<(), Error>,
) -> Arc<AtomicU64> {
    let deadlocks = Arc::new(AtomicU64::new(0));
    let submitters = [0, 1].map(|_| {
        let (own, deadlocks) = (Arc::clone(pool), Arc::clone(&deadlocks));
        beside(pool, move |pool| {
            for _ in 0..tasks {
                let (own, deadlocks) = (Arc::clone(&own), Arc::clone(&deadlocks));
                let task = move || {
                    if let Err(error) = submit(&own, Box::new(|| {})) {
                        assert_is!(error, Error::Deadlock);
                        deadlocks.fetch_add(1, Ordering::Relaxed);
                    }
                };
                submit(pool, Box::new(task)).expect("it is open");
            }
        })
    });
    submitters.into_iter().for_each(join);
    deadlocks
}

#[test]
fn nested_submits_never_hang_under_stress() {
    const TASKS: u64 = 3_000;
    limited(|| {
        for (capacity, queue_size) in [(1, 0), (3, 0), (3, 2)] {
            let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
            let deadlocks = nest(&pool, TASKS, |pool, task| {
                pool.submit(task).map_err(|refusal| refusal.error)
            });
            drain(&pool);
            let (stats, deadlocks) = (pool.stats(), deadlocks.load(Ordering::Relaxed));
            assert_eq!(stats.failed, 0, "a task met another error");
            assert_eq!(stats.submitted, 2 * 2 * TASKS - deadlocks);
            assert_eq!(stats.rejected, deadlocks);
        }
    });
}

/// Waits until all pools are idle, all checked anew each time.
fn drain_all(multi: &MultiPool) {
    eventually("all pools are at rest", || {
        multi.pools().iter().all(Pool::is_at_rest)
    });
}

#[test]
fn the_pools_of_one_front_have_one_deadlock() {
    limited(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let multi = open_multi(2, strategy, &Pool::builder().capacity(1));
            let (gate, answers) = (Gate::new(), Journal::new());
            for _ in 0..2 {
                let (own, gate, answers) = (Arc::clone(&multi), Arc::clone(&gate), answers.clone());
                multi
                    .submit(move || {
                        gate.pass();
                        answers.note(own.submit(|| {}).is_ok());
                    })
                    .expect("a worker is free");
            }
            gate.await_arrivals(2);
            gate.open();
            eventually("both have their answer", || answers.entries().len() == 2);
            drain_all(&multi);
            let mut answers = answers.entries();
            answers.sort_unstable();
            assert_eq!(answers, [false, true]);
        }
    });
}

#[test]
fn a_worker_that_waits_for_one_pool_is_served_by_any_pool_of_the_front() {
    limited(|| {
        let multi = open_multi(2, Strategy::RoundRobin, &Pool::builder().capacity(1));
        let (first, second, answers) = (Gate::new(), Gate::new(), Journal::new());
        let (own, gate, noted) = (Arc::clone(&multi), Arc::clone(&first), answers.clone());
        multi
            .submit(move || {
                gate.pass();
                noted.note(own.submit(|| {}).is_ok());
            })
            .expect("a worker is free");
        multi.submit(second.task()).expect("a worker is free");
        second.await_arrivals(1);
        // Round robin: the first pool's worker waits for its own pool, that is for itself. The second has a permit.
        first.open();
        eventually("the task waits", || multi.pools()[0].waiting() == 1);
        second.open();
        eventually("it is let in", || answers.entries() == [true]);
        drain_all(&multi);
    });
}

#[test]
fn nested_submits_to_several_pools_never_hang_under_stress() {
    const TASKS: u64 = 2_000;
    limited(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let multi = open_multi(3, strategy, &Pool::builder().capacity(1));
            let deadlocks = nest(&multi, TASKS, |multi, task| {
                multi.submit(task).map_err(|refusal| refusal.error)
            });
            drain_all(&multi);
            let (stats, deadlocks) = (multi.stats(), deadlocks.load(Ordering::Relaxed));
            assert_eq!(stats.failed, 0, "a task met another error");
            assert_eq!(stats.submitted, 2 * 2 * TASKS - deadlocks);
        }
    });
}
