//! How many workers are awake at a time: as many as help.
//!
//! More workers than help hinder each other, at the GIL, at a lock, at the processors. How many help is not known beforehand,
//! so it is measured: how long a task takes, counting all that are taken out of the queue. Workers measure, in passing. By
//! turns the limit is doubled and halved; with more workers a task has to take less by a tenth, or the fewer stay. A try that
//! changes nothing is made again later, and each time later still.
//!
//! The limit holds while the queue moves. Where it stands still those that are awake wait for something, and the watchman goes
//! to work whatever the limit is (`worker.rs`). Nothing but speed hangs on all this.

pub use super::token::Look;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How long is measured, in nanoseconds, at least and at most; in between, until so many tasks were taken.
const SPAN: u64 = 200_000;
const MOST: u64 = 2_000_000;
const TASKS: u64 = 24;
/// How long to wait for workers to come or go.
const SETTLING: u64 = 4_000_000;
/// How long a limit stays that was raised because the queue stood still.
const SOON_AFTER: u64 = 1_000_000;
/// How long a limit stays that was found, the first time and at most.
const SHORTEST: u64 = 8_000_000;
const LONGEST: u64 = 1_000_000_000;
/// Tasks that take so long lose little by workers that hinder each other, and it would take long to measure that. (Where they
/// hinder each other already, tasks take longer than they would.)
const SLOWLY: u64 = 50_000;
/// How long the queue has to stand still for its workers to be taken for blocked, at least and at most; in between, so many
/// times as long as a task took lately.
const SOON: u64 = 5_000;
const LATE: u64 = 100_000;
const TIMES: u64 = 4;

/// A limit that is tried.
struct Try {
    /// That limit.
    limit: u32,
    since: u64,
    /// There are as many workers by now.
    settled: bool,
    /// How many workers there were before, and how long a task took with them.
    before: (u32, u64),
}

struct Course {
    /// Where the span began.
    start: Look,
    trying: Option<Try>,
    /// The limit that was found last, before the queue stood still perhaps.
    found: u32,
    /// Whether the next try is one of more workers.
    upwards: bool,
    /// How long the limit that is found next stays.
    pause: u64,
}

/// See the module's description. Relaxed throughout: these are measures.
pub struct Pace {
    /// How many workers may be awake, the watchman besides.
    limit: AtomicU32,
    /// When to measure next, in nanoseconds since the pool was made.
    due: AtomicU64,
    /// How long a task took lately, while there was always one to be had; 0: there was not.
    each: AtomicU64,
    course: Mutex<Course>,
}

impl Pace {
    #[allow(clippy::new_without_default)]
    /// One worker may be awake, to begin with.
    pub fn new() -> Self {
        Pace {
            limit: AtomicU32::new(1),
            due: AtomicU64::new(0),
            each: AtomicU64::new(0),
            course: Mutex::new(Course {
                start: Look { taken: 0, at: 0 },
                trying: None,
                found: 1,
                upwards: true,
                pause: SHORTEST,
            }),
        }
    }

    /// How many workers may be awake, the watchman besides, while the queue moves.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// The queue stands still: so many workers are not too many.
    pub fn allow(&self, awake: u32, now: u64) {
        // What was measured before counts for less, the oftener this happens.
        self.each.store(self.each.load(Relaxed) / TIMES, Relaxed);
        if self.limit.fetch_max(awake, Relaxed) < awake {
            self.due.store(now + SOON_AFTER, Relaxed);
        }
    }

    /// How long the queue has to stand still for its workers to be taken for blocked.
    pub fn wait_limit(&self) -> u64 {
        (self.each.load(Relaxed) * TIMES).clamp(SOON, LATE)
    }

    /// It is time to measure.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.due.load(Relaxed)
    }

    /// A worker has ended a task. So many are awake, the watchman besides; `empty`: there is nothing to do for more of them.
    pub fn measure(&self, look: Look, awake: u32, empty: bool) {
        let Ok(mut course) = self.course.try_lock() else {
            return; // Somebody measures.
        };
        let course = &mut *course;
        let time = look.at.saturating_sub(course.start.at);
        let tasks = look.taken.saturating_sub(course.start.taken);
        let each = time / tasks.max(1);
        if empty || time > 2 * MOST {
            // It is not for the workers how fast tasks were taken; or nobody has measured for long.
            course.start = look;
            self.due.store(look.at + SPAN, Relaxed);
            self.each.store(0, Relaxed);
            return;
        }
        if let Some(Try { before, .. }) = course.trying
            && !course.upwards
            && time >= SPAN
            && each > 2 * before.1
        {
            // It is not worth while to wait for the end.
            course.start = look;
            return self.give_up(course, look.at, before.0);
        }
        let is_slow = each >= SLOWLY && awake <= course.found && course.trying.is_none();
        if time < SPAN || tasks < TASKS && time < MOST && !is_slow {
            return;
        }
        course.start = look;
        self.due.store(look.at + SPAN, Relaxed);
        self.each.store(each, Relaxed);
        let Some(mut trying) = course.trying.take() else {
            return self.start(course, look.at, awake, each);
        };
        let Try { limit, before, .. } = trying;
        if limit != self.limit() {
            // The queue has stood still meanwhile.
            return self.give_up(course, look.at, self.limit());
        }
        let (others, other) = before;
        let is_late = look.at > trying.since + SETTLING;
        if !trying.settled && !is_late {
            // In the span that ends now, workers came or went.
            trying.settled = if course.upwards {
                awake > others
            } else {
                awake <= limit
            };
            course.trying = Some(trying);
            return;
        }
        let (few, many) = if course.upwards {
            (other, each)
        } else {
            (each, other)
        };
        if trying.settled && course.upwards == (many * 11 <= few * 10) {
            // It was good; so is the next one perhaps.
            course.pause = SHORTEST;
            course.found = limit;
            self.start(course, look.at, awake, each);
        } else {
            course.found = others;
            self.settle(course, look.at, others, !course.upwards);
        }
    }

    /// Tries another limit.
    fn start(&self, course: &mut Course, now: u64, awake: u32, each: u64) {
        let is_crowd = awake > course.found;
        if each >= if is_crowd { 3 * SLOWLY } else { SLOWLY } {
            return self.settle(course, now, u32::MAX, false);
        }
        // Where the queue stood still for a moment only, what was found before that is right still.
        course.upwards &= !is_crowd;
        let limit = if course.upwards {
            awake * 2
        } else if is_crowd {
            course.found
        } else if awake > 1 {
            awake.div_ceil(2)
        } else {
            return self.settle(course, now, 1, true);
        };
        self.limit.store(limit, Relaxed);
        course.trying = Some(Try {
            limit,
            since: now,
            settled: false,
            before: (awake, each),
        });
    }

    /// The limit that was tried is by far too small, so it goes back to this one.
    fn give_up(&self, course: &mut Course, now: u64, limit: u32) {
        course.trying = None;
        course.found = course.found.saturating_mul(2);
        self.settle(course, now, limit, false);
    }

    /// This limit stays for a while.
    fn settle(&self, course: &mut Course, now: u64, limit: u32, upwards: bool) {
        self.limit.store(limit, Relaxed);
        self.due.store(now + course.pause, Relaxed);
        course.pause = (course.pause * 4).min(LONGEST);
        course.upwards = upwards;
    }
}
