//! The cache as users hold it: one call of the protocol each, on the IO thread of this process.
//!
//! Holds no logic of its own: freshness, flights and retries are decided in `nearcache-proto`.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache_io::{IoThread, PerProcess};
use nearcache_l1::Promise;
use nearcache_proto::warm::{Readiness, WarmReport};
use nearcache_proto::{
    Cache, Call, Error, ErrorKind, LoadPolicy, Loaded, Protocol, Read, ReadPolicy, check_ttl,
};

use crate::settings::DB_MAX;
use crate::{Builder, Codec, Session, Settings, Stats, Ttl, Typed, blocking};

/// A handle of a near cache; clones share L1 and lane.
///
/// Every call may be made from any thread and any executor, or none at all ([`blocking`]). A hit takes
/// no await point, copies no value and allocates nothing.
///
/// # Shutdown
/// Dropping the last handle, sessions and typed handles included, ends the IO thread.
///
/// # Fork
/// A process may be forked at any moment, whatever its threads do. Each child makes an L1, a lane and a background of
/// its own from the same settings at its first call, starts warm like every pod, and counts for itself. Every handle
/// goes on working there; a session or drop-in connection has a new connection state in the same db, and if it was in
/// a transaction its first call fails, since that goes on in the parent. A cache that was shut down is open again in
/// the child. What the child inherits it neither uses nor frees, so fork before L1 is full to save memory.
///
/// - [`memory`](Builder::memory) and [`MemoryL2`](crate::MemoryL2) are empty in the child.
/// - Hooks, weighers, codecs, loaders, a [store](Builder::store) of your own and the subscriber of `tracing` are the
///   child's as they were at that moment: a lock of theirs that another thread held stays locked.
/// - A future that was begun before the fork is the parent's: do not poll it in the child.
/// - A fork by a bare system call, behind the C library, is noticed at the first request to L2, which fails and says so.
///   Until then the child uses what its parent had: it serves within the same bound of staleness, and may hang on a lock
///   that another thread held.
#[derive(Clone)]
pub struct NearCache {
    // Not in `inner`: a hit would have one more pointer to follow.
    pub(crate) lives: Arc<PerProcess<Cache<IoThread>>>,
    inner: Arc<Inner>,
    db: u32,
}

struct Inner {
    settings: Settings,
    place: String,
    #[cfg_attr(
        not(feature = "redis-rs"),
        expect(dead_code, reason = "only the drop-in answers in a protocol")
    )]
    protocol: Protocol,
}

impl NearCache {
    /// Sets up a cache.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        lives: PerProcess<Cache<IoThread>>,
        settings: Settings,
        place: String,
        protocol: Protocol,
        db: u32,
    ) -> Self {
        let inner = Inner {
            settings,
            place,
            protocol,
        };
        Self {
            lives: Arc::new(lives),
            inner: Arc::new(inner),
            db,
        }
    }

    /// Reads a key: from L1 when that is provably fresh, else from L2. `None`: L2 has no such key.
    ///
    /// When the copy in L1 cannot be proven fresh, the setting `on_unproven` decides between asking L2, failing, and
    /// serving it stale. The last nothing could mark here: it is counted (`stale_total`), and
    /// [`get_with`](Self::get_with) says it.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when L2 does not answer, [`ErrorKind::Usage`] when the key holds another
    /// type than a string, [`ErrorKind::Unproven`] under `on_unproven = error`.
    ///
    /// # Cancellation
    /// Dropping the future leaves the fetch running for whoever else waits for it.
    ///
    /// # Cost
    /// A hit: as [`get_resident`](Self::get_resident), and ready at the first poll. A miss: one round
    /// trip, shared by all who miss the key meanwhile.
    #[inline]
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let policy = self.policy();
        let read = self.cache().read(self.db, key.as_ref(), policy).await?;
        Ok(read.value)
    }

    /// Reads a key under a policy of this call's own, and says how fresh the answer is and who gave it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(&self, key: impl AsRef<[u8]>, policy: ReadPolicy) -> Result<Read, Error> {
        self.cache().read(self.db, key.as_ref(), policy).await
    }

    /// The value in L1, if there is one that is provably fresh. Sends nothing; `None` says nothing about L2.
    ///
    /// # Cost
    /// One shared lock, one clock reading, one reference count; no allocation and no copy.
    #[inline]
    pub fn get_resident(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.resident(key.as_ref()).flatten()
    }

    /// A hit: the value, or `None` for a key that is known to be absent.
    #[inline]
    pub(crate) fn resident(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.cache().get_resident(self.db, key).map(|hit| hit.value)
    }

    /// Reads keys, in the order asked. What is missing in L1 takes one round trip, and no value in the
    /// answer is older than another key's reply, unless it is served stale. Beyond 4,096 keys that holds for each
    /// 4,096 in turn.
    ///
    /// ```
    /// # use nearcache::{Bytes, Error, NearCache};
    /// # pollster::block_on(async {
    /// # let cache = NearCache::builder().memory().build()?;
    /// let all: Vec<Option<Bytes>> = cache
    ///     .get_many(&["product:1", "product:2"])
    ///     .await
    ///     .into_iter()
    ///     .collect::<Result<_, Error>>()?;
    /// # assert_eq!(all, [None, None]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get), each key its own; `on_unproven = error` counts as `pass_through`.
    pub async fn get_many(&self, keys: &[impl AsRef<[u8]>]) -> Vec<Result<Option<Bytes>, Error>> {
        let reads = self.get_many_with(keys, self.policy()).await;
        reads.into_iter().map(|read| Ok(read?.value)).collect()
    }

    /// Reads keys under a policy of this call's own, and says of each how fresh it is and who gave it.
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn get_many_with(
        &self,
        keys: &[impl AsRef<[u8]>],
        policy: ReadPolicy,
    ) -> Vec<Result<Read, Error>> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.cache().get_many(self.db, &keys, policy).await
    }

    /// Reads a key so that the answer reflects every write that was acknowledged before the call.
    ///
    /// # Errors
    /// As [`get`](Self::get), whatever `on_unproven` says.
    ///
    /// # Cost
    /// One round trip; the value crosses the network only when it is not resident.
    pub async fn get_validated(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        self.cache().get_validated(self.db, key.as_ref()).await
    }

    /// Writes a key to L2. Reads in this pod that start after the answer see it or something newer;
    /// other pods drop their copies.
    ///
    /// # Errors
    /// [`Error::write_outcome`] says whether it was sent. It is never sent twice.
    ///
    /// # Cancellation
    /// Once polled, the write is executed whether or not the future is kept.
    pub async fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        ttl: Ttl,
    ) -> Result<(), Error> {
        let ttl = ttl.as_duration();
        self.cache()
            .set(self.db, key.as_ref(), value.into(), ttl)
            .await
    }

    /// Deletes a key in L2; returns whether it existed.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.cache().delete(self.db, key.as_ref()).await
    }

    /// Drops this pod's copy of a key; returns whether there was one. L2 and other pods are not told.
    pub fn forget(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache().forget(self.db, key.as_ref())
    }

    /// Reads a key; when L2 has none, runs `loader`, writes its value to L2 unless another writer was
    /// first, and returns it. Callers of this pod that miss the key meanwhile wait for the same loader; at most
    /// `max_loads` loaders run at a time, further ones wait in line.
    ///
    /// When L2 does not answer, the setting `on_l2_down` decides: by default the loader runs all the same. Its value is
    /// shared with callers of this pod that come within `max_staleness` of its start, and kept nowhere; a write of the
    /// key through this pod ends that at once, whether or not the write succeeds. Under
    /// `on_unproven = serve_stale(..)` a resident copy goes first. Each pod loads for itself then: the origin may get
    /// as many calls at a time as there are pods, times `max_loads`.
    ///
    /// A value that L2 refuses to keep is returned all the same, and counted.
    ///
    /// # Errors
    /// - [`ErrorKind::Loader`] for all who wait when the loader fails (with its error's own text and those of its sources,
    ///   cut to a line), panics, or outlasts `load_timeout` (its future is dropped then); the next caller tries again.
    /// - [`ErrorKind::Retry`] when the call has waited in vain: for a place among `max_loads` up to `load_timeout` and an
    ///   eighth of it, counted from when its own look at L2 was over; for another caller's load two `operation_timeout`s
    ///   longer. And when L2 does not answer, under `on_l2_down = error`.
    /// - [`ErrorKind::Usage`] when it is called for a key inside the loader of that key.
    ///
    /// # Cancellation
    /// When the caller that runs the loader is dropped, another that waits runs its own. When its future is kept but not
    /// polled any more, that happens once the loader would have been out of time.
    pub async fn get_or_load<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Ttl,
        loader: F,
    ) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ttl = ttl.as_duration();
        // Before the loader runs, not after.
        check_ttl(ttl)?;
        let call = self.load_call(key.as_ref(), self.load_policy(), false);
        let loader = || async {
            Ok::<_, E>(Some(Loaded {
                value: loader().await?,
                ttl,
            }))
        };
        let read = self.load(call, |_| true, loader).await?;
        read.value.ok_or_else(none_loaded)
    }

    /// Reads a key; when L2 has none, runs `loader`, which may find that there is none either, and says how long its
    /// value may live. `None` is believed for the setting `negative_ttl`, in this pod only, and never written to L2.
    ///
    /// ```
    /// # use nearcache::{Bytes, Error, NearCache, Ttl};
    /// # pollster::block_on(async {
    /// # let cache = NearCache::builder().memory().build()?;
    /// # struct Db; impl Db { async fn find(&self, _: u32) -> Result<Option<String>, std::io::Error> { Ok(None) } }
    /// # let db = Db;
    /// let found = cache
    ///     .get_or_load_optional("product:123", || async {
    ///         let row = db.find(123).await?;
    ///         Ok::<_, std::io::Error>(row.map(|row| (Bytes::from(row), Ttl::secs(60))))
    ///     })
    ///     .await?;
    /// # assert_eq!(found, None);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_optional<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        loader: F,
    ) -> Result<Option<Bytes>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<(Bytes, Ttl)>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let read = self
            .get_or_load_with(key, self.load_policy(), loader)
            .await?;
        Ok(read.value)
    }

    /// The same under a policy of this call's own, and says how fresh the answer is and who gave it. Start from
    /// [`load_policy`](Self::load_policy).
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_with<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        policy: LoadPolicy,
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<(Bytes, Ttl)>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let call = self.load_call(key.as_ref(), policy, true);
        let loader = || async {
            let loaded = loader().await?;
            Ok::<_, E>(loaded.map(|(value, ttl)| Loaded {
                value,
                ttl: ttl.as_duration(),
            }))
        };
        self.load(call, |_| true, loader).await
    }

    /// How calls with a loader read and load, by the settings.
    pub fn load_policy(&self) -> LoadPolicy {
        let settings = &self.inner.settings;
        LoadPolicy::default()
            .on_unproven(settings.on_unproven)
            .on_l2_down(settings.on_l2_down)
            .negative_ttl(settings.negative_ttl)
    }

    pub(crate) fn load_call<'a>(
        &self,
        key: &'a [u8],
        policy: LoadPolicy,
        optional: bool,
    ) -> Call<'a> {
        Call {
            db: self.db,
            key,
            policy,
            optional,
        }
    }

    pub(crate) async fn load<F, Fut, E>(
        &self,
        call: Call<'_>,
        usable: impl FnMut(&Bytes) -> bool + Send,
        loader: F,
    ) -> Result<Read, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<Loaded>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.cache().get_or_load(call, usable, loader).await
    }

    /// Comes back when every write that L2 executed before has reached this pod's L1: for writes made
    /// through connections that this cache does not see.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when L2 does not answer; nothing is known then.
    pub async fn fence(&self) -> Result<(), Error> {
        self.cache().fence().await
    }

    /// The same cache with values of type `T`, decoded once and shared.
    pub fn typed<T, C>(&self, codec: C) -> Typed<T, C>
    where
        T: Send + Sync + 'static,
        C: Codec<T>,
    {
        Typed::new(self.clone(), codec)
    }

    /// A handle for commands of every kind, with a connection state of its own.
    pub fn session(&self) -> Session {
        Session::new(self.lives.clone(), self.db)
    }

    /// The same cache, L1 and lane on another db. A number the server does not have fails the calls.
    #[must_use]
    pub fn with_db(&self, db: u32) -> Self {
        Self {
            db: db.min(DB_MAX),
            ..self.clone()
        }
    }

    /// The db that calls go to.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// What the cache did since it was built, and how it is.
    ///
    /// # Cost
    /// One shared lock per part of L1; not for every read.
    pub fn stats(&self) -> Stats {
        Stats::of(self.cache(), &self.inner.place, self.inner.settings.enabled)
    }

    /// Whether this pod should be sent requests, how far it is on its way there, and why. For a readiness
    /// probe: once ready, it stays so: without L2 a pod whose reads have loaders is slower, not wrong.
    pub fn readiness(&self) -> Readiness {
        self.cache().pod().readiness()
    }

    /// Resolves when this pod is ready: warm, at its `warm_deadline` (L2 may not have been there until then), or
    /// at once when L2 refuses it.
    ///
    /// # Cancellation
    /// Warming goes on whether or not anybody waits.
    pub async fn ready(&self) {
        self.start();
        self.cache().pod().until_ready().await;
    }

    /// What the warm start did and what ended it; `None` until then.
    pub fn warm_report(&self) -> Option<WarmReport> {
        self.cache().pod().warm_report()
    }

    /// Nothing runs before the first request: this is one that needs no answer.
    fn start(&self) {
        let mut lane = std::pin::pin!(self.cache().ready(Duration::ZERO));
        let _ = lane.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    /// The settings it was built with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The same cache for callers without an executor.
    pub fn into_blocking(self) -> blocking::NearCache {
        blocking::NearCache::new(self)
    }

    /// Ends the lane and its thread. Calls in flight and all later ones end with [`ErrorKind::Closed`];
    /// nothing is resident any more. May be called again.
    pub async fn shutdown(&self) {
        let ended = Promise::new();
        let (cache, end) = (self.clone(), ended.clone());
        // The end of the thread is waited for on another one: the caller's may drive an executor.
        let waiter = std::thread::Builder::new().name("nearcache-end".to_owned());
        let waits = waiter.spawn(move || {
            cache.end();
            end.complete(());
        });
        match waits {
            Ok(_) => ended.future().await,
            Err(_) => self.end(),
        }
    }

    pub(crate) fn end(&self) {
        // Surely, since it waits for a thread, which a child does not have.
        self.lives.get_surely().io().shutdown();
    }

    /// The pod of this process.
    #[inline]
    pub(crate) fn cache(&self) -> &Cache<IoThread> {
        self.lives.get()
    }

    /// Whose shapes the drop-in's replies have.
    #[cfg(feature = "redis-rs")]
    pub(crate) fn protocol(&self) -> Protocol {
        self.inner.protocol
    }

    #[inline]
    pub(crate) fn policy(&self) -> ReadPolicy {
        self.inner.settings.on_unproven
    }
}

impl fmt::Debug for NearCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("l2", &self.inner.place)
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

/// A loader that must return a value did not: none of this crate's does so.
#[cold]
pub(crate) fn none_loaded() -> Error {
    Error::new(ErrorKind::Loader, "the loader returned no value")
}
