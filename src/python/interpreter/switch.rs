//! Letting other Python threads in where native code runs one call after another.
//!
//! The interpreter's loop gives up the GIL every switch interval when others wait for it, and stops for the garbage
//! collector of free-threaded builds. A loop in native code does neither unless it is told to.
//!
//! Of threads that all want the GIL each gets it for one switch interval after another. So a thread that is no worker, an
//! asyncio loop say, would wait for as many intervals as there are workers in the middle of a task. Therefore workers
//! take turns at a gate, between two tasks, and so early that nobody has to take the GIL from them: such a thread has one
//! or two of them to wait for.

use super::call::{self, Guarded};
use super::gil::{Gate, Member};
use super::lookup;
use super::wakeups::Wakeups;
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
            .get(py)
            .guarded_call0()
            .and_then(|interval| interval.extract::<f64>())
            .map_or(Duration::from_millis(5), |seconds| {
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            });
        Switch {
            interval,
            since: Instant::now(),
        }
    }

    /// The thread has just been attached.
    pub fn attached(&mut self) {
        self.since = Instant::now();
    }

    /// Lets others in if it is time; whether it was.
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
    /// How many tasks end between two looks at the clock, which costs as much as many a task; one while they are slow.
    stride: u32,
    /// How many of them are left.
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

    /// Between two tasks: ends the turn if it is time and somebody else may want one; whether a new one has begun.
    /// `native`: what was called may not have gone through the interpreter's loop, which lets others in by itself;
    /// `wakeups`: to be rung for by then.
    #[inline]
    pub fn let_others_in(&mut self, py: Python<'_>, native: bool, wakeups: &mut Wakeups) -> bool {
        if self.member.has_company() {
            self.end_if_due(py, native, wakeups, || false)
        } else {
            native && self.give_way_if_due(py)
        }
    }

    /// As `let_others_in`, where a loop has been called to fetch its mail, until `has_come`.
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

    /// Early enough for whoever waits for a switch interval, and then for one more worker, not to take it in the middle of a task.
    fn is_due(&self) -> bool {
        self.switch.since.elapsed() >= self.switch.interval / 4
    }

    /// Lets others in if it is time and somebody asks; whether it was time. Through the interpreter's loop, which
    /// knows who asks: a task that has just waited without the GIL would wait for it once more if this gave it up by itself.
    fn give_way_if_due(&mut self, py: Python<'_>) -> bool {
        // A thread that asks for the GIL is noticed slightly later than in a pure Python loop.
        let due = self.is_due();
        if due {
            // An exception that comes up here, one set from another thread say, was meant for a task that is over.
            if let Err(raised) = lookup::GIVE_WAY.get(py).guarded_call0() {
                raised.write_unraisable(py, None);
            }
            self.switch.attached();
        }
        due
    }

    /// Detaches for something that ends at the gate.
    fn detached<R>(&mut self, py: Python<'_>, wait: impl FnOnce(&mut Member) -> (R, Gate)) -> R {
        let member = &mut self.member;
        let result = call::detach_to_gate(py, || wait(member));
        self.switch.attached();
        result
    }
}
