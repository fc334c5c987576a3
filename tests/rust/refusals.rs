//! A refused task comes back intact, whatever the reason, and can be run or submitted again.

use super::support::{
    Gate, Journal, assert_is, beside, busy, close, drain, eventually, join, limited, open, refused,
};
use pyants::{Closure, Error, Pool, SubmitError};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// Runs a task that was handed back, which must be the one submitted.
#[track_caller]
fn run_refused(
    submitted: Result<(), SubmitError<Closure>>,
    journal: &Journal<&'static str>,
) -> Error {
    let before = journal.entries().len();
    let (error, task) = refused(submitted);
    assert_eq!(journal.entries().len(), before, "it has not run");
    task.run();
    assert_eq!(journal.entries().len(), before + 1, "it is the same task");
    error
}

#[test]
fn every_refusal_returns_the_task() {
    limited(|| {
        let journal = Journal::new();
        let (pool, gate) = busy(Pool::builder().capacity(1).max_blocking_tasks(1));
        let task = || journal.task("ran");
        assert_is!(
            run_refused(pool.try_submit(task()), &journal),
            Error::Overload { .. }
        );
        assert_is!(
            run_refused(
                pool.submit_timeout(task(), Duration::from_millis(1)),
                &journal
            ),
            Error::Timeout
        );
        let waits = task();
        let submitter = beside(&pool, |pool| pool.submit(waits));
        eventually("it waits", || pool.waiting() == 1);
        assert_is!(
            run_refused(pool.submit(task()), &journal),
            Error::Overload { .. }
        );
        assert!(pool.release());
        assert_is!(run_refused(join(submitter), &journal), Error::Closed);
        assert_is!(run_refused(pool.submit(task()), &journal), Error::Closed);
        gate.open();
        eventually("the worker has left", || pool.running() == 0);
        assert_eq!(pool.stats().submitted, 1);
    });
}

#[test]
fn a_deadlock_returns_the_task() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        let journal = Journal::new();
        let (own, noted) = (Arc::clone(&pool), journal.clone());
        pool.submit(move || {
            let error = run_refused(own.submit(noted.task("inner")), &noted);
            assert_is!(error, Error::Deadlock);
            noted.note("outer");
        })
        .expect("a worker is free");
        drain(&pool);
        assert_eq!(journal.entries(), ["inner", "outer"]);
    });
}

#[test]
fn a_task_handed_back_can_be_submitted_again() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).nonblocking(true));
        let journal = Journal::new();
        let mut task = refused(pool.submit(journal.task("ran"))).1;
        gate.open();
        eventually("there is room", || {
            match pool.submit(std::mem::replace(&mut task, (|| {}).into())) {
                Ok(()) => true,
                Err(refusal) => {
                    task = refusal.into_task();
                    false
                }
            }
        });
        drain(&pool);
        assert_eq!(journal.entries(), ["ran"]);
    });
}

#[test]
fn a_refused_task_is_dropped_by_nobody_but_its_owner() {
    limited(|| {
        let pool = open(Pool::builder().capacity(1));
        close(&pool);
        let owned = Arc::new(Gate::new());
        let kept = Arc::clone(&owned);
        let refusal = pool.submit(move || drop(kept)).expect_err("it is closed");
        assert_eq!(Arc::strong_count(&owned), 2);
        drop(refusal);
        assert_eq!(Arc::strong_count(&owned), 1);
    });
}

#[test]
fn a_refusal_tells_why() {
    limited(|| {
        let (pool, gate) = busy(Pool::builder().capacity(3));
        let refusal = pool.try_submit(|| {}).expect_err("it is full");
        assert!(refusal.to_string().contains("3 tasks are in flight"));
        // The message appears once, however long the chain.
        assert!(refusal.source().is_none());
        let spawn = Error::Spawn(std::io::ErrorKind::WouldBlock.into());
        let source = spawn.source().expect("there is the system's error");
        assert!(!spawn.to_string().contains(&source.to_string()));
        assert!(format!("{refusal:?}").contains("Overload"));
        gate.open();
    });
}
