//! Work for the host, besides tasks, that a worker does.

use super::support::{Gate, eventually, limited, watch};
use pyants::Pool;
use pyants::pool::{Host, Options, Outcome, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A host whose tasks are gates, and whose errands are counted and now and then held at a gate.
#[derive(Default)]
struct Slot {
    waiting: AtomicU64,
    done: AtomicU64,
    gate: Option<Arc<Gate>>,
}

impl Host for Slot {
    type Task = Arc<Gate>;
    type Context<'a> = ();

    fn live(&self, _worker: &Worker, body: impl FnOnce(&mut ())) {
        body(&mut ());
        self.see_to_errands(&mut ());
    }

    fn run(&self, _context: &mut (), task: Arc<Gate>) -> Outcome<Arc<Gate>> {
        task.pass();
        Outcome::Completed
    }

    fn idle<R>(&self, _context: &mut (), wait: impl FnOnce() -> R) -> R {
        wait()
    }

    fn cancelled(&self, tasks: Vec<Arc<Gate>>) {
        drop(tasks);
    }

    fn has_errand(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn see_to_errands(&self, _context: &mut ()) {
        let taken = self.waiting.swap(0, Ordering::Relaxed);
        if taken > 0
            && let Some(gate) = &self.gate
        {
            gate.pass();
        }
        self.done.fetch_add(taken, Ordering::Relaxed);
    }
}

fn open(
    slot: Slot,
    capacity: u32,
    queue_size: Option<u64>,
    expiry: Option<Duration>,
) -> Arc<Pool<Slot>> {
    let options = Options {
        capacity: Some(capacity),
        queue_size,
        expiry,
        ..Options::default()
    };
    watch(Pool::with_host(slot, options).expect("the options are good"))
}

fn leave_errand(pool: &Pool<Slot>) -> bool {
    pool.host().waiting.fetch_add(1, Ordering::Relaxed);
    pool.remains().summon()
}

fn opened() -> Arc<Gate> {
    let gate = Gate::default();
    gate.open();
    Arc::new(gate)
}

#[test]
fn an_errand_starts_a_worker_or_calls_one_at_rest() {
    limited(|| {
        for queue_size in [Some(0), Some(2), None] {
            for expiry in [None, Some(Duration::from_millis(1))] {
                let pool = open(Slot::default(), 2, queue_size, expiry);
                for count in 1..=300 {
                    assert!(leave_errand(&pool));
                    eventually("it is done", || {
                        pool.host().done.load(Ordering::Relaxed) == count
                    });
                    if count % 3 == 0 {
                        pool.submit(opened()).expect("a worker is free");
                    }
                }
                assert!(pool.wait_idle(Some(Duration::from_secs(60))));
                let stats = pool.stats();
                assert_eq!((stats.submitted, stats.completed), (100, 100));
                assert_eq!((stats.failed, stats.cancelled, stats.rejected), (0, 0, 0));
            }
        }
    });
}

#[test]
fn a_worker_with_an_errand_is_none_that_tasks_can_count_on() {
    limited(|| {
        for queue_size in [Some(0), Some(2), None] {
            let gate = Arc::new(Gate::default());
            let slot = Slot {
                gate: Some(Arc::clone(&gate)),
                ..Slot::default()
            };
            let pool = open(slot, 2, queue_size, None);
            assert!(leave_errand(&pool));
            gate.await_arrivals(1);
            assert_eq!(pool.stats().submitted, 0);
            // Another worker is started for this task.
            pool.submit(opened()).expect("a worker is free");
            eventually("the task is done", || pool.stats().completed == 1);
            assert_eq!(pool.host().done.load(Ordering::Relaxed), 0);
            gate.open();
            eventually("the errand is done", || {
                pool.host().done.load(Ordering::Relaxed) == 1
            });
        }
    });
}

#[test]
fn errands_of_busy_workers_are_done_before_they_leave() {
    limited(|| {
        let pool = open(Slot::default(), 1, Some(0), None);
        let gate = Arc::new(Gate::default());
        pool.submit(Arc::clone(&gate)).expect("a worker is free");
        gate.await_arrivals(1);
        assert!(pool.release());
        assert!(leave_errand(&pool));
        gate.open();
        eventually("the worker has left", || pool.running() == 0);
        eventually("the errand is done", || {
            pool.host().done.load(Ordering::Relaxed) == 1
        });
        // From now on no worker is alive.
        assert!(!leave_errand(&pool));
    });
}
