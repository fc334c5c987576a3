//! `queue_size`: how many accepted tasks may wait for a worker.

use super::support::{
    Gate, Journal, assert_is, beside, busy, drain, eventually, join, limited, occupy, open, refused,
};
use pyants::{Error, Pool};

#[test]
fn a_queue_of_n_takes_n_tasks_beyond_the_workers() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2).queue_size(3));
        for queued in 1..=3 {
            pool.try_submit(|| {}).expect("there is room in the queue");
            assert_eq!(pool.queued(), queued);
        }
        assert_is!(
            refused(pool.try_submit(|| {})).0,
            Error::Overload { in_flight: 5, .. }
        );
        let stats = pool.stats();
        assert_eq!((stats.busy, stats.queued, stats.running), (2, 3, 2));
        assert_eq!((stats.submitted, stats.rejected), (5, 1));
        gate.open();
        drain(&pool);
        assert_eq!((pool.queued(), pool.stats().completed), (0, 5));
    });
}

#[test]
fn a_submitter_waits_while_the_queue_is_full() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(1));
        pool.submit(gate.task()).expect("there is room");
        let submitter = beside(&pool, |pool| pool.submit(|| {}));
        eventually("it waits", || pool.waiting() == 1);
        assert_eq!(pool.queued(), 1);
        gate.let_one();
        join(submitter).expect("it is let in");
        gate.open();
        drain(&pool);
    });
}

#[test]
fn a_handed_off_task_never_counts_as_queued() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2));
        assert_eq!((pool.queued(), pool.stats().queued), (0, 0));
        assert_eq!(pool.stats().busy, 2);
        assert_is!(refused(pool.try_submit(|| {})).0, Error::Overload { .. });
        gate.open();
    });
}

#[test]
fn queued_tasks_run_first_in_first_out() {
    limited(|| {
        for queue_size in [Some(200), None] {
            let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(queue_size));
            let journal = Journal::new();
            for number in 0..200 {
                pool.submit(journal.task(number)).expect("there is room");
            }
            gate.open();
            drain(&pool);
            assert_eq!(journal.entries(), Vec::from_iter(0..200));
        }
    });
}

#[test]
fn an_unbounded_queue_never_refuses_nor_blocks() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2).queue_size(None));
        for _ in 0..20_000 {
            pool.try_submit(|| {}).expect("there is always room");
        }
        assert_eq!((pool.queued(), pool.running()), (20_000, 2));
        gate.open();
        drain(&pool);
        assert_eq!(pool.stats().completed, 20_002);
    });
}

#[test]
fn tasks_in_the_queue_raise_the_number_of_workers() {
    limited(|| {
        for queue_size in [Some(8), None] {
            let pool = open(Pool::builder().capacity(4).queue_size(queue_size));
            let gate = Gate::new();
            for _ in 0..8 {
                pool.submit(gate.task()).expect("there is room");
            }
            gate.await_arrivals(4);
            assert_eq!((pool.running(), pool.queued()), (4, 4));
            gate.open();
            drain(&pool);
        }
    });
}

#[test]
fn an_unlimited_pool_with_a_queue_lets_no_task_wait() {
    limited(|| {
        let pool = open(Pool::builder().queue_size(5));
        let gate = occupy(&pool, 20);
        assert_eq!(pool.queued(), 0);
        gate.open();
    });
}
