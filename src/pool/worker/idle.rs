//! A worker without a task: it searches for a moment, stands by, rests until it is called.

use super::search_token::{Look, Searching};
use super::seat::Call;
use super::{Next, Shift};
use crate::pool::faults::{Step, skipped};
use crate::pool::host::Host;
use crate::pool::sync::atomic::Ordering;
use crate::pool::sync::{contain, full_fence, lock, may_spin, thread};
use std::time::Duration;

/// How long a standby worker dozes between two looks: at first, and at most.
const SHORTEST_DOZE: Duration = Duration::from_micros(50);
const LONGEST_DOZE: Duration = Duration::from_millis(1);
/// In hand-off, workers that take a task at least this often, in nanoseconds, wait for nothing. (In a model, where no
/// time passes, every one that takes tasks counts.)
const QUICKLY: u64 = if cfg!(any(loom, shuttle)) {
    u64::MAX
} else {
    4_000
};

impl<H: Host> Shift<'_, H> {
    /// Without a task, or stepping aside: searches for a moment, then rests until called.
    pub fn rest(&mut self) -> Next {
        let core = self.core;
        if self.arrive() {
            // It may have been started for a waiter. Once the spawn lock is free it is counted as present.
            drop(lock(&core.spawning));
            core.let_in();
        }
        loop {
            if core.worker_count.is_over() && self.retire() {
                return Next::Leave;
            }
            // One that counted itself out, and came back with the search token, has to look into the queue.
            let aside = std::mem::take(&mut self.aside) && !self.searching;
            let found = if aside {
                self.step_aside()
            } else {
                self.search()
            };
            if found {
                contain(|| core.host.spin_before_resuming(|| core.changes()));
                return Next::Look;
            }
            core.resting.fetch_add(1, Ordering::Relaxed);
            // Counted first, then compared: of several workers that step aside together, as many stay as the limit
            // says.
            if aside && core.awake() <= core.pace.limit() {
                core.resting.fetch_sub(1, Ordering::Relaxed);
                return Next::Look;
            }
            let seat = self.seat;
            seat.park(core.now());
            let stacked = core.idle.push(&core.seats, self.number).is_ok();
            // At rest first, then a look into the queue; a submitter does the opposite. And a submitter that trusted
            // this worker's search did so before the token is down, and its task is met by the same look.
            if self.searching {
                self.searching = false;
                core.token.lay_down();
            } else {
                full_fence();
            }
            if !stacked {
                core.resting.fetch_sub(1, Ordering::Relaxed);
                seat.unpark();
                if self.leave() {
                    return Next::Leave;
                }
                // Closed, but a task that came in before is on its way: its submitter has but to put it in the queue.
                thread::yield_now();
                return Next::Look;
            }
            if !core.queue.is_empty() && !skipped(Step::LookAgainBeforeParking) {
                core.wake();
            }
            // As with the queue: on the stack first, then this look; a thread with an errand does the opposite.
            if core.host.has_errand() {
                core.call_resting(Call::Look);
            }
            if core.worker_count.is_over() {
                core.call_surplus();
            }
            let own_expiry = core.expire_later(self.number);
            core.watch.notify();
            let call = seat.sleep(own_expiry);
            core.resting.fetch_sub(1, Ordering::Relaxed);
            match call {
                Call::Search => {
                    self.searching = true;
                    if self.begin_search() {
                        contain(|| core.host.spin_before_resuming(|| core.changes()));
                        return Next::Look;
                    }
                }
                Call::Look => {
                    // Before a task: called as one too many, it was called in place of all the others.
                    if core.worker_count.is_over() && self.retire() {
                        return Next::Leave;
                    }
                    if !core.queue.is_empty() || core.host.has_errand() {
                        return Next::Look;
                    }
                }
                Call::Leave => {
                    if self.leave_expired() {
                        return Next::Leave;
                    }
                }
            }
        }
    }

    /// There are tasks, but too many workers: one of them stands by, the others rest. `true`: it is to go to work after
    /// all.
    fn step_aside(&mut self) -> bool {
        self.searching =
            matches!(self.core.token.state(), Searching::Nobody) && self.core.token.take();
        self.searching && self.stand_by()
    }

    /// Looks into the queue for a moment with the search token, if it is to be had; `true`: there is something.
    fn search(&mut self) -> bool {
        let core = self.core;
        // Nothing new comes into a closed pool.
        if !may_spin() || core.admission.is_closed() || !(self.searching || core.token.take()) {
            return false;
        }
        self.searching = true;
        self.adaptive_spin.spin(|| !core.queue.is_empty())
    }

    /// Woken, with the search token: goes to work, or becomes the standby worker. `true`: it is to go to work.
    pub fn begin_search(&mut self) -> bool {
        let core = self.core;
        if self.is_wanted() {
            return true;
        }
        // Tasks were taken while this worker was woken, and are still.
        let called = core.token.handed_over();
        if self.is_served_since(called)
            && (cfg!(any(loom, shuttle)) || self.is_served_since(core.look()))
        {
            return self.stand_by();
        }
        core.pace.allow(core.awake(), core.now());
        true
    }

    /// With the search token: leaves the work to the others, and looks now and then whether they are enough. `true`: it
    /// is to go to work.
    fn stand_by(&mut self) -> bool {
        let core = self.core;
        if !core.token.begin_standby() {
            return true;
        }
        let mut last = core.look();
        let mut doze = SHORTEST_DOZE;
        loop {
            thread::doze(doze);
            let look = core.look();
            let before = std::mem::replace(&mut last, look);
            let moved = look.taken.saturating_sub(before.taken);
            core.pace.notice(moved, look.at - before.at, look.at);
            if moved == 0 || !self.are_enough(moved, look.at - before.at) {
                if moved == 0 && !core.queue.is_empty() {
                    core.pace.allow(core.awake(), look.at);
                }
                // Either it holds the token again, or another worker searches, and this one looks once more as it
                // rests.
                self.searching = core.token.end_standby();
                return self.searching && !core.queue.is_empty();
            }
            doze = (doze * 2).min(LONGEST_DOZE);
        }
    }

    /// There are tasks, and fewer workers awake, with this one, than may be while the queue moves.
    fn is_wanted(&self) -> bool {
        let core = self.core;
        !core.hand_off && core.awake() <= core.pace.limit() && !core.queue.is_empty()
    }

    /// The others, which have lately taken so many tasks from the queue in so many nanoseconds, need no help.
    fn are_enough(&self, moved: u64, time: u64) -> bool {
        let core = self.core;
        core.queue.is_empty()
            || if core.hand_off {
                time / QUICKLY <= moved
            } else {
                core.awake() > core.pace.limit()
            }
    }

    /// The queue is empty, or a worker has taken a task after that look, or does so soon.
    fn is_served_since(&self, look: Look) -> bool {
        let core = self.core;
        let is_served = || core.queue.is_empty() || core.taken() > look.taken;
        let left = (look.at + core.pace.standstill()).saturating_sub(core.now());
        if left == 0 {
            is_served()
        } else {
            self.adaptive_spin
                .spin_for(Duration::from_nanos(left), is_served)
        }
    }
}
