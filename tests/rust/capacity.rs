//! At most `capacity` workers run at any time, and workers exist only if there is work for them.

use super::support::{
    Gate, Ledger, QUEUE_SIZES, beside, close, drain, eventually, join, limited, occupy, open,
};
use pyants::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn running_never_exceeds_the_capacity_under_stress() {
    const CAPACITY: u32 = 3;
    const SUBMITTERS: usize = 4;
    const TASKS: usize = 3_000;
    limited(|| {
        for queue_size in QUEUE_SIZES {
            // A short expiry, so that workers come and go all the time.
            let pool = open(
                Pool::builder()
                    .capacity(CAPACITY)
                    .queue_size(queue_size)
                    .expiry(Duration::from_micros(200)),
            );
            let ended = Arc::new(AtomicBool::new(false));
            let samplers = [0, 1].map(|_| {
                let ended = Arc::clone(&ended);
                beside(&pool, move |pool| {
                    while !ended.load(Ordering::Relaxed) {
                        assert!(pool.running() <= CAPACITY);
                        let stats = pool.stats();
                        assert!(stats.running <= CAPACITY, "{stats:?}");
                        assert!(stats.busy <= CAPACITY.into(), "{stats:?}");
                        assert!(pool.free().is_some_and(|free| free >= 0));
                    }
                })
            });
            let ledger = Ledger::of(SUBMITTERS * TASKS);
            ledger.submit_all(&pool, SUBMITTERS);
            drain(&pool);
            ended.store(true, Ordering::Relaxed);
            samplers.into_iter().for_each(join);
            ledger.assert_all_ran_once();
            assert!(ledger.most_running() <= CAPACITY as usize);
            assert!(pool.stats().peak_running <= CAPACITY);
        }
    });
}

#[test]
fn no_thread_is_started_before_the_first_task() {
    limited(|| {
        let pool = open(Pool::builder().capacity(4));
        assert_eq!((pool.running(), pool.free()), (0, Some(4)));
        assert_eq!(pool.stats().spawned, 0);
    });
}

#[test]
fn a_handed_off_task_has_its_worker_counted_when_submit_returns() {
    limited(|| {
        let pool = open(Pool::builder().capacity(4));
        let gate = Gate::new();
        for tasks in 1..=4 {
            pool.submit(gate.task()).expect("a worker is free");
            assert_eq!(pool.running(), tasks);
            assert_eq!(pool.free(), Some(4 - i64::from(tasks)));
        }
        gate.open();
    });
}

#[test]
fn as_many_tasks_run_at_once_as_there_may_be_workers() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(Pool::builder().capacity(5).queue_size(queue_size));
            // All wait at the gate, so each has a worker of its own.
            let gate = occupy(&pool, 5);
            assert_eq!(pool.running(), 5);
            gate.open();
        }
    });
}

#[test]
fn an_unlimited_pool_has_a_worker_for_every_task() {
    limited(|| {
        for builder in [Pool::builder(), Pool::builder().capacity(None)] {
            let pool = open(builder);
            assert_eq!((pool.capacity(), pool.free()), (None, None));
            let gate = occupy(&pool, 50);
            assert_eq!(pool.running(), 50);
            gate.open();
        }
    });
}

#[test]
fn a_worker_is_used_again() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(
                Pool::builder()
                    .capacity(1)
                    .queue_size(queue_size)
                    .expiry(None),
            );
            for _ in 0..500 {
                pool.submit(|| {}).expect("the pool is open");
            }
            drain(&pool);
            assert_eq!(pool.stats().spawned, 1);
        }
    });
}

#[test]
fn no_more_workers_are_started_than_tasks_overlap() {
    limited(|| {
        let pool = open(Pool::builder().capacity(8).expiry(None));
        for _ in 0..100 {
            pool.submit(|| {}).expect("the pool is open");
            // The task is done, so its worker is free for the next one.
            drain(&pool);
        }
        assert_eq!(pool.stats().spawned, 1);
    });
}

#[test]
fn after_a_release_every_thread_leaves() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(Pool::builder().capacity(6).queue_size(queue_size));
            let gate = occupy(&pool, 6);
            gate.open();
            close(&pool);
            let remains = pool.remains();
            drop(pool);
            eventually("nothing is left of the pool", || remains.are_gone());
        }
    });
}
