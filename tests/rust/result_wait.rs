//! Waits for another task's result, which get a deadlock error if no result will ever come.

use super::support::{Gate, assert_is, drain, eventually, join, limited, occupy, open, refused};
use pyants::pool::internal::ResultWait;
use pyants::pool::internal::sync::{AdaptiveSpin, WaitLimit};
use pyants::{Error, Pool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Begins this thread's wait for a task of the pool, and adds it to the list from which it will be settled.
pub fn begin(pool: &Pool, list: &Mutex<Vec<Arc<ResultWait>>>, endless: bool) -> Arc<ResultWait> {
    let result_wait = ResultWait::new(pool.deadlock_group_id(), endless);
    let mut list = list.lock().unwrap();
    list.push(Arc::clone(&result_wait));
    result_wait.block();
    drop(list);
    result_wait.refuse_if_stuck();
    result_wait
}

pub fn end(result_wait: &Arc<ResultWait>, timeout: Option<Duration>) -> Result<(), Error> {
    let waited = result_wait.wait(
        &mut WaitLimit::new(timeout),
        &AdaptiveSpin::new(Duration::ZERO),
    );
    result_wait.leave();
    waited
}

pub fn settle_all(list: &Mutex<Vec<Arc<ResultWait>>>) {
    for result_wait in list.lock().unwrap().drain(..) {
        if result_wait.settle() {
            result_wait.ring();
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
                    let result_wait = begin(&inner, &list, true);
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let answer = end(&result_wait, None);
                    if answer.is_err() {
                        // Now this worker can serve the others.
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
                let result_wait = begin(&inner, &list, true);
                inner
                    .submit(move || settle_all(&list))
                    .expect("the pool is open");
                *said.lock().unwrap() = Some(end(&result_wait, None));
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
            let result_wait = begin(&inner, &Mutex::default(), false);
            *said.lock().unwrap() = Some(end(&result_wait, Some(Duration::from_millis(5))));
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
        let gate = occupy(&pool, 1);

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
fn a_blocked_submit_and_a_result_wait_are_a_deadlock_together() {
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
            let result_wait = begin(&inner, &waits, true);
            begun();
            *said.lock().unwrap() = Some(end(&result_wait, None));
        })
        .expect("a worker is free");
        // It has checked for a deadlock by then: the other is the last to block.
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
        let gate = occupy(&pool, 1);
        let (inner, list) = (Arc::clone(&pool), Arc::new(Mutex::new(Vec::new())));
        let waits = Arc::clone(&list);
        let answer = Arc::new(Mutex::new(None));
        let said = Arc::clone(&answer);
        pool.submit(move || *said.lock().unwrap() = Some(end(&begin(&inner, &waits, true), None)))
            .expect("a worker is free");
        eventually("it waits", || list.lock().unwrap().len() == 1);
        pool.tune(1).expect("it has a capacity");
        gate.open(); // The other worker ends its task and leaves.
        drain(&pool);
        assert_is!(answer.lock().unwrap().take(), Some(Err(Error::Deadlock)));
    });
}

#[test]
fn a_wait_ends_once() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let result_wait = ResultWait::new(pool.deadlock_group_id(), true);
        result_wait.block();
        assert!(!result_wait.settle(), "nobody sleeps");
        assert!(!result_wait.refuse(), "it is settled already");
        end(&result_wait, None).expect("it was settled");
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
                let result_wait = begin(&inner, &list, true);
                let answer = end(&result_wait, None);
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
        // A third worker might be started and help.
        assert!(answers.lock().unwrap().is_empty());
        pool.tune(2).expect("it has a capacity");
        drain(&pool);
        let mut answers = answers.lock().unwrap().clone();
        answers.sort_unstable();
        assert_eq!(answers, [false, true]);
    });
}
