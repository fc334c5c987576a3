//! A worker's life: look for a task, run it, search a little, rest, leave.

pub mod count;
pub mod expiry;
mod idle;
pub mod idle_stack;
mod leave;
pub mod pace;
pub mod search_token;
pub mod seat;
pub mod seats;
pub mod shortage;
pub mod spawn;
pub mod tally;
pub mod threads;
mod wake;

use super::faults::{Step, skipped};
use super::host::{Host, Outcome, Worker};
use super::shared::Core;
use super::sync::atomic::Ordering;
use super::sync::{
    AdaptiveSpin, Arc, Mutex, contain, drop_payload, full_fence, lock, spin, thread,
};
use search_token::Searching;
use seat::Seat;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tally::Tally;

/// The body of a worker's thread. `parcel` may hold its first task.
pub(super) fn run<H: Host>(
    core: &Arc<Core<H>>,
    worker: &Worker,
    parcel: &Mutex<Option<H::Task>>,
    searching: bool,
    arriving: bool,
) {
    core.deadlock_group.move_in();
    let mut shift = Shift {
        core,
        number: worker.number,
        seat: core.seats.get(worker.number),
        searching,
        arriving,
        adaptive_spin: AdaptiveSpin::new(spin::FOR_TASK),
        aside: false,
        stride: 1,
        ahead: 0,
        looked: core.now(),
    };
    if searching {
        shift.begin_search();
    }
    let mut set_up = false;
    contain(|| {
        core.host.live(worker, |context| {
            set_up = true;
            core.failures.store(0, Ordering::Relaxed);
            shift.work(context, lock(parcel).take());
        })
    });
    if core.host.is_stranded() {
        return;
    }
    if !set_up {
        shift.break_down(lock(parcel).take());
    }
    // Its thread will soon end, and the system may give another.
    core.shortage.end_pause();
}

/// A worker checks whether it is one too many after each task if that takes so many nanoseconds, else after so many
/// tasks at most: the check costs as much as a short task.
const BETWEEN_LOOKS: u64 = 20_000;
const MOST_STRIDE: u32 = 64;

/// The worker's next step after a rest.
enum Next {
    Look,
    Leave,
}

struct Shift<'a, H: Host> {
    core: &'a Arc<Core<H>>,
    /// The index of the worker's seat.
    number: u32,
    seat: &'a Seat,
    /// Holds the search token.
    searching: bool,
    /// It is counted as a worker that will look into the queue as soon as it is set up.
    arriving: bool,
    /// Whether it pays to spin for a task before resting.
    adaptive_spin: AdaptiveSpin,
    /// Goes to rest although there are tasks.
    aside: bool,
    /// How many tasks end between two such checks, and how many of them are left.
    stride: u32,
    ahead: u32,
    /// When the last check was, in nanoseconds since the pool was made.
    looked: u64,
}

impl<H: Host> Shift<'_, H> {
    fn work(&mut self, context: &mut H::Context<'_>, first: Option<H::Task>) {
        let core = self.core;
        let mut next = first;
        loop {
            while let Some(task) = next.take().or_else(|| core.queue.pop()) {
                if self.stop_searching() && self.idle(context, |_| core.wake()).is_none() {
                    core.wake();
                }
                next = self.execute(context, task);
                if core.host.is_stranded() {
                    return;
                }
                if self.see_to_errands(context) && core.host.is_stranded() {
                    return;
                }
                // An unfinished task goes on at once, before later ones, if this worker may stay.
                if core.worker_count.is_over() {
                    if let Some(task) = next.take() {
                        core.queue.push(task);
                    }
                    if self.retire() {
                        return;
                    }
                }
                if next.is_none() && self.is_one_too_many() {
                    self.aside = true;
                    break;
                }
            }
            if self.see_to_errands(context) {
                if core.host.is_stranded() {
                    return;
                }
                self.aside = false;
                continue;
            }
            match self.idle(context, Self::rest) {
                Some(Next::Look) => {}
                Some(Next::Leave) => return,
                // The worker cannot rest with such a host. Another takes its place, unless a task is on its way to it.
                None if self.leave() => return,
                None => thread::yield_now(),
            }
        }
    }

    /// Runs `wait` in the host's `idle`, where it keeps nobody else waiting; `None`: the host panicked before that.
    fn idle<R>(
        &mut self,
        context: &mut H::Context<'_>,
        wait: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        let mut waited = None;
        contain(|| self.core.host.idle(context, || waited = Some(wait(self))));
        waited
    }

    /// Does what the host has for a worker besides tasks; returns whether there was anything. The worker is in flight
    /// meanwhile, as with a task, so that nobody counts on it, but appears in no statistics.
    #[inline]
    fn see_to_errands(&mut self, context: &mut H::Context<'_>) -> bool {
        let has_errand = self.core.host.has_errand();
        if has_errand {
            self.be_busy_with_errands(context);
        }
        has_errand
    }

    #[cold]
    fn be_busy_with_errands(&mut self, context: &mut H::Context<'_>) {
        let core = self.core;
        core.tallies.undone.fetch_add(1, Ordering::Release);
        core.admission.enter_besides();
        // In flight first, then the check of the queue: a task that counted on this worker gets another. Its submitter
        // put it there first, then read what is in flight.
        full_fence();
        let is_wake_due = self.stop_searching() || !core.queue.is_empty() && core.is_wake_due();
        if is_wake_due && self.idle(context, |_| core.wake()).is_none() {
            core.wake();
        }
        contain(|| core.host.see_to_errands(context));
        if !core.host.is_stranded() {
            core.go_out();
        }
    }

    /// Runs a task; returns what is left of it if it did not end.
    fn execute(&mut self, context: &mut H::Context<'_>, task: H::Task) -> Option<H::Task> {
        let tally = &self.seat.tally;
        Tally::count(&tally.started);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.core.host.run(context, task)));
        if self.core.host.is_stranded() {
            return None;
        }
        Tally::count(match outcome {
            Ok(Outcome::Completed) => &tally.completed,
            Ok(Outcome::Failed) => &tally.failed,
            Ok(Outcome::Cancelled) => &tally.cancelled,
            Ok(Outcome::Unfinished(rest)) => {
                Tally::uncount(&tally.started);
                return Some(rest);
            }
            Err(payload) => {
                // A panic of the host itself, from dropping another panic's payload for example.
                drop_payload(payload);
                &tally.failed
            }
        });
        self.core.finish();
        None
    }

    /// Lays down the search token if this worker holds it; `true`: the next worker must be woken.
    #[inline]
    fn stop_searching(&mut self) -> bool {
        let arrived = self.arrive();
        if !std::mem::take(&mut self.searching) {
            // A thread that was refused may be available now.
            return (arrived || self.core.shortage.was_refused())
                && !self.core.queue.is_empty()
                && self.core.is_wake_due();
        }
        self.core.token.lay_down()
            && !skipped(Step::LookAgainAfterSearching)
            && !self.core.queue.is_empty()
            && self.core.is_wake_due()
    }

    /// The worker is set up now, or cannot be: nobody counts on its look into the queue any more. The caller looks
    /// there once more, for submitters that did; `false`: it was not arriving.
    #[inline]
    fn arrive(&mut self) -> bool {
        let arrived = std::mem::take(&mut self.arriving);
        if arrived {
            self.core.arriving.fetch_sub(1, Ordering::Relaxed);
            // No longer counted, then the look; a submitter that counts on it does the opposite.
            full_fence();
        }
        arrived
    }

    /// Between two tasks: the other workers do as well without this one.
    #[inline]
    fn is_one_too_many(&mut self) -> bool {
        if self.ahead > 0 {
            self.ahead -= 1;
            return false;
        }
        // In hand-off every task has a worker of its own: there is no backlog to measure by.
        !self.core.hand_off && self.look_around()
    }

    #[cold]
    fn look_around(&mut self) -> bool {
        let core = self.core;
        let now = core.now();
        let often = cfg!(any(loom, shuttle)) || now - self.looked >= BETWEEN_LOOKS;
        self.stride = if often {
            1
        } else {
            MOST_STRIDE.min(self.stride * 2)
        };
        (self.looked, self.ahead) = (now, self.stride - 1);
        let state = core.token.state();
        let has_standby = matches!(state, Searching::Standby);
        let awake = core.awake().saturating_sub(u32::from(has_standby));
        if !cfg!(any(loom, shuttle)) && core.pace.is_due(now) {
            core.pace.measure(core.look(), awake, core.queue.is_empty());
        }
        // In a closed pool nobody rests, so nobody can step aside.
        awake > core.pace.limit()
            && !matches!(state, Searching::Searcher)
            && !core.admission.is_closed()
    }
}
