//! An accepted task runs exactly once, and none waits while a worker rests.

use super::support::{Ledger, QUEUE_SIZES, beside, drain, join, limited, open};
use pyants::Pool;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn every_accepted_task_runs_exactly_once() {
    const SUBMITTERS: usize = 4;
    const TASKS: usize = 2_000;
    limited(|| {
        for capacity in [Some(1), Some(4), None] {
            for queue_size in QUEUE_SIZES {
                let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
                let ledger = Ledger::of(SUBMITTERS * TASKS);
                ledger.submit_all(&pool, SUBMITTERS);
                drain(&pool);
                ledger.assert_all_ran_once();
            }
        }
    });
}

#[test]
fn a_refused_task_never_runs_and_an_accepted_one_once() {
    const SUBMITTERS: usize = 3;
    const TASKS: usize = 4_000;
    limited(|| {
        for queue_size in [0, 2] {
            let pool = open(Pool::builder().capacity(2).queue_size(queue_size));
            let ledger = Ledger::of(SUBMITTERS * TASKS);
            let submitters: Vec<_> = (0..SUBMITTERS)
                .map(|submitter| {
                    let ledger = Arc::clone(&ledger);
                    beside(&pool, move |pool| {
                        let numbers = submitter * TASKS..(submitter + 1) * TASKS;
                        numbers
                            .map(|number| (number, pool.try_submit(ledger.task(number)).is_ok()))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let offered: Vec<_> = submitters.into_iter().flat_map(join).collect();
            drain(&pool);
            let mut accepted = 0;
            for (number, was_accepted) in offered {
                assert_eq!(ledger.runs(number), usize::from(was_accepted));
                accepted += u64::from(was_accepted);
            }
            let stats = pool.stats();
            assert_eq!((stats.submitted, stats.completed), (accepted, accepted));
            assert_eq!(stats.rejected, (SUBMITTERS * TASKS) as u64 - accepted);
        }
    });
}

#[test]
fn no_task_waits_while_a_worker_rests() {
    limited(|| {
        for capacity in [1, 3] {
            for queue_size in QUEUE_SIZES {
                let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
                let (done, is_done) = channel();
                // One task at a time: its worker rests, or is just about to, when the next one comes. If a wake-up is
                // lost, no worker ever comes for the task.
                for round in 0..3_000 {
                    let done = done.clone();
                    pool.submit(move || done.send(round).expect("the test waits for it"))
                        .expect("the pool is open");
                    let limit = Duration::from_secs(60);
                    assert_eq!(is_done.recv_timeout(limit), Ok(round), "{:?}", pool.stats());
                }
            }
        }
    });
}

#[test]
fn a_task_drops_its_captures_once_it_has_run() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(Pool::builder().capacity(2).queue_size(queue_size));
            let owned = Arc::new(());
            for _ in 0..100 {
                let owned = Arc::clone(&owned);
                pool.submit(move || drop(owned)).expect("the pool is open");
            }
            drain(&pool);
            assert_eq!(Arc::strong_count(&owned), 1);
        }
    });
}
