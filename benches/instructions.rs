//! The way of a task through the pool, for callgrind to count its instructions: `make bench-check`. Unlike a time, that
//! figure is not blurred by what else the machine does.
//!
//! `instructions unbounded|bounded N` has the only worker wait, submits N empty closures, and lets the worker run them.
//! What one of them costs is the difference between two runs, over the difference of their Ns.

#[cfg(not(any(loom, shuttle)))]
fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(mode), Some(Ok(tasks))) =
        (args.next(), args.next().map(|tasks| tasks.parse::<u64>()))
    else {
        return; // `cargo bench` runs it too.
    };
    let queue_size = match mode.as_str() {
        "unbounded" => None,
        _ => Some(tasks + 2),
    };
    let pool = pyants::Pool::builder()
        .capacity(1)
        .queue_size(queue_size)
        .build()
        .expect("the options are good");
    let (open, gate) = std::sync::mpsc::channel::<()>();
    pool.submit(move || gate.recv().expect("the gate is opened"))
        .expect("the pool is open");
    for _ in 0..tasks {
        pool.submit(|| ()).expect("the pool is open");
    }
    let (done, end) = std::sync::mpsc::channel::<()>();
    pool.submit(move || done.send(()).expect("somebody waits"))
        .expect("the pool is open");
    open.send(()).expect("the worker waits");
    end.recv().expect("the last task tells");
}

#[cfg(any(loom, shuttle))]
fn main() {}
