//! The counters add up, at any time and at the end.

use super::support::{QUEUE_SIZES, beside, busy, close, drain, join, limited, occupy, open};
use pyants::{Pool, Stats};
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The tasks that entered, as counted by their submitters.
#[derive(Default)]
pub struct Admitted {
    offered: AtomicU64,
    accepted: AtomicU64,
}

impl Admitted {
    /// Counts the task that `submit` submits, before and after.
    pub fn count<T, E>(&self, submit: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.offered.fetch_add(1, Ordering::SeqCst);
        let submitted = submit();
        if submitted.is_ok() {
            self.accepted.fetch_add(1, Ordering::SeqCst);
        }
        submitted
    }

    /// Takes a snapshot, which must have all tasks accepted before it, and none offered after it.
    #[track_caller]
    pub fn check(&self, pool: &Pool) -> Stats {
        let accepted = self.accepted.load(Ordering::SeqCst);
        let stats = pool.stats();
        assert_adds_up(&stats, accepted..=self.offered.load(Ordering::SeqCst));
        stats
    }
}

/// Holds for every single snapshot: each admitted task is in exactly one of the states.
#[track_caller]
pub fn assert_adds_up(stats: &Stats, admitted: RangeInclusive<u64>) {
    let accounted = stats.completed + stats.failed + stats.cancelled + stats.queued + stats.busy;
    assert!(admitted.contains(&accounted), "{admitted:?}, {stats:?}");
    assert_eq!(stats.submitted, accounted, "{stats:?}");
}

/// No later snapshot may undo what an earlier one counted.
#[track_caller]
fn assert_grew(before: &Stats, after: &Stats) {
    let grows = [
        (before.submitted, after.submitted),
        (before.completed, after.completed),
        (before.failed, after.failed),
        (before.rejected, after.rejected),
        (before.spawned, after.spawned),
        (before.expired, after.expired),
        (before.peak_running.into(), after.peak_running.into()),
    ];
    assert!(
        grows.iter().all(|(before, after)| before <= after),
        "{before:?} -> {after:?}"
    );
}

#[test]
fn counters_add_up_at_every_instant() {
    const SUBMITTERS: u64 = 3;
    const TASKS: u64 = 3_000;
    limited(|| {
        for capacity in [Some(2), None] {
            for queue_size in QUEUE_SIZES {
                let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
                let ended = Arc::new(AtomicBool::new(false));
                let admitted = Arc::new(Admitted::default());
                let sampler = {
                    let (ended, admitted) = (Arc::clone(&ended), Arc::clone(&admitted));
                    beside(&pool, move |pool| {
                        let mut before = pool.stats();
                        while !ended.load(Ordering::Relaxed) {
                            let stats = admitted.check(pool);
                            assert_grew(&before, &stats);
                            before = stats;
                        }
                    })
                };
                let submitters: Vec<_> = (0..SUBMITTERS)
                    .map(|_| {
                        let admitted = Arc::clone(&admitted);
                        beside(&pool, move |pool| {
                            for task in 0..TASKS {
                                let task = move || {
                                    if task % 10 == 0 {
                                        resume_unwind(Box::new("on purpose"));
                                    }
                                };
                                admitted
                                    .count(|| pool.submit(task))
                                    .expect("the pool is open");
                            }
                        })
                    })
                    .collect();
                submitters.into_iter().for_each(join);
                drain(&pool);
                ended.store(true, Ordering::Relaxed);
                join(sampler);
                let stats = pool.stats();
                assert_adds_up(&stats, SUBMITTERS * TASKS..=SUBMITTERS * TASKS);
                assert_eq!(stats.failed, SUBMITTERS * TASKS / 10);
                assert_eq!((stats.busy, stats.queued, stats.waiting), (0, 0, 0));
                assert_eq!((stats.cancelled, stats.rejected), (0, 0));
            }
        }
    });
}

#[test]
fn counters_of_a_pool_at_work() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(3).queue_size(2).expiry(None));
        for _ in 0..2 {
            pool.submit(|| {}).expect("there is room");
        }
        assert!(pool.try_submit(|| {}).is_err());
        let stats = pool.stats();
        assert_adds_up(&stats, 5..=5);
        assert_eq!(stats.capacity, Some(3));
        assert_eq!((stats.running, stats.idle, stats.peak_running), (3, 0, 3));
        assert_eq!((stats.busy, stats.queued), (3, 2));
        assert_eq!((stats.submitted, stats.rejected), (5, 1));
        assert_eq!((stats.spawned, stats.expired), (3, 0));
        gate.open();
        drain(&pool);
        let stats = pool.stats();
        assert_eq!((stats.running, stats.idle, stats.busy), (3, 3, 0));
        assert_eq!((stats.completed, stats.failed), (5, 0));
    });
}

#[test]
fn counters_outlive_the_workers_and_a_reboot() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        for round in 1..=3 {
            let gate = occupy(&pool, 2);
            gate.open();
            close(&pool);
            let stats = pool.stats();
            assert_adds_up(&stats, 2 * round..=2 * round);
            assert_eq!((stats.completed, stats.spawned), (2 * round, 2 * round));
            pool.reboot();
        }
    });
}
