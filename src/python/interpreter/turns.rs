//! Lets other Python threads run where native code makes one call after another.
//!
//! The interpreter's loop releases the GIL every switch interval if others wait for it, and stops for the garbage
//! collector of free-threaded builds. A loop in native code does neither unless it is told to.
//!
//! Threads that all want the GIL get it for one switch interval each, in turn. So a thread that is no worker, such as
//! an asyncio loop, would wait for as many intervals as there are workers in the middle of a task. Therefore workers
//! take turns at a gate, between two tasks, and so early that no thread has to force them: such a thread waits for one
//! or two of them.

use super::exc_info::unraisable;
use super::gil::{Gate, Member};
use super::wait::Wakeups;
use super::{call, lookup};
use pyo3::prelude::*;
use std::time::{Duration, Instant};

/// How long this thread has been attached without a pause.
pub struct Switch {
    interval: Duration,
    since: Instant,
}

impl Switch {
    /// Counts from now, with the interpreter's switch interval.
    pub fn new(py: Python<'_>) -> Self {
        let interval = lookup::GET_SWITCH_INTERVAL
            .invoke(py, ())
            .and_then(|interval| interval.extract::<f64>())
            .map_or(Duration::from_millis(5), |seconds| {
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            });
        Switch {
            interval,
            since: Instant::now(),
        }
    }

    /// The thread has just attached.
    pub fn attached(&mut self) {
        self.since = Instant::now();
    }

    /// Lets other threads run if it is time; returns whether it was.
    pub fn pause_if_due(&mut self, py: Python<'_>) -> bool {
        let due = self.since.elapsed() >= self.interval;
        if due {
            call::detach(py, || {});
            self.attached();
        }
        due
    }
}

/// A worker's turns with the interpreter.
pub struct Turns {
    member: Member,
    switch: Switch,
    /// How many tasks end between two looks at the clock, which costs as much as many a task; one while tasks are slow.
    stride: u32,
    /// How many of those tasks are left.
    ahead: u32,
    looked: Instant,
}

impl Turns {
    /// The first turn begins now.
    pub fn new(py: Python<'_>, member: Member) -> Self {
        Turns {
            member,
            switch: Switch::new(py),
            stride: 1,
            ahead: 0,
            looked: Instant::now(),
        }
    }

    /// Detaches for a rest.
    pub fn rest<R>(&mut self, py: Python<'_>, rest: impl FnOnce() -> R) -> R {
        self.detached(py, |member| member.rest(rest))
    }

    /// Between two tasks: ends the turn if it is time and another thread may want one; returns whether a new turn has
    /// begun. `native`: the call may not have gone through the interpreter's loop, which lets others run by itself.
    /// `wakeups`: delivered by the end of the turn.
    #[inline]
    pub fn let_others_in(&mut self, py: Python<'_>, native: bool, wakeups: &mut Wakeups) -> bool {
        if self.member.has_company() {
            self.end_if_due(py, native, wakeups, || false)
        } else {
            native && self.give_way_if_due(py)
        }
    }

    /// As `let_others_in`, for a loop that was called to fetch its mail; waits until `has_come`.
    pub fn let_loop_in(
        &mut self,
        py: Python<'_>,
        wakeups: &mut Wakeups,
        has_come: impl Fn() -> bool,
    ) -> bool {
        self.end_if_due(py, true, wakeups, has_come)
    }

    fn end_if_due(
        &mut self,
        py: Python<'_>,
        native: bool,
        wakeups: &mut Wakeups,
        has_come: impl Fn() -> bool,
    ) -> bool {
        if !native && self.ahead > 0 {
            self.ahead -= 1;
            return false;
        }
        if self.member.has_shared() {
            // The turn began in the middle of the task, or with it.
            self.switch.attached();
            return true;
        }
        if !self.is_due() {
            const QUICK: Duration = Duration::from_micros(20);
            const MOST: u32 = 16;
            let now = Instant::now();
            self.stride = if now - self.looked < QUICK {
                MOST.min(self.stride * 2)
            } else {
                1
            };
            (self.looked, self.ahead) = (now, self.stride - 1);
            return false;
        }
        if !self.member.should_step_back() {
            return native && self.give_way_if_due(py);
        }
        let wakeups = std::mem::take(wakeups);
        self.detached(py, |member| {
            wakeups.ring();
            ((), member.step_back(has_come))
        });
        true
    }

    /// Early enough that a thread that waits a switch interval, then for a worker, does not interrupt a task.
    fn is_due(&self) -> bool {
        self.switch.since.elapsed() >= self.switch.interval / 4
    }

    /// Lets others run if it is time and any ask; returns whether it was time. Done by the interpreter's loop, which
    /// knows whether any ask: releasing the GIL here would cost a task that has just waited without it a second wait.
    fn give_way_if_due(&mut self, py: Python<'_>) -> bool {
        // A thread that asks for the GIL is noticed slightly later than in a pure Python loop.
        let due = self.is_due();
        if due {
            // An exception raised here, for example one set from another thread, was meant for a task that is over.
            unraisable(py, lookup::GIVE_WAY.invoke(py, ()));
            self.switch.attached();
        }
        due
    }

    /// Detaches for a wait that ends at the gate.
    fn detached<R>(&mut self, py: Python<'_>, wait: impl FnOnce(&mut Member) -> (R, Gate)) -> R {
        let member = &mut self.member;
        let result = call::detach_to_gate(py, || wait(member));
        self.switch.attached();
        result
    }
}
