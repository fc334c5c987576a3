//! The seam to the world that the tasks run in: a world of the test's own.

use super::counters::assert_adds_up;
use super::support::{assert_is, eventually, limited, refused, watch};
use pyants::pool::{Host, Options, Outcome, Worker};
use pyants::{Error, Pool};
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A world whose tasks are numbers.
#[derive(Default)]
struct Numbers {
    /// No worker can be set up.
    is_barren: AtomicBool,
    /// It may do better next time.
    retries: AtomicBool,
    /// Every other worker cannot be set up.
    is_fickle: AtomicBool,
    starts: AtomicUsize,
    /// Tasks of 70 wait for it.
    gate: AtomicBool,
    alive: AtomicUsize,
    lived: Mutex<Vec<Worker>>,
    ran: Mutex<Vec<u32>>,
    cancelled: Mutex<Vec<u32>>,
}

/// Shows that a context is the worker's own.
struct Life(u32);

impl Host for Numbers {
    type Task = u32;
    type Context<'a> = Life;

    fn live(&self, worker: &Worker, body: impl FnOnce(&mut Life)) {
        let starts = self.starts.fetch_add(1, Ordering::SeqCst);
        if self.is_barren.load(Ordering::SeqCst)
            || self.is_fickle.load(Ordering::SeqCst) && starts.is_multiple_of(2)
        {
            return;
        }
        self.lived.lock().unwrap().push(worker.clone());
        self.alive.fetch_add(1, Ordering::SeqCst);
        body(&mut Life(0));
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }

    fn retries_start(&self) -> bool {
        self.retries.load(Ordering::SeqCst)
    }

    fn run(&self, life: &mut Life, task: u32) -> Outcome<u32> {
        life.0 += 1;
        self.ran.lock().unwrap().push(task);
        while task == 70 && !self.gate.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        match task {
            0 => resume_unwind(Box::new("a host that lets a panic out")),
            1 => Outcome::Failed,
            _ => Outcome::Completed,
        }
    }

    fn idle<R>(&self, _life: &mut Life, wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, tasks: Vec<u32>) {
        self.cancelled.lock().unwrap().extend(tasks);
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

#[test]
fn every_life_that_begins_ends_by_the_time_the_pool_is_released() {
    limited(|| {
        let pool = watch(
            Pool::with_host(Numbers::default(), options(3, None)).expect("the options are good"),
        );
        for _ in 0..20 {
            for task in 2..50_u32 {
                pool.submit(task).expect("the pool is open");
            }
            pool.release_timeout(Duration::from_secs(60))
                .expect("the workers leave");
            assert_eq!(pool.host().alive.load(Ordering::SeqCst), 0);
            pool.reboot();
        }
        let lived = pool.host().lived.lock().unwrap();
        assert_eq!(lived.len() as u64, pool.stats().spawned);
        for worker in lived.iter() {
            assert!(worker.number < 3);
            assert_eq!(worker.name, format!("pyants_{}", worker.number));
        }
    });
}

#[test]
fn a_panic_that_the_host_lets_out_fails_the_task_only() {
    limited(|| {
        let pool = watch(
            Pool::with_host(Numbers::default(), options(1, Some(0))).expect("the options are good"),
        );
        for task in 0..3_u32 {
            pool.submit(task).expect("the pool is open");
        }
        assert!(pool.wait_idle(Some(Duration::from_secs(60))));
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.completed, stats.spawned), (2, 1, 1));
        assert_eq!(*pool.host().ran.lock().unwrap(), [0, 1, 2]);
    });
}

#[test]
fn a_worker_that_cannot_be_set_up_closes_the_pool_and_cancels_what_has_not_started() {
    limited(|| {
        for queue_size in [Some(0), Some(8), None] {
            let pool = watch(
                Pool::with_host(Numbers::default(), options(2, queue_size))
                    .expect("the options are good"),
            );
            pool.host().is_barren.store(true, Ordering::SeqCst);
            // Accepted, as long as the pool has not noticed; each of them is cancelled then.
            let accepted: Vec<u32> = (2..10)
                .take_while(|&task| pool.submit(task).is_ok())
                .collect();
            eventually("the pool is broken, its workers gone", || {
                pool.is_broken() && pool.is_closed() && pool.running() == 0
            });
            let (error, task) = refused(pool.submit(99_u32));
            assert_is!(error, Error::Broken);
            assert_eq!(task, 99);
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            let mut cancelled = pool.host().cancelled.lock().unwrap().clone();
            cancelled.sort_unstable();
            assert_eq!(cancelled, accepted);
            let stats = pool.stats();
            assert_adds_up(&stats);
            assert_eq!(stats.cancelled, accepted.len() as u64);
            assert!(pool.host().ran.lock().unwrap().is_empty());

            // The world has become a better place.
            pool.host().is_barren.store(false, Ordering::SeqCst);
            pool.reboot();
            assert!(!pool.is_broken());
            pool.submit(5_u32).expect("the pool is open");
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            assert_eq!(*pool.host().ran.lock().unwrap(), [5]);
        }
    });
}

/// A pool whose next start may do better.
fn hopeful(capacity: u32, queue_size: Option<u64>) -> Pool<Numbers> {
    let pool = Pool::with_host(Numbers::default(), options(capacity, queue_size))
        .expect("the options are good");
    pool.host().retries.store(true, Ordering::SeqCst);
    pool
}

#[test]
fn without_another_worker_tasks_are_cancelled_and_the_next_start_tries_again() {
    limited(|| {
        for queue_size in [Some(0), Some(8), None] {
            let pool = watch(hopeful(2, queue_size));
            let host = pool.host();
            host.is_barren.store(true, Ordering::SeqCst);
            for task in 10..30_u32 {
                pool.submit(task).expect("the pool is open");
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            }
            eventually("the workers are gone", || pool.running() == 0);
            assert!(!pool.is_closed());
            assert!(!pool.is_broken());
            // Each start was for a task: nobody is started for nothing.
            assert!(host.starts.load(Ordering::SeqCst) <= 20);
            assert_eq!(
                *host.cancelled.lock().unwrap(),
                (10..30).collect::<Vec<u32>>()
            );
            host.is_barren.store(false, Ordering::SeqCst);
            pool.submit(5_u32).expect("the pool is open");
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            assert_eq!(*host.ran.lock().unwrap(), [5]);
            let stats = pool.stats();
            assert_adds_up(&stats);
            assert_eq!((stats.cancelled, stats.completed), (20, 1));
        }
    });
}

#[test]
fn another_worker_takes_the_task_of_one_that_cannot_be_set_up() {
    limited(|| {
        for queue_size in [Some(0), Some(8), None] {
            for resting in [false, true] {
                let pool = watch(hopeful(3, queue_size));
                let host = pool.host();
                host.gate.store(resting, Ordering::SeqCst);
                pool.submit(70_u32).expect("the pool is open");
                eventually("the first is at work, or at rest", || {
                    host.ran.lock().unwrap().len() == 1 && (!resting || pool.stats().busy == 0)
                });
                host.is_barren.store(true, Ordering::SeqCst);
                pool.submit(70_u32).expect("the pool is open");
                pool.submit(8_u32).expect("the pool is open");
                if !resting {
                    eventually("the others have failed", || {
                        host.starts.load(Ordering::SeqCst) > 1 && pool.running() == 1
                    });
                    // Nobody is started again and again meanwhile.
                    let starts = host.starts.load(Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    assert_eq!(host.starts.load(Ordering::SeqCst), starts);
                }
                host.gate.store(true, Ordering::SeqCst);
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
                assert!(host.cancelled.lock().unwrap().is_empty());
                let mut ran = host.ran.lock().unwrap().clone();
                ran.sort_unstable();
                assert_eq!(ran, [8, 70, 70]);
                assert_adds_up(&pool.stats());
            }
        }
    });
}

#[test]
fn with_every_other_worker_failing_each_task_runs_or_is_cancelled() {
    limited(|| {
        for queue_size in [Some(0), Some(3), None] {
            for capacity in [1, 4] {
                let options = Options {
                    // So that there are many starts.
                    expiry: Some(Duration::from_micros(200)),
                    ..options(capacity, queue_size)
                };
                let pool =
                    Pool::with_host(Numbers::default(), options).expect("the options are good");
                pool.host().retries.store(true, Ordering::SeqCst);
                pool.host().is_fickle.store(true, Ordering::SeqCst);
                let pool = watch(pool);
                std::thread::scope(|scope| {
                    for submitter in 0..3_u32 {
                        let pool = &pool;
                        scope.spawn(move || {
                            for task in 0..300 {
                                pool.submit(100 + 3 * task + submitter)
                                    .expect("the pool is open");
                                if task % 20 == 0 {
                                    std::thread::sleep(Duration::from_micros(400));
                                }
                            }
                        });
                    }
                });
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
                let host = pool.host();
                let mut seen = host.ran.lock().unwrap().clone();
                seen.extend(host.cancelled.lock().unwrap().iter());
                seen.sort_unstable();
                assert_eq!(seen, (100..1000).collect::<Vec<u32>>());
                assert_adds_up(&pool.stats());
                pool.release_timeout(Duration::from_secs(60))
                    .expect("the workers leave");
            }
        }
    });
}
