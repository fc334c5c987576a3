//! Workers that have been idle for the expiry duration leave, and no others.

use super::support::{
    Gate, Journal, Ledger, QUEUE_SIZES, beside, busy, close, drain, eventually, join, limited,
    limited_alone, open,
};
use pyants::Pool;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn idle_workers_leave_and_new_ones_come_when_needed() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let (pool, gate) = busy(
                Pool::builder()
                    .capacity(4)
                    .queue_size(queue_size)
                    .expiry(SHORT),
            );
            gate.open();
            eventually("the workers have left", || pool.running() == 0);
            let stats = pool.stats();
            assert_eq!((stats.spawned, stats.expired), (4, 4));
            assert!(!pool.is_closed());
            pool.submit(|| {}).expect("the pool is open");
            drain(&pool);
            assert_eq!(pool.stats().spawned, 5);
        }
    });
}

#[test]
fn a_busy_worker_does_not_expire() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(3).expiry(SHORT));
        gate.let_one();
        gate.let_one();
        // The two resting workers are overdue; the third has been busy for longer than they rested.
        eventually("the idle ones have left", || pool.stats().expired == 2);
        eventually("and are counted out", || pool.running() == 1);
        gate.open();
        drain(&pool);
        assert_eq!(pool.stats().completed, 3);
    });
}

#[test]
fn without_an_expiry_idle_workers_stay() {
    limited(|| {
        let (stays, gate) = busy(Pool::builder().capacity(2).expiry(None));
        gate.open();
        drain(&stays);
        // A second pool, whose worker rests later than those of the first, shows that their time to leave has passed.
        let clock = open(Pool::builder().capacity(1).expiry(SHORT));
        clock.submit(|| {}).expect("the pool is open");
        eventually("a worker expired", || clock.stats().expired == 1);
        assert_eq!((stays.running(), stays.stats().expired), (2, 0));
        close(&stays);
        assert_eq!(stays.stats().expired, 0);
    });
}

#[test]
fn few_tasks_keep_few_workers() {
    limited(|| {
        let (pool, gate) = busy(
            Pool::builder()
                .capacity(6)
                .expiry(Duration::from_millis(20)),
        );
        gate.open();
        // One task at a time needs one worker, and the last to rest is the first to be called: the others expire
        // however often the pool is used.
        eventually("the others have left", || {
            pool.submit(|| {}).expect("the pool is open");
            drain(&pool);
            pool.running() <= 1
        });
    });
}

#[test]
fn no_task_is_lost_on_a_worker_that_expires() {
    const ROUNDS: usize = 4_000;
    limited(|| {
        for capacity in [1, 3] {
            for queue_size in QUEUE_SIZES {
                let pool = open(
                    Pool::builder()
                        .capacity(capacity)
                        .queue_size(queue_size)
                        .expiry(Duration::from_micros(100)),
                );
                let ended = Arc::new(AtomicBool::new(false));
                let expires = {
                    let ended = Arc::clone(&ended);
                    beside(&pool, move |pool| {
                        while !ended.load(Ordering::Relaxed) {
                            pool.expire_all();
                            thread::yield_now();
                        }
                    })
                };
                let ledger = Ledger::of(ROUNDS);
                for round in 0..ROUNDS {
                    pool.submit(ledger.task(round)).expect("the pool is open");
                    if round % 8 == 0 {
                        drain(&pool); // So that workers rest, and may expire.
                    }
                }
                drain(&pool);
                ended.store(true, Ordering::Relaxed);
                join(expires);
                ledger.assert_all_ran_once();
                assert!(pool.stats().peak_running <= capacity);
            }
        }
    });
}

#[test]
fn the_names_of_expired_workers_are_given_out_again() {
    limited(|| {
        let pool = open(Pool::builder().capacity(3).name("ant").expiry(None));
        let names = Journal::new();
        for _ in 0..20 {
            let gate = Gate::new();
            for _ in 0..3 {
                let (names, gate) = (names.clone(), Arc::clone(&gate));
                pool.submit(move || {
                    names.note(thread::current().name().map(str::to_owned));
                    gate.pass();
                })
                .expect("a worker is free");
            }
            gate.await_arrivals(3);
            gate.open();
            drain(&pool);
            eventually("all have left", || {
                pool.expire_all();
                pool.running() == 0
            });
        }
        let names: BTreeSet<_> = names.entries().into_iter().flatten().collect();
        assert_eq!(Vec::from_iter(names), ["ant_0", "ant_1", "ant_2"]);
        assert_eq!(pool.stats().spawned, 60);
    });
}

#[test]
fn an_expiry_of_nothing_or_of_ages_is_as_good_as_any() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            for expiry in [Duration::ZERO, Duration::MAX] {
                let pool = open(
                    Pool::builder()
                        .capacity(2)
                        .queue_size(queue_size)
                        .expiry(expiry),
                );
                for _ in 0..200 {
                    pool.submit(|| {}).expect("the pool is open");
                    drain(&pool);
                }
                if expiry.is_zero() {
                    eventually("the workers have left", || pool.running() == 0);
                }
                close(&pool);
            }
        }
    });
}

const AGES: Duration = Duration::from_secs(3_600);

/// How many expiry threads the process has.
#[cfg(target_os = "linux")]
pub fn expiry_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("there are books on threads");
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "pyants_expiry")
        .count()
}

#[cfg(target_os = "linux")]
#[test]
fn one_expiry_thread_serves_all_pools_while_a_worker_rests() {
    limited_alone(|| {
        let pools: Vec<_> = (0..50)
            .map(|_| open(Pool::builder().capacity(1).expiry(AGES)))
            .collect();
        eventually("nobody rests", || expiry_threads() == 0);
        for pool in &pools {
            pool.submit(|| {}).expect("the pool is open");
            drain(pool);
        }
        eventually("somebody rests", || expiry_threads() > 0);
        for (ended, pool) in pools.iter().enumerate() {
            assert_eq!(expiry_threads(), 1, "after {ended} of the pools");
            // A short expiry beside the long ones, of which the thread must be notified.
            let brief = open(Pool::builder().capacity(1).expiry(SHORT));
            brief.submit(|| {}).expect("the pool is open");
            eventually("the worker has left", || brief.running() == 0);
            close(pool);
        }
        assert_eq!(expiry_threads(), 0, "nobody rests any more");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_expiry_thread_goes_with_the_last_worker_that_expires() {
    limited_alone(|| {
        for _ in 0..10 {
            let pools = [1, 2, 3].map(|capacity| {
                let (pool, gate) = busy(Pool::builder().capacity(capacity).expiry(SHORT));
                gate.open();
                pool
            });
            eventually("all workers have left", || {
                pools.iter().all(|pool| pool.running() == 0)
            });
            eventually("the thread has gone", || expiry_threads() == 0);
        }
    });
}

#[test]
fn nothing_of_a_users_is_dropped_on_the_expiry_thread() {
    struct Dropped(Journal<Option<String>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note(thread::current().name().map(str::to_owned));
        }
    }
    limited(|| {
        let names = Journal::new();
        const POOLS: usize = 40;
        for round in 0..POOLS {
            let dropped = Dropped(names.clone());
            let pool = open(
                Pool::builder()
                    .capacity(1)
                    .name("ant")
                    .expiry(SHORT)
                    .panic_handler(move |_| {
                        let _ = &dropped;
                    }),
            );
            pool.submit(|| {}).expect("the pool is open");
            if round % 2 == 0 {
                eventually("the worker has left", || pool.running() == 0);
            }
            drop(pool);
        }
        eventually("all pools are gone", || names.entries().len() == POOLS);
        for name in names.entries().into_iter().flatten() {
            assert!(!name.contains("expiry"), "dropped on {name}");
        }
    });
}

#[test]
fn a_worker_that_rests_while_its_pool_is_opened_again_expires() {
    limited(|| {
        for round in 0..40 {
            let pool = open(Pool::builder().capacity(2).expiry(SHORT));
            for _ in 0..round {
                // The workers begin to rest while the pool is closed and opened.
                pool.submit(|| {}).expect("the pool is open");
                pool.release();
                pool.reboot();
            }
            pool.submit(|| {}).expect("the pool is open");
            eventually("the workers have left", || pool.running() == 0);
        }
    });
}

#[test]
fn a_worker_is_counted_as_expired_when_it_is_seen_to_be_gone() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1).expiry(None));
        for round in 1..=2_000 {
            pool.submit(|| {}).expect("the pool is open");
            // Without a pause, to hit the moment after the worker counts itself out.
            while pool.running() > 0 {
                pool.expire_all();
            }
            let stats = pool.stats();
            assert_eq!((stats.spawned, stats.expired), (round, round));
        }
    });
}
