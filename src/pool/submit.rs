//! The way of a task into the pool: admission, then a worker of its own, the run queue, or the line.

use super::admission::Entry;
use super::core::Core;
use super::error::{Error, Limit, SubmitError};
use super::family::Member;
use super::faults::{Step, skipped};
use super::host::Host;
use super::line::{Answer, Answers, Locked, Stand, Waiter};
use super::sync::atomic::Ordering;
use super::sync::{Arc, Patience, can_look_out, contain, lock};
use super::wake::Spawn;
use std::sync::Weak;

/// What came of a task offered without waiting.
pub enum Offer<T> {
    /// It is accepted.
    Accepted {
        /// Somebody has to be woken or started, which the second half of the submit does.
        wake_due: bool,
    },
    /// It came in, but a worker has to be started for it first: `Core::place` goes on from here.
    In(T),
    /// There is no room for it: `Core::submit` may wait for some.
    Full(T),
    /// The pool is closed.
    Closed(T),
}

/// The place in line of a task that nobody waits with, for whoever may want the task back. It keeps neither.
pub struct Enlisted<H: Host> {
    core: Weak<Core<H>>,
    waiter: Weak<Waiter<H::Task>>,
}

impl<H: Host> Enlisted<H> {
    /// Takes the task out of the line; `None`: it is there no more, or is just being tried again, and then the host gets
    /// it, as refused, unless it has come in.
    pub fn withdraw(&self) -> Option<H::Task> {
        let core = self.core.upgrade()?;
        let task = core.line.lock().withdraw(&*self.waiter.upgrade()?)?;
        // The line may be empty now, and the pool at rest.
        core.let_in();
        core.watch.notify();
        Some(task)
    }
}

/// Somebody, or something, in line.
type Standing<H> = Arc<Waiter<<H as Host>::Task>>;

/// How a task comes to stand in line.
enum Joining<T> {
    As(Stand),
    /// As this one, that was there before.
    Again(Arc<Waiter<T>>),
}

impl<H: Host> Core<H> {
    /// Offers a task. Never waits, nor makes a system call.
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

    /// A task that just came in, as one of so many, has no worker to count on. A worker seen here, after the task
    /// came in, does not leave without a look for that task (`Core::is_needed`).
    #[inline]
    fn lacks_worker(&self, in_flight: u64) -> bool {
        let present = self.crew.present();
        if self.hand_off {
            in_flight > u64::from(present)
        } else {
            present == 0
        }
    }

    /// Brings an offer to its end. Without `patience` the caller does not wait for room. `Some`: the task is to be
    /// offered anew.
    pub fn follow_up(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        patience: Option<&mut Patience<'_>>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let result = self.settle(offer, patience);
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
        patience: Option<&mut Patience<'_>>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let Some(task) = self.take_in(offer)? else {
            return Ok(None);
        };
        let Some(patience) = patience.filter(|_| !self.options.nonblocking) else {
            return Err(self.overload(task));
        };
        if !self.look_for_room() {
            return self.stand_in_line(task, patience);
        }
        match self.take_in(self.offer(task))? {
            Some(task) => self.stand_in_line(task, patience),
            None => Ok(None),
        }
    }

    /// Does what an offer came to; `Some`: there was no room.
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

    /// Looks out for room for a moment, where that has paid lately and nobody stands in line; `true`: there was some. To
    /// stand in line costs both sides more than a short task does. Not so where one of them at a time can make headway: a
    /// worker that finds its next task in line goes on with it at once.
    fn look_for_room(&self) -> bool {
        // Room that no thread can be had for is none.
        can_look_out()
            && self.parallelism > 1
            && self.line.len() == 0
            && !self.shortage.is_on()
            && self.luck.spin(|| self.admission.has_room())
    }

    /// Looks out for a worker that is done, where that has paid lately, before another is started: a thread costs as much as
    /// many a short task. `true`: there is one for each task in flight, which counts as `lacks_worker` tells.
    fn look_for_hands(&self) -> bool {
        can_look_out()
            && self.hand_off
            && self.crew.present() > 0
            && self.hands.spin(|| !self.lacks_worker(self.in_flight()))
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
        let limit = match (self.crew.capacity(), self.options.queue_size) {
            (Some(capacity), Some(queue_size)) if !is_refused(capacity, queue_size) => {
                Limit::Tasks {
                    capacity,
                    queue_size,
                }
            }
            // Where there is no other limit it is this one.
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

    /// Finds a worker for a task that came in, starting one if need be. If the system gives none, the task goes out
    /// again: as an overload if workers are alive whom it may wait for, else with the system's error.
    fn place(self: &Arc<Self>, task: H::Task) -> Result<(), SubmitError<H::Task>> {
        if self.look_for_hands() {
            self.enqueue(task);
            return Ok(());
        }
        let task = match self.spawn_worker(Some(task), false) {
            Spawn::Started => return Ok(()),
            // As many workers as may be are alive, and will look into the queue before they leave or rest.
            Spawn::NoRoom(task) => task,
            Spawn::Failed(task, error) => {
                let present = self.crew.present();
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

    /// Puts a task that came in where any worker finds it, and wakes or starts one if need be.
    fn enqueue(self: &Arc<Self>, task: H::Task) {
        self.queue.push(task);
        if self.is_wake_due() {
            self.wake();
        }
    }

    /// A task that came in goes out again, undone. Where nobody is alive to let those in line in, they try again by
    /// themselves, as the caller did.
    fn send_back(self: &Arc<Self>, nobody_alive: bool) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        if self.admission.leave() {
            if nobody_alive {
                let mut line = self.line.lock();
                line.retry_all();
                self.let_go(line);
            } else {
                self.let_in();
            }
        } else {
            self.family.offer_room();
        }
        self.watch.notify();
    }

    /// Brings an offer to its end without waiting: a task that finds no room stands in line by itself (`Some`), and the
    /// caller goes on. Should it be refused later, the host gets it.
    pub fn enlist(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
    ) -> Result<Option<Enlisted<H>>, SubmitError<H::Task>> {
        let absent = Stand {
            absent: true,
            ..Stand::default()
        };
        let waiter = self.enlist_as(offer, Joining::As(absent))?;
        Ok(waiter.map(|waiter| Enlisted {
            core: Arc::downgrade(self),
            waiter: Arc::downgrade(&waiter),
        }))
    }

    fn enlist_as(
        self: &Arc<Self>,
        offer: Offer<H::Task>,
        joining: Joining<H::Task>,
    ) -> Result<Option<Standing<H>>, SubmitError<H::Task>> {
        let result = match self.settle(offer, None) {
            Err(SubmitError {
                error: Error::Overload { .. },
                task,
            }) if !self.options.nonblocking => self.join_line(task, joining).map(Some),
            settled => settled.map(|_| None),
        };
        if let Err(SubmitError {
            error: Error::Overload { .. },
            ..
        }) = &result
        {
            self.tallies.rejected.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Tells those who have left the line. The caller holds no lock.
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
                    match self.enlist_as(self.offer(task), Joining::Again(waiter)) {
                        Ok(_) => continue,
                        Err(refused) => refused,
                    }
                }
            };
            contain(|| self.host.refused(refused.task, refused.error));
        }
    }

    /// Waits in line until the task is accepted (`None`), or is to be offered anew.
    fn stand_in_line(
        self: &Arc<Self>,
        task: H::Task,
        patience: &mut Patience<'_>,
    ) -> Result<Option<H::Task>, SubmitError<H::Task>> {
        let stand = Stand {
            bound: patience.is_endless() && self.family.is_home(),
            roams: patience.roams,
            absent: false,
        };
        let waiter = self.join_line(task, Joining::As(stand))?;
        let is_first = self.line.len() <= 1;
        let hold = |held| self.hold(&waiter, held);
        match self.line.wait(&waiter, patience, is_first, hold) {
            Answer::Accepted => {
                contain(|| self.host.hesitate(|| self.stirs()));
                Ok(None)
            }
            Answer::Retry(task) => Ok(Some(task)),
            Answer::Refused(Error::Closed, task) => Err(self.closed(task)),
            Answer::Refused(error, task) => {
                // It may have given up, and be missed in the line.
                self.let_in();
                self.watch.notify();
                Err(SubmitError::new(error, task))
            }
        }
    }

    /// Passes over a submitter in line, or does so no longer; `false`: it is not in line.
    fn hold(self: &Arc<Self>, waiter: &Standing<H>, held: bool) -> bool {
        let mut line = self.line.lock();
        if !line.hold(waiter, held) {
            return false;
        }
        if held {
            // Where nobody else waits, those who come may overtake it.
            self.let_go(line);
        } else {
            // First the flag, then the look for room, which may have come up meanwhile.
            self.admission.set_waiting(true);
            self.serve(line);
        }
        self.watch.notify();
        true
    }

    /// Joins the line, and lets in whoever is first if there is room.
    fn join_line(
        self: &Arc<Self>,
        task: H::Task,
        joining: Joining<H::Task>,
    ) -> Result<Standing<H>, SubmitError<H::Task>> {
        let bound = matches!(joining, Joining::As(stand) if stand.bound);
        // A start that the system refused is tried again before somebody waits for what it was for.
        if self.shortage.is_on() {
            if bound {
                self.shortage.end_pause();
            }
            if !self.queue.is_empty() && self.is_wake_due() {
                self.wake();
            }
        }
        let mut line = self.line.lock();
        if let Some(most) = self.options.max_blocking_tasks
            && line.len() >= most
        {
            return Err(self.overload_by(Limit::Waiting(most), task));
        }
        let (waiter, stand) = match joining {
            Joining::As(stand) => (line.join(task, stand), stand),
            Joining::Again(waiter) => match line.join_again(task, &waiter, false) {
                Ok(()) => (waiter, Stand::default()),
                Err(task) => return Err(SubmitError::new(Error::Interrupted, task)),
            },
        };
        // First the flag, then the look for room: who makes room after that look sees the flag.
        if self.admission.set_waiting(true) {
            line.refuse_all(|| Error::Closed);
        }
        self.serve(line);
        if stand.bound {
            // Bound among several pools: any of them may have got room before this one was counted as bound.
            let own = Arc::clone(self);
            if stand.roams && self.family.has_room() {
                own.retry_bound();
            } else {
                own.refuse_bound();
            }
        }
        // The line may be empty now, and what was let in done already.
        self.watch.notify();
        Ok(waiter)
    }

    /// Where the family is stuck, tells the youngest of the bound in line; whether there was one.
    fn refuse_if_stuck(&self, line: &mut Locked<'_, H::Task>) -> bool {
        self.family
            .refuse_if_stuck(|| line.refuse_youngest_bound(Error::Deadlock))
    }

    /// Lets go of the line's lock, after changes, and tells those who have left the line. The flag that submitters wait is
    /// lowered where nobody is to be let in.
    pub fn let_go(self: &Arc<Self>, line: Locked<'_, H::Task>) {
        let answers = self.unlock(line);
        self.deliver(answers);
    }

    /// As `let_go`, for those who hold another lock, too: the answers, to be delivered when they hold none.
    #[must_use]
    pub fn unlock(&self, line: Locked<'_, H::Task>) -> Answers<H::Task> {
        if !line.is_ready() {
            self.admission.set_waiting(false);
        }
        line.unlock()
    }

    /// A task is done: its permit goes to the oldest in line, here or else in the family.
    #[inline]
    pub fn finish(self: &Arc<Self>) {
        if !self.admission.is_counted() {
            return;
        }
        if self.admission.leave() {
            if !skipped(Step::LookAgainAfterGivingBack) {
                self.let_in();
            }
        } else {
            self.family.offer_room();
        }
    }

    /// Lets in as many from the line as there is room for.
    pub fn let_in(self: &Arc<Self>) {
        self.serve(self.line.lock());
        if self.admission.has_room() {
            self.family.offer_room();
        }
    }

    /// Lets in as many from the line as there is room for, and lets go of its lock.
    fn serve<'a>(self: &'a Arc<Self>, mut line: Locked<'a, H::Task>) {
        let (mut queued, mut refused) = (false, false);
        // One whose task needs a worker of its own leaves the line before that is started, since no lock is held meanwhile.
        while let Some((waiter, task)) = self.let_in_first(&mut line, &mut queued, refused) {
            self.let_go(line);
            let task = match self.spawn_worker(Some(task), false) {
                Spawn::Started => None,
                // As many workers as may be are alive, and will look into the queue before they leave or rest.
                Spawn::NoRoom(task) => task,
                Spawn::Failed(task, _) if self.crew.present() > 0 && !self.hand_off => task,
                Spawn::Failed(task, _) => {
                    line = self.line.lock();
                    self.put_back(
                        &mut line,
                        waiter,
                        task.expect("it was given to spawn_worker"),
                    );
                    refused = true;
                    continue;
                }
            };
            if let Some(task) = task {
                self.queue.push(task);
                queued = true;
            }
            line = self.line.lock();
            line.tell(waiter, Answer::Accepted);
        }
        self.let_go(line);
        if queued && self.is_wake_due() {
            self.wake();
        }
        if refused {
            // Who is in line again is bound again.
            self.family.break_deadlock();
        }
    }

    /// Lets in as many from the line as find a worker to count on; the next, which came in but needs a worker of its own.
    fn let_in_first(
        &self,
        line: &mut Locked<'_, H::Task>,
        queued: &mut bool,
        refused: bool,
    ) -> Option<(Standing<H>, H::Task)> {
        while let Some(index) = line.first() {
            let Entry::In(in_flight) = self.admission.enter_from_line() else {
                break;
            };
            let lacks_worker = self.lacks_worker(in_flight);
            if lacks_worker && (refused || !self.may_start()) {
                // In vain, as long as the system gives no thread: the next worker that is done tries again.
                self.tallies.undone.fetch_add(1, Ordering::Release);
                let _ = self.admission.leave();
                break;
            }
            let (waiter, task) = line.take(index).expect("there is one at its place");
            if lacks_worker {
                return Some((waiter, task));
            }
            self.queue.push(task);
            *queued = true;
            line.tell(waiter, Answer::Accepted);
        }
        None
    }

    /// One from the line has not come in after all. If workers are alive the next of them to finish tries again; else
    /// everybody in line does so, and meets the system's error.
    fn put_back(&self, line: &mut Locked<'_, H::Task>, waiter: Standing<H>, task: H::Task) {
        self.tallies.undone.fetch_add(1, Ordering::Release);
        let _ = self.admission.leave();
        if let Err(task) = line.join_again(task, &waiter, true) {
            line.tell(waiter, Answer::Refused(Error::Interrupted, task));
        }
        if self.admission.set_waiting(true) {
            line.refuse_all(|| Error::Closed);
        }
        if self.crew.present() == 0 {
            line.retry_all();
        }
    }
}

impl<H: Host> Member for Core<H> {
    fn has_room(&self) -> bool {
        // Room that no thread can be had for is none, or those who try for it would try without end.
        self.admission.has_room() && !self.shortage.is_on()
    }

    fn may_grow(&self) -> bool {
        // Under the spawn lock no worker is counted in the crew and not yet in the family, or not yet there at all.
        let _spawning = lock(&self.spawning);
        self.crew.has_room() && !self.shortage.is_on()
    }

    fn try_to_grow(self: Arc<Self>) {
        if self.shortage.is_on() && !self.queue.is_empty() {
            self.shortage.end_pause();
            if self.is_wake_due() {
                self.wake();
            }
        }
    }

    fn retry_bound(self: Arc<Self>) {
        let mut line = self.line.lock();
        line.retry_bound();
        self.let_go(line);
        // The line may be empty now, and the pool otherwise idle.
        self.watch.notify();
    }

    fn refuse_bound(self: Arc<Self>) -> bool {
        let mut line = self.line.lock();
        // Looked at again under the lock: whoever was let in meanwhile is bound no more.
        let refused = self.refuse_if_stuck(&mut line);
        self.let_go(line);
        refused
    }
}
