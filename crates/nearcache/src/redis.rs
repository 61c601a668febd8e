//! The drop-in for redis-rs: a connection whose reads are answered from this process.
//!
//! Opens and converts; the rules are in `nearcache-proto`.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nearcache_proto::{Error, Protocol, ReadPolicy, WhileAway};
pub use nearcache_redis::Driver;
use nearcache_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use nearcache_redis::redis::{
    AsyncConnectionConfig, Cmd, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    RedisFuture, RedisResult, Value,
};
use nearcache_redis::{Handle, RedisL2, redis_error};

use crate::builder::tls_files;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
pub use crate::pool::Manager;
use crate::settings::MEMORY_URL;
use crate::{Builder, NearCache, SettingsBuilder};

/// A connection for code written for redis-rs, instead of its `MultiplexedConnection` or `ConnectionManager`.
///
/// Implements [`redis::aio::ConnectionLike`](ConnectionLike), so that `AsyncCommands`, `Cmd`, `Pipeline`
/// and `Script` work with it. Reads that L1 can answer are answered there; everything else goes to the server,
/// each command in the way it needs. Replies have the shapes of the protocol in the URL: RESP2 unless it
/// says `?protocol=resp3`.
///
/// ```no_run
/// use nearcache::redis_rs::AsyncCommands;
///
/// # async fn read() -> nearcache::redis_rs::RedisResult<()> {
/// let mut con = nearcache::redis::Connection::open("redis://127.0.0.1:6379").await?;
/// let name: Option<String> = con.hget("product:123", "name").await?;
/// # Ok(()) }
/// ```
///
/// # Clones
/// Clones share L1 and the lane, and have a connection state (`SELECT`, `MULTI`, `WATCH`) of their own. A clone
/// that is made between `WATCH` or `MULTI` and their end goes on with that transaction, as
/// `redis::aio::transaction_async` expects.
///
/// # Errors
/// Errors of the server are redis-rs's own. Of others, [`cause`] gives nearcache's. While L2 is away calls wait for it, as
/// those of `ConnectionManager` do, up to `operation_timeout`; then they fail as if the connection had been refused.
/// What was sent and lost is a reset connection, `is_timeout` is only what the server did not answer in time, and what
/// this process has no room for in line is neither.
///
/// # Cancellation
/// A blocking command whose future is dropped (`timeout`, `select!`), alone or in a pipeline, takes nothing once the server has
/// seen that its connection was closed, which is done at once. What the server handed out before that is lost, as it
/// is with redis-rs. Other commands that were sent are executed.
///
/// # Cost
/// A hit takes no await point; it boxes one future and copies the value into a `Vec<u8>`, since redis-rs
/// has no other way to hand it over.
#[derive(Clone)]
pub struct Connection {
    cache: NearCache,
    handle: Handle,
}

impl Connection {
    /// Connects to a server, with an L1 and a lane of its own. Settings come from `NEARCACHE_*` variables; the
    /// address is the one given here. To choose settings in code, or to share one L1, see [`new`](Self::new).
    /// A server that is not there yet is waited for, as by [`Builder::connect`].
    ///
    /// # Errors
    /// Why the server cannot be reached or used, or which variable is wrong.
    pub async fn open(info: impl IntoConnectionInfo) -> RedisResult<Self> {
        let cache = builder(info)?.connect().await.map_err(redis_error)?;
        Ok(Self::new(&cache))
    }

    /// A connection that shares L1 and lane of a cache, in the cache's db.
    pub fn new(cache: &NearCache) -> Self {
        Self {
            cache: cache.clone(),
            handle: match cache.settings().while_away {
                Some(while_away) => cache.handle().with_while_away(while_away),
                None => cache.handle(),
            },
        }
    }

    /// The cache it shares.
    pub fn cache(&self) -> &NearCache {
        &self.cache
    }

    /// A connection whose reads L1 neither answers nor keeps, for calls that must see L2 itself.
    #[must_use]
    pub fn pass_through(&self) -> Self {
        self.of(self.handle.with_l1(None))
    }

    /// A connection whose reads follow `policy`, whatever `on_unproven` says. No reply can carry a mark: under
    /// [`ReadPolicy::ServeStale`] stale ones are counted (`stale_total`), and not told from fresh ones.
    #[must_use]
    pub fn with_on_unproven(&self, policy: ReadPolicy) -> Self {
        self.of(self.handle.with_l1(Some(policy)))
    }

    /// A connection with replies in the shapes of `protocol`, whatever the URL said.
    #[must_use]
    pub fn with_protocol(&self, protocol: ProtocolVersion) -> Self {
        self.of(self.handle.with_protocol(match protocol {
            ProtocolVersion::RESP2 => Protocol::Resp2,
            _ => Protocol::Resp3,
        }))
    }

    /// A connection whose calls do this while L2 is away, whatever `while_away` says: unless it is set, they wait for it
    /// up to `operation_timeout`.
    #[must_use]
    pub fn with_while_away(&self, while_away: WhileAway) -> Self {
        self.of(self.handle.with_while_away(while_away))
    }

    /// A connection each of whose calls may wait so long for L2, whatever `operation_timeout` says. What blocks
    /// (`BLPOP`, say) waits as long as it is told to.
    #[must_use]
    pub fn with_operation_timeout(&self, timeout: Duration) -> Self {
        self.of(self.handle.with_timeout(timeout))
    }

    /// Whether it is between `MULTI` or `WATCH` and their end, for pools that take handles back.
    pub fn in_transaction(&self) -> bool {
        self.handle.in_transaction()
    }

    /// A connection of redis-rs's own type with L1 behind it, for code that names that type: a true
    /// [`MultiplexedConnection`], whose other end is in this process instead of at a server. Code that can be generic is
    /// better off with `Connection` itself: a hit there takes no await point, and an outage heals by itself.
    ///
    /// It begins in the db and the protocol of this one, with a connection state of its own, which its clones share as they
    /// do in redis-rs: `SELECT`, `MULTI` and `WATCH` of one are those of all, and a blocking command holds up all.
    /// `SUBSCRIBE` is refused. It opens no connection, and runs on the tokio runtime it was made on.
    ///
    /// # Errors
    /// When the cache was shut down, or outside of a tokio runtime. Of its calls: the server's own are as ever. Where L2 is
    /// lost, and at a [`shutdown`](NearCache::shutdown), it ends as a connection to a server would
    /// (`is_connection_dropped()`): make another. Of what else went wrong redis-rs gets an error in the server's manner:
    /// code `TRYAGAIN` (a read, or not sent), `UNKNOWN` (a write of unknown outcome) or `ERR` (the command is refused).
    ///
    /// # Cost
    /// A hit: two switches between tasks, and the bytes of command and reply are copied twice. Commands that were sent
    /// together go to L2 together. At most 1 MiB of commands and as much of replies wait, or one that is longer.
    pub async fn multiplexed(&self) -> RedisResult<MultiplexedConnection> {
        self.handle.multiplexed_on_tokio().await
    }

    /// The same with redis-rs's settings (a push sender, which hears when it ends; a timeout for responses: redis-rs's
    /// default of 500 ms, unless `config` says `None`, of blocking commands, too) and on any executor: nothing runs until the second part, its driver, is spawned.
    ///
    /// # Errors
    /// As [`multiplexed`](Self::multiplexed), and for a `config` that asks for what is refused (redis-rs's own cache).
    pub async fn multiplexed_with_config(
        &self,
        config: AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Driver)> {
        self.handle.multiplexed(config).await
    }

    /// Makes it as good as new, for pools: ends a transaction that was left open, and goes back to the db it began in. A
    /// side connection without such a state is kept. Sends nothing that is waited for.
    pub fn reset(&mut self) {
        self.handle.reset();
    }

    fn of(&self, handle: Handle) -> Self {
        Self {
            cache: self.cache.clone(),
            handle,
        }
    }

    pub(crate) fn handle(&mut self) -> &mut Handle {
        &mut self.handle
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.handle.command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.handle.pipeline(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.handle.db()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// nearcache's own error in one of redis-rs: what to do, and for writes whether it was sent. `None` for an error
/// of the server or of redis-rs.
pub fn cause(error: &RedisError) -> Option<&Error> {
    let mut source = StdError::source(error);
    while let Some(error) = source {
        let shared = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>();
        let error = shared.map_or(error, |shared| &**shared);
        let io = error.downcast_ref::<std::io::Error>();
        let inner = io.and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// A cache on the server of a description in redis-rs's terms.
pub(crate) fn builder(info: impl IntoConnectionInfo) -> RedisResult<Builder> {
    let info = info.into_connection_info()?;
    let settings = SettingsBuilder::new().env().url(MEMORY_URL).build();
    let settings = settings.map_err(redis_error)?;
    let files = tls_files(&settings);
    let l2 =
        RedisL2::with_info_and(&info, settings.connect_timeout, &files).map_err(redis_error)?;
    Ok(NearCache::builder().settings(settings).store(l2))
}

impl NearCache {
    /// A handle of this cache for code written for redis-rs.
    pub(crate) fn handle(&self) -> Handle {
        let l1 = Some(self.policy());
        Handle::new(self.lives.clone(), self.db(), self.protocol(), l1)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.cache().io().is_closed()
    }
}
