//! Steps of the protocol that are left out, each in a test of its own, and the scenario that must fail without it.

use pyants::pool::internal::faults::{self, Step};
use std::process::Command;

/// `explore` must fail when `step` is left out. It runs in a process of its own, since a model that is aborted also
/// aborts its threads, on which the pool's destructors count.
pub fn fails_without(step: Step, explore: impl FnOnce()) {
    const CHILD: &str = "PYANTS_MODEL_IS_TO_FAIL";
    if std::env::var_os(CHILD).is_some() {
        faults::skip(Some(step));
        explore();
        return;
    }
    let me = std::thread::current();
    let output = Command::new(std::env::current_exe().expect("the test has a path"))
        .args([
            me.name().expect("tests have names"),
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the test can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success(),
        "the model does not notice that the step is left out"
    );
    assert!(stderr.contains("deadlock"), "{stderr}");
}

/// The tests. `$explore` runs a scenario, with this many preemptions if it counts them.
macro_rules! left_out {
    ($explore:expr) => {
        left_out! { $explore =>
            without_the_look_before_parking LookAgainBeforeParking submit_against_park 2
            without_the_look_after_giving_back LookAgainAfterGivingBack blocked_submit_against_finish 2
            without_the_look_after_leaving LookAgainAfterLeaving submit_against_expire 3
            without_the_look_after_searching LookAgainAfterSearching submit_against_expire 2
        }
    };
    ($explore:expr => $($test:ident $step:ident $scenario:ident $preemptions:literal)*) => {
        $(#[test]
        fn $test() {
            left_out::fails_without(pyants::pool::internal::faults::Step::$step, || {
                $explore($preemptions, scenarios::$scenario)
            });
        })*
    };
}
