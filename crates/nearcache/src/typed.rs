//! The typed path: values decoded once, kept beside the bytes they came from, and shared.
//!
//! Holds no copies of its own: a decoded form lives and dies with its entry in L1. What does not
//! decode is an error each time, never kept.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use nearcache_proto::{Call, Error, ErrorKind, LoadPolicy, Loaded, Read, ReadPolicy, check_ttl};

use crate::cache::none_loaded;
use crate::{Codec, NearCache, Ttl};

/// A handle of a cache whose values are of type `T`, written and read by the codec `C`.
///
/// A value is decoded by its first reader and handed to all others as the same [`Arc`]. Use one codec per
/// type: a decoded form is found again by its type alone.
///
/// ```
/// # use nearcache::{NearCache, Json, Ttl};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Product { name: String }
///
/// # pollster::block_on(async {
/// # let cache = NearCache::builder().memory().build()?;
/// let products = cache.typed::<Product, _>(Json);
/// products.set("product:1", &Product { name: "tea".into() }, Ttl::secs(60)).await?;
/// let tea = products.get("product:1").await?.expect("just written");
/// assert_eq!(tea.name, "tea");
/// # Ok::<(), nearcache::Error>(()) }).unwrap();
/// ```
pub struct Typed<T, C> {
    cache: NearCache,
    codec: Arc<C>,
    values: PhantomData<fn() -> T>,
}

impl<T, C> Typed<T, C>
where
    T: Send + Sync + 'static,
    C: Codec<T>,
{
    pub(crate) fn new(cache: NearCache, codec: C) -> Self {
        Self {
            cache,
            codec: Arc::new(codec),
            values: PhantomData,
        }
    }

    /// Reads a key, as [`NearCache::get`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Codec`] when the value does not decode.
    ///
    /// # Cost
    /// A hit that was decoded before: as [`get_resident`](Self::get_resident), and ready at the first poll.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>, Error> {
        let key = key.as_ref();
        match self.resident(key) {
            Some(found) => found,
            None => Box::pin(self.get_missed(key)).await,
        }
    }

    async fn get_missed(&self, key: &[u8]) -> Result<Option<Arc<T>>, Error> {
        let value = self.cache.get(key).await?;
        value.map(|bytes| self.decode(key, &bytes)).transpose()
    }

    /// The value in L1, if there is one that is provably fresh and decodes. Sends nothing.
    ///
    /// # Cost
    /// As [`NearCache::get_resident`] when it was decoded before, else one decoding.
    pub fn get_resident(&self, key: impl AsRef<[u8]>) -> Option<Arc<T>> {
        self.resident(key.as_ref())?.ok()?
    }

    /// A hit: the value, or `None` for a key that is known to be absent.
    #[inline]
    pub(crate) fn resident(&self, key: &[u8]) -> Option<Result<Option<Arc<T>>, Error>> {
        let (hit, form) = self
            .cache
            .cache()
            .get_resident_decoded(self.cache.db(), key)?;
        Some(match (form, hit.value) {
            (Some(form), _) => Ok(Some(form)),
            (None, Some(bytes)) => self.decode(key, &bytes).map(Some),
            (None, None) => Ok(None),
        })
    }

    /// Reads a key under a policy of this call's own, as [`NearCache::get_with`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(
        &self,
        key: impl AsRef<[u8]>,
        policy: ReadPolicy,
    ) -> Result<Read<Arc<T>>, Error> {
        let key = key.as_ref();
        let read = self.cache.get_with(key, policy).await?;
        self.decoded(key, read)
    }

    /// Reads keys, as [`NearCache::get_many`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Codec`] for a key whose value does not decode: each key its own.
    pub async fn get_many(&self, keys: &[impl AsRef<[u8]>]) -> Vec<Result<Option<Arc<T>>, Error>> {
        let reads = self.get_many_with(keys, self.cache.policy()).await;
        reads.into_iter().map(|read| Ok(read?.value)).collect()
    }

    /// Reads keys under a policy of this call's own, as [`NearCache::get_many_with`].
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn get_many_with(
        &self,
        keys: &[impl AsRef<[u8]>],
        policy: ReadPolicy,
    ) -> Vec<Result<Read<Arc<T>>, Error>> {
        let reads = self.cache.get_many_with(keys, policy).await;
        let decode = |(key, read): (&_, Result<Read, Error>)| {
            let key = AsRef::<[u8]>::as_ref(key);
            self.decoded(key, read?)
        };
        keys.iter().zip(reads).map(decode).collect()
    }

    fn decoded(&self, key: &[u8], read: Read) -> Result<Read<Arc<T>>, Error> {
        let value = read.value.as_ref().map(|bytes| self.decode(key, bytes));
        Ok(read.with_value(value.transpose()?))
    }

    /// Reads a key as of now, as [`NearCache::get_validated`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Codec`] when the value does not decode.
    pub async fn get_validated(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>, Error> {
        let key = key.as_ref();
        let value = self.cache.get_validated(key).await?;
        value.map(|bytes| self.decode(key, &bytes)).transpose()
    }

    /// Writes a key, as [`NearCache::set`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Codec`] when the value does not encode: nothing was sent then.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: &T, ttl: Ttl) -> Result<(), Error> {
        let bytes = self.codec.encode(value)?;
        self.cache.set(key, bytes, ttl).await
    }

    /// Deletes a key, as [`NearCache::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.cache.delete(key).await
    }

    /// Drops this pod's copy of a key, as [`NearCache::forget`].
    pub fn forget(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.forget(key)
    }

    /// Reads a key; when L2 has none, or one that does not decode, runs `loader`, as [`NearCache::get_or_load`].
    ///
    /// A value that does not decode, as one of another release, is replaced in L2 at most once a minute a key and pod.
    /// In between, what the loader returns is shared with callers of this pod that come within `max_staleness` of its
    /// start, and kept nowhere.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Codec`] when what the loader returns does not encode.
    pub async fn get_or_load<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Ttl,
        loader: F,
    ) -> Result<Arc<T>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = key.as_ref();
        if let Some(value) = self.form(key) {
            return Ok(value);
        }
        // Before the loader runs, not after.
        check_ttl(ttl.as_duration())?;
        let call = self.cache.load_call(key, self.cache.load_policy(), false);
        let loader = || async { Ok::<_, E>(Some((loader().await?, ttl))) };
        let read = Box::pin(self.load_missed(call, loader)).await?;
        read.value.ok_or_else(none_loaded)
    }

    /// The same with a loader that may find that there is none, and says how long its value may live, as
    /// [`NearCache::get_or_load_optional`].
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_optional<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        loader: F,
    ) -> Result<Option<Arc<T>>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<(T, Ttl)>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = key.as_ref();
        if let Some(value) = self.form(key) {
            return Ok(Some(value));
        }
        let call = self.cache.load_call(key, self.cache.load_policy(), true);
        Ok(Box::pin(self.load_missed(call, loader)).await?.value)
    }

    /// The same under a policy of this call's own, as [`NearCache::get_or_load_with`].
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_with<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        policy: LoadPolicy,
        loader: F,
    ) -> Result<Read<Arc<T>>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<(T, Ttl)>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let call = self.cache.load_call(key.as_ref(), policy, true);
        Box::pin(self.load_missed(call, loader)).await
    }

    /// A hit that was decoded before.
    #[inline]
    fn form(&self, key: &[u8]) -> Option<Arc<T>> {
        self.cache.cache().get_resident_form(self.cache.db(), key)
    }

    async fn load_missed<F, Fut, E>(&self, call: Call<'_>, loader: F) -> Result<Read<Arc<T>>, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<(T, Ttl)>, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let key = call.key;
        // What this caller's own loader made need not be decoded again, nor what was decoded to see whether it can be.
        let (mut own, mut found) = (None, None);
        let load = || async {
            let Some((value, ttl)) = loader().await.map_err(Into::into)? else {
                return Ok(None);
            };
            let bytes = self.codec.encode(&value).map_err(DoesNotEncode)?;
            own = Some((bytes.clone(), value));
            Ok::<_, Box<dyn StdError + Send + Sync>>(Some(Loaded {
                value: bytes,
                ttl: ttl.as_duration(),
            }))
        };
        let usable = |bytes: &Bytes| {
            found = self.decode(key, bytes).ok();
            found.is_some()
        };
        let read = self.cache.load(call, usable, load).await;
        let read = read.map_err(unwrap_codec)?;
        let value = match (&read.value, own) {
            (None, _) => None,
            (Some(bytes), Some((ours, value))) if ours.as_ptr() == bytes.as_ptr() => {
                Some(self.attach(key, bytes, value))
            }
            // Whoever returned it has found it usable.
            (Some(bytes), _) => Some(match found {
                Some(form) => form,
                None => self.decode(key, bytes)?,
            }),
        };
        Ok(read.with_value(value))
    }

    /// The form of `bytes`: the one they have, or a new one that they keep if they are resident.
    fn decode(&self, key: &[u8], bytes: &Bytes) -> Result<Arc<T>, Error> {
        let cache = self.cache.cache();
        if let Some(form) = cache.decoded_from(self.cache.db(), key, bytes) {
            return Ok(form);
        }
        let value = self.codec.decode(bytes)?;
        Ok(self.attach(key, bytes, value))
    }

    fn attach(&self, key: &[u8], bytes: &Bytes, value: T) -> Arc<T> {
        let weight = self.codec.decoded_bytes(&value, bytes.len());
        let form = Arc::new(value);
        let cache = self.cache.cache();
        cache.attach(self.cache.db(), key, bytes, form.clone(), weight);
        form
    }

    /// The cache it is a view of.
    pub fn cache(&self) -> &NearCache {
        &self.cache
    }
}

impl<T, C> Clone for Typed<T, C> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            codec: self.codec.clone(),
            values: PhantomData,
        }
    }
}

impl<T, C> fmt::Debug for Typed<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed")
            .field("cache", &self.cache)
            .field("values", &std::any::type_name::<T>())
            .finish()
    }
}

/// On its way through the loader, so that the error can be told from one of the caller's.
#[derive(Debug)]
struct DoesNotEncode(Error);

impl fmt::Display for DoesNotEncode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for DoesNotEncode {}

fn unwrap_codec(error: Error) -> Error {
    if error.kind() != ErrorKind::Loader {
        return error;
    }
    let codec = error
        .source()
        .and_then(|s| s.downcast_ref::<DoesNotEncode>());
    codec.map_or_else(|| error.clone(), |inner| inner.0.clone())
}
