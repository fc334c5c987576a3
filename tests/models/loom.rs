//! Models run with loom: it tries every interleaving (up to a number of preemptions) and every value that a weak memory
//! may show. A thread that sleeps for ever is reported as a deadlock.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`
//!
//! `PYANTS_PREEMPTIONS=n` allows n more.
#![cfg(loom)]

mod ledger;
#[macro_use]
mod left_out;
#[allow(dead_code)] // Only shuttle runs the scenarios that are too large for loom.
mod scenarios;

use loom::thread;
use pyants::pool::internal::parts::Expiry;
use pyants::pool::internal::parts::{Call, Seats};
use pyants::pool::internal::parts::{IdleStack, Links};
use pyants::pool::internal::sync::atomic::{AtomicU32, Ordering};
use pyants::pool::internal::sync::{self, atomic};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Tries every interleaving of `model` with at most `preemptions` preemptions.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let more = std::env::var("PYANTS_PREEMPTIONS");
    let more = more.map_or(0, |more| more.parse().expect("a number"));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions + more);
    builder.max_branches = 20_000;
    let (rounds, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let counter = Arc::clone(&rounds);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    // Shown with --nocapture.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let (rounds, seconds) = (rounds.load(Relaxed), start.elapsed().as_secs_f32());
    eprintln!("{seconds:6.1} s {rounds:8} interleavings: {name}");
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    explore(preemptions, model);
    ledger::assert_nothing_leaked();
}

// The stack alone.

struct Table([AtomicU32; 3]);

impl Links for Table {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.0[index as usize]
    }
}

struct Stack {
    table: Table,
    stack: IdleStack,
    /// The owner of a seat writes here; loom reports two owners at a time.
    owned: [loom::cell::UnsafeCell<()>; 3],
}

// SAFETY: this is what the model checks.
unsafe impl Sync for Stack {}

impl Stack {
    fn new() -> Arc<Self> {
        Arc::new(Stack {
            table: Table(std::array::from_fn(|_| AtomicU32::new(0))),
            stack: IdleStack::new(),
            owned: std::array::from_fn(|_| loom::cell::UnsafeCell::new(())),
        })
    }

    fn push(&self, index: u32) -> bool {
        self.touch(index);
        self.stack.push(&self.table, index).is_ok()
    }

    fn pop(&self) -> Option<u32> {
        let index = self.stack.pop(&self.table)?;
        self.touch(index);
        Some(index)
    }

    fn touch(&self, index: u32) {
        self.owned[index as usize].with_mut(|_| ());
    }

    fn close(&self) -> Vec<u32> {
        let mut next = self.stack.close();
        let mut found = Vec::new();
        while let Some(index) = next {
            next = self
                .table
                .link(index)
                .load(Ordering::Relaxed)
                .checked_sub(1);
            self.touch(index);
            found.push(index);
        }
        found
    }
}

#[test]
fn stack_push_push_pop_pop() {
    check(5, || {
        let stack = Stack::new();
        let threads: Vec<_> = (0..2)
            .map(|index| {
                let stack = Arc::clone(&stack);
                thread::spawn(move || {
                    assert!(stack.push(index));
                    stack.pop().expect("there is one seat a thread")
                })
            })
            .collect();
        let mut popped: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        popped.sort_unstable();
        assert_eq!(popped, [0, 1]);
        assert!(stack.stack.is_empty());
    });
}

/// The ABA problem: a pop is delayed with the link of a seat that is popped, and pushed again above another one.
#[test]
fn stack_pop_against_pop_pop_push() {
    check(5, || {
        let stack = Stack::new();
        assert!(stack.push(2) && stack.push(1) && stack.push(0));
        let other = Arc::clone(&stack);
        let thread = thread::spawn(move || {
            let mut mine = vec![other.pop().unwrap(), other.pop().unwrap()];
            assert!(other.push(mine.remove(0)));
            mine
        });
        let mut popped = vec![stack.pop().expect("three seats, two of them elsewhere")];
        popped.extend(thread.join().unwrap());
        popped.extend(std::iter::from_fn(|| stack.pop()));
        popped.sort_unstable();
        assert_eq!(popped, [0, 1, 2]);
    });
}

#[test]
fn stack_close_against_push() {
    check(5, || {
        let stack = Stack::new();
        assert!(stack.push(0));
        let other = Arc::clone(&stack);
        let thread = thread::spawn(move || other.push(1));
        let mut found = stack.close();
        let pushed = thread.join().unwrap();
        assert!(!stack.push(2));
        assert!(stack.pop().is_none());
        found.sort_unstable();
        assert_eq!(found, if pushed { vec![0, 1] } else { vec![0] });
        stack.stack.open();
        assert!(stack.push(0));
        assert_eq!(stack.pop(), Some(0));
    });
}

// The seat alone.

struct OneSeat {
    seats: Arc<Seats>,
    /// Written by the owner of the seat, and by a thread that must see what its mover did before.
    owned: loom::cell::UnsafeCell<()>,
}

// SAFETY: this is what the model checks.
unsafe impl Sync for OneSeat {}

impl OneSeat {
    /// A seat whose worker has just begun to rest.
    fn new() -> Arc<Self> {
        let seats = Arc::new(Seats::new(None));
        assert_eq!(seats.fresh(), 0);
        seats.get(0).park(0);
        Arc::new(OneSeat {
            seats,
            owned: loom::cell::UnsafeCell::new(()),
        })
    }

    fn touch(&self) {
        self.owned.with_mut(|_| ());
    }

    /// Done by the thread that popped the seat.
    fn call(&self) {
        if !self.seats.get(0).call(Call::Look) {
            self.touch();
        }
    }

    fn expire(&self) -> bool {
        let rest = self.seats.get(0).resting();
        rest.is_some_and(|(rest, _)| self.seats.get(0).expire(rest))
    }

    /// Done by the worker.
    fn sleep(&self) {
        self.touch();
        if self.seats.get(0).sleep(None) != Call::Leave {
            self.touch();
        }
    }
}

/// A called worker sees what its caller did before.
#[test]
fn seat_handover() {
    check(3, || {
        let seat = OneSeat::new();
        let other = Arc::clone(&seat);
        let caller = thread::spawn(move || {
            other.touch();
            assert!(other.seats.get(0).call(Call::Search));
        });
        assert_eq!(seat.seats.get(0).sleep(None), Call::Search);
        seat.touch();
        caller.join().unwrap();
    });
}

/// A worker is told to leave, and the seat is popped. If it is popped before the worker has left, the worker keeps it;
/// else the popper gets it and sees what the worker did there.
#[test]
fn seat_left_against_popped() {
    check(3, || {
        let seat = OneSeat::new();
        assert!(seat.expire());
        let other = Arc::clone(&seat);
        let popper = thread::spawn(move || other.call());
        seat.sleep();
        popper.join().unwrap();
    });
}

/// The expiry thread and a popper meet at a worker that falls asleep: one of them gets it.
#[test]
fn seat_expired_against_called() {
    check(3, || {
        let seat = OneSeat::new();
        let others = [Arc::clone(&seat), Arc::clone(&seat)];
        let [expiry, popper] = others;
        let expiry = thread::spawn(move || expiry.expire());
        let popper = thread::spawn(move || popper.call());
        seat.sleep();
        expiry.join().unwrap();
        popper.join().unwrap();
    });
}

/// A worker with an entry in the expiry book from an earlier rest rests anew while the expiry thread removes that
/// entry: afterwards it is in the book, or told to leave.
#[test]
fn rest_against_expiry() {
    for now in [0, u64::MAX] {
        check(3, move || {
            let seats = Arc::new(Seats::new(Some(Duration::from_secs(1))));
            let expiry: &Expiry = Box::leak(Box::new(Expiry::new()));
            let index = seats.fresh();
            let rest = {
                let seats = Arc::clone(&seats);
                move || {
                    seats.get(index).park(0);
                    sync::full_fence();
                    assert!(expiry.see_to(&seats, index, || false));
                }
            };
            rest();
            assert!(seats.get(index).call(Call::Look));
            assert_eq!(seats.get(index).sleep(None), Call::Look);
            let worker = thread::spawn(rest);
            expiry.look_at_first(now);
            worker.join().unwrap();
            // Tells the worker to leave if it is in the book.
            expiry.look_at_first(u64::MAX);
            assert!(seats.get(index).resting().is_none());
            expiry.forget(&seats);
            expiry.join_former();
        });
    }
}

// Whole pools.

/// Tests named like the scenarios, with their numbers of preemptions.
macro_rules! scenarios {
    ($check:ident: $($scenario:ident $preemptions:literal)*) => {
        $(#[test]
        fn $scenario() {
            $check($preemptions, scenarios::$scenario);
        })*
    };
}

scenarios! {
    check:
        submit_against_park 3
        two_submits_against_park 2
        two_workers_park 1
        bounded_queue 2
        bounded_queue_of_two_submitters 1
        blocked_submit_against_finish 3
        blocked_submits_against_finish 2
        blocked_submit_against_two 1
        try_submit_against_blocked_submit 2
        submit_against_expire 2
        hand_off_against_expire 2
        submit_against_close 3
        first_submit_against_close 3
        blocked_submit_against_close 2
        detached_against_finish 3
        detached_against_blocked_submit 2
        detached_against_close 2
        withdraw_against_let_in 2
        withdraw_against_close 2
        close_and_wait 3
        close_and_wait_against_submit 3
        two_wait_for_the_end 2
        start_workers_against_submit 1
        submit_against_reboot 2
        hand_off_against_reboot 1
        tune_down_against_submit 1
        hand_off_tune_down 1
        tune_up_against_blocked_submit 1
        tuning_up_lets_in 1
        tuning_up_serves_the_queue 1
        blocking_tasks 2
        blocking_tasks_of_two 1
        hand_off_blocking_tasks 1
        blocking_tasks_against_expire 1
        hand_off_blocking_tasks_against_expire 1
        broken_worker 2
        broken_worker_against_reboot 2
        retried_start 1
        hand_off_retried_start 1
        retried_start_of_two 1
        hand_off_retried_start_of_two 1
        worker_that_waits_for_itself 3
        worker_that_waits_for_its_own_task 3
        worker_that_waits_for_another 1
        workers_that_wait_for_each_other 1
        worker_served_by_another_pool 1
        failing_spawn 2
        hand_off_failing_spawn 2
        second_spawn_fails 1
        let_in_against_wait_idle 1
        submit_timeout_against_finish 3
        submit_timeout_before_another 1
        rest_until_overdue 1
        interrupt_against_finish 3
        held_against_finish 3
        interrupt_beside_another 1
        held_beside_another 1
        limited_waits_against_finish 1
        worker_that_waits_for_a_moment 1
        submit_against_the_end 1
        extract_against_expire 1
        extract_against_submit 1
        unfinished_against_tune_down 1
        hand_off_unfinished_against_tune_down 1
        slow_start 1
        second_worker_breaks 1
        second_worker_is_retried 1
        hand_off_second_worker_breaks 1
        hand_off_second_worker_is_retried 1
        failing_spawn_before_the_waiters 1
        failing_spawns_before_the_waiters 1
        failing_spawn_before_a_detached_task 1
        failing_spawn_against_tune_up 1
        hand_off_failing_spawn_against_tune_up 1
        detached_against_tune_up 1
}

/// With the exact order of SeqCst accesses (see standins.rs).
mod exact {
    use super::*;

    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        super::check(preemptions, move || {
            atomic::be_exact(true);
            model();
        });
        atomic::be_exact(false);
    }

    scenarios! {
        check:
            blocked_submit_against_finish 2
            submit_against_expire 1
            hand_off_against_expire 1
            close_and_wait 2
    }
}

/// With one look before a thread sleeps, starts a worker, or waits for a permit.
mod spinning {
    use super::*;

    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        sync::spin(true);
        super::check(preemptions, model);
        sync::spin(false);
    }

    scenarios! {
        check:
            submit_against_park 3
            two_submits_against_park 1
            two_workers_park 1
            blocked_submit_against_two 1
            submit_against_expire 2
            submit_against_close 2
            submitters_spin_for_a_permit 1
            hand_off_submitters_spin_for_a_permit 1
    }
}

left_out! { explore }
