//! Every lock and every atomic of the store, so that a model checker can replace them all.
//! Pure counters (statistics, frequencies) use std directly and never order anything.

#[cfg(nearcache_loom)]
use loom::sync as from;
#[cfg(not(nearcache_loom))]
use std::sync as from;

#[cfg(nearcache_loom)]
pub(crate) use loom::thread::yield_now;
#[cfg(not(nearcache_loom))]
pub(crate) use std::thread::yield_now;

pub(crate) use from::atomic::{AtomicBool, AtomicUsize, Ordering};
use from::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use std::sync::PoisonError;

/// A mutex that does not care who panicked while holding it.
///
/// Of std, as all locks here: one without a table of waiters that all locks of the process share. A forked child would
/// inherit the locks of that table as they were.
pub(crate) struct Mutex<T>(from::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(from::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read-write lock that does not care who panicked while holding it.
pub(crate) struct RwLock<T>(from::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(from::RwLock::new(value))
    }

    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
