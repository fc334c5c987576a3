//! Larger scenarios, for shuttle only: three submitters, three workers, and everything that may interfere.

use super::ledger::{Books, options};
use pyants::pool::Options;
use pyants::pool::internal::faults;
use shuttle::thread;

fn crowd(queue_size: Option<u64>) {
    crowd_with(options(3, queue_size));
}

fn crowd_with(options: Options) {
    let pool = Books::open(options, 3);
    let mut threads = Vec::new();
    for submitter in 0..3 {
        let pool = pool.clone();
        threads.push(thread::spawn(move || {
            for task in 0..3 {
                let _ = pool.try_hard(submitter * 3 + task);
            }
        }));
    }
    for disturb in [
        |pool: &Books| {
            pool.tune(1).expect("it has a capacity");
            pool.tune(3).expect("it has a capacity");
            pool.tune(2).expect("it has a capacity");
        },
        |pool: &Books| {
            pool.expire_all();
            thread::yield_now();
            pool.expire_all();
        },
        |pool: &Books| {
            pool.release();
            thread::yield_now();
            pool.reboot();
        },
    ] {
        let pool = pool.clone();
        threads.push(thread::spawn(move || disturb(&pool)));
    }
    for thread in threads {
        thread.join().expect("the thread ends well");
    }
    pool.put(9);
    pool.drain();
    while pool.running() > 2 {
        thread::yield_now();
    }
    let stats = pool.stats();
    assert_eq!(stats.submitted, stats.completed, "{stats:?}");
    assert_eq!(stats.submitted, pool.accepted() as u64, "{stats:?}");
}

pub fn crowd_of_queue() {
    crowd(None);
}

pub fn crowd_of_hand_off() {
    crowd(Some(0));
}

pub fn crowd_of_bounded_queue() {
    crowd(Some(1));
}

/// With the expiry thread, whose waits let time pass.
pub fn crowd_of_expiry() {
    let mut options = options(3, Some(1));
    options.expiry = Some(std::time::Duration::from_millis(5));
    crowd_with(options);
}

pub fn crowd_with_failing_spawns() {
    faults::fail_spawns(2);
    let pool = Books::open(options(3, Some(0)), 3);
    let threads: Vec<_> = (0..3)
        .map(|submitter| {
            let pool = pool.clone();
            thread::spawn(move || {
                for task in 0..3 {
                    let _ = pool.try_hard(submitter * 3 + task);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("the thread ends well");
    }
    assert!(pool.accepted() >= 7, "two were refused a thread");
    pool.drain();
}
