//! The libraries that are compared, each behind the same three calls. Every one is set up so that all keys fit.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use nearcache::{Codec, Error, MemoryL2, NearCache, Typed};
use nearcache_cli::outcome::Failure;
use nearcache_l1::Timestamp;
use parking_lot::RwLock;

/// A cache whose hits are measured. `Send + Sync`: the threads share it.
pub(super) trait Library: Send + Sync {
    /// Its name in rows.
    fn name(&self) -> &'static str;

    /// Looks a key up, as a user would, and returns the length of what it found.
    fn lookup(&self, key: &str) -> Option<usize>;
}

/// `NearCache::get_resident`: every check of freshness made, the value shared.
pub(super) struct Resident(pub(super) NearCache);

/// `NearCache::get`, polled by hand: a hit is ready at the first poll.
pub(super) struct Async(pub(super) NearCache);

/// `Typed::get_resident`: the decoded form, shared.
pub(super) struct Decoded(pub(super) Typed<Blob, BlobCodec>);

/// moka with a time to live, as nearcache has one.
pub(super) struct Moka(moka::sync::Cache<String, Bytes>);

/// quick_cache.
pub(super) struct QuickCache(quick_cache::sync::Cache<String, Bytes>);

/// foyer's cache in memory, with its S3-FIFO policy.
pub(super) struct Foyer(foyer::Cache<String, Bytes>);

/// The floor: a map without eviction, expiry or lock.
pub(super) struct Map(HashMap<String, Bytes, foldhash::fast::RandomState>);

/// The floor where threads share it: the same map under a read-write lock.
pub(super) struct LockedMap(RwLock<HashMap<String, Bytes, foldhash::fast::RandomState>>);

impl Library for Resident {
    fn name(&self) -> &'static str {
        "nearcache"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get_resident(key).map(|value| value.len())
    }
}

impl Library for Async {
    fn name(&self) -> &'static str {
        "nearcache-async"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        let future = pin!(self.0.get(key));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(value))) => Some(value.len()),
            _ => None,
        }
    }
}

impl Library for Decoded {
    fn name(&self) -> &'static str {
        "nearcache-typed"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get_resident(key).map(|blob| blob.0)
    }
}

impl Library for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|value| value.len())
    }
}

impl Library for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|value| value.len())
    }
}

impl Library for Foyer {
    fn name(&self) -> &'static str {
        "foyer"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|entry| entry.value().len())
    }
}

impl Library for Map {
    fn name(&self) -> &'static str {
        "HashMap"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        self.0.get(key).cloned().map(|value| value.len())
    }
}

impl Library for LockedMap {
    fn name(&self) -> &'static str {
        "RwLock<HashMap>"
    }

    #[inline]
    fn lookup(&self, key: &str) -> Option<usize> {
        let value = self.0.read().get(key).cloned();
        value.map(|value| value.len())
    }
}

/// What values are decoded to: only their length, so that decoding costs nothing to remember.
pub(super) struct Blob(usize);

/// Decodes a [`Blob`].
pub(super) struct BlobCodec;

impl Codec<Blob> for BlobCodec {
    fn encode(&self, value: &Blob) -> Result<Bytes, Error> {
        Ok(Bytes::from(vec![0; value.0]))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Blob, Error> {
        Ok(Blob(bytes.len()))
    }

    fn decoded_bytes(&self, _: &Blob, _: usize) -> usize {
        size_of::<Blob>()
    }
}

/// Room beyond what the keys need, so that no policy has to evict.
const SLACK: usize = 2;
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Keys read from L2 in one go.
const BATCH: usize = 512;

/// A cache on an embedded L2 that has all keys resident, decoded too, each read through the public API.
pub(super) fn near_cache(
    names: &[String],
    value: impl Fn(usize) -> Bytes,
) -> Result<NearCache, Failure> {
    let store = MemoryL2::new();
    store.with_server(|server| {
        let connection = server.connect();
        for (number, name) in names.iter().enumerate() {
            let argv = [
                Bytes::from_static(b"SET"),
                Bytes::copy_from_slice(name.as_bytes()),
                value(number),
            ];
            server.execute(connection, &argv, Timestamp::ZERO);
            server.drain(connection);
        }
        server.disconnect(connection);
    });
    let each = value(0).len() + 1024;
    let failed = |error: Error| format!("nearcache: {error}");
    let builder = NearCache::builder()
        .store(store)
        .capacity(SLACK * names.len() * each + (64 << 20));
    let cache = builder.connect_blocking().map_err(failed)?;
    for names in names.chunks(BATCH) {
        for read in cache.get_many(names) {
            read.map_err(failed)?;
        }
    }
    Ok(cache.as_async().clone())
}

/// Decodes every value once, so that typed hits find it.
pub(super) fn decoded(cache: &NearCache, names: &[String]) -> Decoded {
    let typed = cache.typed::<Blob, _>(BlobCodec);
    for name in names {
        typed.get_resident(name);
    }
    Decoded(typed)
}

pub(super) fn moka(names: &[String], value: impl Fn(usize) -> Bytes) -> Moka {
    let capacity = (SLACK * names.len()) as u64;
    let cache = moka::sync::Cache::builder()
        .max_capacity(capacity)
        .time_to_live(LIFE)
        .build();
    for (number, name) in names.iter().enumerate() {
        cache.insert(name.clone(), value(number));
        if number % BATCH == 0 {
            cache.run_pending_tasks();
        }
    }
    cache.run_pending_tasks();
    Moka(cache)
}

pub(super) fn quick_cache(names: &[String], value: impl Fn(usize) -> Bytes) -> QuickCache {
    let cache = quick_cache::sync::Cache::new(SLACK * names.len());
    for (number, name) in names.iter().enumerate() {
        cache.insert(name.clone(), value(number));
    }
    QuickCache(cache)
}

pub(super) fn foyer(names: &[String], value: impl Fn(usize) -> Bytes) -> Foyer {
    let cache = foyer::CacheBuilder::new(SLACK * names.len())
        .with_eviction_config(foyer::S3FifoConfig::default())
        .build();
    for (number, name) in names.iter().enumerate() {
        cache.insert(name.clone(), value(number));
    }
    Foyer(cache)
}

fn pairs(
    names: &[String],
    value: impl Fn(usize) -> Bytes,
) -> impl Iterator<Item = (String, Bytes)> {
    names
        .iter()
        .enumerate()
        .map(move |(number, name)| (name.clone(), value(number)))
}

pub(super) fn map(names: &[String], value: impl Fn(usize) -> Bytes) -> Map {
    Map(pairs(names, value).collect())
}

pub(super) fn locked_map(names: &[String], value: impl Fn(usize) -> Bytes) -> LockedMap {
    LockedMap(RwLock::new(pairs(names, value).collect()))
}
