//! Every lock and every atomic of the protocol, so that a model checker can replace them all.
//! Pure counters (statistics, frequencies) use std directly and never order anything.

#[cfg(feature = "loom")]
pub(crate) use self::modelled::*;
#[cfg(not(feature = "loom"))]
pub(crate) use self::native::*;

#[cfg(not(feature = "loom"))]
mod native {
    pub(crate) use parking_lot::{Mutex, RwLock};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use std::thread::yield_now;
}

#[cfg(feature = "loom")]
mod modelled {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    pub(crate) use loom::thread::yield_now;

    const POISON: &str = "the model aborts on the first panic, so no lock outlives one";

    /// A loom mutex with parking_lot's signatures.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect(POISON)
        }
    }

    /// A loom read-write lock with parking_lot's signatures.
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect(POISON)
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect(POISON)
        }
    }
}
