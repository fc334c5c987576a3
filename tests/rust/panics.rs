//! No task's panic ends a worker, and none is swallowed.

use super::support::{Journal, QUEUE_SIZES, drain, limited, open};
use pyants::Pool;
use pyants::pool::internal::sync::contain;
use std::any::Any;
use std::panic::{panic_any, resume_unwind};
use std::sync::Arc;

/// Panics without output from the panic hook.
fn fail(message: &'static str) -> impl FnOnce() + Send {
    move || resume_unwind(Box::new(message))
}

#[test]
fn a_worker_outlives_the_panics_of_its_tasks() {
    limited(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(
                Pool::builder()
                    .capacity(1)
                    .queue_size(queue_size)
                    .expiry(None),
            );
            for _ in 0..50 {
                pool.submit(fail("on purpose")).expect("the pool is open");
                pool.submit(|| {}).expect("the pool is open");
            }
            drain(&pool);
            let stats = pool.stats();
            assert_eq!((stats.failed, stats.completed), (50, 50));
            assert_eq!((stats.spawned, stats.running, stats.busy), (1, 1, 0));
        }
    });
}

#[test]
fn the_panic_handler_is_given_every_payload() {
    limited(|| {
        let payloads = Journal::new();
        let noted = payloads.clone();
        let pool = open(Pool::builder().capacity(1).panic_handler(move |payload| {
            noted.note(match payload.downcast::<u32>() {
                Ok(number) => format!("number {number}"),
                Err(payload) => payload
                    .downcast::<&str>()
                    .map_or_else(|_| "unknown".to_owned(), |text| text.to_string()),
            });
        }));
        pool.submit(fail("text")).expect("the pool is open");
        pool.submit(|| panic_any(7_u32)).expect("the pool is open");
        pool.submit(|| {}).expect("the pool is open");
        drain(&pool);
        assert_eq!(payloads.entries(), ["text", "number 7"]);
        assert_eq!(pool.stats().failed, 2);
    });
}

#[test]
fn a_panic_handler_that_panics_ends_no_worker() {
    limited(|| {
        let handler = |payload: Box<dyn Any + Send>| resume_unwind(payload);
        let pool = open(
            Pool::builder()
                .capacity(1)
                .expiry(None)
                .panic_handler(handler),
        );
        for _ in 0..10 {
            pool.submit(fail("on purpose")).expect("the pool is open");
        }
        drain(&pool);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.spawned, stats.running), (10, 1, 1));
    });
}

#[test]
fn a_panic_while_a_task_is_dropped_ends_no_worker() {
    struct Mine;
    impl Drop for Mine {
        fn drop(&mut self) {
            resume_unwind(Box::new("dropped"));
        }
    }
    limited(|| {
        let pool = open(Pool::builder().capacity(1).expiry(None));
        pool.submit(|| {
            let _mine = Mine;
        })
        .expect("the pool is open");
        // The payload of the panic panics when it is dropped.
        pool.submit(|| panic_any(Mine)).expect("the pool is open");
        pool.submit(|| {}).expect("the pool is open");
        drain(&pool);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.completed, stats.spawned), (2, 1, 1));
    });
}

#[test]
fn what_a_host_panics_with_is_dropped() {
    let payload = Arc::new(());
    let raised = Arc::clone(&payload);
    assert!(contain::<()>(|| resume_unwind(Box::new(raised))).is_none());
    assert_eq!(Arc::strong_count(&payload), 1);
}

/// Panics again when it is dropped.
struct Stubborn;

impl Drop for Stubborn {
    fn drop(&mut self) {
        resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn a_host_panics_with_what_panics_when_it_is_dropped() {
    assert!(contain::<()>(|| resume_unwind(Box::new(Stubborn))).is_none());
}
