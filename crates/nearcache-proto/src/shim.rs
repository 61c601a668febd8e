//! Every atomic and lock of the protocol, so that the real code runs under a schedule explorer.
//!
//! Locks are std's, which share nothing with each other: a forked child finds no table of waiters locked for ever.

use std::sync::{PoisonError, TryLockError};

#[cfg(nearcache_loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(nearcache_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

#[cfg(not(nearcache_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(nearcache_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks, whoever panicked while holding it.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks unless somebody holds it.
#[inline]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
