//! How long a caller is willing to wait.

use super::Instant;
use std::time::Duration;

/// How long a caller is willing to wait, and what may interrupt it.
pub struct WaitLimit<'a> {
    deadline: Option<Instant>,
    interrupt: Option<Interrupt<'a>>,
}

struct Interrupt<'a> {
    is_interrupted: &'a mut dyn FnMut() -> bool,
    next_look: Instant,
}

impl<'a> WaitLimit<'a> {
    /// How often an interruptible wait checks for an interrupt.
    const SLICE: Duration = Duration::from_millis(50);

    /// Waits for `timeout` at most; `None`: no limit.
    pub fn new(timeout: Option<Duration>) -> Self {
        // A deadline too far away to be represented counts as none.
        WaitLimit {
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            interrupt: None,
        }
    }

    /// Asks `is_interrupted` about twenty times a second whether to end the wait.
    pub fn interruptible(mut self, is_interrupted: &'a mut dyn FnMut() -> bool) -> Self {
        self.interrupt = Some(Interrupt {
            is_interrupted,
            next_look: Instant::now() + Self::SLICE,
        });
        self
    }

    /// There is no time limit.
    pub fn is_endless(&self) -> bool {
        self.deadline.is_none()
    }

    /// The time is up.
    pub fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How long to wait at most before the next check; `None`: no check is needed.
    pub fn next_wait(&self) -> Option<Duration> {
        let look = self.interrupt.as_ref().map(|interrupt| interrupt.next_look);
        let next = [self.deadline, look].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// It is time to ask `is_interrupted`.
    pub fn is_look_due(&self) -> bool {
        self.interrupt
            .as_ref()
            .is_some_and(|interrupt| Instant::now() >= interrupt.next_look)
    }

    /// The wait must end. Asks `is_interrupted` only when it is due.
    pub fn is_interrupted(&mut self) -> bool {
        if !self.is_look_due() {
            return false;
        }
        self.interrupt.as_mut().is_some_and(|interrupt| {
            interrupt.next_look = Instant::now() + Self::SLICE;
            (interrupt.is_interrupted)()
        })
    }
}
