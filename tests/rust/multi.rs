//! Several pools behind one front.

use super::support::{
    Gate, Journal, Ledger, assert_is, beside, eventually, join, limited, open_multi, refused,
};
use pyants::pool::Limit;
use pyants::{Error, MultiPool, OptionsError, Pool, Strategy};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Puts gated tasks on the pools, one after another.
fn fill(multi: &MultiPool, gate: &Arc<Gate>, tasks: usize) {
    let before = gate.arrived();
    for _ in 0..tasks {
        multi.try_submit(gate.task()).expect("there is room");
    }
    gate.await_arrivals(before + tasks);
}

fn busy(multi: &MultiPool) -> Vec<u64> {
    multi.pools().iter().map(|pool| pool.stats().busy).collect()
}

#[test]
fn round_robin_takes_the_pools_in_turn() {
    limited(|| {
        let multi = open_multi(3, Strategy::RoundRobin, &Pool::builder().capacity(4));
        let gate = Gate::new();
        fill(&multi, &gate, 4);
        assert_eq!(busy(&multi), [2, 1, 1]);
        fill(&multi, &gate, 5);
        assert_eq!(busy(&multi), [3, 3, 3]);
        gate.open();
    });
}

#[test]
fn least_tasks_takes_the_pool_with_the_fewest() {
    limited(|| {
        let multi = open_multi(3, Strategy::LeastTasks, &Pool::builder().capacity(4));
        let gate = Gate::new();
        // Some pools have work already.
        for (index, tasks) in [(0, 3), (2, 1)] {
            for _ in 0..tasks {
                multi.pools()[index]
                    .submit(gate.task())
                    .expect("there is room");
            }
        }
        fill(&multi, &gate, 3);
        assert_eq!(busy(&multi), [3, 2, 2]);
        fill(&multi, &gate, 2);
        assert_eq!(busy(&multi), [3, 3, 3]);
        gate.open();
    });
}

#[test]
fn least_tasks_counts_those_that_wait_too() {
    limited(|| {
        let multi = open_multi(2, Strategy::LeastTasks, &Pool::builder().capacity(1));
        let gate = Gate::new();
        fill(&multi, &gate, 2);
        let submitters = [1, 2].map(|waiting| {
            let task = gate.task();
            let submitter = beside(&multi, |multi| multi.submit(task));
            eventually("it waits", || multi.stats().waiting == waiting);
            submitter
        });
        let waiting: Vec<_> = multi.pools().iter().map(Pool::waiting).collect();
        assert_eq!(waiting, [1, 1]);
        gate.open();
        for submitter in submitters {
            join(submitter).expect("it is let in");
        }
    });
}

#[test]
fn a_task_falls_over_to_a_pool_with_a_permit() {
    limited(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let multi = open_multi(3, strategy, &Pool::builder().capacity(2));
            let gate = Gate::new();
            for index in [0, 1] {
                for _ in 0..2 {
                    multi.pools()[index]
                        .submit(gate.task())
                        .expect("there is room");
                }
            }
            // Whichever pool is next in turn, only the last has a permit.
            for _ in 0..2 {
                multi.submit(gate.task()).expect("the last pool has room");
            }
            assert_eq!(busy(&multi), [2, 2, 2]);
            assert_is!(refused(multi.try_submit(|| {})).0, Error::Overload { .. });
            gate.open();
        }
    });
}

#[test]
fn where_no_pool_has_a_permit_the_submitter_waits_until_one_does() {
    limited(|| {
        for size in [1, 2, 3] {
            let builder = Pool::builder().capacity(1).max_blocking_tasks(1);
            let multi = open_multi(size, Strategy::RoundRobin, &builder);
            let gate = Gate::new();
            fill(&multi, &gate, size);
            // As many submitters may wait as for all of the pools together.
            let submitters: Vec<_> = (0..size)
                .map(|index| {
                    let submitter = beside(&multi, |multi| multi.submit(|| {}));
                    eventually("it waits", || multi.stats().waiting == index + 1);
                    assert_eq!(multi.pools()[index].waiting(), 1);
                    submitter
                })
                .collect();
            assert_is!(
                refused(multi.submit(|| {})).0,
                Error::Overload {
                    limit: Limit::Waiting(1),
                    ..
                }
            );
            gate.let_one(); // The first to arrive, in whichever pool.
            submitters
                .into_iter()
                .for_each(|submitter| join(submitter).expect("it is let in"));
            assert_eq!(multi.stats().waiting, 0);
            gate.open();
        }
    });
}

#[test]
fn a_task_taken_back_from_any_pool_frees_a_permit_for_waiters() {
    limited(|| {
        let builder = Pool::builder().capacity(1).queue_size(1);
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        for index in [0, 1] {
            let gate = Gate::new();
            for _ in 0..4 {
                multi.try_submit(gate.task()).expect("there is room");
            }
            gate.await_arrivals(2);
            let submitter = beside(&multi, |multi| multi.submit(|| {}));
            eventually("it waits", || multi.stats().waiting == 1);
            assert!(multi.pools()[index].extract_one(|_| true).is_some());
            join(submitter).expect("it is let in");
            gate.open();
            eventually("the pools are at rest", || {
                multi.pools().iter().all(Pool::is_at_rest)
            });
        }
    });
}

#[test]
fn nobody_overtakes_those_who_wait_for_any_pool() {
    limited(|| {
        let multi = open_multi(2, Strategy::RoundRobin, &Pool::builder().capacity(1));
        let (gate, journal) = (Gate::new(), Journal::new());
        fill(&multi, &gate, 2);
        let submitters: Vec<_> = (0..6)
            .map(|number| {
                let (gate, journal) = (Arc::clone(&gate), journal.clone());
                let submitter = beside(&multi, move |multi| {
                    multi.submit(move || {
                        journal.note(number);
                        gate.pass();
                    })
                });
                eventually("it waits", || multi.stats().waiting == number + 1);
                submitter
            })
            .collect();
        for number in 0..6 {
            assert_is!(refused(multi.try_submit(|| {})).0, Error::Overload { .. });
            gate.let_one();
            gate.await_arrivals(3 + number);
        }
        submitters
            .into_iter()
            .for_each(|submitter| join(submitter).expect("it is let in"));
        assert_eq!(journal.entries(), (0..6).collect::<Vec<_>>());
        gate.open();
    });
}

#[test]
fn every_task_of_several_pools_runs_exactly_once() {
    const SUBMITTERS: usize = 4;
    const TASKS: usize = 2_000;
    limited(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            for queue_size in [Some(0), Some(2), None] {
                let builder = Pool::builder().capacity(2).queue_size(queue_size);
                let multi = open_multi(3, strategy, &builder);
                let ledger = Ledger::of(SUBMITTERS * TASKS);
                let submitters: Vec<_> = (0..SUBMITTERS)
                    .map(|submitter| {
                        let ledger = Arc::clone(&ledger);
                        beside(&multi, move |multi| {
                            for task in 0..TASKS {
                                multi
                                    .submit(ledger.task(submitter * TASKS + task))
                                    .expect("the pools are open");
                            }
                        })
                    })
                    .collect();
                submitters.into_iter().for_each(join);
                eventually("all pools are at rest", || {
                    multi.pools().iter().all(Pool::is_at_rest)
                });
                ledger.assert_all_ran_once();
                assert!(ledger.most_running() <= 6);
                let stats = multi.stats();
                assert_eq!(stats.submitted, (SUBMITTERS * TASKS) as u64);
                assert_eq!(stats.completed, stats.submitted);
            }
        }
    });
}

#[test]
fn the_numbers_of_several_pools_are_summed() {
    limited(|| {
        let multi = open_multi(2, Strategy::RoundRobin, &Pool::builder().capacity(3));
        let gate = Gate::new();
        fill(&multi, &gate, 5);
        let stats = multi.stats();
        assert_eq!((stats.capacity, stats.running, stats.busy), (Some(6), 5, 5));
        assert_eq!((stats.submitted, stats.spawned), (5, 5));
        gate.open();
        let unlimited = open_multi(2, Strategy::RoundRobin, &Pool::builder());
        assert_eq!(unlimited.stats().capacity, None);
    });
}

#[test]
fn tune_release_and_reboot_reach_every_pool() {
    limited(|| {
        for strategy in [Strategy::RoundRobin, Strategy::LeastTasks] {
            let multi = open_multi(3, strategy, &Pool::builder().capacity(1));
            multi.tune(2).expect("it has a capacity");
            assert_eq!(multi.stats().capacity, Some(6));
            let gate = Gate::new();
            fill(&multi, &gate, 6);
            assert!(multi.release());
            assert!(!multi.release());
            assert!(multi.is_closed() && multi.pools().iter().all(Pool::is_closed));
            assert_is!(refused(multi.submit(|| {})).0, Error::Closed);
            assert_is!(refused(multi.try_submit(|| {})).0, Error::Closed);
            gate.open();
            eventually("the workers have left", || multi.stats().running == 0);
            multi.reboot();
            assert!(!multi.is_closed() && !multi.pools().iter().any(Pool::is_closed));
            // Round robin starts with the first pool again, as in a new one.
            let gate = Gate::new();
            fill(&multi, &gate, 1);
            assert_eq!(busy(&multi), [1, 0, 0]);
            gate.open();
        }
    });
}

#[test]
fn the_names_tell_the_pools_apart() {
    limited(|| {
        let builder = Pool::builder().capacity(1).name("m");
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        let (gate, names) = (Gate::new(), Arc::new(Mutex::new(BTreeSet::new())));
        for _ in 0..2 {
            let (gate, names) = (Arc::clone(&gate), Arc::clone(&names));
            multi
                .submit(move || {
                    let name = thread::current().name().map(str::to_owned);
                    names.lock().unwrap().insert(name.unwrap_or_default());
                    gate.pass();
                })
                .expect("there is room");
        }
        gate.await_arrivals(2);
        gate.open();
        let names = names.lock().unwrap().clone();
        assert_eq!(Vec::from_iter(names), ["m-0_0", "m-1_0"]);
    });
}

#[test]
fn there_is_no_front_without_pools() {
    limited(|| {
        let none = MultiPool::new(0, Strategy::RoundRobin, &Pool::builder());
        assert_eq!(none.map(drop).unwrap_err(), OptionsError::NoPools);
        let bad = MultiPool::new(2, Strategy::RoundRobin, &Pool::builder().pre_alloc(true));
        assert_eq!(
            bad.map(drop).unwrap_err(),
            OptionsError::PreAllocWithoutCapacity
        );
    });
}

#[test]
fn waits_of_several_pools_end_in_time_and_can_be_begun_again() {
    limited(|| {
        let builder = Pool::builder().capacity(1);
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        let (gate, soon) = (Gate::new(), Duration::from_millis(1));
        for _ in 0..2 {
            multi.submit(gate.task()).expect("there is room");
        }
        assert_is!(refused(multi.submit_timeout(|| {}, soon)).0, Error::Timeout);
        assert!(!multi.wait_idle(Some(soon)));
        assert_is!(
            multi.release_timeout(soon).expect_err("both are held"),
            Error::Timeout
        );
        assert_is!(
            multi.wait_gone(Some(soon)).expect_err("both are held"),
            Error::Timeout
        );
        gate.open();
        multi.wait_gone(None).expect("both end");
        assert_eq!(multi.stats().running, 0);
        assert_is!(
            multi.release_timeout(soon).expect_err("they are closed"),
            Error::Closed
        );
        assert!(format!("{multi:?}").contains("is_closed: true"));
    });
}

#[test]
fn each_of_several_pools_has_the_panic_handler() {
    limited(|| {
        let panics = Arc::new(Journal::new());
        let noted = Arc::clone(&panics);
        let builder = Pool::builder().capacity(1).panic_handler(move |payload| {
            noted.note(payload.downcast::<usize>().map(|it| *it).ok())
        });
        let multi = open_multi(2, Strategy::RoundRobin, &builder);
        for number in 0..2_usize {
            multi
                .submit(move || std::panic::panic_any(number))
                .expect("there is room");
        }
        assert!(multi.wait_idle(None));
        let mut seen = panics.entries();
        seen.sort_unstable();
        assert_eq!(seen, [Some(0), Some(1)]);
    });
}
