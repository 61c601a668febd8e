//! How a pod reads: through an ordinary pool of connections, or through nearcache.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use nearcache::{Key, MemoryL2, NearCache};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Notify;

use super::message::Setup;
use super::plan::{Arm, WATCHED};
use crate::Failure;

/// A pod's way to its data.
pub(crate) enum Reader {
    /// An ordinary pool.
    Pool(Pool<Opener>),
    /// nearcache; `changed` is rung when the watched key leaves L1.
    Near {
        cache: NearCache,
        changed: Option<Arc<Notify>>,
    },
}

/// A value as the library at hand returns it.
pub(crate) enum Value {
    /// Copied for the caller.
    Owned(Vec<u8>),
    /// Shared with the cache.
    Shared(Bytes),
}

impl Reader {
    /// Connects. `store` is the embedded L2, where there is no server.
    pub(crate) async fn open(setup: &Setup, store: Option<MemoryL2>) -> Result<Self, Failure> {
        match (&setup.url, store, setup.arm) {
            (Some(url), _, Arm::Before) => Self::pool(url, setup.plan.pool).await,
            (Some(url), _, Arm::After) => {
                let builder = NearCache::builder().redis(url);
                Self::near(setup, builder).await
            }
            (None, Some(store), _) => {
                let builder = NearCache::builder().store(store);
                Self::near(setup, builder).await
            }
            (None, None, _) => Err("a pod has neither a server nor an embedded L2".to_owned()),
        }
    }

    /// Reads a key.
    #[inline]
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Value>, Failure> {
        match self {
            Self::Pool(pool) => {
                let mut connection = pool.get().await.map_err(|error| error.to_string())?;
                let value: Option<Vec<u8>> = redis::cmd("GET")
                    .arg(name)
                    .query_async(&mut *connection)
                    .await
                    .map_err(|error: RedisError| error.to_string())?;
                Ok(value.map(Value::Owned))
            }
            Self::Near { cache, .. } => {
                let value = cache.get(name).await.map_err(|error| error.to_string())?;
                Ok(value.map(Value::Shared))
            }
        }
    }

    /// Reads nearcache sent to L2 so far, by its own count.
    pub(crate) fn fills(&self) -> Option<u64> {
        match self {
            Self::Pool(_) => None,
            Self::Near { cache, .. } => Some(cache.stats().totals.fills_total),
        }
    }

    async fn pool(url: &str, size: usize) -> Result<Self, Failure> {
        let failed = |error: String| format!("cannot open the pool: {error}");
        let client = Client::open(url).map_err(|error| failed(error.to_string()))?;
        let pool = Pool::builder(Opener { client })
            .max_size(size)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // All connections at once: opening them is no part of what is measured.
        let mut open = Vec::new();
        for _ in 0..size {
            open.push(
                pool.get()
                    .await
                    .map_err(|error| failed(error.to_string()))?,
            );
        }
        drop(open);
        Ok(Self::Pool(pool))
    }

    async fn near(setup: &Setup, builder: nearcache::Builder) -> Result<Self, Failure> {
        let builder = builder.max_staleness(Duration::from_millis(setup.plan.max_staleness_ms));
        let (builder, changed) = match setup.arm {
            // Without a server there is no pool: the same path, keeping nothing.
            Arm::Before => (builder.capacity(1usize << 20).max_entry(1usize), None),
            Arm::After => {
                let bell = Arc::new(Notify::new());
                let (changed, watched) = (Arc::clone(&bell), setup.plan.name(WATCHED).into_bytes());
                let ring = move |key: Key<'_>, _cause| {
                    if key.bytes == watched {
                        bell.notify_one();
                    }
                };
                (
                    builder.capacity(setup.plan.capacity_bytes).on_removal(ring),
                    Some(changed),
                )
            }
        };
        let cache = builder.connect().await.map_err(|error| error.to_string())?;
        Ok(Self::Near { cache, changed })
    }
}

impl Value {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Opens connections for the pool.
pub(crate) struct Opener {
    client: Client,
}

impl Manager for Opener {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    // Kinder than the usual pool for Redis, which sends a PING and waits for it each time a connection is taken.
    async fn recycle(
        &self,
        _: &mut MultiplexedConnection,
        _: &Metrics,
    ) -> RecycleResult<RedisError> {
        Ok(())
    }
}
