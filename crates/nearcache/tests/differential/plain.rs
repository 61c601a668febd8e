//! Plain connections of redis-rs: the reference, and the subject when the harness tests itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

use crate::subject::{CLONES_SHARE_SESSION, Subject};

/// The default of half a second is too short for a machine with other things to do.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An async connection. Clones share its session.
#[derive(Clone)]
pub struct Async {
    url: String,
    connection: MultiplexedConnection,
}

impl Subject for Async {
    async fn open(url: &str) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(TIMEOUT))
            .set_connection_timeout(Some(TIMEOUT));
        let client = Client::open(url)?;
        Ok(Self {
            url: url.to_owned(),
            connection: client
                .get_multiplexed_async_connection_with_config(&config)
                .await?,
        })
    }

    async fn another(&self) -> Self {
        if CLONES_SHARE_SESSION {
            return self.clone();
        }
        Self::open(&self.url).await.expect("the server is up")
    }

    async fn settle(&self) {}

    fn hits(&self) -> Option<u64> {
        None
    }
}

impl redis::aio::ConnectionLike for Async {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// A blocking connection. Clones share its session.
#[derive(Clone)]
pub struct Blocking {
    url: String,
    connection: Arc<Mutex<redis::Connection>>,
}

impl Blocking {
    fn with<R>(&self, call: impl FnOnce(&mut redis::Connection) -> R) -> R {
        call(&mut self.connection.lock().expect("no holder panics"))
    }
}

impl Subject for Blocking {
    async fn open(url: &str) -> RedisResult<Self> {
        let connection = Client::open(url)?.get_connection_with_timeout(TIMEOUT)?;
        Ok(Self {
            url: url.to_owned(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    async fn another(&self) -> Self {
        if CLONES_SHARE_SESSION {
            return self.clone();
        }
        Self::open(&self.url).await.expect("the server is up")
    }

    async fn settle(&self) {}

    fn hits(&self) -> Option<u64> {
        None
    }
}

impl redis::ConnectionLike for Blocking {
    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        self.with(|connection| connection.req_packed_command(cmd))
    }

    fn req_packed_commands(
        &mut self,
        cmd: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.with(|connection| connection.req_packed_commands(cmd, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.with(|connection| connection.get_db())
    }

    fn check_connection(&mut self) -> bool {
        self.with(redis::ConnectionLike::check_connection)
    }

    fn is_open(&self) -> bool {
        self.with(|connection| connection.is_open())
    }
}
