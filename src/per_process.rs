//! A value that each process has for itself.
//!
//! A forked child has only one of its parent's threads, and the others may hold the parent's locks for ever. So the
//! child leaves alone what it inherits: it makes a value of its own, and the parent's stays where it is.

#![cfg_attr(not(feature = "python"), allow(dead_code))] // The core needs less of it than the bindings.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the module's description. Callers pass a number that identifies their process.
pub struct PerProcess<T> {
    entry: AtomicPtr<Entry<T>>,
    owns: PhantomData<T>,
}

struct Entry<T> {
    process: u64,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub const fn empty() -> Self {
        PerProcess {
            entry: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// Starts with a value of this process.
    pub fn new(process: u64, value: T) -> Self {
        PerProcess {
            entry: AtomicPtr::new(Entry::leak(process, value)),
            owns: PhantomData,
        }
    }

    /// The value of this process; `None`: it has none, or a parent made it.
    #[inline]
    pub fn get(&self, process: u64) -> Option<&T> {
        let entry = self.entry_at(self.entry.load(Ordering::Acquire))?;
        (entry.process == process).then_some(&entry.value)
    }

    /// The value of this process. If there is none, `make` makes it, and may look at a parent's for that; if another
    /// thread is faster, the one just made is dropped.
    #[inline]
    pub fn get_or_make<E>(
        &self,
        process: u64,
        make: impl FnOnce(Option<&T>) -> Result<T, E>,
    ) -> Result<&T, E> {
        match self.get(process) {
            Some(value) => Ok(value),
            None => self.make(process, make),
        }
    }

    /// As `get_or_make`, where making it cannot fail.
    #[inline]
    pub fn get_or_init(&self, process: u64, make: impl FnOnce(Option<&T>) -> T) -> &T {
        let Ok(own) = self.get_or_make(process, |former| Ok::<_, Infallible>(make(former)));
        own
    }

    #[cold]
    fn make<E>(
        &self,
        process: u64,
        make: impl FnOnce(Option<&T>) -> Result<T, E>,
    ) -> Result<&T, E> {
        let former = self.entry.load(Ordering::Acquire);
        let value = make(self.entry_at(former).map(|entry| &entry.value))?;
        Ok(match self.replace(former, process, value) {
            Ok(own) => own,
            // Only a thread of this process puts anything there.
            Err((other, _)) => other,
        })
    }

    /// Stores the value if there never was one; else hands it back.
    pub fn set(&self, process: u64, value: T) -> Result<(), T> {
        self.replace(ptr::null_mut(), process, value)
            .map(drop)
            .map_err(|(_, value)| value)
    }

    /// Replaces the former entry, which is leaked, by a value; else returns the current value, and this one back.
    fn replace(&self, former: *mut Entry<T>, process: u64, value: T) -> Result<&T, (&T, T)> {
        let new = Entry::leak(process, value);
        // AcqRel: a reader of the pointer sees what it points to.
        match (self.entry).compare_exchange(former, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // SAFETY: as in `entry_at`.
                Ok(unsafe { &(*new).value })
            }
            Err(now) => {
                // SAFETY: it was leaked above, and no other thread has seen it.
                let Entry { value, .. } = *unsafe { Box::from_raw(new) };
                let now = self
                    .entry_at(now)
                    .expect("it is not null where it was not taken for null");
                Err((&now.value, value))
            }
        }
    }

    /// Called in a child that was just forked: it never takes a parent's value for its own, whatever its process id.
    pub fn forget(&self) {
        self.entry.store(ptr::null_mut(), Ordering::Release);
    }

    /// Drops the value, if this process made it.
    pub fn give_up(&mut self, process: u64) {
        let entry = std::mem::replace(self.entry.get_mut(), ptr::null_mut());
        if self
            .entry_at(entry)
            .is_some_and(|entry| entry.process == process)
        {
            // SAFETY: it was leaked by `Entry::leak`, its place is empty now, and anybody who borrowed from it borrowed
            // `self`, which nobody else has now.
            drop(unsafe { Box::from_raw(entry) });
        }
    }

    fn entry_at(&self, entry: *mut Entry<T>) -> Option<&Entry<T>> {
        // SAFETY: the pointer is null, or was in `self.entry`, and so comes from `Entry::leak`. Only `give_up` frees
        // it, which nobody can call while `self` is borrowed.
        unsafe { entry.as_ref() }
    }
}

impl<T: Send + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T> Entry<T> {
    fn leak(process: u64, value: T) -> *mut Self {
        Box::into_raw(Box::new(Entry { process, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::PerProcess;
    use std::sync::Arc;

    #[test]
    fn a_child_makes_a_value_of_its_own_and_leaves_the_parents() {
        let value = Arc::new(());
        let mut place = PerProcess::empty();
        assert!(place.get(1).is_none());
        assert!(place.set(1, (1, Arc::clone(&value))).is_ok());
        assert!(place.set(1, (2, Arc::clone(&value))).is_err());
        assert_eq!(place.get(1).map(|own| own.0), Some(1));
        assert!(place.get(2).is_none());
        let made = place.get_or_init(2, |former| {
            let (number, value) = former.expect("there is the parent's");
            (number + 9, Arc::clone(value))
        });
        assert_eq!(made.0, 10);
        // The parent's, this process's, and the local one.
        assert_eq!(Arc::strong_count(&value), 3);
        place.give_up(2);
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(place.get(2).is_none());
    }

    #[test]
    fn what_is_not_this_processs_is_not_dropped() {
        let value = Arc::new(());
        let mut place = PerProcess::new(1, Arc::clone(&value));
        place.give_up(2);
        assert_eq!(Arc::strong_count(&value), 2);
        let place = PerProcess::new(1, Arc::clone(&value));
        place.forget();
        assert!(place.get(1).is_none());
        assert_eq!(Arc::strong_count(&value), 3);
    }
}
