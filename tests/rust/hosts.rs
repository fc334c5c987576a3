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
        if self.is_barren.load(Ordering::SeqCst) {
            return;
        }
        self.lived.lock().unwrap().push(worker.clone());
        self.alive.fetch_add(1, Ordering::SeqCst);
        body(&mut Life(0));
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }

    fn run(&self, life: &mut Life, task: u32) -> Outcome<u32> {
        life.0 += 1;
        self.ran.lock().unwrap().push(task);
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
