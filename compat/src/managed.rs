//! The connection that comes back by itself.

use real::aio::ConnectionLike;
use real::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ToRedisArgs, Value};

use crate::shared::subscribing;

/// As redis-rs's own.
#[derive(Clone, Debug)]
pub enum ConnectionManager {
    /// redis-rs's own.
    RedisRs(real::aio::ConnectionManager),
    /// nearcache's drop-in.
    DropIn(nearcache::redis::Connection),
}

impl ConnectionManager {
    pub async fn new_with_config(
        client: crate::Client,
        config: real::aio::ConnectionManagerConfig,
    ) -> RedisResult<Self> {
        client.get_connection_manager_with_config(config).await
    }

    subscribing!(subscribe unsubscribe psubscribe punsubscribe);

    pub async fn send_packed_command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.req_packed_command(cmd).await
    }

    pub async fn send_packed_commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.req_packed_commands(pipeline, offset, count).await
    }

    fn con(&mut self) -> &mut (dyn ConnectionLike + Send) {
        match self {
            Self::RedisRs(con) => con,
            Self::DropIn(con) => con,
        }
    }
}

impl ConnectionLike for ConnectionManager {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.con().req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.con().req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::RedisRs(con) => con.get_db(),
            Self::DropIn(con) => con.get_db(),
        }
    }
}
