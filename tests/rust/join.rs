//! Tasks that return something, and the handles by which they are joined, polled and taken back.

use super::support::{
    Gate, assert_is, beside, busy, close, drain, eventually, join, limited, open, open_multi,
};
use pyants::pool::SubmitError;
use pyants::{Closure, Error, JoinError, JoinHandle, Pool, Strategy};
use std::any::Any;
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Long enough for everything but a hang.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

/// Notes when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The error and the closure of a submit that has to be refused.
#[track_caller]
fn refused<F, T>(submitted: Result<JoinHandle<T>, SubmitError<F>>) -> (Error, F) {
    let refusal = submitted.expect_err("the task is refused");
    (refusal.error, refusal.task)
}

#[test]
fn handles_and_errors_go_everywhere() {
    fn goes_everywhere<T: Send + Sync + 'static>() {}
    goes_everywhere::<JoinHandle<std::cell::Cell<u8>>>();
    goes_everywhere::<JoinError>();
    goes_everywhere::<SubmitError<Closure>>();
}

#[test]
fn a_value_comes_out_of_join_once_the_task_is_done_or_after() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let gate = Gate::new();
        let pass = gate.task();
        let handle = pool
            .submit_value(move || {
                pass();
                String::from("early")
            })
            .expect("a worker is free");
        assert!(!handle.is_finished());
        let handle = handle.try_join().expect_err("it is not done");
        let early = thread::spawn(move || handle.join());
        gate.open();
        assert_eq!(join(early).expect("it returned"), "early");

        let handle = pool.submit_value(|| 7).expect("a worker is free");
        drain(&pool);
        eventually("it is seen to be done", || handle.is_finished());
        assert_eq!(
            format!("{handle:?}"),
            "JoinHandle { is_finished: true, .. }"
        );
        assert!(!handle.cancel(), "it is done already");
        assert_eq!(handle.try_join().expect("it is done").expect("a value"), 7);
        assert_eq!(pool.stats().completed, 2);
    });
}

#[test]
fn many_values_come_to_those_who_asked_for_them() {
    limited(|| {
        for queue_size in [Some(0), None] {
            let pool = open(Pool::builder().capacity(3).queue_size(queue_size));
            let askers: Vec<_> = (0..4u64)
                .map(|asker| {
                    beside(&pool, move |pool| {
                        for number in 0..500 {
                            let task = move || asker * 1000 + number;
                            let handle = pool.submit_value(task).expect("the pool is open");
                            let value = handle.join().expect("it returned");
                            assert_eq!(value, asker * 1000 + number);
                        }
                    })
                })
                .collect();
            askers.into_iter().for_each(join);
            drain(&pool);
            assert_eq!(pool.stats().completed, 2000);
        }
    });
}

#[test]
fn a_panic_comes_out_of_join_with_its_payload_and_goes_nowhere_else() {
    limited(|| {
        let handled = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&handled);
        let pool = open(Pool::builder().capacity(1).panic_handler(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        }));
        let join_error = |task: fn()| {
            let submitted = pool.submit_value(task);
            let handle = submitted.expect("the pool is open");
            handle.join().expect_err("it panicked")
        };
        let number = 3;
        let written = join_error(|| panic!("no luck"));
        assert_eq!(written.to_string(), "the task panicked: no luck");
        let handle = pool.submit_value(move || {
            if number == 3 {
                panic!("no luck with {number}")
            }
        });
        let formatted = handle.expect("the pool is open").join();
        let formatted = formatted.expect_err("it panicked").to_string();
        assert_eq!(formatted, "the task panicked: no luck with 3");
        let other = join_error(|| panic_any(5u8));
        assert_eq!(other.to_string(), "the task panicked");
        let JoinError::Panicked(panic) = other else {
            panic!("{other:?} is no panic");
        };
        assert_eq!(panic.message(), None);
        let payload: Box<dyn Any + Send> = panic.into_payload();
        assert_eq!(payload.downcast_ref(), Some(&5u8));
        drain(&pool);
        assert_eq!((pool.stats().failed, pool.stats().completed), (3, 0));
        assert_eq!(handled.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_dropped_handle_lets_the_task_go_and_its_panic_goes_to_the_handler() {
    limited(|| {
        let (sender, payloads) = mpsc::channel();
        let sender = Mutex::new(sender);
        let pool = open(Pool::builder().capacity(1).panic_handler(move |payload| {
            let message = payload.downcast_ref::<&str>().map(|text| text.to_string());
            sender.lock().unwrap().send(message).unwrap();
        }));
        let gate = Gate::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let (pass, value) = (gate.task(), Dropped(Arc::clone(&dropped)));
        drop(pool.submit_value(move || {
            pass();
            value
        }));
        gate.open();
        drain(&pool);
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "its value is dropped");

        let gate = Gate::new();
        let pass = gate.task();
        let panics = move || -> u8 {
            pass();
            panic!("nobody waits for it")
        };
        drop(pool.submit_value(panics).expect("the pool is open"));
        gate.open();
        let told = payloads.recv_timeout(LONG).expect("the handler is called");
        assert_eq!(told.as_deref(), Some("nobody waits for it"));
        drain(&pool);
        assert_eq!((pool.stats().completed, pool.stats().failed), (1, 1));
    });
}

#[test]
fn a_task_is_taken_back_before_it_begins_and_not_after() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1).queue_size(None));
        let gate = Gate::new();
        let pass = gate.task();
        let begun = pool
            .submit_value(move || {
                pass();
                1
            })
            .expect("the pool is open");
        gate.await_arrivals(1);
        let dropped = Arc::new(AtomicUsize::new(0));
        let value = Dropped(Arc::clone(&dropped));
        let waits = pool.submit_value(move || value).expect("there is room");
        let dozes = pool.submit_value(|| ()).expect("there is room");

        assert!(!begun.cancel());
        assert!(waits.cancel());
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "with its closure");
        assert!(!waits.cancel(), "it was cancelled already");
        assert!(waits.is_finished());
        assert_is!(waits.join().map(drop), Err(JoinError::Cancelled));
        gate.open();
        assert_eq!(begun.join().expect("it returned"), 1);
        dozes.join().expect("it returned");
        drain(&pool);
        let stats = pool.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.failed), (2, 1, 0));
    });
}

#[test]
fn a_join_with_a_time_limit_hands_the_handle_back() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let gate = Gate::new();
        let pass = gate.task();
        let handle = pool
            .submit_value(move || {
                pass();
                2
            })
            .expect("a worker is free");
        let handle = handle.join_timeout(Duration::ZERO).expect_err("too early");
        let handle = handle.join_timeout(SHORT).expect_err("too early");
        gate.open();
        let result = handle.join_timeout(LONG).expect("it is done in time");
        assert_eq!(result.expect("it returned"), 2);
    });
}

#[test]
fn a_refused_closure_is_handed_back_as_it_was() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1));
        let (error, task) = refused(pool.try_submit_value(|| 3));
        assert_is!(error, Error::Overload { .. });
        let (error, task) = refused(pool.submit_value_timeout(task, SHORT));
        assert_is!(error, Error::Timeout);
        gate.open();
        let handle = pool.submit_value(task).expect("there is room");
        assert_eq!(handle.join().expect("it returned"), 3);
        close(&pool);
        let (error, task) = refused(pool.submit_value(|| 4));
        assert_is!(error, Error::Closed);
        assert_eq!(task(), 4);
    });
}

#[test]
fn a_release_refuses_the_submit_that_waits_and_keeps_the_values_of_what_was_accepted() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(1));
        let accepted = pool.submit_value(|| 5).expect("there is room");
        let waits = beside(&pool, |pool| refused(pool.submit_value(|| 6)));
        eventually("it waits", || pool.waiting() == 1);
        let joins = thread::spawn(move || accepted.join());
        assert!(pool.release());
        let (error, task) = join(waits);
        assert_is!(error, Error::Closed);
        assert_eq!(task(), 6);
        drop(pool);
        gate.open();
        assert_eq!(join(joins).expect("it is run all the same"), 5);
    });
}

#[test]
fn a_task_that_the_pool_drops_unrun_is_told_of_as_cancelled() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).queue_size(None));
        let handle = pool.submit_value(|| ()).expect("there is room");
        let joins = thread::spawn(move || handle.join());
        drop(pool.extract_if(|_| true));
        assert_is!(join(joins), Err(JoinError::Cancelled));
        gate.open();
    });
}

#[test]
fn workers_that_join_for_ever_are_told_of_a_deadlock_the_last_of_them() {
    limited(|| {
        for workers in [1, 2] {
            let pool = open(Pool::builder().capacity(workers).queue_size(None));
            let (sender, results) = mpsc::channel();
            let gate = Gate::new();
            for _ in 0..workers {
                let (inner, sender, pass) = (Arc::downgrade(&pool), sender.clone(), gate.task());
                pool.submit(move || {
                    let pool = inner.upgrade().expect("the test has it");
                    let handle = pool.submit_value(|| 8).expect("there is room");
                    drop(pool);
                    pass(); // No worker is left to run what was submitted.
                    sender.send(handle.join()).unwrap();
                })
                .expect("there is room");
            }
            gate.await_arrivals(workers as usize);
            gate.open();
            drain(&pool);
            drop(sender);
            let results: Vec<_> = results.iter().collect();
            // Of two, the one that is told ends its task, and its worker serves the other.
            let told = |result: &&Result<_, _>| matches!(result, Err(JoinError::Deadlock));
            assert_eq!(results.iter().filter(told).count(), 1, "{results:?}");
            assert_eq!(results.len(), workers as usize);
            assert_eq!(pool.stats().completed, 2 * u64::from(workers));
        }
    });
}

#[test]
fn a_worker_that_joins_with_a_limit_or_what_another_runs_is_in_no_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2).queue_size(None));
        let inner = Arc::downgrade(&pool);
        let joined = pool.submit_value(move || {
            let pool = inner.upgrade().expect("the test has it");
            let handle = pool.submit_value(|| 9).expect("there is room");
            drop(pool);
            handle.join()
        });
        let joined = joined.expect("there is room").join();
        assert_eq!(joined.expect("it returned").expect("it returned"), 9);

        let pool = open(Pool::builder().capacity(1).queue_size(None));
        let inner = Arc::downgrade(&pool);
        let joined = pool.submit_value(move || {
            let pool = inner.upgrade().expect("the test has it");
            let handle = pool.submit_value(|| 9).expect("there is room");
            drop(pool);
            handle.join_timeout(SHORT).is_err()
        });
        let gave_up = joined.expect("there is room").join();
        assert!(gave_up.expect("it returned"));
    });
}

#[test]
fn several_pools_have_values_too() {
    limited(|| {
        let builder = Pool::builder().capacity(1).queue_size(None);
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        let handles: Vec<_> = (0..10)
            .map(|number| multi.submit_value(move || number).expect("there is room"))
            .collect();
        for (number, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().expect("it returned"), number);
        }
        let handle = multi.try_submit_value(|| 1).expect("there is room");
        assert_eq!(handle.join().expect("it returned"), 1);
        // The only worker there may be waits for a task that no other can run.
        let single = open_multi(1, Strategy::RoundRobin, &builder);
        let inner = Arc::downgrade(&single);
        let outer = single.submit_value(move || {
            let multi = inner.upgrade().expect("the test has it");
            let handle = multi.submit_value(|| ()).expect("there is room");
            drop(multi);
            handle.join()
        });
        let told = outer.expect("there is room").join().expect("it returned");
        assert_is!(told, Err(JoinError::Deadlock));
        multi.release_timeout(LONG).expect("the workers leave");
        let (error, task) = refused(multi.submit_value_timeout(|| 2, LONG));
        assert_is!(error, Error::Closed);
        assert_eq!(task(), 2);
    });
}
