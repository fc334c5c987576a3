//! Several submitters while another thread tunes, releases and reboots at random.

use super::counters::{Admitted, assert_adds_up};
use super::support::{Ledger, assert_is, beside, drain, eventually, join, limited, open};
use pyants::{Error, Pool};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const MOST: u32 = 6;
const SUBMITTERS: usize = 4;
const TASKS: usize = 4_000;

/// Random numbers, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The counts of one submitter.
#[derive(Default)]
struct Seen {
    accepted: Vec<usize>,
    to_fail: u64,
    rejected: u64,
}

fn submit_all(pool: &Pool, admitted: &Admitted, ledger: &Arc<Ledger>, submitter: usize) -> Seen {
    let mut random = Random(submitter as u64 + 1);
    let mut seen = Seen::default();
    for number in submitter * TASKS..(submitter + 1) * TASKS {
        let fails = random.below(20) == 0;
        let count = ledger.task(number);
        let task = move || {
            count();
            if fails {
                resume_unwind(Box::new("on purpose"));
            }
        };
        let submitted = admitted.count(|| match random.below(4) {
            0 => pool.try_submit(task),
            1 => pool.submit_timeout(task, Duration::from_micros(random.below(50))),
            _ => pool.submit(task),
        });
        match submitted.map_err(|refusal| refusal.error) {
            Ok(()) => {
                seen.accepted.push(number);
                seen.to_fail += u64::from(fails);
            }
            Err(Error::Closed) => thread::yield_now(),
            Err(error) => {
                assert_is!(error, Error::Overload { .. } | Error::Timeout);
                seen.rejected += 1;
            }
        }
    }
    seen
}

fn disturb(pool: &Pool, _: &Admitted, ended: &AtomicBool) {
    let mut random = Random(0x5eed);
    while !ended.load(Ordering::Relaxed) {
        match random.below(8) {
            0 => {
                pool.release();
                pool.reboot();
            }
            1 => {
                // There may be no workers to wait for; a wait for a slow one may time out.
                let timeout = Duration::from_micros(random.below(300));
                if let Err(error) = pool.release_timeout(timeout) {
                    assert_is!(error, Error::Timeout);
                }
                pool.reboot();
            }
            2 => pool.expire_all(),
            3 => drop(pool.wait_idle(Some(Duration::from_micros(random.below(100))))),
            _ => pool
                .tune(1 + random.below(MOST.into()) as u32)
                .expect("it has a capacity"),
        }
        thread::yield_now();
    }
    pool.reboot();
}

fn sample(pool: &Pool, admitted: &Admitted, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        assert!(pool.running() <= MOST);
        assert!(pool.waiting() <= SUBMITTERS);
        let stats = admitted.check(pool);
        assert!(stats.running <= MOST, "{stats:?}");
        thread::yield_now();
    }
}

fn stress(queue_size: Option<u64>, expiry: Option<Duration>) {
    let pool = open(
        Pool::builder()
            .capacity(MOST / 2)
            .queue_size(queue_size)
            .expiry(expiry),
    );
    let ended = Arc::new(AtomicBool::new(false));
    let ledger = Ledger::of(SUBMITTERS * TASKS);
    let admitted = Arc::new(Admitted::default());
    let others = [disturb, sample].map(|role| {
        let (admitted, ended) = (Arc::clone(&admitted), Arc::clone(&ended));
        beside(&pool, move |pool| role(pool, &admitted, &ended))
    });
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|submitter| {
            let (admitted, ledger) = (Arc::clone(&admitted), Arc::clone(&ledger));
            beside(&pool, move |pool| {
                submit_all(pool, &admitted, &ledger, submitter)
            })
        })
        .collect();
    let seen: Vec<Seen> = submitters.into_iter().map(join).collect();
    ended.store(true, Ordering::Relaxed);
    others.into_iter().for_each(join);
    drain(&pool);

    let mut runs = vec![0; SUBMITTERS * TASKS];
    for &number in seen.iter().flat_map(|seen| &seen.accepted) {
        runs[number] = 1;
    }
    for (number, runs) in runs.into_iter().enumerate() {
        assert_eq!(ledger.runs(number), runs, "how often task {number} ran");
    }
    assert!(ledger.most_running() <= MOST as usize);
    let stats = pool.stats();
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let accepted = sum(|seen| seen.accepted.len() as u64);
    assert_adds_up(&stats, accepted..=accepted);
    assert_eq!(stats.failed, sum(|seen| seen.to_fail));
    assert_eq!(stats.completed, stats.submitted - stats.failed);
    assert_eq!(stats.rejected, sum(|seen| seen.rejected));
    assert_eq!((stats.busy, stats.queued, stats.waiting), (0, 0, 0));
    assert!(stats.peak_running <= MOST);

    // The pool still works.
    pool.tune(MOST).expect("it has a capacity");
    pool.submit(|| {}).expect("it was rebooted");
    drain(&pool);
    assert!(pool.release());
    eventually("the workers have left", || pool.running() == 0);
    assert_eq!(pool.stats().completed, stats.completed + 1);
}

#[test]
fn every_invariant_holds_under_stress_of_hand_off() {
    limited(|| stress(Some(0), Some(Duration::from_micros(500))));
}

#[test]
fn every_invariant_holds_under_stress_of_a_short_queue() {
    limited(|| stress(Some(4), Some(Duration::from_micros(500))));
}

#[test]
fn every_invariant_holds_under_stress_of_an_unbounded_queue() {
    limited(|| stress(None, Some(Duration::from_micros(500))));
}

#[test]
fn every_invariant_holds_under_stress_without_expiry() {
    limited(|| stress(Some(0), None));
}
