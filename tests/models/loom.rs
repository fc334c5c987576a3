//! Model checks with loom: every interleaving (up to a number of preemptions) and every value that a weak memory may
//! show are tried. A thread that sleeps for ever is reported as a deadlock.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`
#![cfg(loom)]

mod ledger;
#[macro_use]
mod left_out;
#[allow(dead_code)] // What is too large for loom is left to shuttle.
mod scenarios;

use loom::thread;
use pyants::pool::faults;
use pyants::pool::idle_stack::{IdleStack, Links};
use std::sync::{Arc, PoisonError, RwLock};

/// The faults are those of the process: a model that uses them runs alone.
static FAULTS: RwLock<()> = RwLock::new(());

/// Tries every interleaving of `model` with at most so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let _shared = FAULTS.read().unwrap_or_else(PoisonError::into_inner);
    explore(preemptions, model);
    ledger::assert_nothing_leaked();
}

fn check_alone(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let _alone = FAULTS.write().unwrap_or_else(PoisonError::into_inner);
    explore(preemptions, model);
    faults::fail_spawns(0);
    ledger::assert_nothing_leaked();
}

// The stack alone.

struct Table([loom::sync::atomic::AtomicU32; 3]);

impl Links for Table {
    fn link(&self, index: u32) -> &loom::sync::atomic::AtomicU32 {
        &self.0[index as usize]
    }
}

struct Stack {
    table: Table,
    stack: IdleStack,
    /// Who owns a seat writes here; loom notices two owners at a time.
    owned: [loom::cell::UnsafeCell<()>; 3],
}

// SAFETY: this is what the model checks.
unsafe impl Sync for Stack {}

impl Stack {
    fn new() -> Arc<Self> {
        Arc::new(Stack {
            table: Table(std::array::from_fn(|_| {
                loom::sync::atomic::AtomicU32::new(0)
            })),
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
                .load(loom::sync::atomic::Ordering::Relaxed)
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

/// The ABA story: a pop is held up with the link of a seat that is popped, and pushed again above another one.
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

// Whole pools.

/// Tests of the same names as the scenarios, with the number of preemptions.
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
        bounded_queue 3
        bounded_queue_of_two_submitters 1
        blocked_submit_against_finish 3
        blocked_submits_against_finish 2
        blocked_submit_against_two 2
        try_submit_against_blocked_submit 2
        submit_against_expire 2
        hand_off_against_expire 2
        submit_against_close 3
        first_submit_against_close 3
        blocked_submit_against_close 2
        enlist_against_finish 3
        enlist_against_blocked_submit 2
        enlist_against_close 2
        withdraw_against_let_in 2
        withdraw_against_close 2
        close_and_wait 3
        two_wait_for_the_end 2
        muster_against_submit 1
        submit_against_reboot 2
        hand_off_against_reboot 2
        tune_down_against_submit 1
        hand_off_tune_down 1
        tune_up_against_blocked_submit 2
        tuning_up_lets_in 1
        tuning_up_serves_the_queue 1
        blocking_tasks 3
        blocking_tasks_of_two 2
        hand_off_blocking_tasks 2
        blocking_tasks_against_expire 1
        hand_off_blocking_tasks_against_expire 1
        broken_worker 3
        broken_worker_against_reboot 2
        fickle_worker 2
        hand_off_fickle_worker 2
        fickle_worker_of_two 1
        hand_off_fickle_worker_of_two 1
        worker_that_waits_for_itself 3
        worker_that_waits_for_its_own_task 3
        worker_that_waits_for_another 2
        workers_that_wait_for_each_other 2
        worker_served_by_another_pool 1
}

scenarios! {
    check_alone:
        failing_spawn 2
        hand_off_failing_spawn 2
        second_spawn_fails 1
}

left_out! { explore }
