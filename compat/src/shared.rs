//! The asynchronous connection.

use std::time::Duration;

use real::aio::ConnectionLike;
use real::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ToRedisArgs, Value};

/// As redis-rs's own.
#[derive(Clone, Debug)]
pub enum MultiplexedConnection {
    /// redis-rs's own, whatever it is connected to.
    RedisRs(real::aio::MultiplexedConnection),
    /// nearcache's drop-in.
    DropIn(nearcache::redis::Connection),
}

/// Subscribing is what the drop-in leaves to redis-rs.
macro_rules! subscribing {
    ($($name:ident)*) => {$(
        pub async fn $name(&mut self, channels: impl ToRedisArgs) -> RedisResult<()> {
            match self {
                Self::RedisRs(con) => con.$name(channels).await,
                Self::DropIn(_) => Err(RedisError::from((ErrorKind::Client, "not of the drop-in"))),
            }
        }
    )*};
}
pub(crate) use subscribing;

impl MultiplexedConnection {
    subscribing!(subscribe unsubscribe psubscribe punsubscribe);

    pub fn set_response_timeout(&mut self, timeout: Duration) {
        match self {
            Self::RedisRs(con) => con.set_response_timeout(timeout),
            // Its timeouts are settings.
            Self::DropIn(_) => {}
        }
    }

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

impl ConnectionLike for MultiplexedConnection {
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
