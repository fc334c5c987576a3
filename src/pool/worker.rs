//! A worker's life: look for a task, run it, search a little, rest, leave.

use super::core::Core;
use super::faults::{Step, skipped};
use super::host::{Host, Outcome, Worker};
use super::seat::{Call, Seat, Tally};
use super::sync::atomic::Ordering;
use super::sync::{
    AdaptiveSpin, Arc, Mutex, WaitLimit, contain, full_fence, lock, may_spin, thread,
};
use super::token::{Look, Searching};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

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
        adaptive_spin: AdaptiveSpin::new(MOST_SPIN),
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

/// How long a worker may spin for the next task: longer than it takes a submitter that is let in, or gets a result, to
/// submit again if it need not be woken.
const MOST_SPIN: Duration = Duration::from_micros(15);
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

/// A worker checks whether it is one too many after each task if that takes so many nanoseconds, else after so many
/// tasks at most: the check costs as much as a short task.
const BETWEEN_LOOKS: u64 = 20_000;
const MOST_STRIDE: u32 = 64;

/// The pause before the next worker is started if one could not be set up: after the first failure, and how often it
/// is doubled.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 9;

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
                // A panic of the host itself, from dropping another panic's payload for example. It is not dropped.
                std::mem::forget(payload);
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

    /// Without a task, or stepping aside: searches for a moment, then rests until called.
    fn rest(&mut self) -> Next {
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
                contain(|| core.host.spin_before_resuming(|| core.stirs()));
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
                        contain(|| core.host.spin_before_resuming(|| core.stirs()));
                        return Next::Look;
                    }
                }
                Call::Look if core.queue.is_empty() && !core.host.has_errand() => {}
                Call::Look => return Next::Look,
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
    fn begin_search(&mut self) -> bool {
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

    /// Counts itself out if there are too many workers; `false`: it stays.
    fn retire(&mut self) -> bool {
        if !self.core.worker_count.retire() {
            return false;
        }
        self.core.vacate(self.number);
        self.settle_departure()
    }

    /// Counts itself out; `false`: it is needed and stays.
    fn leave(&mut self) -> bool {
        // The seat first: a thread that sees that the worker is gone finds its seat, and its name, free.
        self.core.vacate(self.number);
        self.core.worker_count.depart();
        self.settle_departure()
    }

    /// As `leave`, for a worker that has left its seat on the idle stack.
    fn leave_expired(&mut self) -> bool {
        // Counted first: a thread that sees that the worker is gone finds that it has expired.
        let tallies = &self.core.tallies;
        tallies.expired.fetch_add(1, Ordering::Relaxed);
        self.core.worker_count.depart();
        let gone = self.settle_departure();
        if !gone {
            // It comes back as a new worker.
            tallies.spawned.fetch_add(1, Ordering::Relaxed);
        }
        gone
    }

    /// After this worker has given up its seat and counted itself out. A submitter may have counted on it before, so it
    /// checks again, and comes back, to another seat, if it is needed.
    fn settle_departure(&mut self) -> bool {
        let core = self.core;
        // A worker that leaves does not keep the search token.
        if std::mem::take(&mut self.searching) {
            core.token.lay_down();
        }
        // Counted out first, then the check for tasks; a submitter does the opposite.
        full_fence();
        if !skipped(Step::LookAgainAfterLeaving) && core.is_needed() {
            // Under the spawn lock no thread is half started: a worker that may yet fail to start is no replacement.
            let _spawning = lock(&core.spawning);
            if core.is_needed() && core.worker_count.rejoin() {
                self.number = core.find_seat();
                self.seat = core.seats.get(self.number);
                // More than one submitter may have trusted the token that was just laid down. If another worker has
                // taken it, that one looks after their tasks.
                self.searching = !skipped(Step::SearchAgainAfterComingBack) && core.token.take();
                return false;
            }
        }
        core.deadlock_group.count_worker(false);
        // If it was the last of all, the shared waiters must try by themselves.
        core.offer_permits();
        // It could not come back, so as many workers as may be are alive. But they may all rest, if a submitter had
        // trusted this worker's search.
        if !skipped(Step::LookAgainAfterLeaving) && !core.queue.is_empty() && core.is_wake_due() {
            core.wake();
        }
        core.deadlock_group.break_deadlock();
        core.watch.notify();
        true
    }

    /// The host could not set the worker up. Either the pool closes itself and cancels what has not started; or, if the
    /// host may succeed next time, leaves the tasks to the workers alive and to the next one started, after a pause:
    /// only if no worker is alive it cancels those in the queue.
    fn break_down(&mut self, first: Option<H::Task>) {
        let core = self.core;
        let retries = core.host.retries_start();
        if retries {
            // As after a refused thread: waiters do not count on a further worker until one is started.
            core.shortage.begin_without_pause();
        } else {
            core.broken.store(true, Ordering::Relaxed);
            core.release();
        }
        if let Some(task) = first {
            core.queue.push(task);
        }
        core.vacate(self.number);
        core.worker_count.depart();
        if std::mem::take(&mut self.searching) {
            core.token.lay_down();
        }
        self.arrive();
        // Counted out first, then the check of the queue. A submitter does the opposite: if its task is not found here,
        // it finds no worker and starts another. And a worker that leaves checks the queue, too.
        full_fence();
        let tasks: Vec<_> = {
            // Under the spawn lock no thread is half started.
            let _spawning = lock(&core.spawning);
            let is_lost = if retries {
                core.worker_count.present() == 0
            } else {
                // Unless the pool was opened again meanwhile.
                core.broken.load(Ordering::Relaxed)
            };
            std::iter::from_fn(|| is_lost.then(|| core.queue.pop()).flatten()).collect()
        };
        core.cancel(tasks);
        core.deadlock_group.count_worker(false);
        if retries {
            core.wake_resting();
        } else {
            core.wake_if_due();
        }
        core.deadlock_group.break_deadlock();
        core.watch.notify();
        if core.host.has_errand() {
            // The errand came while this worker was still counted as one that would see to it.
            core.summon();
        }
        core.host.lost();
        if retries {
            core.start_again();
        }
    }
}

impl<H: Host> Core<H> {
    /// A worker that has just counted itself out is needed after all: for a task in the queue or, if it was the last,
    /// for one that its submitter has yet to put there.
    fn is_needed(&self) -> bool {
        !self.queue.is_empty() || self.worker_count.present() == 0 && self.in_flight() != 0
    }

    /// Takes back at most `most` of the tasks that wait for a worker.
    pub fn extract_if(
        self: &Arc<Self>,
        most: usize,
        mut wanted: impl FnMut(&H::Task) -> bool,
    ) -> Vec<H::Task> {
        let mut taken = Vec::new();
        let mut others = Vec::new();
        // Once a task was passed over, all must be taken out and put back, or it would lose its turn.
        while taken.len() < most || !others.is_empty() {
            let Some(task) = self.queue.pop() else {
                break;
            };
            if taken.len() < most && wanted(&task) {
                taken.push(task);
            } else {
                others.push(task);
            }
        }
        // Back in their order, as if their submitters had just put them there.
        for task in others {
            self.queue.push(task);
        }
        self.wake_if_due();
        taken
    }

    /// Tasks are left for which no worker could be set up, although more workers may be started. The thread of the last
    /// that failed starts another after a pause, which grows, unless another such thread does.
    fn start_again(self: &Arc<Self>) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = FIRST_PAUSE * (1 << failures.min(MOST_DOUBLINGS));
        // In a model no time passes. A thread that finds another one here has left its task in the queue before, and
        // the other looks there after it has left.
        if cfg!(any(loom, shuttle)) || self.mending.swap(true, Ordering::SeqCst) {
            return;
        }
        let is_over = || self.admission.is_closed() || self.queue.is_empty();
        let _ = self
            .watch
            .wait_until(is_over, &mut WaitLimit::new(Some(pause)));
        self.mending.store(false, Ordering::SeqCst);
        full_fence();
        if !self.admission.is_closed() && !self.queue.is_empty() && self.is_wake_due() {
            self.wake();
        }
    }

    fn cancel(self: &Arc<Self>, tasks: Vec<H::Task>) {
        if tasks.is_empty() {
            return;
        }
        let count = tasks.len() as u64;
        contain(|| self.host.cancelled(tasks));
        self.count_cancelled(count);
    }

    /// Counts tasks that entered but will not run.
    pub fn count_cancelled(self: &Arc<Self>, count: u64) {
        self.tallies.cancelled.fetch_add(count, Ordering::Release);
        if self.admission.leave_many(count) {
            self.let_in();
        } else {
            self.offer_permits();
        }
        self.watch.notify();
    }
}
