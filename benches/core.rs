//! The cost of a task: empty closures through the pool and through its peers, until the last of them is done.
//!
//! `cargo bench --bench core` (all of it), `QUICK=1 cargo bench --bench core` (a quick look, about a minute), and
//! either with `-- 'unbounded/8 workers'` or the like to choose. A group is named by how tasks wait for a worker, by
//! the workers and by the submitters; an entry in it by what runs them. Times are per batch, throughputs per task.
//! `make bench` runs all of it three times over, so that the peers' rounds are interleaved.
//!
//! Every peer uses its own means, and only those with the same limit are compared: rayon, tokio, rusty_pool and
//! threadpool have no bounded queue. Each task counts itself, so that the end is noticed, at the same cost for all.

#[cfg(not(any(loom, shuttle)))]
mod bench {
    use criterion::measurement::WallTime;
    use criterion::{BenchmarkGroup, Criterion, Throughput};
    use crossbeam_channel::{Sender, bounded, unbounded};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread::{self, JoinHandle, Thread};
    use std::time::{Duration, Instant};

    const WORKERS: [usize; 2] = [2, 8];
    const SUBMITTERS: [usize; 2] = [1, 4];

    fn is_quick() -> bool {
        std::env::var("QUICK").is_ok_and(|value| !value.is_empty() && value != "0")
    }

    /// Tells the thread that made it when the last task of a batch is done.
    struct Batch {
        left: AtomicUsize,
        waiter: Thread,
    }

    impl Batch {
        fn of(tasks: usize) -> Arc<Self> {
            Arc::new(Batch {
                left: AtomicUsize::new(tasks),
                waiter: thread::current(),
            })
        }

        /// Called by each task.
        #[inline]
        fn count(&self) {
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.waiter.unpark();
            }
        }

        fn wait(&self) {
            while self.left.load(Ordering::Acquire) > 0 {
                thread::park();
            }
        }
    }

    /// Something that runs tasks.
    trait Runner: Sync {
        fn submit(&self, task: impl FnOnce() + Send + 'static);
    }

    impl Runner for pyants::Pool {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            pyants::Pool::submit(self, task).expect("the pool is open");
        }
    }

    /// Threads that share a channel: a hand-written pool.
    struct Channel {
        tasks: Option<Sender<Box<dyn FnOnce() + Send>>>,
        threads: Vec<JoinHandle<()>>,
    }

    impl Channel {
        fn new(workers: usize, queue_size: Option<usize>) -> Self {
            let (sender, tasks) = match queue_size {
                Some(size) => bounded::<Box<dyn FnOnce() + Send>>(size),
                None => unbounded(),
            };
            let work = || {
                let tasks = tasks.clone();
                thread::spawn(move || tasks.iter().for_each(|task| task()))
            };
            Channel {
                tasks: Some(sender),
                threads: (0..workers).map(|_| work()).collect(),
            }
        }
    }

    impl Runner for Channel {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            let tasks = self.tasks.as_ref().expect("it is open until dropped");
            tasks.send(Box::new(task)).expect("the threads are alive");
        }
    }

    impl Drop for Channel {
        fn drop(&mut self) {
            self.tasks = None;
            for thread in self.threads.drain(..) {
                thread.join().expect("no task panics");
            }
        }
    }

    impl Runner for rayon::ThreadPool {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            self.spawn(task);
        }
    }

    impl Runner for tokio::runtime::Runtime {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            drop(self.spawn_blocking(task));
        }
    }

    impl Runner for rusty_pool::ThreadPool {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            self.execute(task);
        }
    }

    impl Runner for threadpool::ThreadPool {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            self.execute(task);
        }
    }

    /// A thread for each task.
    struct ThreadPerTask;

    impl Runner for ThreadPerTask {
        fn submit(&self, task: impl FnOnce() + Send + 'static) {
            thread::spawn(task);
        }
    }

    /// The time from the first submit to the end of the last task.
    fn time(runner: &impl Runner, submitters: usize, tasks: usize) -> Duration {
        let batch = Batch::of(tasks);
        let submit = || {
            for _ in 0..tasks / submitters {
                let batch = Arc::clone(&batch);
                runner.submit(move || batch.count());
            }
        };
        if submitters == 1 {
            let start = Instant::now();
            submit();
            batch.wait();
            return start.elapsed();
        }
        let ready = Barrier::new(submitters);
        thread::scope(|scope| {
            let submit = || {
                ready.wait();
                let start = Instant::now();
                submit();
                start
            };
            let submitters: Vec<_> = (0..submitters).map(|_| scope.spawn(submit)).collect();
            batch.wait();
            let end = Instant::now();
            let start = submitters
                .into_iter()
                .map(|thread| thread.join().expect("a submitter does not panic"))
                .min();
            end - start.expect("there are submitters")
        })
    }

    struct Setting<'a> {
        group: BenchmarkGroup<'a, WallTime>,
        workers: usize,
        submitters: usize,
    }

    impl Setting<'_> {
        fn measure<R: Runner>(&mut self, name: &str, tasks: usize, make: impl FnOnce() -> R) {
            let submitters = self.submitters;
            let mut runner = None;
            let mut make = Some(make);
            self.group.throughput(Throughput::Elements(tasks as u64));
            self.group.bench_function(name, |bencher| {
                // Made here, so that nothing is made that was not chosen; and once, so that its threads are warm.
                if let Some(make) = make.take() {
                    runner = Some(make());
                }
                let runner = runner.as_ref().expect("it was made");
                bencher.iter_custom(|batches| {
                    (0..batches).map(|_| time(runner, submitters, tasks)).sum()
                });
            });
        }

        fn pyants(&mut self, tasks: usize, queue_size: Option<u64>) {
            let capacity = self.workers as u32;
            self.measure("pyants", tasks, || {
                pyants::Pool::builder()
                    .capacity(capacity)
                    .queue_size(queue_size)
                    .build()
                    .expect("the options are good")
            });
        }

        fn channel(&mut self, tasks: usize, queue_size: Option<usize>) {
            let workers = self.workers;
            self.measure("crossbeam channel", tasks, || {
                Channel::new(workers, queue_size)
            });
        }
    }

    fn from(submitters: usize) -> String {
        let ending = if submitters == 1 { "" } else { "s" };
        format!("{submitters} submitter{ending}")
    }

    /// Measures each combination of workers and submitters.
    fn settings(criterion: &mut Criterion, name: &str, mut measure: impl FnMut(&mut Setting<'_>)) {
        for workers in WORKERS {
            for submitters in SUBMITTERS {
                let title = format!("{name}/{workers} workers/{}", from(submitters));
                let mut setting = Setting {
                    group: criterion.benchmark_group(title),
                    workers,
                    submitters,
                };
                measure(&mut setting);
                setting.group.finish();
            }
        }
    }

    /// A task enters only when a worker is free for it.
    fn hand_off(criterion: &mut Criterion) {
        let tasks = if is_quick() { 400 } else { 4_000 };
        settings(criterion, "hand-off", |setting| {
            setting.pyants(tasks, Some(0));
            setting.channel(tasks, Some(0));
        });
    }

    /// A few tasks may wait for a worker.
    fn queue(criterion: &mut Criterion) {
        let tasks = if is_quick() { 2_000 } else { 20_000 };
        settings(criterion, "queue of 64", |setting| {
            setting.pyants(tasks, Some(64));
            setting.channel(tasks, Some(64));
        });
    }

    /// Any number of tasks may wait for a worker.
    fn no_bound(criterion: &mut Criterion) {
        let tasks = if is_quick() { 4_000 } else { 40_000 };
        settings(criterion, "unbounded", |setting| {
            let workers = setting.workers;
            setting.pyants(tasks, None);
            setting.channel(tasks, None);
            setting.measure("rayon", tasks, || {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(workers)
                    .build()
                    .expect("there are threads")
            });
            setting.measure("tokio spawn_blocking", tasks, || {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1) // They run no tasks.
                    .max_blocking_threads(workers)
                    .build()
                    .expect("there are threads")
            });
            setting.measure("rusty_pool", tasks, || {
                rusty_pool::Builder::new()
                    .core_size(workers)
                    .max_size(workers)
                    .build()
            });
            setting.measure("threadpool", tasks, || threadpool::ThreadPool::new(workers));
        });
    }

    /// The cost that a pool saves: as many threads as tasks, so only few tasks.
    fn thread_per_task(criterion: &mut Criterion) {
        for submitters in SUBMITTERS {
            let title = format!("a thread per task/{}", from(submitters));
            let mut setting = Setting {
                group: criterion.benchmark_group(title),
                workers: 0,
                submitters,
            };
            setting.measure("std::thread", 200, || ThreadPerTask);
            setting.group.finish();
        }
    }

    /// Runs everything.
    pub fn main() {
        let criterion = if is_quick() {
            Criterion::default()
                .sample_size(10)
                .nresamples(2_000)
                .warm_up_time(Duration::from_millis(50))
                .measurement_time(Duration::from_millis(150))
        } else {
            Criterion::default()
                .sample_size(20)
                .nresamples(10_000)
                .warm_up_time(Duration::from_millis(300))
                .measurement_time(Duration::from_millis(700))
        };
        let mut criterion = criterion.configure_from_args();
        hand_off(&mut criterion);
        queue(&mut criterion);
        no_bound(&mut criterion);
        thread_per_task(&mut criterion);
        criterion.final_summary();
    }
}

fn main() {
    #[cfg(not(any(loom, shuttle)))]
    bench::main();
}
