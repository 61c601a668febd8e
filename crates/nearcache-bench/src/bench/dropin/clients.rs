//! The connections that are compared, each opened as its users open it.
//! All talk to one server, and the drop-ins share one L1.

use std::time::Duration;

use nearcache::{NearCache, blocking, redis as drop_in};
use nearcache_cli::outcome::Failure;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, RedisResult};
use tokio::runtime::Runtime;

/// Room for everything a run reads, so that a hit is a hit.
pub(super) const CAPACITY: &str = "64MiB";

/// One connection of each kind.
pub(super) struct Clients {
    /// redis-rs as it comes: RESP2, no cache.
    pub(super) plain: MultiplexedConnection,
    /// redis-rs with its own cache, which needs RESP3.
    pub(super) cache_aio: MultiplexedConnection,
    /// The drop-in.
    pub(super) drop_in: drop_in::Connection,
    /// redis-rs for threads, as it comes.
    pub(super) plain_blocking: redis::Connection,
    /// The drop-in for threads.
    pub(super) drop_in_blocking: blocking::Connection,
    /// The L1 of both drop-ins.
    pub(super) cache: blocking::NearCache,
}

impl Clients {
    /// Opens all of them; the drivers of redis-rs's run on `runtime`.
    pub(super) fn open(url: &str, runtime: &Runtime) -> Result<Self, Failure> {
        let cache = NearCache::builder()
            .redis(url)
            .capacity(CAPACITY)
            .connect_blocking()
            .map_err(|error| error.to_string())?;
        let (drop_in, drop_in_blocking) = (
            drop_in::Connection::new(cache.as_async()),
            blocking::Connection::new(&cache),
        );
        let redis_rs = || -> RedisResult<_> {
            let client = Client::open(url)?;
            let info = client.get_connection_info().clone();
            let settings = info.redis_settings().clone();
            let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
            let resp3 = Client::open(info)?;
            let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::new());
            Ok((
                runtime.block_on(client.get_multiplexed_async_connection())?,
                runtime.block_on(resp3.get_multiplexed_async_connection_with_config(&config))?,
                client.get_connection_with_timeout(Duration::from_secs(5))?,
            ))
        };
        let (plain, cache_aio, plain_blocking) =
            redis_rs().map_err(|error| format!("redis-rs cannot reach the server: {error}"))?;
        Ok(Self {
            plain,
            cache_aio,
            drop_in,
            plain_blocking,
            drop_in_blocking,
            cache,
        })
    }

    /// How many answers came from redis-rs's own cache.
    pub(super) fn cache_aio_hits(&self) -> u64 {
        let statistics = self.cache_aio.get_cache_statistics();
        statistics.map_or(0, |statistics| statistics.hit as u64)
    }

    /// How many answers came from the drop-ins' L1.
    pub(super) fn drop_in_hits(&self) -> u64 {
        self.cache.stats().totals.hits_total
    }
}
