//! Replaces the standard library in a model, as a module of the core's `pool::sync`. It alone uses the checker.
//!
//! **SeqCst.** loom takes SeqCst accesses for acquire and release ones: it does not know their single total order. The
//! atomics here add what is missing to each access that is SeqCst and to no other, so that a model checks the core's
//! own orderings: weakened ones get no help. They either add a fence, which costs a model nothing and orders a little
//! more than C++ does (what comes before a SeqCst load, too); or, in an `exact` model, all SeqCst accesses meet in one
//! word, which no other access touches.
//!
//! **Time** passes only when a thread waits for it: a thread that waits with a limit yields to the others, for as long
//! as the checker likes, and then that much time has passed. So each wait may end by its limit or before.

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

use atomic::{AtomicU64, Ordering::Relaxed};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Add, Deref, DerefMut, Sub};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

std::thread_local! {
    /// All threads of a model run on one thread of the system, and so have one clock.
    static CLOCK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SPINS: Cell<bool> = const { Cell::new(cfg!(shuttle)) };
}

/// Whether the threads of this model take one look before they sleep or do something expensive.
pub fn spin(spins: bool) {
    SPINS.set(spins);
}

pub fn may_spin() -> bool {
    SPINS.get()
}

/// A point in a model's time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        Instant(CLOCK.get())
    }

    pub fn elapsed(self) -> Duration {
        CLOCK.get() - self.0
    }

    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Instant)
    }

    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Instant(self.0 + duration)
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

/// Lets the others go on, then that much time has passed.
pub fn pass(duration: Duration) {
    checker::thread::yield_now();
    CLOCK.set(CLOCK.get().saturating_add(duration));
}

#[derive(Default)]
pub struct Mutex<T>(checker::sync::Mutex<T>);

pub struct MutexGuard<'a, T> {
    guard: checker::sync::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub fn new(value: T) -> Self {
        Mutex(checker::sync::Mutex::new(value))
    }

    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(MutexGuard { guard, mutex: self })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

pub struct Condvar(checker::sync::Condvar);

impl Condvar {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Condvar(checker::sync::Condvar::new())
    }

    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let MutexGuard { guard, mutex } = guard;
        let guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        Ok(MutexGuard { guard, mutex })
    }

    /// Is never woken before its time, which may come at any moment.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        let MutexGuard { guard, mutex } = guard;
        drop(guard);
        pass(limit);
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((guard, ()))
    }

    #[track_caller]
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    #[track_caller]
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A queue that promises no more than a lock-free one. `is_empty` is a relaxed read, before which a full fence is
/// needed. A pop takes a place first, and then waits for the task there if its pusher was delayed.
pub struct RunQueue<T> {
    /// How many places were taken for pushes (upper half) and for pops (lower half).
    taken: AtomicU64,
    tasks: Mutex<BTreeMap<u64, T>>,
}

impl<T> RunQueue<T> {
    const PUSHED: u64 = 1 << 32;

    pub fn new() -> Self {
        RunQueue {
            taken: AtomicU64::new(0),
            tasks: Mutex::new(BTreeMap::new()),
        }
    }

    pub fn push(&self, task: T) {
        let place = self.taken.fetch_add(Self::PUSHED, Relaxed) / Self::PUSHED;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.insert(place, task);
    }

    pub fn pop(&self) -> Option<T> {
        let mut taken = self.taken.load(Relaxed);
        while taken / Self::PUSHED > taken % Self::PUSHED {
            match self
                .taken
                .compare_exchange(taken, taken + 1, Relaxed, Relaxed)
            {
                Ok(_) => return Some(self.take(taken % Self::PUSHED)),
                Err(now) => taken = now,
            }
        }
        None
    }

    fn take(&self, place: u64) -> T {
        loop {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(task) = tasks.remove(&place) {
                return task;
            }
            drop(tasks);
            checker::thread::yield_now();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        let taken = self.taken.load(Relaxed);
        (taken / Self::PUSHED - taken % Self::PUSHED) as usize
    }
}

#[cfg(shuttle)]
pub use shuttle::sync::atomic;

#[cfg(loom)]
pub mod atomic {
    pub use loom::sync::atomic::Ordering;
    use std::cell::RefCell;
    use std::rc::Rc;

    std::thread_local! {
        /// The word in which the accesses of the total order meet, if the model is exact.
        static ORDER: RefCell<Option<Rc<loom::sync::atomic::AtomicUsize>>> = const { RefCell::new(None) };
    }

    /// Makes this model exact; called as it begins.
    pub fn be_exact(exact: bool) {
        ORDER.set(exact.then(|| Rc::new(loom::sync::atomic::AtomicUsize::new(0))));
    }

    fn is_exact() -> bool {
        ORDER.with_borrow(Option::is_some)
    }

    /// Comes after what was published before in the total order (Acquire), or publishes what this thread did (Release).
    fn meet(ordering: Ordering) {
        let order = ORDER.with_borrow(Clone::clone);
        order.expect("the model is exact").fetch_add(1, ordering);
    }

    pub fn fence(ordering: Ordering) {
        loom::sync::atomic::fence(ordering);
        if is_exact() {
            meet(Ordering::AcqRel);
        }
    }

    fn before_load(ordering: Ordering) {
        match ordering {
            Ordering::SeqCst if is_exact() => meet(Ordering::Acquire),
            Ordering::SeqCst => loom::sync::atomic::fence(ordering),
            _ => {}
        }
    }

    /// A read-modify-write reads the latest value anyway.
    fn after_store(ordering: Ordering) {
        match ordering {
            Ordering::SeqCst if is_exact() => meet(Ordering::Release),
            Ordering::SeqCst => loom::sync::atomic::fence(ordering),
            _ => {}
        }
    }

    macro_rules! atomics {
        ($($atomic:ident $value:ty: $($op:ident)*;)*) => {$(
            #[derive(Debug, Default)]
            pub struct $atomic(loom::sync::atomic::$atomic);

            #[allow(dead_code)]
            impl $atomic {
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$atomic::new(value))
                }

                pub fn load(&self, ordering: Ordering) -> $value {
                    before_load(ordering);
                    self.0.load(ordering)
                }

                pub fn store(&self, value: $value, ordering: Ordering) {
                    self.0.store(value, ordering);
                    after_store(ordering);
                }

                pub fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    let result = self.0.compare_exchange(old, new, success, failure);
                    after_store(if result.is_ok() { success } else { failure });
                    result
                }

                pub fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, success, failure)
                }

                pub fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    change: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    let result = self.0.fetch_update(success, failure, change);
                    after_store(if result.is_ok() { success } else { failure });
                    result
                }

                $(pub fn $op(&self, value: $value, ordering: Ordering) -> $value {
                    let before = self.0.$op(value, ordering);
                    after_store(ordering);
                    before
                })*
            }
        )*};
    }

    atomics! {
        AtomicBool bool: swap fetch_and fetch_or;
        AtomicU8 u8: swap fetch_and fetch_or fetch_add fetch_sub;
        AtomicU32 u32: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
        AtomicU64 u64: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
        AtomicUsize usize: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
    }
}
