//! Waits for what another task comes to: told of a deadlock where nothing will ever come.

use super::support::{Gate, assert_is, drain, eventually, join, limited, open, refused};
use pyants::pool::sleeper::Sleeper;
use pyants::pool::sync::{Luck, Patience};
use pyants::{Error, Pool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The wait of this thread for a task of the pool, found in the list by whoever settles it.
fn begin(pool: &Pool, list: &Mutex<Vec<Arc<Sleeper>>>, endless: bool) -> Arc<Sleeper> {
    let sleeper = Sleeper::new(pool.family_id(), endless);
    let mut list = list.lock().unwrap();
    list.push(Arc::clone(&sleeper));
    sleeper.bind();
    drop(list);
    sleeper.refuse_if_stuck();
    sleeper
}

fn end(sleeper: &Arc<Sleeper>, timeout: Option<Duration>) -> Result<(), Error> {
    let waited = sleeper.wait(&mut Patience::new(timeout), &Luck::new(Duration::ZERO));
    sleeper.leave();
    waited
}

fn settle_all(list: &Mutex<Vec<Arc<Sleeper>>>) {
    for sleeper in list.lock().unwrap().drain(..) {
        if sleeper.settle() {
            sleeper.ring();
        }
    }
}

#[test]
fn the_last_worker_to_wait_for_a_task_of_its_own_pool_is_told_of_the_deadlock() {
    limited(|| {
        for capacity in [1, 2, 4] {
            let pool = open(Pool::builder().capacity(capacity).queue_size(None));
            let list = Arc::new(Mutex::new(Vec::new()));
            let waiting = Arc::new(AtomicUsize::new(0));
            let answers = Arc::new(Mutex::new(Vec::new()));
            for number in 0..capacity as usize {
                let (inner, list, waiting) =
                    (Arc::clone(&pool), Arc::clone(&list), Arc::clone(&waiting));
                let answers = Arc::clone(&answers);
                let task = move || {
                    eventually("it is its turn", || {
                        waiting.load(Ordering::SeqCst) == number
                    });
                    let sleeper = begin(&inner, &list, true);
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let answer = end(&sleeper, None);
                    if answer.is_err() {
                        // Now it can serve the others.
                        settle_all(&list);
                    }
                    answers.lock().unwrap().push((number, answer));
                };
                pool.submit(task).expect("the pool is open");
            }
            drain(&pool);
            let answers = answers.lock().unwrap();
            assert_eq!(answers.len(), capacity as usize);
            for (number, answer) in answers.iter() {
                if *number == capacity as usize - 1 {
                    assert_is!(answer, Err(Error::Deadlock));
                } else {
                    assert_is!(answer, Ok(()));
                }
            }
            // Nobody is counted as waiting any more: the next deadlock is found like the first, and no other is.
            assert_eq!(pool.stats().completed, u64::from(capacity));
            pool.submit(|| {}).expect("the pool is open");
            drain(&pool);
        }
    });
}

#[test]
fn a_wait_that_another_worker_ends_is_no_deadlock() {
    limited(|| {
        for _ in 0..200 {
            let pool = open(Pool::builder().capacity(2).queue_size(None));
            let list = Arc::new(Mutex::new(Vec::new()));
            let answer = Arc::new(Mutex::new(None));
            let (inner, said) = (Arc::clone(&pool), Arc::clone(&answer));
            pool.submit(move || {
                let sleeper = begin(&inner, &list, true);
                inner
                    .submit(move || settle_all(&list))
                    .expect("the pool is open");
                *said.lock().unwrap() = Some(end(&sleeper, None));
            })
            .expect("the pool is open");
            drain(&pool);
            assert_is!(answer.lock().unwrap().take(), Some(Ok(())));
        }
    });
}

#[test]
fn a_wait_with_a_limit_is_no_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1).queue_size(None));
        let inner = Arc::clone(&pool);
        let answer = Arc::new(Mutex::new(None));
        let said = Arc::clone(&answer);
        pool.submit(move || {
            let sleeper = begin(&inner, &Mutex::default(), false);
            *said.lock().unwrap() = Some(end(&sleeper, Some(Duration::from_millis(5))));
        })
        .expect("the pool is open");
        drain(&pool);
        assert_is!(answer.lock().unwrap().take(), Some(Err(Error::Timeout)));
    });
}

#[test]
fn a_thread_from_outside_and_a_worker_of_another_pool_wait_without_being_counted() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1).queue_size(None));
        let other = open(Pool::builder().capacity(1));
        let list = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::new();
        pool.submit(gate.task()).expect("a worker is free");
        gate.await_arrivals(1);

        let (inner, waits) = (Arc::clone(&pool), Arc::clone(&list));
        let outside = thread::spawn(move || end(&begin(&inner, &waits, true), None));
        let (inner, waits) = (Arc::clone(&pool), Arc::clone(&list));
        let answer = Arc::new(Mutex::new(None));
        let said = Arc::clone(&answer);
        other
            .submit(move || *said.lock().unwrap() = Some(end(&begin(&inner, &waits, true), None)))
            .expect("a worker is free");
        eventually("both wait", || list.lock().unwrap().len() == 2);
        gate.open();
        let waits = Arc::clone(&list);
        pool.submit(move || settle_all(&waits))
            .expect("the pool is open");
        join(outside).expect("it was settled");
        drain(&other);
        assert_is!(answer.lock().unwrap().take(), Some(Ok(())));
    });
}

#[test]
fn a_worker_in_line_and_a_worker_that_waits_for_a_result_are_a_deadlock_together() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2));
        let list = Arc::new(Mutex::new(Vec::new()));
        let (inner, waits) = (Arc::clone(&pool), Arc::clone(&list));
        let answer = Arc::new(Mutex::new(None));
        let said = Arc::clone(&answer);
        let gate = Gate::new();
        let begun = gate.task();
        gate.open();
        pool.submit(move || {
            let sleeper = begin(&inner, &waits, true);
            begun();
            *said.lock().unwrap() = Some(end(&sleeper, None));
        })
        .expect("a worker is free");
        // It has looked for a deadlock by then: the other is the last to come.
        gate.await_arrivals(1);

        let (inner, waits) = (Arc::clone(&pool), Arc::clone(&list));
        let told = Arc::new(Mutex::new(None));
        let note = Arc::clone(&told);
        pool.submit(move || {
            *note.lock().unwrap() = Some(refused(inner.submit(|| {})).0);
            settle_all(&waits);
        })
        .expect("a worker is free");
        drain(&pool);
        assert_is!(told.lock().unwrap().take(), Some(Error::Deadlock));
        assert_is!(answer.lock().unwrap().take(), Some(Ok(())));
        assert_eq!(pool.stats().rejected, 1);
    });
}

#[test]
fn a_tune_down_that_leaves_only_waiting_workers_is_a_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(2).expiry(None));
        let gate = Gate::new();
        pool.submit(gate.task()).expect("a worker is free");
        gate.await_arrivals(1);
        let (inner, list) = (Arc::clone(&pool), Arc::new(Mutex::new(Vec::new())));
        let waits = Arc::clone(&list);
        let answer = Arc::new(Mutex::new(None));
        let said = Arc::clone(&answer);
        pool.submit(move || *said.lock().unwrap() = Some(end(&begin(&inner, &waits, true), None)))
            .expect("a worker is free");
        eventually("it waits", || list.lock().unwrap().len() == 1);
        pool.tune(1);
        gate.open(); // The other worker ends its task and leaves.
        drain(&pool);
        assert_is!(answer.lock().unwrap().take(), Some(Err(Error::Deadlock)));
    });
}

#[test]
fn a_wait_ends_once() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let sleeper = Sleeper::new(pool.family_id(), true);
        sleeper.bind();
        assert!(!sleeper.settle(), "nobody sleeps");
        assert!(!sleeper.refuse(), "it is settled already");
        end(&sleeper, None).expect("it was settled");
    });
}

#[test]
fn a_tune_down_that_takes_the_last_hope_is_a_deadlock() {
    limited(|| {
        let pool = open(Pool::builder().capacity(3).queue_size(None).expiry(None));
        let list = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..2 {
            let (inner, list, answers) =
                (Arc::clone(&pool), Arc::clone(&list), Arc::clone(&answers));
            let gate = Gate::new();
            let pass = gate.task();
            pool.submit(move || {
                pass();
                let sleeper = begin(&inner, &list, true);
                let answer = end(&sleeper, None);
                if answer.is_err() {
                    settle_all(&list);
                }
                answers.lock().unwrap().push(answer.is_ok());
            })
            .expect("the pool is open");
            gate.await_arrivals(1);
            gate.open();
        }
        eventually("both wait", || list.lock().unwrap().len() == 2);
        // A third worker might be started, and help.
        assert!(answers.lock().unwrap().is_empty());
        pool.tune(2);
        drain(&pool);
        let mut answers = answers.lock().unwrap().clone();
        answers.sort_unstable();
        assert_eq!(answers, [false, true]);
    });
}
