//! The operating system refuses threads: no task is lost, the counters stay right, and either the caller gets the error
//! or another worker runs the task.

use super::counters::assert_adds_up;
#[cfg(target_os = "linux")]
use super::expiry::expiry_threads;
use super::result_wait::{begin, end, settle_all};
use super::support::{
    Gate, Journal, Ledger, QUEUE_SIZES, assert_is, beside, busy, drain, eventually, join,
    limited_alone, occupy, open, open_multi, refused,
};
use pyants::pool::Limit;
use pyants::pool::internal::Accounting;
use pyants::pool::internal::faults::{fail_spawns, failing_spawns};
use pyants::pool::internal::sync::WaitLimit;
use pyants::{Builder, Error, Pool, Strategy};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn without_any_worker_the_task_comes_back_with_the_error_of_the_system() {
    limited_alone(|| {
        for capacity in [Some(2), None] {
            for queue_size in QUEUE_SIZES {
                let pool = open(Pool::builder().capacity(capacity).queue_size(queue_size));
                let journal = Journal::new();
                fail_spawns(-1);
                for attempt in 0..3 {
                    let task = journal.task(attempt);
                    let submitted = match attempt {
                        0 => pool.submit(task),
                        1 => pool.try_submit(task),
                        _ => pool.submit_timeout(task, Duration::from_secs(60)),
                    };
                    let (error, task) = refused(submitted);
                    assert_is!(error, Error::Spawn(_));
                    task.run();
                }
                assert_eq!(journal.entries(), [0, 1, 2]);
                let stats = pool.stats();
                assert_adds_up(&stats, 0..=0);
                assert_eq!(stats.spawned, 0);
                assert_eq!((stats.running, stats.busy), (0, 0));
                assert!(pool.is_at_rest());

                fail_spawns(0);
                pool.submit(journal.task(3))
                    .expect("there are threads again");
                drain(&pool);
                assert_eq!(journal.entries(), [0, 1, 2, 3]);
                assert_eq!(pool.stats().submitted, 1);
            }
        }
    });
}

#[test]
fn a_handed_off_task_waits_for_a_worker_that_is_alive() {
    limited_alone(|| {
        for capacity in [Some(4), None] {
            let pool = open(Pool::builder().capacity(capacity).expiry(None));
            let (gate, journal) = (occupy(&pool, 1), Journal::new());
            fail_spawns(-1);
            // A submitter that does not wait gets an overload.
            assert_is!(
                refused(pool.try_submit(|| {})).0,
                Error::Overload { in_flight: 1, .. }
            );
            let task = journal.task("ran");
            let submitter = beside(&pool, |pool| pool.submit(task));
            eventually("it waits", || pool.waiting() == 1);
            assert!(journal.entries().is_empty());
            gate.open();
            join(submitter).expect("the worker that is alive takes it");
            drain(&pool);
            assert_eq!(journal.entries(), ["ran"]);
            let stats = pool.stats();
            assert_adds_up(&stats, 2..=2);
            assert_eq!(stats.completed, 2);
            assert_eq!((stats.spawned, stats.running, stats.rejected), (1, 1, 1));
            fail_spawns(0);
        }
    });
}

#[test]
fn a_queued_task_runs_on_a_worker_that_is_alive() {
    limited_alone(|| {
        for queue_size in [Some(3), None] {
            let pool = open(
                Pool::builder()
                    .capacity(4)
                    .queue_size(queue_size)
                    .expiry(None),
            );
            let (gate, journal) = (occupy(&pool, 1), Journal::new());
            fail_spawns(-1);
            for number in 0..3 {
                pool.submit(journal.task(number)).expect("it may wait");
            }
            assert_eq!((pool.running(), pool.queued()), (1, 3));
            gate.open();
            drain(&pool);
            assert_eq!(journal.entries(), [0, 1, 2]);
            assert_eq!(pool.stats().spawned, 1);
            fail_spawns(0);
        }
    });
}

#[test]
fn a_single_refusal_is_made_up_for_by_the_next_task() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(3).queue_size(None).expiry(None));
        let gate = occupy(&pool, 1);
        fail_spawns(1);
        for _ in 0..2 {
            pool.submit(gate.task()).expect("it may wait");
        }
        gate.await_arrivals(3);
        assert_eq!(pool.running(), 3);
        gate.open();
    });
}

#[test]
fn the_last_worker_takes_no_accepted_task_along_when_it_expires() {
    const ROUNDS: usize = 3_000;
    limited_alone(|| {
        for queue_size in QUEUE_SIZES {
            let pool = open(Pool::builder().capacity(2).queue_size(queue_size));
            let ledger = Ledger::of(ROUNDS);
            let mut accepted = 0;
            for round in 0..ROUNDS {
                pool.submit(|| {}).expect("there are threads");
                drain(&pool);
                // A worker rests. It is told to leave just as a task comes, and no other can be started in its place.
                fail_spawns(-1);
                let expirer = beside(&pool, |pool| pool.expire_all());
                match pool.submit(ledger.task(round)) {
                    Ok(()) => accepted += 1,
                    Err(refusal) => {
                        assert_is!(refusal.error, Error::Spawn(_));
                        refusal.task.run();
                    }
                }
                drain(&pool);
                join(expirer);
                fail_spawns(0);
            }
            ledger.assert_all_ran_once();
            let stats = pool.stats();
            let admitted = (ROUNDS + accepted) as u64;
            assert_adds_up(&stats, admitted..=admitted);
            assert_eq!(stats.completed, admitted);
        }
    });
}

#[test]
fn a_worker_waiting_for_a_thread_that_is_refused_is_told_of_the_deadlock() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(4).expiry(None));
        let (gate, answers) = (Gate::new(), Journal::new());
        let (own, waits, noted) = (Arc::clone(&pool), gate.task(), answers.clone());
        pool.submit(move || {
            waits();
            let (error, _) = refused(own.submit(|| {}));
            noted.note(error.to_string());
        })
        .expect("a worker is free");
        gate.await_arrivals(1);
        fail_spawns(-1);
        gate.open();
        drain(&pool);
        assert_eq!(answers.entries(), [Error::Deadlock.to_string()]);
    });
}

#[test]
fn tune_up_without_threads_loses_no_waiter() {
    limited_alone(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).expiry(None));
        let journal = Journal::new();
        let submitters = [0, 1].map(|number| {
            let task = journal.task(number);
            beside(&pool, |pool| pool.submit(task))
        });
        eventually("both wait", || pool.waiting() == 2);
        fail_spawns(-1);
        pool.tune(3).expect("it has a capacity");
        assert_eq!((pool.running(), pool.waiting()), (1, 2));
        gate.open();
        for submitter in submitters {
            join(submitter).expect("it is let in");
        }
        drain(&pool);
        assert_eq!(journal.entries().len(), 2);
        assert_eq!(pool.stats().submitted, 3);
    });
}

#[test]
fn without_an_expiry_thread_workers_stay_until_one_can_be_started() {
    limited_alone(|| {
        let (pool, gate) = busy(Pool::builder().capacity(1).expiry(Duration::from_millis(2)));
        fail_spawns(-1);
        gate.open();
        drain(&pool);
        // The worker rests, and no other could be started.
        pool.submit(|| {}).expect("the worker is still there");
        drain(&pool);
        assert_eq!((pool.running(), pool.stats().expired), (1, 0));
        fail_spawns(0);
        eventually("the next rest has the thread started", || {
            pool.submit(|| {}).expect("the pool is open");
            drain(&pool);
            pool.stats().expired > 0 || pool.running() == 0
        });
    });
}

#[test]
fn several_pools_have_one_shortage_of_threads() {
    limited_alone(|| {
        let multi = open_multi(2, Strategy::RoundRobin, &Pool::builder().capacity(2));
        fail_spawns(-1);
        for _ in 0..2 {
            assert_is!(refused(multi.submit(|| {})).0, Error::Spawn(_));
        }
        fail_spawns(0);
        multi.submit(|| {}).expect("there are threads again");
        eventually("all pools are at rest", || {
            multi.pools().iter().all(Pool::is_at_rest)
        });
        assert_eq!(multi.stats().submitted, 1);
    });
}

#[test]
fn no_task_is_lost_while_threads_are_refused_at_random() {
    const SUBMITTERS: usize = 3;
    const TASKS: usize = 3_000;
    limited_alone(|| {
        for (capacity, queue_size) in [
            (Some(3), Some(0)),
            (Some(3), Some(2)),
            (Some(3), None),
            (None, Some(0)),
        ] {
            let pool = open(
                Pool::builder()
                    .capacity(capacity)
                    .queue_size(queue_size)
                    .expiry(Duration::from_micros(100)),
            );
            let ended = Arc::new(AtomicBool::new(false));
            let disturber = {
                let ended = Arc::clone(&ended);
                beside(&pool, move |pool| {
                    let mut round = 0;
                    while !ended.load(Ordering::Relaxed) {
                        round = (round + 1) % 4;
                        fail_spawns(round);
                        pool.expire_all();
                        thread::yield_now();
                    }
                    fail_spawns(0);
                })
            };
            let ledger = Ledger::of(SUBMITTERS * TASKS);
            let submitters: Vec<_> = (0..SUBMITTERS)
                .map(|submitter| {
                    let ledger = Arc::clone(&ledger);
                    beside(&pool, move |pool| {
                        for task in 0..TASKS {
                            let mut task = ledger.task(submitter * TASKS + task).into();
                            while let Err(refusal) = pool.submit(task) {
                                assert_is!(refusal.error, Error::Spawn(_));
                                task = refusal.task;
                                thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            submitters.into_iter().for_each(join);
            drain(&pool);
            ended.store(true, Ordering::Relaxed);
            join(disturber);
            ledger.assert_all_ran_once();
            let stats = pool.stats();
            let admitted = (SUBMITTERS * TASKS) as u64;
            assert_adds_up(&stats, admitted..=admitted);
            assert_eq!(stats.completed, admitted);
        }
    });
}

#[test]
fn a_refused_thread_is_not_asked_for_again_with_each_task() {
    const SUBMITTERS: usize = 4;
    const TASKS: usize = 2_000;
    const FAILING: i64 = 1 << 40;
    limited_alone(|| {
        for (capacity, queue_size) in [
            (Some(200), Some(0)),
            (None, Some(0)),
            (Some(200), Some(8)),
            (Some(200), None),
        ] {
            let pool = open(
                Pool::builder()
                    .capacity(capacity)
                    .queue_size(queue_size)
                    .expiry(None),
            );
            let gate = occupy(&pool, 3);
            gate.open();
            drain(&pool);
            fail_spawns(FAILING);
            let begun = Instant::now();
            let ledger = Ledger::of(SUBMITTERS * TASKS);
            ledger.submit_all(&pool, SUBMITTERS);
            drain(&pool);
            ledger.assert_all_ran_once();
            assert_eq!(pool.running(), 3);
            // Some at once, then one every 8 milliseconds, by each thread that sees the pause end.
            let asked = FAILING - failing_spawns();
            let took = begun.elapsed();
            let most = 200 + took.as_millis() as i64;
            assert!(asked < most, "asked for {asked} threads in {took:?}");
            fail_spawns(0);
        }
    });
}

#[test]
fn a_worker_alone_with_its_wait_is_told_when_the_thread_for_another_is_refused() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(2).expiry(None));
        let (gate, other, looking, answers) =
            (Gate::new(), Gate::new(), Gate::new(), Journal::new());
        let (own, pass, noted) = (Arc::clone(&pool), gate.task(), answers.clone());
        pool.submit(move || {
            pass();
            let result_wait = begin(&own, &Mutex::default(), true);
            noted.note("waits".to_owned());
            let waited = end(&result_wait, None);
            noted.note(waited.expect_err("nobody settles it").to_string());
        })
        .expect("a worker is free");
        pool.submit(other.task()).expect("a worker is free");
        gate.await_arrivals(1);
        other.await_arrivals(1);
        // A third waits, and is passed over while it checks for an interrupt.
        let looks = Arc::clone(&looking);
        let outside = beside(&pool, move |pool| {
            let mut look = || {
                looks.pass();
                false
            };
            let mut wait_limit = WaitLimit::new(None).interruptible(&mut look);
            pool.submit_with((|| {}).into(), &mut wait_limit)
        });
        looking.await_arrivals(1);
        other.open();
        eventually("the other worker is gone", || {
            pool.expire_all();
            pool.running() == 1
        });
        // The first is not stuck: a second worker may still be started.
        gate.open();
        eventually("the first waits", || answers.entries() == ["waits"]);
        fail_spawns(-1);
        looking.open();
        join(outside).expect("it is let in when the first has ended");
        drain(&pool);
        assert_eq!(answers.entries()[1], Error::Deadlock.to_string());
    });
}

#[test]
fn a_worker_alone_with_its_wait_is_told_when_the_thread_for_a_queued_task_is_refused() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(2).queue_size(None).expiry(None));
        let answers = Journal::new();
        let (own, noted) = (Arc::clone(&pool), answers.clone());
        pool.submit(move || {
            let result_wait = begin(&own, &Mutex::default(), true);
            noted.note("waits".to_owned());
            let waited = end(&result_wait, None);
            noted.note(waited.expect_err("nobody settles it").to_string());
        })
        .expect("a worker is free");
        eventually("it waits", || answers.entries() == ["waits"]);
        fail_spawns(-1);
        pool.submit(|| {}).expect("it may wait");
        drain(&pool);
        assert_eq!(answers.entries()[1], Error::Deadlock.to_string());
    });
}

#[test]
fn a_wait_is_no_deadlock_where_a_thread_that_was_refused_can_be_had_now() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(2).queue_size(None).expiry(None));
        let (gate, answers) = (Gate::new(), Journal::new());
        let list = Arc::new(Mutex::default());
        let (own, pass, noted) = (Arc::clone(&pool), gate.task(), answers.clone());
        let waits = Arc::clone(&list);
        pool.submit(move || {
            pass();
            noted.note(end(&begin(&own, &waits, true), None).is_ok());
        })
        .expect("a worker is free");
        gate.await_arrivals(1);
        fail_spawns(-1);
        pool.submit(move || {
            eventually("the first has begun to wait", || {
                !list.lock().unwrap().is_empty()
            });
            settle_all(&list);
        })
        .expect("it may wait");
        assert_eq!(pool.running(), 1);
        fail_spawns(0);
        gate.open();
        drain(&pool);
        assert_eq!(answers.entries(), [true]);
    });
}

/// A pool with one worker, busy until the gate is opened.
fn one_busy(builder: Builder) -> (Arc<Pool>, Arc<Gate>) {
    let pool = open(builder);
    let gate = occupy(&pool, 1);
    (pool, gate)
}

#[cfg(target_os = "linux")]
/// Keeps the expiry thread alive while the returned pool lives.
fn with_expiry_thread() -> Arc<Pool> {
    let pool = open(
        Pool::builder()
            .capacity(1)
            .expiry(Duration::from_secs(3_600)),
    );
    // The system may have refused the expiry thread a moment ago.
    eventually("a worker rests, for which it is there", || {
        pool.submit(|| {}).expect("there are threads");
        drain(&pool);
        expiry_threads() == 1
    });
    pool
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_was_refused_is_asked_for_again_where_nothing_else_happens() {
    limited_alone(|| {
        let _other = with_expiry_thread();
        for refusals in [1, 20] {
            for queue_size in QUEUE_SIZES {
                let builder = Pool::builder().queue_size(queue_size).expiry(None);
                let (pool, gate) = one_busy(builder.capacity(2));
                let journal = Journal::new();
                fail_spawns(refusals);
                let task = journal.task("ran").into();
                pool.submit_detached(pool.offer(task), Accounting::Counted)
                    .expect("it may wait");
                eventually("it runs beside the one that blocks", || {
                    journal.entries() == ["ran"]
                });
                assert_eq!((pool.running(), failing_spawns()), (2, 0));
                gate.open();
            }
        }
    });
}

#[test]
fn a_waiter_asks_again_for_a_thread_that_was_refused_where_nobody_else_would() {
    limited_alone(|| {
        let (pool, gate) = one_busy(Pool::builder().capacity(2).expiry(None));
        // The last of these hits the expiry thread, which would ask again.
        fail_spawns(3);
        let submitter = beside(&pool, |pool| pool.submit(|| {}));
        join(submitter).expect("there is a thread for it");
        gate.open();
    });
}

#[test]
fn a_worker_done_asks_again_for_a_thread_that_was_refused() {
    limited_alone(|| {
        let builder = Pool::builder().queue_size(None).expiry(None);
        let (pool, first) = one_busy(builder.capacity(2));
        let gate = Gate::new();
        fail_spawns(-1);
        for _ in 0..2 {
            pool.submit(gate.task()).expect("it may wait");
        }
        fail_spawns(0);
        first.open();
        // The second runs beside the first: no other worker has come.
        gate.await_arrivals(2);
        gate.open();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_pool_that_waits_for_a_thread_can_be_closed_and_dropped_at_any_time() {
    limited_alone(|| {
        let _other = with_expiry_thread();
        for round in 0..200 {
            let builder = Pool::builder().queue_size(None).expiry(None);
            let (pool, gate) = one_busy(builder.capacity(2));
            fail_spawns(round % 12);
            for _ in 0..2 {
                pool.submit(|| {}).expect("it may wait");
            }
            thread::sleep(Duration::from_micros(100 * (round as u64 % 20)));
            gate.open();
            drop(pool);
            fail_spawns(0);
        }
    });
}

#[test]
fn where_one_of_several_pools_gets_no_thread_the_others_take_its_tasks() {
    const TASKS: usize = 6;
    limited_alone(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let builder = Pool::builder().capacity(1).expiry(None);
            let multi = open_multi(3, strategy, &builder);
            let (gate, journal) = (Gate::new(), Journal::new());
            // The only worker belongs to the last pool.
            multi.pools()[2].submit(|| {}).expect("there are threads");
            drain(&multi.pools()[2]);
            fail_spawns(-1);
            for number in 0..TASKS {
                multi.submit(journal.task(number)).expect("there is one");
            }
            multi.submit(gate.task()).expect("there is one");
            gate.await_arrivals(1);
            assert_eq!(journal.entries(), [0, 1, 2, 3, 4, 5]);
            // While it is busy no permit is free, and submitters wait for it.
            for _ in 0..3 {
                assert_is!(
                    refused(multi.try_submit(|| {})).0,
                    Error::Overload { in_flight: 1, .. }
                );
            }
            let (mine, task) = (Arc::clone(&multi), journal.task(TASKS));
            let submitter = thread::spawn(move || mine.submit(task));
            let (index, offer) = multi.offer(journal.task(TASKS).into());
            multi
                .submit_detached(index, offer, Accounting::Counted)
                .expect("it may wait");
            eventually("both wait", || multi.stats().waiting == 2);
            gate.open();
            join(submitter).expect("it is let in");
            let mut wait_limit = WaitLimit::new(Some(Duration::from_secs(60)));
            multi.watch_idle(&mut wait_limit).expect("all is done");
            assert_eq!(journal.entries()[TASKS..], [TASKS, TASKS]);
            assert_eq!(multi.stats().spawned, 1);
            fail_spawns(0);
        }
    });
}

#[test]
fn where_a_pool_gets_no_further_thread_a_worker_at_rest_of_another_takes_the_task() {
    limited_alone(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let builder = Pool::builder().capacity(2).expiry(None);
            let multi = open_multi(2, strategy, &builder);
            let (gate, journal) = (Gate::new(), Journal::new());
            let [busy, at_rest] = [0, 1].map(|index| &multi.pools()[index]);
            busy.submit(gate.task()).expect("there are threads");
            at_rest.submit(|| {}).expect("there are threads");
            drain(at_rest);
            fail_spawns(-1);
            for number in 0..4 {
                multi
                    .try_submit(journal.task(number))
                    .expect("one is at rest");
                drain(at_rest);
            }
            assert_eq!(journal.entries(), [0, 1, 2, 3]);
            assert_eq!(multi.stats().rejected, 0);
            at_rest.submit(gate.task()).expect("one is at rest");
            gate.await_arrivals(2);
            assert_is!(
                refused(multi.try_submit(|| {})).0,
                Error::Overload {
                    limit: Limit::Threads,
                    ..
                }
            );
            assert_eq!(multi.stats().rejected, 1);
            fail_spawns(0);
            gate.open();
        }
    });
}

#[test]
fn a_waiter_of_several_pools_asks_again_for_the_pool_that_got_no_thread() {
    limited_alone(|| {
        let builder = Pool::builder().capacity(1).expiry(None);
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        let (gate, journal) = (Gate::new(), Journal::new());
        multi.pools()[0]
            .submit(gate.task())
            .expect("there are threads");
        // The expiry thread, which would ask again, is refused, too.
        fail_spawns(-1);
        let (mine, task) = (Arc::clone(&multi), journal.task(1));
        let submitter = thread::spawn(move || mine.submit(task));
        eventually("it waits", || multi.stats().waiting == 1);
        fail_spawns(0);
        join(submitter).expect("it is let in");
        eventually("it has run", || journal.entries() == [1]);
        gate.open();
    });
}

#[test]
fn a_task_queued_in_a_closed_pool_gets_the_thread_that_was_refused() {
    limited_alone(|| {
        let pool = open(Pool::builder().capacity(2).queue_size(None).expiry(None));
        let (gate, journal) = (occupy(&pool, 1), Journal::new());
        fail_spawns(-1);
        let (opened, task) = (Arc::clone(&gate), journal.task(1));
        // The first task does not end before this one has run.
        pool.submit(move || {
            task();
            opened.open();
        })
        .expect("there is room");
        pool.release();
        fail_spawns(0);
        let mut wait_limit = WaitLimit::new(Some(Duration::from_secs(60)));
        pool.watch_gone(&mut wait_limit).expect("both have run");
        assert_eq!(journal.entries(), [1]);
    });
}

#[test]
fn one_who_gives_up_its_wait_for_a_thread_is_in_nobodys_way() {
    limited_alone(|| {
        let (pool, gate) = one_busy(Pool::builder().capacity(2).expiry(None));
        fail_spawns(-1);
        let late = pool.submit_timeout(|| {}, Duration::from_millis(1));
        assert_is!(refused(late).0, Error::Timeout);
        fail_spawns(0);
        eventually("a task finds room and a thread", || {
            pool.try_submit(|| {}).is_ok()
        });
        gate.open();
    });
}
