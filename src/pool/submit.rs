//! How a task gets into the pool: admission, then a worker of its own, the run queue, or a wait for a permit.

use super::admission::Entry;
use super::core::Core;
use super::deadlock_group::Member;
use super::error::{Error, Limit, SubmitError};
use super::faults::{Step, skipped};
use super::host::Host;
use super::sync::atomic::Ordering;
use super::sync::{Arc, WaitLimit, contain, full_fence, lock, may_spin};
use super::waiters::{Answer, Answers, Locked, Waiter, WaiterKind, Waiters};
use super::wake::Spawn;
use std::sync::Weak;
use std::time::Duration;

/// The result of offering a task without waiting.
pub enum Offer<T> {
    /// It is accepted.
    Accepted {
        /// A worker must be woken or started, which the second half of the submit does.
        wake_due: bool,
    },
    /// It has a permit, but a worker must be started for it first: `Core::place` continues.
    In(T),
    /// No permit is free: `Core::settle` may wait for one.
    Full(T),
    /// The pool is closed.
    Closed(T),
}

/// A handle to take back a task that waits by itself. It keeps neither task nor pool alive.
pub struct Detached<H: Host> {
    core: Weak<Core<H>>,
    waiter: Weak<Waiter<H::Task>>,
}

impl<H: Host> Detached<H> {
    /// Takes the task back; `None`: it no longer waits, or is just being tried again, and then the host gets it, as
    /// refused, unless it is let in.
    pub fn withdraw(&self) -> Option<H::Task> {
        let core = self.core.upgrade()?;
        let waiter = self.waiter.upgrade()?;
        let task = core
            .waiters_of(waiter.is_common())
            .lock()
            .withdraw(&waiter)?;
        // There may be no waiters now, and the pool may be at rest.
        core.let_in();
        core.watch.notify();
        Some(task)
    }
}

/// A waiting submitter, or a task that waits by itself.
type Standing<H> = Arc<Waiter<<H as Host>::Task>>;

/// How a task comes to wait.
enum Joining<T> {
    As(WaiterKind),
    /// As this waiter, which waited before.
    Again(Arc<Waiter<T>>),
}

impl<T> Joining<T> {
    fn is_spare(&self) -> bool {
        match self {
            Joining::As(waiter_kind) => waiter_kind.spare,
            Joining::Again(waiter) => waiter.is_spare(),
        }
    }
}

/// How a detached task, which waits without its submitter, is accounted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// It is counted as rejected if it is refused.
    Counted,
    /// Nobody would miss it: it counts neither against `max_blocking_tasks` nor, if refused, as rejected.
    Spare,
}

impl<H: Host> Core<H> {
    /// Offers a task. Neither blocks nor makes a system call.
    #[inline]
    pub fn offer(&self, task: H::Task) -> Offer<H::Task> {
        match self.admission.enter() {
            Entry::Closed => Offer::Closed(task),
            Entry::Full => Offer::Full(task),
            Entry::In(in_flight) if self.lacks_worker(in_flight) => Offer::In(task),
            Entry::In(_) => {
                self.queue.push(task);
                Offer::Accepted {
                    wake_due: self.is_wake_due(),
                }
            }
        }
    }

    /// A task that just entered, as one of `in_flight`, has no worker to count on. A worker counted here, after the
    /// task entered, does not leave without checking for that task (`Core::is_needed`).
    #[inline]
    fn lacks_worker(&self, in_flight: u64) -> bool {
        let present = self.worker_count.present();
        if self.hand_off {
            in_flight > u64::from(present)
        } else {
            present == 0
        }
    }

    /// Settles an offer. Without `wait_limit` the caller does not wait. `others`: the caller waits for any of several
    /// pools, and this makes each let in those it has permits for. `Some`: the task must be offered again.
    pub fn follow_up(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        wait_limit: Option<&mut WaitLimit<'_>>,
        others: Option<&dyn Fn()>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let result = self.settle(offer, wait_limit, others);
        if let Err(SubmitError {
            error: Error::Overload { .. } | Error::Timeout | Error::Deadlock,
            ..
        }) = &result
        {
            self.tallies.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn settle(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        wait_limit: Option<&mut WaitLimit<'_>>,
        others: Option<&dyn Fn()>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let Some(task) = self.take_in(offer)? else {
            return Ok(None);
        };
        let Some(wait_limit) = wait_limit.filter(|_| !self.options.nonblocking) else {
            return Err(self.overload(task));
        };
        if others.is_none() && self.spin_for_permit() {
            return match self.take_in(self.offer(task))? {
                Some(task) => self.wait_for_permit(task, wait_limit, others),
                None => Ok(None),
            };
        }
        self.wait_for_permit(task, wait_limit, others)
    }

    /// Acts on the result of an offer; `Some`: no permit was free.
    fn take_in(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        match offer {
            Offer::Accepted { wake_due } => {
                if wake_due {
                    self.wake();
                }
                Ok(None)
            }
            Offer::Closed(task) => Err(self.closed(task)),
            Offer::Full(task) => Ok(Some(task)),
            Offer::In(task) => match self.place(task) {
                Ok(()) => Ok(None),
                Err(SubmitError {
                    error: Error::Overload { .. },
                    task,
                }) => Ok(Some(task)),
                Err(error) => Err(error),
            },
        }
    }

    /// Spins for a permit for a moment, if that has paid lately and nobody waits; `true`: one is free. Waiting costs
    /// both sides more than a short task does. It does not pay where only one task at a time can make progress: a
    /// worker that finds its next task waiting goes on with it at once.
    fn spin_for_permit(&self) -> bool {
        self.may_spin_for_permit()
            && self.waiters.len() == 0
            && self.permit_spin.spin(|| self.admission.has_permit())
    }

    pub fn may_spin_for_permit(&self) -> bool {
        // A permit is useless if no thread can be started for it.
        may_spin() && self.parallelism > 1 && !self.options.nonblocking && !self.shortage.is_on()
    }

    /// Spins for a worker that is done, if that has paid lately, before another is started: a thread costs as much as
    /// many short tasks. `true`: each task in flight has a worker, which counts as it does in `lacks_worker`.
    fn spin_for_worker(&self) -> bool {
        may_spin()
            && self.hand_off
            && self.worker_count.present() > 0
            && self
                .worker_spin
                .spin(|| !self.lacks_worker(self.in_flight()))
    }

    fn closed(&self, task: H::Task) -> SubmitError<H::Task> {
        let broken = self.broken.load(Ordering::Relaxed);
        SubmitError::new(if broken { Error::Broken } else { Error::Closed }, task)
    }

    fn overload(&self, task: H::Task) -> SubmitError<H::Task> {
        let is_refused = |capacity, queue_size| {
            self.shortage.is_on()
                && self.in_flight() < u64::from(capacity).saturating_add(queue_size)
        };
        let limit = match (self.worker_count.capacity(), self.options.queue_size) {
            (Some(capacity), Some(queue_size)) if !is_refused(capacity, queue_size) => {
                Limit::Tasks {
                    capacity,
                    queue_size,
                }
            }
            // If there is no other limit it is this one.
            _ => Limit::Threads,
        };
        self.overload_by(limit, task)
    }

    fn overload_by(&self, limit: Limit, task: H::Task) -> SubmitError<H::Task> {
        SubmitError::new(
            Error::Overload {
                in_flight: self.in_flight(),
                limit,
            },
            task,
        )
    }

    /// Finds a worker for a task that entered, and starts one if need be. If the system gives none, the task leaves
    /// again: as an overload if there are workers to wait for, else with the system's error.
    fn place(self: &Arc<Self>, task: H::Task) -> Result<(), SubmitError<H::Task>> {
        if self.spin_for_worker() {
            self.enqueue(task);
            return Ok(());
        }
        let task = match self.spawn_worker(Some(task), false) {
            Spawn::Started => return Ok(()),
            // The capacity is used up, and the workers alive will check the queue before they leave or rest.
            Spawn::NotNeeded(task) => task,
            Spawn::Failed(task, error) => {
                // Under the spawn lock no thread is half started: one that was about to be there is there.
                let spawning = lock(&self.spawning);
                let present = self.worker_count.present();
                drop(spawning);
                if present == 0 || self.hand_off {
                    let task = task.expect("it was given to spawn_worker");
                    self.send_back(present == 0);
                    return Err(if present == 0 {
                        SubmitError::new(Error::Spawn(error), task)
                    } else {
                        self.overload(task)
                    });
                }
                task
            }
        };
        self.enqueue(task.expect("it was given to spawn_worker"));
        Ok(())
    }

    /// Puts a task that entered into the queue, and wakes or starts a worker if need be.
    fn enqueue(self: &Arc<Self>, task: H::Task) {
        self.queue.push(task);
        if self.is_wake_due() {
            self.wake();
        }
    }

    /// A task that entered leaves again, undone. If no worker is alive to let the waiters in, they try again by
    /// themselves, as the caller did.
    fn send_back(self: &Arc<Self>, nobody_alive: bool) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        if self.admission.leave() {
            if nobody_alive {
                let mut waiters = self.waiters.lock();
                waiters.retry_all();
                self.let_go(waiters);
                self.offer_permits();
            } else {
                self.let_in();
            }
        } else {
            self.offer_permits();
        }
        self.watch.notify();
    }

    /// Settles an offer without waiting: a task that finds no permit waits by itself (`Some`). If it is refused later,
    /// the host gets it. `others`: as with `follow_up`.
    pub fn submit_detached(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        accounting: Accounting,
        others: Option<&dyn Fn()>,
    ) -> Result<Option<Detached<H>>, SubmitError<H::Task>> {
        let waiter_kind = WaiterKind {
            absent: true,
            spare: accounting == Accounting::Spare,
            ..self.waiter_kind(others)
        };
        let waiter = self.submit_detached_as(offer, Joining::As(waiter_kind), others)?;
        Ok(waiter.map(|waiter| Detached {
            core: Arc::downgrade(self),
            waiter: Arc::downgrade(&waiter),
        }))
    }

    /// How a task waits: for this pool alone, or for any of several.
    fn waiter_kind(&self, others: Option<&dyn Fn()>) -> WaiterKind {
        match &self.commons {
            Some((_, home)) if others.is_some() => WaiterKind {
                home: *home,
                common: true,
                ..WaiterKind::default()
            },
            _ => WaiterKind::default(),
        }
    }

    fn waiters_of(&self, common: bool) -> &Waiters<H::Task> {
        match &self.commons {
            Some((waiters, _)) if common => waiters,
            _ => &self.waiters,
        }
    }

    fn submit_detached_as(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        joining: Joining<H::Task>,
        others: Option<&dyn Fn()>,
    ) -> Result<Option<Standing<H>>, SubmitError<H::Task>> {
        let is_spare = joining.is_spare();
        let result = match self.settle(offer, None, None) {
            Err(SubmitError {
                error: Error::Overload { .. },
                task,
            }) if !self.options.nonblocking => {
                let waiters = self.waiters_of(others.is_some());
                self.join_waiters(waiters, task, joining, others).map(Some)
            }
            settled => settled.map(|_| None),
        };
        let is_overload =
            |refusal: &SubmitError<_>| matches!(refusal.error, Error::Overload { .. });
        if !is_spare && result.as_ref().is_err_and(is_overload) {
            self.tallies.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Delivers the answers to waiters that have left the list. The caller holds no lock.
    pub fn deliver(self: &Arc<Self>, answers: Answers<H::Task>) {
        for (waiter, answer) in answers {
            if !waiter.is_absent() {
                waiter.answer(answer);
                continue;
            }
            let refused = match answer {
                Answer::Accepted => continue,
                Answer::Refused(Error::Closed, task) => self.closed(task),
                Answer::Refused(error, task) => SubmitError::new(error, task),
                Answer::Retry(task) => {
                    let offer_permits = || self.deadlock_group.offer_permits();
                    let others: Option<&dyn Fn()> = match waiter.is_common() {
                        true => Some(&offer_permits),
                        false => None,
                    };
                    match self.submit_detached_as(self.offer(task), Joining::Again(waiter), others)
                    {
                        Ok(_) => continue,
                        Err(refused) => refused,
                    }
                }
            };
            contain(|| self.host.refused(refused.task, refused.error));
        }
    }

    /// Waits until the task is accepted (`None`), or must be offered again.
    fn wait_for_permit(
        self: &Arc<Self>,
        task: H::Task,
        wait_limit: &mut WaitLimit<'_>,
        others: Option<&dyn Fn()>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let waiter_kind = WaiterKind {
            blocked: wait_limit.is_endless() && self.deadlock_group.is_home(),
            ..self.waiter_kind(others)
        };
        let waiters = self.waiters_of(waiter_kind.common);
        let waiter = self.join_waiters(waiters, task, Joining::As(waiter_kind), others)?;
        let is_first = waiters.len() <= 1;
        let hold = |held| self.hold(waiters, &waiter, held);
        let look_up = || self.ask_while_waiting(others);
        match waiters.wait(&waiter, wait_limit, is_first, hold, look_up) {
            Answer::Accepted => {
                contain(|| self.host.spin_before_resuming(|| self.stirs()));
                Ok(None)
            }
            Answer::Retry(task) => Ok(Some(task)),
            Answer::Refused(Error::Closed, task) => Err(self.closed(task)),
            Answer::Refused(error, task) => {
                // If it gave up, the waiting flag may have to be cleared, or others let in.
                self.let_in();
                self.watch.notify();
                Err(SubmitError::new(error, task))
            }
        }
    }

    /// If the system refused a thread, and the expiry thread too, a waiting submitter asks again, since nobody else
    /// might. Returns after how long it does so once more.
    fn ask_while_waiting(self: &Arc<Self>, others: Option<&dyn Fn()>) -> Option<Duration> {
        if !self.deadlock_group.is_unattended()
            || others.is_none() && !self.worker_count.is_below_capacity()
        {
            return None;
        }
        match others {
            _ if !self.may_start() => {}
            Some(let_in) => let_in(),
            None => {
                self.wake_if_due();
                self.let_in();
            }
        }
        Some(Duration::from_nanos(self.shortage.pause()))
    }

    /// Begins or ends passing over a waiting submitter; `false`: it does not wait.
    fn hold(
        self: &Arc<Self>,
        waiters: &Waiters<H::Task>,
        waiter: &Standing<H>,
        held: bool,
    ) -> bool {
        let mut waiters = waiters.lock();
        if !waiters.hold(waiter, held) {
            return false;
        }
        if held {
            // If nobody else waits, newcomers may overtake it.
            self.let_go(waiters);
        } else if self.is_own(&waiters) {
            // First the flag, then the check for a permit, which may have become free meanwhile.
            self.admission.set_waiting(true);
            self.serve_own(waiters);
        } else {
            self.let_go(waiters);
            self.deadlock_group.offer_permits();
        }
        self.watch.notify();
        true
    }

    /// These are the waiters of this pool alone.
    fn is_own(&self, waiters: &Locked<'_, H::Task>) -> bool {
        std::ptr::eq(waiters.waiters(), &self.waiters)
    }

    /// Begins to wait, and lets in the first waiters if permits are free.
    fn join_waiters(
        self: &Arc<Self>,
        waiters: &Waiters<H::Task>,
        task: H::Task,
        joining: Joining<H::Task>,
        others: Option<&dyn Fn()>,
    ) -> Result<Standing<H>, SubmitError<H::Task>> {
        let blocked = matches!(joining, Joining::As(waiter_kind) if waiter_kind.blocked);
        // Before anybody waits for a thread that the system refused, it is asked for again.
        if self.shortage.is_on() {
            if blocked {
                self.shortage.end_pause();
            }
            self.wake_if_due();
        }
        let mut waiters = waiters.lock();
        let most = (self.options.max_blocking_tasks).filter(|_| !joining.is_spare());
        if let Some(most) = most {
            if waiters.submitters() >= most.saturating_mul(waiters.waiters().pools()) {
                return Err(self.overload_by(Limit::Waiting(most), task));
            }
        }
        let waiter = match joining {
            Joining::As(waiter_kind) => waiters.join(task, waiter_kind),
            Joining::Again(waiter) => match waiters.join_again(task, &waiter, false) {
                Ok(()) => waiter,
                Err(task) => return Err(SubmitError::new(Error::Interrupted, task)),
            },
        };
        if let Some(let_in) = others {
            if self.deadlock_group.is_closed() {
                waiters.refuse_all(|| Error::Closed);
            }
            // Unlocking publishes that there are waiters; then the check for a permit in each pool: a worker that gives
            // one back after that check sees the waiters.
            self.let_go(waiters);
            let_in();
        } else {
            // First the flag, then the check for a permit: a worker that gives one back after that check sees the flag.
            if self.admission.set_waiting(true) {
                waiters.refuse_all(|| Error::Closed);
            }
            self.serve_own(waiters);
        }
        if blocked {
            Arc::clone(self).refuse_blocked();
        }
        // There may be no waiters now, and their tasks may be done already.
        self.watch.notify();
        Ok(waiter)
    }

    /// Unlocks the waiters after changes, and delivers their answers. Clears the flag that submitters wait if none is
    /// to be let in.
    pub fn let_go(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        let answers = self.unlock(waiters);
        self.deliver(answers);
    }

    /// As `let_go`, for callers that hold another lock too: returns the answers, to be delivered when they hold none.
    #[must_use]
    pub fn unlock(&self, waiters: Locked<'_, H::Task>) -> Answers<H::Task> {
        if self.is_own(&waiters) && !waiters.is_ready() {
            self.admission.set_waiting(false);
        }
        waiters.unlock()
    }

    /// A task is done: its permit goes to the oldest waiter, of this pool or else of its deadlock group.
    #[inline]
    pub fn finish(self: &Arc<Self>) {
        if self.admission.is_counted() {
            self.go_out();
        }
    }

    /// As `finish`, but for errands too, and counted in any case.
    #[inline]
    pub fn go_out(self: &Arc<Self>) {
        if self.admission.leave() {
            if !skipped(Step::LookAgainAfterGivingBack) {
                self.let_in();
            }
        } else {
            self.offer_permits();
        }
    }

    /// Lets in as many waiters as there are permits for.
    pub fn let_in(self: &Arc<Self>) {
        let commons = self.commons.as_ref().map(|(commons, _)| commons);
        if let Some(commons) = commons.filter(|commons| commons.is_ready() && self.take_turns()) {
            // Every other time a shared waiter goes first: a list that is never empty does not keep it out for ever.
            let ahead = Served {
                ahead: true,
                ..Served::default()
            };
            self.serve_as(commons.lock(), ahead);
        }
        self.serve_own(self.waiters.lock());
    }

    /// Returns whether the shared waiters go first, as they do every other time. (Two concurrent calls may agree.)
    fn take_turns(&self) -> bool {
        let is_turn = self.is_commons_turn.load(Ordering::Relaxed);
        self.is_commons_turn.store(!is_turn, Ordering::Relaxed);
        is_turn
    }

    /// Lets in as many shared waiters as there are permits for.
    #[inline]
    pub fn offer_permits(self: &Arc<Self>) {
        if let Some(commons) = self.ready_commons() {
            self.serve(commons.lock());
        }
    }

    /// The shared waiters, if one is to be let in and a permit is free.
    #[inline]
    fn ready_commons(&self) -> Option<&Waiters<H::Task>> {
        let (commons, _) = self.commons.as_ref()?;
        (commons.is_ready() && self.admission.has_permit()).then_some(&**commons)
    }

    /// As `serve`, for the pool's own waiters; then the shared ones, passed over while the pool's flag was set.
    fn serve_own(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        self.serve(waiters);
        self.offer_permits();
    }

    /// Lets in as many waiters as there are permits for, and unlocks them.
    fn serve(self: &Arc<Self>, waiters: Locked<'_, H::Task>) {
        self.serve_as(waiters, Served::default());
    }

    fn serve_as(self: &Arc<Self>, waiters: Locked<'_, H::Task>, served: Served) {
        let is_own = self.is_own(&waiters);
        if self.serve_alone(waiters, served) {
            if !is_own {
                // Another pool may have found no waiters meanwhile.
                self.deadlock_group.offer_permits();
            }
            // A submitter that waits again is blocked again.
            self.deadlock_group.break_deadlock();
        }
    }

    /// As `serve`; returns whether the system refused a thread for a waiter, which waits again: the caller must ask the
    /// other pools.
    fn serve_alone<'a>(
        self: &'a Arc<Self>,
        mut waiters: Locked<'a, H::Task>,
        mut served: Served,
    ) -> bool {
        let which = waiters.waiters();
        let is_own = self.is_own(&waiters);
        let mut sent_back = None;
        // A waiter whose task needs a worker of its own leaves the list first, since that is started without a lock.
        while let Some((waiter, task)) = self.let_in_first(&mut waiters, &mut served) {
            self.let_go(waiters);
            let task = match self.spawn_worker(Some(task), false) {
                Spawn::Started => None,
                // The capacity is used up, and the workers alive will check the queue before they leave or rest.
                Spawn::NotNeeded(task) => task,
                Spawn::Failed(task, _) if self.worker_count.present() > 0 && !self.hand_off => task,
                Spawn::Failed(task, _) => {
                    waiters = which.lock();
                    let task = task.expect("it was given to spawn_worker");
                    sent_back = Some(Arc::clone(&waiter));
                    self.put_back(&mut waiters, waiter, task, &mut served);
                    continue;
                }
            };
            if let Some(task) = task {
                self.queue.push(task);
                served.queued = true;
            }
            waiters = which.lock();
            waiters.tell(waiter, Answer::Accepted);
        }
        self.let_go(waiters);
        if let Some(waiter) = sent_back.filter(|_| self.deadlock_group.is_unattended()) {
            // It may have gone to sleep before that was known.
            waiter.nudge();
        }
        if served.queued && self.is_wake_due() {
            self.wake();
        }
        if served.undone && !is_own {
            // A waiter of this pool alone may have found no permit meanwhile.
            self.serve(self.waiters.lock());
        }
        served.refused
    }

    /// Lets in waiters as long as they find a worker to count on; returns the next, which needs its own worker.
    fn let_in_first(
        &self,
        waiters: &mut Locked<'_, H::Task>,
        served: &mut Served,
    ) -> Option<(Standing<H>, H::Task)> {
        while let Some(index) = waiters.first() {
            let is_own = self.is_own(waiters);
            let entry = if is_own || std::mem::take(&mut served.ahead) {
                self.admission.enter_as_waiter()
            } else {
                // Behind those who wait for this pool alone.
                self.admission.enter()
            };
            let Entry::In(in_flight) = entry else {
                break;
            };
            let lacks_worker = self.lacks_worker(in_flight);
            if lacks_worker && (served.refused || !self.may_start()) {
                // Vain while the system gives no thread. The next worker that is done tries again: one of any pool, for
                // the shared waiters. If there is none, all waiters try by themselves, and get the system's error.
                self.undo(served);
                let has_workers = if is_own {
                    self.worker_count.present() > 0
                } else {
                    self.deadlock_group.has_workers()
                };
                if !has_workers {
                    waiters.retry_all();
                }
                break;
            }
            let (waiter, task) = waiters.take(index).expect("there is one at its place");
            if lacks_worker {
                return Some((waiter, task));
            }
            self.queue.push(task);
            served.queued = true;
            waiters.tell(waiter, Answer::Accepted);
        }
        None
    }

    fn undo(&self, served: &mut Served) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        served.undone |= self.admission.leave();
    }

    /// A waiter has not been let in after all.
    fn put_back(
        &self,
        waiters: &mut Locked<'_, H::Task>,
        waiter: Standing<H>,
        task: H::Task,
        served: &mut Served,
    ) {
        served.refused = true;
        self.undo(served);
        if let Err(task) = waiters.join_again(task, &waiter, true) {
            waiters.tell(waiter, Answer::Refused(Error::Interrupted, task));
        }
        let is_closed = if self.is_own(waiters) {
            self.admission.set_waiting(true)
        } else {
            self.deadlock_group.is_closed()
        };
        if is_closed {
            waiters.refuse_all(|| Error::Closed);
        }
    }
}

/// The result of letting waiters in.
#[derive(Default)]
struct Served {
    /// Tasks were put into the run queue.
    queued: bool,
    /// The system refused a thread for one of them.
    refused: bool,
    /// One left again, undone, while others waited for this pool alone.
    undone: bool,
    /// The first shared waiter enters before those of this pool alone.
    ahead: bool,
}

impl<H: Host> Member for Core<H> {
    fn may_grow(&self) -> bool {
        // Under the spawn lock no worker is in the worker count but not yet in the deadlock group, or not yet there.
        let _spawning = lock(&self.spawning);
        self.worker_count.is_below_capacity() && !self.shortage.is_on()
    }

    fn try_to_grow(self: Arc<Self>) {
        if self.shortage.is_on() && !self.queue.is_empty() {
            self.shortage.end_pause();
            self.wake_if_due();
        }
    }

    fn ask_for_thread(self: Arc<Self>) {
        // Under the waiters' locks: a submitter about to wait has seen the pause, and is seen here. If there is none,
        // and the pause has grown meanwhile, it is as if there were one.
        let is_ready = |waiters: &Waiters<H::Task>| waiters.lock().is_ready();
        let is_waited_for = || {
            is_ready(&self.waiters)
                || (self.commons.as_ref()).is_some_and(|(waiters, _)| is_ready(waiters))
        };
        full_fence();
        if (!self.may_start() || !self.queue.is_empty() || is_waited_for())
            && matches!(self.start_worker(None, false), Spawn::Started)
            && is_waited_for()
        {
            // It lets them in, unless it finds other work first.
            self.ask_again();
        }
    }

    fn offer_permits(self: Arc<Self>) -> bool {
        self.ready_commons()
            .is_some_and(|commons| self.serve_alone(commons.lock(), Served::default()))
    }

    fn refuse_blocked(self: Arc<Self>) -> bool {
        // Kept until no lock is held: one of them may be the last reference to its pool.
        let _members = self.deadlock_group.hold_members();
        let commons = self.commons.as_ref().map(|(waiters, _)| &**waiters);
        [Some(&self.waiters), commons]
            .into_iter()
            .flatten()
            .any(|waiters| {
                let mut waiters = waiters.lock();
                // Checked again under the lock: a waiter that was let in meanwhile is no longer blocked.
                let refused = self
                    .deadlock_group
                    .refuse_if_stuck(|| waiters.refuse_youngest_blocked(Error::Deadlock));
                self.let_go(waiters);
                refused
            })
    }
}
