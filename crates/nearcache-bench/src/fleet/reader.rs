//! How a pod reads: through an ordinary pool of connections, through nearcache, or from a server of its own that it fills
//! from the shared one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use nearcache::{Key, MemoryL2, NearCache, ReadPolicy, Source};
use nearcache_cli::outcome::Failure;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Notify;

use super::message::{Service, Setup, Start};
use super::plan::{Arm, WATCHED};
use crate::machine::now_ns;

/// A pod's way to its data.
pub(crate) enum Reader {
    /// An ordinary pool.
    Pool(Pool<Opener>),
    /// Cache-aside: the pod's own server first, then the shared one, and what that gave is put into the first for a time.
    Sidecar {
        own: Pool<Opener>,
        shared: Pool<Opener>,
        ttl_ms: u64,
    },
    /// nearcache; `changed` is rung when the watched key leaves L1.
    Near {
        cache: NearCache,
        changed: Option<Arc<Notify>>,
        validated: bool,
    },
    /// nearcache in a pod that comes and goes: starts warm if it is to, and says of each read whether L1 had it.
    Serving(NearCache),
}

/// A value as the library at hand returns it.
pub(crate) enum Value {
    /// Copied for the caller.
    Owned(Vec<u8>),
    /// Shared with the cache.
    Shared(Bytes),
    /// The same, and whether L1 had it.
    Told(Bytes, bool),
}

impl Reader {
    /// Connects. `store` is the embedded L2, where there is no server.
    pub(crate) async fn open(setup: &Setup, store: Option<MemoryL2>) -> Result<Self, Failure> {
        if let (Some(url), Some(service)) = (&setup.url, &setup.service) {
            return Self::serving(setup, service, NearCache::builder().redis(url)).await;
        }
        match (&setup.url, store, setup.arm) {
            (Some(url), _, Arm::Before) => Ok(Self::Pool(pool(url, setup.plan.pool).await?)),
            (Some(url), _, Arm::Sidecar) => {
                let own = setup.sidecar.as_deref();
                let own = own.ok_or("a pod has no server of its own")?;
                Ok(Self::Sidecar {
                    own: pool(own, setup.plan.pool).await?,
                    shared: pool(url, setup.plan.pool).await?,
                    ttl_ms: setup.plan.sidecar_ttl_ms,
                })
            }
            (Some(url), _, Arm::After) => {
                let builder = NearCache::builder().redis(url);
                Self::near(setup, builder).await
            }
            (None, _, Arm::Sidecar) => Err("there are no sidecars without a server".to_owned()),
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
            Self::Pool(pool) => Ok(get(pool, name).await?.map(Value::Owned)),
            Self::Sidecar {
                own,
                shared,
                ttl_ms,
            } => {
                if let Some(value) = get(own, name).await? {
                    return Ok(Some(Value::Owned(value)));
                }
                let Some(value) = get(shared, name).await? else {
                    return Ok(None);
                };
                let mut connection = own.get().await.map_err(|error| error.to_string())?;
                redis::cmd("SET")
                    .arg(name)
                    .arg(&value)
                    .arg("PX")
                    .arg(*ttl_ms)
                    .exec_async(&mut *connection)
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(Some(Value::Owned(value)))
            }
            Self::Near {
                cache, validated, ..
            } => {
                let value = match validated {
                    false => cache.get(name).await,
                    true => cache.get_validated(name).await,
                };
                let value = value.map_err(|error| error.to_string())?;
                Ok(value.map(Value::Shared))
            }
            Self::Serving(cache) => {
                let read = cache.get_with(name, ReadPolicy::PassThrough).await;
                let read = read.map_err(|error| error.to_string())?;
                let hit = read.source == Source::L1;
                Ok(read.value.map(|value| Value::Told(value, hit)))
            }
        }
    }

    /// Reads nearcache sent to L2 so far, by its own count.
    pub(crate) fn fills(&self) -> Option<u64> {
        match self {
            Self::Pool(_) | Self::Sidecar { .. } => None,
            Self::Near { cache, .. } | Self::Serving(cache) => {
                Some(cache.stats().totals.fills_total)
            }
        }
    }

    /// How it became ready, by nearcache's own word.
    pub(crate) fn start(&self) -> Start {
        let ready_ns = now_ns();
        let report = match self {
            Self::Serving(cache) => cache.warm_report(),
            _ => None,
        };
        let start = Start {
            ready_ns,
            ..Start::default()
        };
        let Some(report) = report else { return start };
        Start {
            keys: report.keys,
            keys_planned: report.keys_planned,
            bytes: report.bytes,
            share_of_reads: report.share_of_reads,
            warm_ns: report.duration.as_nanos() as u64,
            end: report.end.as_str().to_owned(),
            ..start
        }
    }

    /// Ends it in order: what was counted is published once more.
    pub(crate) async fn shut_down(&self) {
        if let Self::Serving(cache) = self {
            cache.shutdown().await;
        }
    }

    /// As a pod of a fleet that is being replaced: ready when nearcache says so.
    async fn serving(
        setup: &Setup,
        service: &Service,
        builder: nearcache::Builder,
    ) -> Result<Self, Failure> {
        let mut builder = builder
            .max_staleness(Duration::from_millis(setup.plan.max_staleness_ms))
            .capacity(setup.plan.capacity_bytes)
            .service(service.name.clone())
            .warm_start(service.warm);
        if let Some(reads) = service.warm_reads {
            builder = builder.warm_reads(reads);
        }
        if let Some(ms) = service.publish_ms {
            builder = builder.publish_every(Duration::from_millis(ms));
        }
        let cache = builder.build().map_err(|error| error.to_string())?;
        cache.ready().await;
        Ok(Self::Serving(cache))
    }

    async fn near(setup: &Setup, builder: nearcache::Builder) -> Result<Self, Failure> {
        let builder = builder
            .max_staleness(Duration::from_millis(setup.plan.max_staleness_ms))
            .service(setup.plan.service())
            // Filling is a phase of its own: what one fleet learned is not to fill the next.
            .warm_start(false);
        let (builder, changed) = match setup.arm {
            // Without a server there is no pool: the same path, keeping nothing.
            Arm::Before => (builder.capacity(1usize << 20).max_entry(1usize), None),
            Arm::After | Arm::Sidecar => {
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
        Ok(Self::Near {
            cache,
            changed,
            validated: setup.plan.validated,
        })
    }
}

async fn get(pool: &Pool<Opener>, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let mut connection = pool.get().await.map_err(|error| error.to_string())?;
    redis::cmd("GET")
        .arg(name)
        .query_async(&mut *connection)
        .await
        .map_err(|error: RedisError| error.to_string())
}

/// An ordinary pool, all connections at once: opening them is no part of what is measured.
async fn pool(url: &str, size: usize) -> Result<Pool<Opener>, Failure> {
    let failed = |error: String| format!("cannot open the pool: {error}");
    let client = Client::open(url).map_err(|error| failed(error.to_string()))?;
    let pool = Pool::builder(Opener { client })
        .max_size(size)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let mut open = Vec::new();
    for _ in 0..size {
        let connection = pool.get().await;
        open.push(connection.map_err(|error| failed(error.to_string()))?);
    }
    drop(open);
    Ok(pool)
}

impl Value {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) | Self::Told(bytes, _) => bytes,
        }
    }

    /// Whether L1 had it, where that is told.
    pub(crate) fn is_hit(&self) -> Option<bool> {
        match self {
            Self::Told(_, hit) => Some(*hit),
            Self::Owned(_) | Self::Shared(_) => None,
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
        let patience = Some(Duration::from_secs(5));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(patience)
            .set_response_timeout(patience);
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
