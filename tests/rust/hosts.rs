//! The host interface, tested with hosts of the test's own.

use super::counters::assert_adds_up;
use super::support::{Gate, QUEUE_SIZES, assert_is, eventually, limited, refused, watch};
use pyants::pool::internal::sync::WaitLimit;
use pyants::pool::{Host, Options, Outcome, Worker};
use pyants::{Error, Pool};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A host whose tasks are numbers.
#[derive(Default)]
struct Numbers {
    /// No worker can be set up.
    setup_fails: AtomicBool,
    /// The next start may succeed.
    retries: AtomicBool,
    /// Every other worker cannot be set up.
    every_other_setup_fails: AtomicBool,
    starts: AtomicUsize,
    /// Tasks numbered 70 wait for it.
    gate: AtomicBool,
    alive: AtomicUsize,
    lived: Mutex<Vec<Worker>>,
    ran: Mutex<Vec<u32>>,
    cancelled: Mutex<Vec<u32>>,
}

/// Proves that a context is the worker's own.
struct Life(u32);

impl Host for Numbers {
    type Task = u32;
    type Context<'a> = Life;

    fn live(&self, worker: &Worker, body: impl FnOnce(&mut Life)) {
        let starts = self.starts.fetch_add(1, Ordering::SeqCst);
        if self.setup_fails.load(Ordering::SeqCst)
            || self.every_other_setup_fails.load(Ordering::SeqCst) && starts % 2 == 0
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
            pool.host().setup_fails.store(true, Ordering::SeqCst);
            // Accepted until the pool has noticed; each of them is then cancelled.
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
            let admitted = accepted.len() as u64;
            assert_adds_up(&stats, admitted..=admitted);
            assert_eq!(stats.cancelled, admitted);
            assert!(pool.host().ran.lock().unwrap().is_empty());

            // From here on workers can be set up.
            pool.host().setup_fails.store(false, Ordering::SeqCst);
            pool.reboot();
            assert!(!pool.is_broken());
            pool.submit(5_u32).expect("the pool is open");
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            assert_eq!(*pool.host().ran.lock().unwrap(), [5]);
        }
    });
}

/// A pool that tries again after a failed start.
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
            host.setup_fails.store(true, Ordering::SeqCst);
            for task in 10..30_u32 {
                pool.submit(task).expect("the pool is open");
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            }
            eventually("the workers are gone", || pool.running() == 0);
            assert!(!pool.is_closed());
            assert!(!pool.is_broken());
            // Each start was for a task: no worker is started without need.
            assert!(host.starts.load(Ordering::SeqCst) <= 20);
            assert_eq!(
                *host.cancelled.lock().unwrap(),
                (10..30).collect::<Vec<u32>>()
            );
            host.setup_fails.store(false, Ordering::SeqCst);
            pool.submit(5_u32).expect("the pool is open");
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            assert_eq!(*host.ran.lock().unwrap(), [5]);
            let stats = pool.stats();
            assert_adds_up(&stats, 21..=21);
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
                host.setup_fails.store(true, Ordering::SeqCst);
                pool.submit(70_u32).expect("the pool is open");
                pool.submit(8_u32).expect("the pool is open");
                if !resting {
                    eventually("the others have failed", || {
                        host.starts.load(Ordering::SeqCst) > 1 && pool.running() == 1
                    });
                }
                host.gate.store(true, Ordering::SeqCst);
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
                assert!(host.cancelled.lock().unwrap().is_empty());
                let mut ran = host.ran.lock().unwrap().clone();
                ran.sort_unstable();
                assert_eq!(ran, [8, 70, 70]);
                assert_adds_up(&pool.stats(), 3..=3);
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
                    // So that workers start often.
                    expiry: Some(Duration::from_micros(200)),
                    ..options(capacity, queue_size)
                };
                let pool =
                    Pool::with_host(Numbers::default(), options).expect("the options are good");
                pool.host().retries.store(true, Ordering::SeqCst);
                pool.host()
                    .every_other_setup_fails
                    .store(true, Ordering::SeqCst);
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
                assert_adds_up(&pool.stats(), 900..=900);
                pool.release_timeout(Duration::from_secs(60))
                    .expect("the workers leave");
            }
        }
    });
}

#[test]
fn a_task_whose_worker_cannot_be_set_up_does_not_wait_for_a_busy_one_while_there_may_be_others() {
    limited(|| {
        for queue_size in [Some(0), Some(8), None] {
            let pool = watch(hopeful(4, queue_size));
            let host = pool.host();
            pool.submit(70_u32).expect("the pool is open");
            eventually("the first is at work", || {
                host.ran.lock().unwrap().len() == 1
            });
            host.setup_fails.store(true, Ordering::SeqCst);
            for task in [8_u32, 9] {
                pool.submit(task).expect("the pool is open");
            }
            eventually("the others have failed", || {
                host.starts.load(Ordering::SeqCst) > 2 && pool.running() == 1
            });
            host.setup_fails.store(false, Ordering::SeqCst);
            eventually("another worker has done their tasks", || {
                host.ran.lock().unwrap().len() == 3
            });
            host.gate.store(true, Ordering::SeqCst);
            assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            assert!(host.cancelled.lock().unwrap().is_empty());
            assert_adds_up(&pool.stats(), 3..=3);
        }
    });
}

#[test]
fn a_pool_is_released_while_it_waits_to_start_another_worker() {
    limited(|| {
        let pool = watch(hopeful(2, None));
        let host = pool.host();
        pool.submit(70_u32).expect("the pool is open");
        eventually("the first is at work", || {
            host.ran.lock().unwrap().len() == 1
        });
        host.setup_fails.store(true, Ordering::SeqCst);
        pool.submit(8_u32).expect("the pool is open");
        eventually("the other has failed", || {
            host.starts.load(Ordering::SeqCst) == 2 && pool.running() == 1
        });
        assert!(pool.release());
        host.gate.store(true, Ordering::SeqCst);
        pool.watch_gone(&mut WaitLimit::new(Some(Duration::from_secs(60))))
            .expect("the workers leave");
        assert_eq!(*host.ran.lock().unwrap(), [70, 8]);
    });
}

/// A host in which setting up a worker takes until the gate is opened.
struct Slow {
    gate: Arc<Gate>,
    running: Arc<Gate>,
}

impl Host for Slow {
    type Task = u32;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        self.gate.pass();
        body(&mut ());
    }

    fn has_slow_start(&self) -> bool {
        true
    }

    fn run(&self, _context: &mut (), _task: u32) -> Outcome<u32> {
        self.running.pass();
        Outcome::Completed
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, _tasks: Vec<u32>) {}
}

#[test]
fn at_most_one_worker_is_started_for_each_task_that_needs_one() {
    limited(|| {
        for queue_size in [Some(0), Some(100), None] {
            for tasks in [1_u32, 2, 7] {
                let (gate, running) = (Gate::new(), Gate::new());
                let host = Slow {
                    gate: Arc::clone(&gate),
                    running: Arc::clone(&running),
                };
                let pool = Pool::with_host(host, options(64, queue_size));
                let pool = watch(pool.expect("the options are good"));
                for task in 0..tasks {
                    pool.submit(task).expect("there is room");
                }
                assert_eq!(pool.stats().spawned, u64::from(tasks));
                gate.open();
                // Each has a worker of its own, whatever the others do.
                running.await_arrivals(tasks as usize);
                pool.submit(1_u32).expect("there is room");
                running.await_arrivals(tasks as usize + 1);
                assert_eq!(pool.stats().spawned, u64::from(tasks) + 1);
                running.open();
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            }
        }
    });
}

/// Where the host panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    BeforeLife,
    AfterLife,
    BeforeIdle,
    AfterIdle,
    SpinBeforeResuming,
    Cancelled,
}

/// A host that panics, always or a given number of times.
struct Panicky {
    places: &'static [Place],
    times: AtomicUsize,
    ran: AtomicUsize,
}

impl Panicky {
    fn at(places: &'static [Place], times: usize) -> Self {
        Panicky {
            places,
            times: AtomicUsize::new(times),
            ran: AtomicUsize::new(0),
        }
    }

    fn come_to(&self, place: Place) {
        let panics = || {
            let less = |times: usize| times.checked_sub(1);
            self.times
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        };
        if self.places.contains(&place) && panics() {
            resume_unwind(Box::new("a host that panics"));
        }
    }
}

impl Host for Panicky {
    type Task = u32;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        self.come_to(Place::BeforeLife);
        body(&mut ());
        self.come_to(Place::AfterLife);
    }

    fn retries_start(&self) -> bool {
        true
    }

    fn run(&self, _context: &mut (), _task: u32) -> Outcome<u32> {
        self.ran.fetch_add(1, Ordering::SeqCst);
        Outcome::Completed
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        self.come_to(Place::BeforeIdle);
        let waited = wait();
        self.come_to(Place::AfterIdle);
        waited
    }

    fn spin_before_resuming(&self, _changes: impl Fn() -> u64) {
        self.come_to(Place::SpinBeforeResuming);
    }

    fn cancelled(&self, _tasks: Vec<u32>) {
        self.come_to(Place::Cancelled);
    }
}

#[test]
fn a_host_that_panics_loses_no_task_and_holds_no_pool_open() {
    const TASKS: u64 = 200;
    limited(|| {
        for queue_size in QUEUE_SIZES {
            for (places, times) in [
                (&[Place::BeforeLife] as &[Place], 3),
                (&[Place::AfterLife], usize::MAX),
                (&[Place::BeforeIdle], usize::MAX),
                (&[Place::AfterIdle], usize::MAX),
                (&[Place::SpinBeforeResuming], usize::MAX),
            ] {
                let host = Panicky::at(places, times);
                let pool = Pool::with_host(host, options(3, queue_size));
                let pool = watch(pool.expect("the options are good"));
                for task in 0..TASKS {
                    pool.submit(task as u32).expect("the pool is open");
                    if task % 20 == 0 {
                        pool.expire_all();
                        assert!(pool.wait_idle(Some(Duration::from_secs(60))), "{places:?}");
                    }
                }
                assert!(pool.wait_idle(Some(Duration::from_secs(60))), "{places:?}");
                let stats = pool.stats();
                assert_adds_up(&stats, TASKS..=TASKS);
                assert_eq!(stats.submitted, TASKS);
                let ran = pool.host().ran.load(Ordering::SeqCst) as u64;
                assert_eq!(stats.completed, ran);
                // Tasks whose worker could not be set up were cancelled if no other worker was alive.
                assert_eq!(stats.completed + stats.cancelled, TASKS);
                assert!(stats.cancelled == 0 || places == [Place::BeforeLife]);
                pool.release_timeout(Duration::from_secs(60))
                    .expect("the workers leave");
            }
        }
    });
}

#[test]
fn a_host_that_panics_when_tasks_are_cancelled_has_them_counted() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let host = Panicky::at(&[Place::BeforeLife, Place::Cancelled], usize::MAX);
            let pool = Pool::with_host(host, options(2, queue_size));
            let pool = watch(pool.expect("the options are good"));
            for task in 0..10_u32 {
                pool.submit(task).expect("the pool is open");
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
            }
            assert_eq!(pool.stats().cancelled, 10);
            pool.release_timeout(Duration::from_secs(60))
                .expect("the workers leave");
        }
    });
}
