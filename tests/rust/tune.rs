//! Changing the capacity while the pool runs.

use super::support::{
    Gate, Journal, assert_is, beside, busy, drain, eventually, join, limited, occupy, open,
    open_multi, refused,
};
use pyants::{Error, OptionsError, Pool, Strategy};

#[test]
fn tune_up_lets_in_as_many_blocked_submitters_as_fit() {
    limited(|| {
        for queue_size in [0, 2] {
            let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(queue_size));
            for _ in 0..queue_size {
                pool.submit(gate.task()).expect("there is room");
            }
            let submitters: Vec<_> = (0..4)
                .map(|_| {
                    let task = gate.task();
                    beside(&pool, |pool| pool.submit(task))
                })
                .collect();
            eventually("all wait", || pool.waiting() == 4);
            pool.tune(3).expect("it has a capacity");
            // Two more entered before `tune` returned; none has left meanwhile.
            assert_eq!((pool.capacity(), pool.waiting()), (Some(3), 2));
            gate.await_arrivals(3);
            assert_eq!((pool.running(), pool.queued() as u64), (3, queue_size));
            gate.open();
            for submitter in submitters {
                join(submitter).expect("it is let in");
            }
            drain(&pool);
        }
    });
}

#[test]
fn tune_up_starts_workers_for_tasks_in_the_queue() {
    limited(|| {
        for queue_size in [Some(5), None] {
            let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(queue_size));
            for _ in 0..3 {
                pool.submit(gate.task()).expect("there is room");
            }
            assert_eq!((pool.running(), pool.queued()), (1, 3));
            pool.tune(4).expect("it has a capacity");
            gate.await_arrivals(4);
            assert_eq!(pool.running(), 4);
            gate.open();
        }
    });
}

#[test]
fn tune_down_retires_idle_workers_at_once() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(8).expiry(None));
        gate.open();
        drain(&pool);
        assert_eq!(pool.running(), 8);
        pool.tune(3).expect("it has a capacity");
        eventually("the surplus has left", || pool.running() == 3);
        assert_eq!((pool.free(), pool.stats().expired), (Some(0), 0));
        // The three workers left can run three tasks at once.
        let gate = Gate::new();
        for _ in 0..3 {
            pool.try_submit(gate.task()).expect("a worker is free");
        }
        gate.await_arrivals(3);
        assert_is!(refused(pool.try_submit(|| {})).0, Error::Overload { .. });
        gate.open();
    });
}

#[test]
fn tune_down_retires_busy_workers_as_they_finish() {
    limited(|| {
        for queue_size in [Some(0), Some(4), None] {
            let (pool, gate) = busy(
                Pool::builder()
                    .capacity(4)
                    .queue_size(queue_size)
                    .expiry(None),
            );
            pool.tune(1).expect("it has a capacity");
            assert_eq!((pool.running(), pool.free()), (4, Some(-3)));
            for left in (1..4).rev() {
                gate.let_one();
                eventually("who finished has left", || pool.running() == left);
            }
            gate.open();
            drain(&pool);
            assert_eq!(pool.running(), 1);
        }
    });
}

#[test]
fn after_tune_down_no_more_tasks_come_in_than_the_new_capacity() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(3));
        pool.tune(1).expect("it has a capacity");
        for _ in 0..2 {
            gate.let_one();
        }
        eventually("one is left", || pool.running() == 1);
        assert_is!(
            refused(pool.try_submit(|| {})).0,
            Error::Overload { in_flight: 1, .. }
        );
        let journal = Journal::new();
        let task = journal.task(());
        let submitter = beside(&pool, |pool| pool.submit(task));
        eventually("it waits", || pool.waiting() == 1);
        gate.let_one();
        join(submitter).expect("it is let in");
        drain(&pool);
        assert_eq!((journal.entries().len(), pool.running()), (1, 1));
    });
}

#[test]
fn tasks_in_the_queue_outlive_a_tune_down() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(4).queue_size(8));
        let journal = Journal::new();
        for number in 0..8 {
            pool.submit(journal.task(number)).expect("there is room");
        }
        pool.tune(1).expect("it has a capacity");
        gate.open();
        drain(&pool);
        let mut ran = journal.entries();
        ran.sort_unstable();
        assert_eq!(ran, Vec::from_iter(0..8));
        eventually("one is left", || pool.running() == 1);
    });
}

#[test]
fn tune_to_0_is_refused_and_to_the_same_changes_nothing() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        assert_eq!(pool.tune(0), Err(OptionsError::ZeroCapacity));
        assert_eq!(pool.tune(2), Ok(()));
        assert_eq!(pool.capacity(), Some(2));
        let multi = open_multi(2, Strategy::RoundRobin, &Pool::builder().capacity(2));
        assert_eq!(multi.tune(0), Err(OptionsError::ZeroCapacity));
        assert_eq!(multi.stats().capacity, Some(4));
    });
}

#[test]
fn tune_leaves_unlimited_and_pre_allocated_pools_as_they_are_and_says_so() {
    limited(|| {
        let unlimited = open(Pool::builder());
        assert_eq!(unlimited.tune(3), Err(OptionsError::FixedCapacity));
        assert_eq!(unlimited.capacity(), None);
        let reserved = open(Pool::builder().capacity(2).pre_alloc(true));
        assert_eq!(reserved.tune(3), Err(OptionsError::FixedCapacity));
        assert_eq!(reserved.tune(2), Ok(()));
        assert_eq!(reserved.capacity(), Some(2));
    });
}

#[test]
fn the_largest_capacity_is_no_overflow() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1).queue_size(u64::MAX));
        pool.tune(u32::MAX).expect("it has a capacity");
        let capacity = pool.capacity().expect("it is limited");
        assert!(capacity >= i32::MAX as u32);
        let gate = occupy(&pool, 3);
        assert_eq!(pool.free(), Some(i64::from(capacity) - 3));
        gate.open();
    });
}
