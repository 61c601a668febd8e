//! The same calls for threads without an executor: each waits for the call of the same name.
//!
//! Adds nothing but the waiting. Hits are answered before there is anything to wait for.

#[cfg(feature = "redis-rs")]
mod redis;
mod typed;

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{Error, LoadPolicy, Read, ReadPolicy};
use pollster::block_on;

use crate::{Codec, Readiness, Settings, Stats, TraceExport, TraceNames, Ttl, WarmReport};

#[cfg(feature = "redis-rs")]
pub use redis::Connection;
pub use typed::Typed;

/// A [`NearCache`](crate::NearCache) whose calls block their thread. Clones share L1 and lane, with
/// asynchronous handles too.
///
/// Not for a thread that drives an executor, nor for a removal hook: nothing else runs there meanwhile.
///
/// ```
/// use nearcache::{NearCache, Ttl};
///
/// let cache = NearCache::builder().memory().connect_blocking()?;
/// cache.set("product:123", "tea", Ttl::secs(60))?;
/// assert_eq!(cache.get("product:123")?.as_deref(), Some(&b"tea"[..]));
/// # Ok::<(), nearcache::Error>(())
/// ```
#[derive(Clone)]
pub struct NearCache(crate::NearCache);

impl NearCache {
    pub(crate) fn new(cache: crate::NearCache) -> Self {
        Self(cache)
    }

    /// The same cache for callers with an executor.
    pub fn as_async(&self) -> &crate::NearCache {
        &self.0
    }

    /// As [`NearCache::get`](crate::NearCache::get).
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let key = key.as_ref();
        match self.0.resident(key) {
            Some(value) => Ok(value),
            None => block_on(self.0.get(key)),
        }
    }

    /// As [`NearCache::get_with`](crate::NearCache::get_with).
    ///
    /// # Errors
    /// As there.
    pub fn get_with(&self, key: impl AsRef<[u8]>, policy: ReadPolicy) -> Result<Read, Error> {
        block_on(self.0.get_with(key, policy))
    }

    /// As [`NearCache::get_resident`](crate::NearCache::get_resident).
    #[inline]
    pub fn get_resident(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.0.get_resident(key)
    }

    /// As [`NearCache::get_many`](crate::NearCache::get_many).
    ///
    /// # Errors
    /// As there.
    pub fn get_many(&self, keys: &[impl AsRef<[u8]>]) -> Vec<Result<Option<Bytes>, Error>> {
        block_on(self.0.get_many(keys))
    }

    /// As [`NearCache::get_many_with`](crate::NearCache::get_many_with).
    ///
    /// # Errors
    /// As there.
    pub fn get_many_with(
        &self,
        keys: &[impl AsRef<[u8]>],
        policy: ReadPolicy,
    ) -> Vec<Result<Read, Error>> {
        block_on(self.0.get_many_with(keys, policy))
    }

    /// As [`NearCache::get_validated`](crate::NearCache::get_validated).
    ///
    /// # Errors
    /// As there.
    pub fn get_validated(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.0.get_validated(key))
    }

    /// As [`NearCache::set`](crate::NearCache::set).
    ///
    /// # Errors
    /// As there.
    pub fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Ttl,
    ) -> Result<(), Error> {
        block_on(self.0.set(key, value, ttl))
    }

    /// As [`NearCache::delete`](crate::NearCache::delete).
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        block_on(self.0.delete(key))
    }

    /// As [`NearCache::forget`](crate::NearCache::forget).
    pub fn forget(&self, key: impl AsRef<[u8]>) -> bool {
        self.0.forget(key)
    }

    /// As [`NearCache::get_or_load`](crate::NearCache::get_or_load), with a loader that blocks. One that takes longer than
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
    ) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Result<Bytes, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load(key, ttl, || async { loader() }))
    }

    /// As [`NearCache::get_or_load_optional`](crate::NearCache::get_or_load_optional), with a loader that blocks.
    ///
    /// # Errors
    /// As there.
    pub fn get_or_load_optional<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        loader: F,
    ) -> Result<Option<Bytes>, Error>
    where
        F: FnOnce() -> Result<Option<(Bytes, Ttl)>, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load_optional(key, || async { loader() }))
    }

    /// As [`NearCache::get_or_load_with`](crate::NearCache::get_or_load_with), with a loader that blocks.
    ///
    /// # Errors
    /// As there.
    pub fn get_or_load_with<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        policy: LoadPolicy,
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Result<Option<(Bytes, Ttl)>, E>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        block_on(self.0.get_or_load_with(key, policy, || async { loader() }))
    }

    /// As [`NearCache::load_policy`](crate::NearCache::load_policy).
    pub fn load_policy(&self) -> LoadPolicy {
        self.0.load_policy()
    }

    /// As [`NearCache::fence`](crate::NearCache::fence).
    ///
    /// # Errors
    /// As there.
    pub fn fence(&self) -> Result<(), Error> {
        block_on(self.0.fence())
    }

    /// As [`NearCache::typed`](crate::NearCache::typed).
    pub fn typed<T, C>(&self, codec: C) -> Typed<T, C>
    where
        T: Send + Sync + 'static,
        C: Codec<T>,
    {
        Typed::new(self.0.typed(codec))
    }

    /// As [`NearCache::session`](crate::NearCache::session).
    pub fn session(&self) -> Session {
        Session(self.0.session())
    }

    /// As [`NearCache::with_db`](crate::NearCache::with_db).
    #[must_use]
    pub fn with_db(&self, db: u32) -> Self {
        Self(self.0.with_db(db))
    }

    /// As [`NearCache::db`](crate::NearCache::db).
    pub fn db(&self) -> u32 {
        self.0.db()
    }

    /// As [`NearCache::stats`](crate::NearCache::stats).
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// As [`NearCache::readiness`](crate::NearCache::readiness).
    pub fn readiness(&self) -> Readiness {
        self.0.readiness()
    }

    /// As [`NearCache::ready`](crate::NearCache::ready).
    pub fn ready(&self) {
        block_on(self.0.ready());
    }

    /// As [`NearCache::warm_report`](crate::NearCache::warm_report).
    pub fn warm_report(&self) -> Option<WarmReport> {
        self.0.warm_report()
    }

    /// As [`NearCache::settings`](crate::NearCache::settings).
    pub fn settings(&self) -> &Settings {
        self.0.settings()
    }

    /// As [`NearCache::export_trace`](crate::NearCache::export_trace).
    ///
    /// # Errors
    /// As there.
    pub fn export_trace(&self, names: TraceNames, most_bytes: usize) -> Result<TraceExport, Error> {
        self.0.export_trace(names, most_bytes)
    }

    /// As [`NearCache::shutdown`](crate::NearCache::shutdown).
    pub fn shutdown(&self) {
        self.0.end();
    }
}

impl fmt::Debug for NearCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`Session`](crate::Session) whose calls block their thread.
#[derive(Debug)]
pub struct Session(crate::Session);

impl Session {
    /// As [`Session::command`](crate::Session::command).
    ///
    /// # Errors
    /// As there.
    pub fn command(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Reply, Error> {
        block_on(self.0.command(argv))
    }

    /// As [`Session::transaction`](crate::Session::transaction).
    ///
    /// # Errors
    /// As there.
    pub fn transaction(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Reply, Error> {
        block_on(self.0.transaction(commands))
    }
}
