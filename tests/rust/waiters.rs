//! The submitters that wait for a permit are served first come, first served, and wait no longer than necessary.

use super::support::{
    Gate, Journal, assert_is, beside, busy, drain, eventually, join, limited, open, refused,
};
use pyants::pool::internal::sync::WaitLimit;
use pyants::{Error, Pool};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(3600);

/// Starts submitters that wait, in this order.
fn wait_for_permit(
    pool: &Arc<Pool>,
    journal: &Journal<usize>,
    count: usize,
) -> Vec<JoinHandle<()>> {
    let before = pool.waiting();
    (0..count)
        .map(|number| {
            let task = journal.task(number);
            let submitter = beside(pool, |pool| pool.submit(task).expect("it is let in"));
            eventually("the submitter waits", || {
                pool.waiting() == before + number + 1
            });
            submitter
        })
        .collect()
}

#[test]
fn blocked_submitters_are_served_first_come_first_served() {
    limited(|| {
        for queue_size in [0, 2] {
            let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(queue_size));
            for _ in 0..queue_size {
                pool.try_submit(|| {}).expect("there is room in the queue");
            }
            let journal = Journal::new();
            let submitters = wait_for_permit(&pool, &journal, 12);
            gate.open();
            submitters.into_iter().for_each(join);
            drain(&pool);
            assert_eq!(journal.entries(), Vec::from_iter(0..12));
            assert_eq!(pool.waiting(), 0);
        }
    });
}

#[test]
fn nobody_overtakes_a_blocked_submitter() {
    limited(|| {
        for _ in 0..100 {
            let (pool, gate) = busy(Pool::builder().capacity(1).expiry(None));
            let journal = Journal::new();
            let waits = wait_for_permit(&pool, &journal, 1);
            let jumps = [1, 2].map(|number| {
                let journal = journal.clone();
                beside(&pool, move |pool| {
                    eventually("there is room", || {
                        pool.try_submit(journal.task(number)).is_ok()
                    });
                })
            });
            gate.open();
            waits.into_iter().chain(jumps).for_each(join);
            drain(&pool);
            let entries = journal.entries();
            assert_eq!((entries.len(), entries[0]), (3, 0), "{entries:?}");
        }
    });
}

#[test]
fn a_blocked_submitter_is_released_by_the_first_free_worker() {
    limited(|| {
        for queue_size in [0, 1] {
            let pool = open(Pool::builder().capacity(3).queue_size(queue_size));
            let gates = [0, 1, 2].map(|_| Gate::new());
            for gate in &gates {
                pool.submit(gate.task()).expect("a worker is free");
                gate.await_arrivals(1);
            }
            for _ in 0..queue_size {
                pool.submit(|| {}).expect("there is room in the queue");
            }
            let journal = Journal::new();
            let submitters = wait_for_permit(&pool, &journal, 1);
            // The others stay shut: one worker is enough.
            gates[1].open();
            submitters.into_iter().for_each(join);
            eventually("the task has run", || journal.entries() == [0]);
            assert_eq!((gates[0].arrived(), gates[2].arrived()), (1, 1));
            gates.iter().for_each(|gate| gate.open());
        }
    });
}

#[test]
fn each_worker_that_becomes_free_lets_in_one() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2));
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let task = gate.task();
                beside(&pool, |pool| pool.submit(task).expect("it is let in"))
            })
            .collect();
        eventually("all wait", || pool.waiting() == 4);
        for left in (0..4).rev() {
            gate.let_one();
            eventually("one more is let in", || pool.waiting() == left);
            gate.await_arrivals(2 + 4 - left);
            assert_eq!(pool.waiting(), left);
        }
        gate.open();
        submitters.into_iter().for_each(join);
    });
}

#[test]
fn no_more_may_wait_than_max_blocking_tasks() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).max_blocking_tasks(2));
        let journal = Journal::new();
        let submitters = wait_for_permit(&pool, &journal, 2);
        let (error, task) = refused(pool.submit(journal.task(9)));
        assert_is!(error, Error::Overload { in_flight: 1, .. });
        let (error, _) = refused(pool.submit_timeout(journal.task(9), LONG));
        assert_is!(error, Error::Overload { .. });
        assert_eq!((pool.waiting(), pool.stats().rejected), (2, 2));
        gate.open();
        submitters.into_iter().for_each(join);
        drain(&pool);
        // A permit is free again, and a place to wait, too.
        pool.submit(task).expect("a worker is free");
        drain(&pool);
        assert_eq!(journal.entries(), [0, 1, 9]);
    });
}

#[test]
fn a_nonblocking_pool_refuses_instead_of_waiting() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2).nonblocking(true));
        assert_is!(
            refused(pool.submit(|| {})).0,
            Error::Overload { in_flight: 2, .. }
        );
        assert_is!(
            refused(pool.submit_timeout(|| {}, LONG)).0,
            Error::Overload { .. }
        );
        assert_is!(refused(pool.try_submit(|| {})).0, Error::Overload { .. });
        assert_eq!(pool.waiting(), 0);
        gate.open();
        drain(&pool);
        pool.submit(|| {}).expect("a worker is free");
    });
}

#[test]
fn a_submitter_whose_time_runs_out_gets_its_task_back() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let journal = Journal::new();
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let (error, _) = refused(pool.submit_timeout(journal.task(0), timeout));
            assert_is!(error, Error::Timeout);
            assert_eq!(pool.waiting(), 0);
        }
        assert_eq!(pool.stats().rejected, 2);
        gate.open();
        drain(&pool);
        assert!(journal.entries().is_empty(), "it was not accepted");
        pool.submit_timeout(journal.task(1), Duration::ZERO)
            .expect("there is room, so nobody waits");
        drain(&pool);
        assert_eq!(journal.entries(), [1]);
    });
}

#[test]
fn a_submitter_in_time_is_let_in() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        // No clock can represent the second deadline.
        for timeout in [LONG, Duration::MAX] {
            let submitter = beside(&pool, move |pool| pool.submit_timeout(|| {}, timeout));
            eventually("it waits", || pool.waiting() == 1);
            gate.let_one();
            join(submitter).expect("it is let in");
            drain(&pool);
            pool.submit(gate.task()).expect("a worker is free");
        }
        gate.open();
    });
}

#[test]
fn those_behind_one_who_gives_up_keep_their_order() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let journal = Journal::new();
        let mut submitters = wait_for_permit(&pool, &journal, 1);
        let task = journal.task(99);
        let gives_up = beside(&pool, move |pool| {
            let mut stop = || pool.waiting() == 4;
            let mut wait_limit = WaitLimit::new(None).interruptible(&mut stop);
            pool.submit_with(task.into(), &mut wait_limit)
        });
        eventually("it waits", || pool.waiting() == 2);
        for number in [1, 2] {
            let task = journal.task(number);
            submitters.push(beside(&pool, |pool| pool.submit(task).expect("let in")));
            eventually("it waits", || {
                pool.waiting() >= 2 + number || gives_up.is_finished()
            });
        }
        assert_is!(refused(join(gives_up)).0, Error::Interrupted);
        assert_eq!(pool.waiting(), 3);
        gate.open();
        submitters.into_iter().for_each(join);
        drain(&pool);
        assert_eq!(journal.entries(), [0, 1, 2]);
    });
}

#[test]
fn timeouts_against_finishing_workers_lose_no_task() {
    const SUBMITTERS: usize = 4;
    const TASKS: usize = 500;
    limited(|| {
        for queue_size in [0, 2] {
            let pool = open(Pool::builder().capacity(1).queue_size(queue_size));
            let journal = Journal::new();
            let submitters: Vec<_> = (0..SUBMITTERS)
                .map(|submitter| {
                    let journal = journal.clone();
                    beside(&pool, move |pool| {
                        (0..TASKS)
                            .map(|task| submitter * TASKS + task)
                            .filter(|&number| {
                                let timeout = Duration::from_micros(number as u64 % 40);
                                pool.submit_timeout(journal.task(number), timeout).is_ok()
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let mut accepted: Vec<_> = submitters.into_iter().flat_map(join).collect();
            drain(&pool);
            let mut ran = journal.entries();
            accepted.sort_unstable();
            ran.sort_unstable();
            assert_eq!(ran, accepted);
            assert_eq!(pool.waiting(), 0);
        }
    });
}

#[test]
fn a_waiter_that_is_passed_over_does_not_keep_a_pool_at_rest_closed() {
    limited(|| {
        for queue_size in [Some(0), Some(2)] {
            let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(queue_size));
            for _ in 0..queue_size.unwrap_or_default() {
                pool.submit(|| {}).expect("there is room");
            }
            let (looking, journal) = (Gate::new(), Journal::new());
            let (looks, task) = (Arc::clone(&looking), journal.task(1));
            let waiter = beside(&pool, move |pool| {
                let mut look = || {
                    looks.pass();
                    false
                };
                let mut wait_limit = WaitLimit::new(None).interruptible(&mut look);
                pool.submit_with(task.into(), &mut wait_limit)
            });
            // Like a signal handler that takes its time.
            looking.await_arrivals(1);
            gate.open();
            drain(&pool);
            assert_eq!((pool.waiting(), pool.stats().busy), (1, 0));
            pool.try_submit(journal.task(2))
                .expect("the pool is at rest");
            drain(&pool);
            looking.open();
            join(waiter).expect("there is room");
            drain(&pool);
            assert_eq!(journal.entries(), [2, 1]);
            assert_eq!(pool.waiting(), 0);
        }
    });
}

#[test]
fn a_waiter_that_checks_for_an_interrupt_keeps_its_place() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let (looking, journal) = (Gate::new(), Journal::new());
        let (looks, first) = (Arc::clone(&looking), journal.task(1));
        let waiter = beside(&pool, move |pool| {
            let mut look = || {
                looks.pass();
                false
            };
            let mut wait_limit = WaitLimit::new(None).interruptible(&mut look);
            pool.submit_with(first.into(), &mut wait_limit)
        });
        looking.await_arrivals(1);
        let second = journal.task(2);
        let later = beside(&pool, |pool| pool.submit(second));
        eventually("both wait", || pool.waiting() == 2);
        looking.open();
        // From here on it is passed over only for moments: the next worker that is done lets it in.
        eventually("it has looked", || looking.arrived() > 1);
        gate.open();
        join(waiter).expect("it is let in");
        join(later).expect("it is let in");
        drain(&pool);
        let mut entries = journal.entries();
        entries.sort_unstable();
        assert_eq!(entries, [1, 2]);
    });
}
