//! How many workers the pool keeps awake: its policy, played with figures instead of workers.

use pyants::pool::internal::pace::{Look, Pace};

/// Nanoseconds of one step.
const STEP: u64 = 10_000;

/// A pool of so many workers whose queue always has tasks.
struct Play<F> {
    pace: Pace,
    look: Look,
    /// Part of a task, in nanoseconds.
    rest: u64,
    workers: u32,
    awake: u32,
    /// How long a task takes with so many workers awake, counting all that are taken out of the queue.
    each: F,
}

impl<F: Fn(u32) -> u64> Play<F> {
    fn new(workers: u32, awake: u32, each: F) -> Self {
        let pace = Pace::default();
        if awake > 1 {
            pace.allow(awake, 0);
        }
        Play {
            pace,
            look: Look { taken: 0, at: 0 },
            rest: 0,
            workers,
            awake,
            each,
        }
    }

    /// Plays for so many milliseconds. In each step at most one worker comes or goes.
    fn go_on(&mut self, milliseconds: u64) -> &mut Self {
        for _ in 0..milliseconds * 1_000_000 / STEP {
            self.look.at += STEP;
            self.rest += STEP;
            let each = (self.each)(self.awake);
            self.look.taken += self.rest / each;
            self.rest %= each;
            if self.pace.is_due(self.look.at) {
                self.pace.measure(self.look, self.awake, false);
            }
            let limit = self.pace.limit().min(self.workers);
            self.awake = if self.awake < limit {
                self.awake + 1
            } else {
                self.awake - u32::from(self.awake > limit)
            };
        }
        self
    }
}

/// Two are the best; each further one costs.
fn hinders(awake: u32) -> u64 {
    match awake {
        0 | 1 => 30_000,
        more => 15_000 + 1_000 * u64::from(more),
    }
}

#[test]
fn workers_that_hinder_each_other_become_few() {
    for awake in [1, 2, 3, 8, 32] {
        let mut play = Play::new(32, awake, hinders);
        assert!((2..=3).contains(&play.go_on(100).awake), "{awake}");
    }
}

#[test]
fn where_all_are_equal_one_stays() {
    for awake in [1, 2, 32] {
        let mut play = Play::new(32, awake, |_| 20_000);
        assert_eq!(play.go_on(200).awake, 1, "{awake}");
    }
}

#[test]
fn workers_that_help_are_all_at_work() {
    for awake in [1, 32] {
        let mut play = Play::new(32, awake, |awake| 40_000 / u64::from(awake.max(1)));
        assert_eq!(play.go_on(100).awake, 32, "{awake}");
    }
}

#[test]
fn slow_tasks_have_all_workers() {
    let mut play = Play::new(32, 1, |_| 200_000);
    assert_eq!(play.go_on(20).awake, 32);
}

#[test]
fn where_tasks_take_no_time_no_further_worker_is_tried() {
    let mut play = Play::new(32, 1, |_| 200);
    assert!((0..100).all(|_| play.go_on(1).pace.limit() == 1));
    play.pace.allow(8, play.look.at);
    assert_eq!(play.go_on(20).awake, 1);
}

#[test]
fn a_queue_that_stood_still_for_a_moment_changes_little() {
    let mut play = Play::new(32, 1, hinders);
    let before = play.go_on(100).awake;
    play.pace.allow(32, play.look.at);
    assert_eq!(play.pace.limit(), 32);
    assert_eq!(play.go_on(20).awake, before);
}

#[test]
fn another_number_is_tried_less_and_less_often() {
    let mut play = Play::new(32, 1, |_| 20_000);
    let mut tries = || (0..500).filter(|_| play.go_on(1).pace.limit() > 1).count();
    let (first, second) = (tries(), tries());
    assert!(first > second && second <= 4, "{first}, {second}");
}

#[test]
fn a_limit_found_for_quick_tasks_does_not_hold_for_slow_ones() {
    let slow = std::cell::Cell::new(false);
    let mut play = Play::new(32, 1, |awake| {
        if slow.get() {
            100_000 / u64::from(awake.max(1))
        } else {
            1_000
        }
    });
    play.go_on(4_000);
    slow.set(true);
    // The standby worker does this each millisecond.
    for _ in 0..20 {
        let before = play.go_on(1).look.taken;
        let look = play.go_on(1).look;
        play.pace.notice(look.taken - before, 1_000_000, look.at);
    }
    assert_eq!(play.awake, 32);
}

#[test]
fn workers_are_soon_taken_for_blocked_unless_tasks_take_longer() {
    let mut play = Play::new(32, 1, |_| 20_000);
    assert_eq!(play.pace.standstill(), 5_000);
    let wait_limit = play.go_on(5).pace.standstill();
    assert!((150_000..=170_000).contains(&wait_limit), "{wait_limit}");
    for _ in 0..3 {
        play.pace.allow(1, play.look.at);
    }
    assert_eq!(play.pace.standstill(), 5_000);
}

#[test]
fn an_empty_queue_measures_nothing() {
    let pace = Pace::default();
    for step in 1..1_000 {
        let look = Look {
            taken: step,
            at: step * STEP,
        };
        pace.measure(look, 1, true);
    }
    assert_eq!((pace.limit(), pace.standstill()), (1, 5_000));
}

#[test]
fn tasks_that_wait_keep_their_workers() {
    // A hundred workers are awake, and each of them waits.
    let mut play = Play::new(100, 100, |awake| 700_000 / u64::from(awake.max(1)));
    let few = (0..200).filter(|_| play.go_on(1).awake < 70).count();
    assert!(few <= 8, "{few} of 200 milliseconds");
}
