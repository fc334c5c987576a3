//! Letting other Python threads in where native code runs one call after another.
//!
//! The interpreter's loop gives up the GIL every switch interval when others wait for it, and stops for the garbage
//! collector of free-threaded builds. A loop in native code does neither unless it is told to.

use super::known;
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
        let interval = known::GET_SWITCH_INTERVAL
            .get(py)
            .call0()
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

    /// A worker: lets others in if it is time and somebody asks; whether it was time. Through the interpreter's loop, which
    /// knows who asks: a task that has just waited without the GIL would wait for it once more if this gave it up by itself.
    pub fn give_way_if_due(&mut self, py: Python<'_>) -> bool {
        // Who asks is noticed a little later than by a loop that is never left.
        let due = self.since.elapsed() >= self.interval / 4;
        if due {
            // What comes up here, an exception set from another thread say, was meant for a task that is over.
            if let Err(raised) = known::GIVE_WAY.get(py).call0() {
                raised.write_unraisable(py, None);
            }
            self.attached();
        }
        due
    }

    /// Lets others in if it is time; whether it was.
    pub fn pause_if_due(&mut self, py: Python<'_>) -> bool {
        let due = self.since.elapsed() >= self.interval;
        if due {
            super::lifecycle::detach(py, || {});
            self.attached();
        }
        due
    }
}
