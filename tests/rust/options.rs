//! Thread names, stack sizes, and seats reserved in advance.

use super::support::{Gate, Journal, assert_is, busy, drain, limited, open, refused};
use pyants::pool::{Limit, Options};
use pyants::{Error, OptionsError, Pool};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The names of the threads that run `tasks` tasks at once.
fn names(pool: &Pool, tasks: usize) -> BTreeSet<String> {
    let (journal, gate) = (Journal::new(), Gate::new());
    for _ in 0..tasks {
        let (journal, gate) = (journal.clone(), Arc::clone(&gate));
        pool.submit(move || {
            journal.note(thread::current().name().unwrap_or_default().to_owned());
            gate.pass();
        })
        .expect("there is room");
    }
    gate.await_arrivals(tasks);
    gate.open();
    drain(pool);
    journal.entries().into_iter().collect()
}

#[test]
fn threads_are_named_after_their_pool() {
    limited(|| {
        let named = open(Pool::builder().capacity(3).name("mill"));
        let expected = ["mill_0", "mill_1", "mill_2"].map(str::to_owned);
        assert_eq!(names(&named, 3), BTreeSet::from(expected));
        let unnamed = open(Pool::builder().capacity(1));
        assert_eq!(names(&unnamed, 1), BTreeSet::from(["pyants_0".to_owned()]));
    });
}

#[test]
fn a_worker_has_the_stack_asked_for() {
    /// Uses at least `kib` KiB of the stack.
    fn dig(kib: usize) -> u8 {
        let frame = black_box([1_u8; 1024]);
        match kib {
            0 => frame[0],
            _ => black_box(dig(kib - 1)) | frame[1023],
        }
    }
    limited(|| {
        // Uses twice the default of 2 MiB; without the option the process would crash.
        let pool = open(Pool::builder().capacity(1).stack_size(64 << 20));
        let journal = Journal::new();
        let noted = journal.clone();
        pool.submit(move || noted.note(dig(4 << 10)))
            .expect("a worker is free");
        drain(&pool);
        assert_eq!(journal.entries(), [1]);
    });
}

#[test]
fn a_pre_allocated_pool_works_as_any() {
    limited(|| {
        let pool = open(Pool::builder().capacity(100).pre_alloc(true));
        assert_eq!((pool.running(), pool.capacity()), (0, Some(100)));
        assert_eq!(names(&pool, 100).len(), 100);
        assert_eq!(pool.stats().peak_running, 100);
    });
}

#[test]
fn pre_alloc_needs_a_capacity() {
    limited(|| {
        let error = Pool::builder().pre_alloc(true).build().map(drop);
        assert_eq!(error, Err(OptionsError::PreAllocWithoutCapacity));
    });
}

#[test]
fn a_large_capacity_costs_nothing_until_it_is_used() {
    limited(|| {
        let pool = open(Pool::builder().capacity(u32::MAX));
        assert_eq!(names(&pool, 2).len(), 2);
    });
}

#[test]
fn a_pool_tells_its_options() {
    limited(|| {
        let pool = open(
            Pool::builder()
                .capacity(7)
                .queue_size(9)
                .expiry(Duration::from_secs(3))
                .nonblocking(true)
                .max_blocking_tasks(11)
                .stack_size(1 << 20)
                .name("told"),
        );
        pool.tune(8).expect("it has a capacity");
        let Options {
            capacity,
            queue_size,
            expiry,
            nonblocking,
            max_blocking_tasks,
            pre_alloc,
            stack_size,
            name,
        } = pool.options();
        assert_eq!((capacity, queue_size), (Some(8), Some(9)));
        assert_eq!(expiry, Some(Duration::from_secs(3)));
        assert_eq!((nonblocking, max_blocking_tasks), (true, Some(11)));
        assert_eq!((pre_alloc, stack_size), (false, Some(1 << 20)));
        assert_eq!(name, "told");
    });
}

#[test]
fn any_number_of_waiters_is_the_default() {
    limited(|| {
        let pool = open(Pool::builder());
        assert_eq!(pool.options().max_blocking_tasks, None);
        assert!(!pool.options().nonblocking);
        assert_eq!(pool.options().queue_size, Some(0));
        assert_eq!(pool.options().expiry, Some(Duration::from_secs(1)));
    });
}

#[test]
fn none_is_no_limit_and_nought_is_none_at_all() {
    limited(|| {
        let limited = Pool::builder()
            .capacity(1)
            .queue_size(1)
            .max_blocking_tasks(1);
        let unlimited = limited.capacity(None).queue_size(None).expiry(None);
        let options = open(unlimited.max_blocking_tasks(None)).options();
        assert_eq!((options.capacity, options.queue_size), (None, None));
        assert_eq!((options.expiry, options.max_blocking_tasks), (None, None));

        let error = Pool::builder().capacity(0).build().map(drop);
        assert_eq!(error, Err(OptionsError::ZeroCapacity));
        let (pool, gate) = busy(Pool::builder().capacity(1).max_blocking_tasks(0));
        let (error, _) = refused(pool.submit(|| {}));
        assert_is!(
            error,
            Error::Overload {
                limit: Limit::Waiting(0),
                ..
            }
        );
        gate.open();
    });
}
