//! Release, release with a timeout, reboot, drop, and waiting for the pool to be at rest.

use super::support::{
    Gate, Journal, QUEUE_SIZES, assert_is, beside, busy, close, drain, eventually, join, limited,
    occupy, open, refused,
};
use pyants::pool::internal::sync::WaitLimit;
use pyants::{Error, Pool};
use std::cell::RefCell;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_released_pool_accepts_nothing() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        pool.submit(|| {}).expect("the pool is open");
        assert!(!pool.is_closed());
        assert!(pool.release());
        assert!(pool.is_closed() && !pool.is_broken());
        assert!(!pool.release(), "it was closed already");
        assert_is!(refused(pool.submit(|| {})).0, Error::Closed);
        assert_is!(refused(pool.try_submit(|| {})).0, Error::Closed);
        assert_is!(refused(pool.submit_timeout(|| {}, LONG)).0, Error::Closed);
        // A closed pool does not count as overloaded.
        assert_eq!(pool.stats().rejected, 0);
        eventually("the workers have left", || pool.running() == 0);
    });
}

#[test]
fn a_release_refuses_blocked_submitters_and_returns_their_tasks() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let journal = Journal::new();
        let submitters = [0, 1, 2].map(|number| {
            let task = journal.task(number);
            beside(&pool, |pool| pool.submit(task))
        });
        eventually("all wait", || pool.waiting() == 3);
        assert!(pool.release());
        for submitter in submitters {
            let (error, task) = refused(join(submitter));
            assert_is!(error, Error::Closed);
            task.run();
        }
        assert_eq!((journal.entries().len(), pool.waiting()), (3, 0));
        // The running task is not affected.
        assert_eq!(pool.running(), 1);
        gate.open();
        eventually("the worker has left", || pool.running() == 0);
        assert_eq!(pool.stats().completed, 1);
    });
}

#[test]
fn accepted_tasks_run_after_a_release() {
    limited(|| {
        for queue_size in [Some(50), None] {
            let (pool, gate) = busy(Pool::builder().capacity(2).queue_size(queue_size));
            let journal = Journal::new();
            for number in 0..50 {
                pool.submit(journal.task(number)).expect("there is room");
            }
            assert!(pool.release());
            gate.open();
            eventually("the workers have left", || pool.running() == 0);
            assert_eq!(journal.entries().len(), 50);
        }
    });
}

#[test]
fn idle_workers_leave_at_once_on_release() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(10).expiry(None));
        gate.open();
        drain(&pool);
        assert_eq!(pool.running(), 10);
        close(&pool);
    });
}

#[test]
fn release_timeout_says_whether_the_workers_have_left() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2));
        for timeout in [Duration::ZERO, SHORT] {
            assert_is!(pool.release_timeout(timeout), Err(Error::Timeout));
            assert!(pool.is_closed());
            assert_eq!(pool.running(), 2);
            pool.reboot();
        }
        gate.open();
        close(&pool);
        assert_is!(pool.release_timeout(LONG), Err(Error::Closed));
    });
}

#[test]
fn release_timeout_is_told_when_the_last_worker_leaves() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(3));
        let releaser = beside(&pool, |pool| pool.release_timeout(LONG));
        eventually("the pool is closed", || pool.is_closed());
        gate.open();
        join(releaser).expect("the workers have left");
        assert_eq!((pool.running(), pool.stats().completed), (0, 3));
    });
}

#[test]
fn a_pool_without_workers_is_released_at_once() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        pool.release_timeout(Duration::ZERO)
            .expect("there is nobody to wait for");
    });
}

#[test]
fn a_rebooted_pool_is_like_a_new_one() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(
                Pool::builder()
                    .capacity(2)
                    .queue_size(queue_size)
                    .expiry(SHORT),
            );
            for round in 1..=20 {
                let gate = occupy(&pool, 2);
                assert_eq!(pool.running(), 2);
                gate.open();
                close(&pool);
                assert_eq!(pool.stats().completed, round * 2);
                pool.reboot();
                assert!(!pool.is_closed());
            }
            // Its workers expire, too.
            pool.submit(|| {}).expect("the pool is open");
            eventually("the worker has expired", || pool.running() == 0);
        }
    });
}

#[test]
fn a_reboot_of_an_open_pool_changes_nothing() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        pool.reboot();
        assert!(!pool.is_closed());
        assert_is!(refused(pool.try_submit(|| {})).0, Error::Overload { .. });
        gate.open();
    });
}

#[test]
fn workers_from_before_a_reboot_still_count() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(2));
        assert!(pool.release());
        pool.reboot();
        assert_eq!(pool.running(), 2);
        assert_is!(
            refused(pool.try_submit(|| {})).0,
            Error::Overload { in_flight: 2, .. }
        );
        gate.open();
        drain(&pool);
        pool.submit(|| {}).expect("a worker is free");
        drain(&pool);
        assert_eq!(pool.stats().peak_running, 2);
    });
}

#[test]
fn a_dropped_pool_lets_accepted_tasks_finish_and_its_threads_go() {
    limited(|| {
        for queue_size in [Some(20), None] {
            let (pool, gate) = busy(Pool::builder().capacity(2).queue_size(queue_size));
            let journal = Journal::new();
            for number in 0..20 {
                pool.submit(journal.task(number)).expect("there is room");
            }
            let remains = pool.remains();
            drop(pool); // It does not wait: the gate still holds the tasks.
            assert!(journal.entries().is_empty() && !remains.are_gone());
            gate.open();
            eventually("nothing is left of the pool", || remains.are_gone());
            assert_eq!(journal.entries().len(), 20);
        }
    });
}

/// How many threads whose names begin with `prefix` the kernel has.
#[cfg(target_os = "linux")]
fn threads_named(prefix: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("Linux has it")
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
}

#[cfg(target_os = "linux")]
#[test]
fn no_threads_are_left_after_waiting_for_the_end() {
    limited(|| {
        for round in 0..200 {
            let pool = open(
                Pool::builder()
                    .capacity(4)
                    .name("endtest")
                    .expiry(Duration::from_millis(1)),
            );
            for _ in 0..4 {
                pool.submit(|| {}).expect("there is room");
            }
            // Some of the workers have expired, or are about to.
            std::thread::sleep(Duration::from_micros(round * 10));
            assert!(pool.release());
            let other = beside(&pool, |pool| {
                pool.watch_gone(&mut pyants::pool::internal::sync::WaitLimit::new(None))
                    .expect("nothing hinders it");
                threads_named("endtest")
            });
            pool.watch_gone(&mut pyants::pool::internal::sync::WaitLimit::new(Some(
                LONG,
            )))
            .expect("nothing hinders it");
            assert_eq!(threads_named("endtest"), 0);
            assert_eq!(other.join().expect("it does not panic"), 0);
        }
    });
}

#[test]
fn a_pool_dropped_by_its_own_last_task_goes_away() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let remains = pool.remains();
        let gate = Gate::new();
        let (last, waits) = (Arc::clone(&pool), gate.task());
        pool.submit(move || {
            waits();
            drop(last);
        })
        .expect("a worker is free");
        drop(pool);
        gate.open();
        eventually("nothing is left of the pool", || remains.are_gone());
    });
}

#[test]
fn wait_idle_waits_for_every_accepted_task() {
    limited(|| {
        for queue_size in [Some(4), None] {
            let (pool, gate) = busy(Pool::builder().capacity(2).queue_size(queue_size));
            for _ in 0..4 {
                pool.submit(gate.task()).expect("there is room");
            }
            assert!(!pool.is_at_rest());
            assert!(!pool.wait_idle(Some(Duration::ZERO)));
            assert!(!pool.wait_idle(Some(SHORT)));
            let waiters = [0, 1].map(|_| beside(&pool, |pool| pool.wait_idle(None)));
            gate.open();
            for waiter in waiters {
                assert!(join(waiter));
            }
            assert_eq!(pool.stats().completed, 6);
            assert!(pool.wait_idle(Some(Duration::ZERO)), "it is still at rest");
        }
    });
}

#[test]
fn wait_idle_waits_for_blocked_submitters_too() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let journal = Journal::new();
        let task = journal.task(());
        let submitter = beside(&pool, |pool| pool.submit(task));
        eventually("it waits", || pool.waiting() == 1);
        let waiter = {
            let journal = journal.clone();
            beside(&pool, move |pool| {
                drain(pool);
                journal.entries().len()
            })
        };
        gate.open();
        assert_eq!(join(waiter), 1);
        join(submitter).expect("it is let in");
    });
}

#[test]
fn a_task_that_waits_for_its_own_pool_is_told_so() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let answers = Journal::new();
        let (own, noted) = (Arc::clone(&pool), answers.clone());
        pool.submit(move || {
            noted.note(own.wait_idle(None));
            noted.note(own.wait_idle(Some(Duration::ZERO)));
        })
        .expect("a worker is free");
        drain(&pool);
        assert_eq!(answers.entries(), [false, false]);
    });
}

#[test]
fn a_task_can_release_its_own_pool() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let answers = Journal::new();
        let (own, noted) = (Arc::clone(&pool), answers.clone());
        pool.submit(move || noted.note(own.release()))
            .expect("a worker is free");
        eventually("the worker has left", || {
            pool.is_closed() && pool.running() == 0
        });
        assert_eq!(answers.entries(), [true]);
    });
}

#[test]
fn of_several_releases_at_once_one_is_the_first() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        for _ in 0..50 {
            pool.submit(|| {}).expect("the pool is open");
            let releases = [0, 1, 2].map(|_| beside(&pool, Pool::release));
            let firsts = releases.into_iter().map(join);
            assert_eq!(firsts.filter(|&first| first).count(), 1);
            eventually("the workers have left", || pool.running() == 0);
            pool.reboot();
        }
    });
}

/// Runs when a thread ends and drops its thread-locals.
struct LastDeed(Option<Box<dyn FnOnce()>>);

impl Drop for LastDeed {
    fn drop(&mut self) {
        if let Some(deed) = self.0.take() {
            deed();
        }
    }
}

fn at_thread_end(deed: impl FnOnce() + 'static) {
    thread_local! {
        static LAST_DEED: RefCell<LastDeed> = const { RefCell::new(LastDeed(None)) };
    }
    LAST_DEED.with_borrow_mut(|last| last.0 = Some(Box::new(deed)));
}

#[test]
fn a_thread_local_waits_for_pools_as_it_is_dropped() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let (sender, told) = channel();
        let thread = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let other = Arc::clone(&pool);
                at_thread_end(move || {
                    other.submit(|| {}).expect("the pool is open");
                    let _ = sender.send(other.wait_idle(None));
                });
                // The pool's own thread-locals are initialised after this one, and so dropped before it.
                pool.submit(|| {}).expect("the pool is open");
                assert!(pool.wait_idle(None));
            })
        };
        assert_eq!(told.recv(), Ok(true));
        join(thread);
        assert_eq!(pool.stats().completed, 2);
    });
}

#[test]
fn workers_wait_for_their_own_pool_as_their_thread_locals_are_dropped() {
    limited(|| {
        for expiry in [Some(SHORT), None] {
            let pool = open(Pool::builder().capacity(2).expiry(expiry));
            let (sender, told) = channel();
            let both = Arc::new(Barrier::new(2));
            for _ in 0..2 {
                let (own, sender, both) = (Arc::clone(&pool), sender.clone(), Arc::clone(&both));
                pool.submit(move || {
                    at_thread_end(move || {
                        own.release();
                        let _ = sender.send(own.watch_gone(&mut WaitLimit::new(Some(LONG))));
                    });
                    both.wait();
                })
                .expect("a worker is free");
            }
            if expiry.is_none() {
                close(&pool);
            }
            for _ in 0..2 {
                let waited = told.recv().expect("both workers tell");
                assert!(waited.is_ok(), "{waited:?}");
            }
            eventually("the workers have left", || pool.running() == 0);
        }
    });
}

#[test]
fn a_thread_that_takes_its_time_to_end_holds_up_no_other_pool() {
    limited(|| {
        let slow = open(Pool::builder().capacity(1).expiry(SHORT));
        let (open_gate, gate) = channel::<()>();
        let (sender, told) = channel();
        slow.submit(move || {
            at_thread_end(move || {
                let _ = sender.send(());
                let _ = gate.recv();
            });
        })
        .expect("the pool is open");
        assert_eq!(told.recv(), Ok(()));
        // Workers that leave join others that have left.
        for _ in 0..40 {
            let (pool, gate) = busy(Pool::builder().capacity(2));
            gate.open();
            close(&pool);
        }
        drop(open_gate);
        close(&slow);
    });
}
