//! The drop-in for redis-rs's blocking connection.

use std::time::Duration;

use nearcache_proto::{ReadPolicy, WhileAway};
use nearcache_redis::redis::{Cmd, IntoConnectionInfo, RedisResult, Value};
use nearcache_redis::{redis, redis_error};
use pollster::block_on;

use super::NearCache;
use crate::redis as drop_in;

/// A [`redis::Connection`](crate::redis::Connection) whose calls block their thread: instead of redis-rs's own
/// `redis::Connection`.
///
/// ```no_run
/// use nearcache::redis_rs::Commands;
///
/// let mut con = nearcache::blocking::Connection::open("redis://127.0.0.1:6379")?;
/// let name: Option<String> = con.hget("product:123", "name")?;
/// # Ok::<(), nearcache::redis_rs::RedisError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connection(drop_in::Connection);

impl Connection {
    /// As [`Connection::open`](crate::redis::Connection::open).
    ///
    /// # Errors
    /// As there.
    pub fn open(info: impl IntoConnectionInfo) -> RedisResult<Self> {
        let cache = drop_in::builder(info)?.connect_blocking();
        Ok(Self::new(&cache.map_err(redis_error)?))
    }

    /// As [`Connection::new`](crate::redis::Connection::new).
    pub fn new(cache: &NearCache) -> Self {
        Self(drop_in::Connection::new(cache.as_async()))
    }

    /// The same connection for callers with an executor.
    pub fn as_async(&self) -> &drop_in::Connection {
        &self.0
    }

    /// As [`Connection::pass_through`](crate::redis::Connection::pass_through).
    #[must_use]
    pub fn pass_through(&self) -> Self {
        Self(self.0.pass_through())
    }

    /// As [`Connection::with_on_unproven`](crate::redis::Connection::with_on_unproven).
    #[must_use]
    pub fn with_on_unproven(&self, policy: ReadPolicy) -> Self {
        Self(self.0.with_on_unproven(policy))
    }

    /// As [`Connection::with_while_away`](crate::redis::Connection::with_while_away).
    #[must_use]
    pub fn with_while_away(&self, while_away: WhileAway) -> Self {
        Self(self.0.with_while_away(while_away))
    }

    /// As [`Connection::with_operation_timeout`](crate::redis::Connection::with_operation_timeout).
    #[must_use]
    pub fn with_operation_timeout(&self, timeout: Duration) -> Self {
        Self(self.0.with_operation_timeout(timeout))
    }

    /// As [`Connection::with_protocol`](crate::redis::Connection::with_protocol).
    #[must_use]
    pub fn with_protocol(&self, protocol: redis::ProtocolVersion) -> Self {
        Self(self.0.with_protocol(protocol))
    }
}

impl redis::ConnectionLike for Connection {
    fn req_command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        block_on(self.0.handle().command(cmd))
    }

    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        block_on(self.0.handle().packed(packed))
    }

    fn req_packed_commands(
        &mut self,
        packed: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        block_on(self.0.handle().packed_pipeline(packed, offset, count))
    }

    fn get_db(&self) -> i64 {
        redis::aio::ConnectionLike::get_db(&self.0)
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").exec(self).is_ok()
    }

    /// Whether it can be used: until the cache is shut down, since a lost lane comes back by itself.
    fn is_open(&self) -> bool {
        !self.0.cache().is_closed()
    }
}
