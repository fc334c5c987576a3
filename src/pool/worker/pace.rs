//! How many workers are awake at a time: as many as help.
//!
//! More workers than help hinder each other, at the GIL, at a lock, at the processors. How many help is not known
//! beforehand, so it is measured: how long a task takes, counting all tasks that leave the queue. Workers measure in
//! passing, between two tasks. From time to time the limit is doubled or halved for a moment; with more workers a task
//! has to take less by a tenth, or the fewer stay. A try that changes nothing is repeated later, and each time later
//! still.
//!
//! The limit holds while the queue moves. Where it stands still, the workers that are awake wait for something, and the
//! standby worker goes to work whatever the limit is (`idle.rs`). Nothing but speed depends on all this.

pub use super::search_token::Look;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How long a measurement takes, in nanoseconds, at least and at most; in between, until so many tasks were taken.
const SPAN: u64 = 200_000;
const LONGEST_SPAN: u64 = 5_000_000;
const TASKS: u64 = 24;
/// How long to wait at most until as many workers are awake as a try asks for.
const SETTLING: u64 = 5_000_000;
/// How long a limit stays that was raised because the queue stood still.
const AFTER_STANDSTILL: u64 = 1_000_000;
/// How long a limit stays that was found, the first time and at most.
const SHORTEST_STAY: u64 = 8_000_000;
const LONGEST_STAY: u64 = 1_000_000_000;
/// Tasks that take so long lose little by workers that hinder each other, and measuring them would take long.
const SLOW: u64 = 200_000;
/// Where tasks are taken as fast as this, the queue itself is what takes the time, and a further worker cannot help.
const QUICK: u64 = 500;
/// How long the queue has to stand still for its workers to count as blocked, at least and at most; in between, so many
/// times as long as a task took lately.
const SHORT_STANDSTILL: u64 = 5_000;
const LONG_STANDSTILL: u64 = 200_000;
const TIMES: u64 = 8;
/// Tasks that take so many times as long as before are others.
const CHANGE: u64 = 4;

/// A measurement: how many workers were awake, and how long a task took, in nanoseconds.
#[derive(Clone, Copy)]
struct Measured {
    awake: u32,
    each: u64,
}

/// Another limit that is being tried.
struct Try {
    limit: u32,
    since: u64,
    /// As many workers are awake by now, or will never be.
    settled: bool,
    /// The measurement that it is compared with.
    before: Measured,
}

struct Course {
    /// Where the measurement began.
    start: Look,
    trying: Option<Try>,
    /// The limit that was found last, before the queue stood still perhaps.
    found: u32,
    /// Whether the next try is one of more workers.
    upward: bool,
    /// Whether the opposite was tried just now, in vain.
    turned: bool,
    /// How long the limit that is found next stays.
    stay: u64,
    /// How long a task took when that was measured last.
    each: u64,
}

/// See the module's description. Relaxed throughout: these are measures.
pub struct Pace {
    /// How many workers may be awake, the standby worker besides.
    limit: AtomicU32,
    /// When to measure next, in nanoseconds since the pool was made.
    due: AtomicU64,
    /// How long a task took lately, while there was always one to be had; 0: there was not.
    each: AtomicU64,
    course: Mutex<Course>,
}

impl Default for Pace {
    /// One worker may be awake, to begin with.
    fn default() -> Self {
        Pace {
            limit: AtomicU32::new(1),
            due: AtomicU64::new(0),
            each: AtomicU64::new(0),
            course: Mutex::new(Course {
                start: Look { taken: 0, at: 0 },
                trying: None,
                found: 1,
                upward: true,
                turned: false,
                stay: SHORTEST_STAY,
                each: 0,
            }),
        }
    }
}

impl Pace {
    /// How many workers may be awake, the standby worker besides, while the queue moves. (In a model, where no time passes,
    /// the queue often seems to stand still; there the limit stays at one all the same, so that workers step aside.)
    pub fn limit(&self) -> u32 {
        if cfg!(any(loom, shuttle)) {
            return 1;
        }
        self.limit.load(Relaxed)
    }

    /// The queue stands still: so many workers are not too many.
    pub fn allow(&self, awake: u32, now: u64) {
        // What was measured before counts for less, the oftener this happens.
        self.each.store(self.each.load(Relaxed) / TIMES, Relaxed);
        if self.limit.fetch_max(awake, Relaxed) < awake {
            self.due.store(now + AFTER_STANDSTILL, Relaxed);
        }
    }

    /// How long the queue has to stand still for its workers to count as blocked.
    pub fn standstill(&self) -> u64 {
        (self.each.load(Relaxed) * TIMES).clamp(SHORT_STANDSTILL, LONG_STANDSTILL)
    }

    /// So many tasks were taken in so long a time. If they take far longer than lately, it is time to measure anew.
    pub fn notice(&self, tasks: u64, time: u64, now: u64) {
        let each = self.each.load(Relaxed);
        if each > 0 && tasks > 0 && time / tasks > CHANGE * each.max(QUICK) {
            self.due.fetch_min(now, Relaxed);
        }
    }

    /// It is time to measure.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.due.load(Relaxed)
    }

    /// A worker has ended a task. So many are awake, the standby worker besides; `empty`: the queue is.
    pub fn measure(&self, look: Look, awake: u32, empty: bool) {
        let Ok(mut course) = self.course.try_lock() else {
            return; // Another worker measures.
        };
        let course = &mut *course;
        let (start, limit) = (course.start, self.limit());
        let begin = |course: &mut Course| {
            course.start = look;
            self.due.store(look.at + SPAN, Relaxed);
        };
        if let Some(tried) = course.trying.as_mut().filter(|tried| !tried.settled) {
            tried.settled = tried.is_settled(awake) || look.at > tried.since + SETTLING;
            return begin(course);
        }
        let time = look.at.saturating_sub(start.at);
        let tasks = look.taken.saturating_sub(start.taken);
        if empty || time > 2 * LONGEST_SPAN {
            // Submitters, not workers, decided how fast tasks were taken; or nobody has measured for long.
            self.each.store(0, Relaxed);
            return begin(course);
        }
        let now = Measured {
            awake,
            each: time / tasks.max(1),
        };
        // Each worker has taken a task, since tasks that wait end in waves.
        let is_enough = tasks >= TASKS.max(u64::from(awake)) || time >= LONGEST_SPAN;
        let is_slow = now.each >= SLOW && awake <= course.found && course.trying.is_none();
        if time < SPAN || !is_enough && !is_slow {
            return;
        }
        begin(course);
        self.each.store(now.each, Relaxed);
        if now.each > CHANGE * course.each {
            course.stay = SHORTEST_STAY;
        }
        course.each = now.each;
        match course.trying.take() {
            None => self.begin_try(course, look.at, now),
            // The queue has stood still meanwhile: with more workers it is measured anew, and fewer were too few.
            Some(tried) if tried.is_upward() && tried.limit != limit => {}
            Some(tried) if tried.limit == limit && tried.is_good(now) => {
                let is_known = limit == course.found;
                course.found = limit;
                course.turned = false;
                if is_known {
                    // The queue stood still for a moment only.
                    self.due.store(look.at + course.stay, Relaxed);
                } else {
                    course.stay = SHORTEST_STAY;
                    self.begin_try(course, look.at, now); // The next one may be good, too.
                }
            }
            Some(tried) => {
                course.found = tried.before.awake;
                course.upward = !tried.is_upward();
                if std::mem::replace(&mut course.turned, true) {
                    self.stay(course, look.at, tried.before.awake);
                } else {
                    self.begin_try(course, look.at, tried.before);
                }
            }
        }
    }

    /// Tries another limit.
    fn begin_try(&self, course: &mut Course, at: u64, now: Measured) {
        let is_crowd = now.awake > course.found;
        if now.each >= if is_crowd { 3 * SLOW } else { SLOW } {
            // One measurement says little of them: perhaps the worker was merely kept from its processor.
            course.stay = SHORTEST_STAY;
            return self.stay(course, at, u32::MAX);
        }
        // A crowd came because the queue stood still, for a moment only perhaps.
        course.upward &= !is_crowd && now.each >= QUICK;
        let limit = if course.upward {
            now.awake.saturating_mul(2)
        } else if is_crowd {
            now.awake.div_ceil(2).max(course.found)
        } else if now.awake > 1 {
            now.awake.div_ceil(2)
        } else {
            course.upward = true;
            return self.stay(course, at, 1);
        };
        self.limit.store(limit, Relaxed);
        course.trying = Some(Try {
            limit,
            since: at,
            settled: false,
            before: now,
        });
    }

    /// This limit stays for a while.
    fn stay(&self, course: &mut Course, at: u64, limit: u32) {
        course.turned = false;
        self.limit.store(limit, Relaxed);
        self.due.store(at + course.stay, Relaxed);
        course.stay = (course.stay * 2).min(LONGEST_STAY);
    }
}

impl Try {
    fn is_upward(&self) -> bool {
        self.limit > self.before.awake
    }

    fn is_settled(&self, awake: u32) -> bool {
        if self.is_upward() {
            awake >= self.limit
        } else {
            awake <= self.limit
        }
    }

    /// The larger number of workers is faster by a tenth, or the smaller is not slower by as much.
    fn is_good(&self, now: Measured) -> bool {
        let Measured { awake, each } = self.before;
        if self.is_upward() {
            now.awake > awake && now.each * 11 <= each * 10
        } else {
            now.awake < awake && each * 11 > now.each * 10
        }
    }
}
