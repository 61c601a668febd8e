//! The typed path for threads without an executor.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use nearcache_proto::{Error, LoadPolicy, Read, ReadPolicy};
use pollster::block_on;

use crate::{Codec, Ttl};

/// A [`Typed`](crate::Typed) whose calls block their thread.
pub struct Typed<T, C>(crate::Typed<T, C>);

impl<T, C> Typed<T, C>
where
    T: Send + Sync + 'static,
    C: Codec<T>,
{
    pub(super) fn new(typed: crate::Typed<T, C>) -> Self {
        Self(typed)
    }

    /// The same handle for callers with an executor.
    pub fn as_async(&self) -> &crate::Typed<T, C> {
        &self.0
    }

    /// As [`Typed::get`](crate::Typed::get).
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>, Error> {
        let key = key.as_ref();
        match self.0.resident(key) {
            Some(found) => found,
            None => block_on(self.0.get(key)),
        }
    }

    /// As [`Typed::get_with`](crate::Typed::get_with).
    ///
    /// # Errors
    /// As there.
    pub fn get_with(
        &self,
        key: impl AsRef<[u8]>,
        policy: ReadPolicy,
    ) -> Result<Read<Arc<T>>, Error> {
        block_on(self.0.get_with(key, policy))
    }

    /// As [`Typed::get_resident`](crate::Typed::get_resident).
    pub fn get_resident(&self, key: impl AsRef<[u8]>) -> Option<Arc<T>> {
        self.0.get_resident(key)
    }

    /// As [`Typed::get_many`](crate::Typed::get_many).
    ///
    /// # Errors
    /// As there.
    pub fn get_many(&self, keys: &[impl AsRef<[u8]>]) -> Vec<Result<Option<Arc<T>>, Error>> {
        block_on(self.0.get_many(keys))
    }

    /// As [`Typed::get_many_with`](crate::Typed::get_many_with).
    ///
    /// # Errors
    /// As there.
    pub fn get_many_with(
        &self,
        keys: &[impl AsRef<[u8]>],
        policy: ReadPolicy,
    ) -> Vec<Result<Read<Arc<T>>, Error>> {
        block_on(self.0.get_many_with(keys, policy))
    }

    /// As [`Typed::get_validated`](crate::Typed::get_validated).
    ///
    /// # Errors
    /// As there.
    pub fn get_validated(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>, Error> {
        block_on(self.0.get_validated(key))
    }

    /// As [`Typed::set`](crate::Typed::set).
    ///
    /// # Errors
    /// As there.
    pub fn set(&self, key: impl AsRef<[u8]>, value: &T, ttl: Ttl) -> Result<(), Error> {
        block_on(self.0.set(key, value, ttl))
    }

    /// As [`Typed::delete`](crate::Typed::delete).
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        block_on(self.0.delete(key))
    }

    /// As [`Typed::forget`](crate::Typed::forget).
    pub fn forget(&self, key: impl AsRef<[u8]>) -> bool {
        self.0.forget(key)
    }

    /// As [`Typed::get_or_load`](crate::Typed::get_or_load), with a loader that blocks. One that takes longer than
    /// `load_timeout` cannot be ended: it goes on in its own caller, while all who wait for it are answered; the next
    /// caller may run another, and it keeps its place among `max_loads` until it returns.
    ///
    /// # Errors
    /// As there.
    pub fn get_or_load<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Ttl,
        loader: F,
    ) -> Result<Arc<T>, Error>
    where
        F: FnOnce() -> Result<T, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load(key, ttl, || async { loader() }))
    }

    /// As [`Typed::get_or_load_optional`](crate::Typed::get_or_load_optional), with a loader that blocks.
    ///
    /// # Errors
    /// As there.
    pub fn get_or_load_optional<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        loader: F,
    ) -> Result<Option<Arc<T>>, Error>
    where
        F: FnOnce() -> Result<Option<(T, Ttl)>, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load_optional(key, || async { loader() }))
    }

    /// As [`Typed::get_or_load_with`](crate::Typed::get_or_load_with), with a loader that blocks.
    ///
    /// # Errors
    /// As there.
    pub fn get_or_load_with<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        policy: LoadPolicy,
        loader: F,
    ) -> Result<Read<Arc<T>>, Error>
    where
        F: FnOnce() -> Result<Option<(T, Ttl)>, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load_with(key, policy, || async { loader() }))
    }
}

impl<T, C> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, C> fmt::Debug for Typed<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
