//! The seam: which connection is under test. Everything else of this test knows [`AsyncSubject`],
//! [`BlockingSubject`] and the trait only.

use std::future::Future;

use nearcache::redis::Connection;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// What is under test in async programs: the drop-in, or a connection of redis-rs's own type in front of it.
#[derive(Clone)]
pub struct AsyncSubject {
    con: Connection,
    multiplexed: Option<MultiplexedConnection>,
}

/// What is under test in blocking programs.
pub type BlockingSubject = nearcache::blocking::Connection;

/// Whether clones of the subject share `SELECT`, `WATCH` and `MULTI`, as those of redis-rs's multiplexed
/// connection do, or have them to themselves. The reference is arranged alike.
pub const CLONES_SHARE_SESSION: bool = false;

/// A connection that stands for a pod: an independent process with its own copies.
pub trait Subject: Clone + Send + Sync + 'static {
    fn open(url: &str) -> impl Future<Output = RedisResult<Self>> + Send;

    /// The same pod by a connection of redis-rs's own type, where that is another.
    fn multiplexed(self) -> impl Future<Output = Self> + Send {
        std::future::ready(self)
    }

    /// Another handle of the same pod, for another part of the program.
    fn another(&self) -> impl Future<Output = Self> + Send;

    /// Returns when the pod has heard of all that the server did before. Called after writes that did
    /// not come from the pod, as copies may be out of date for a moment then; never after its own.
    fn settle(&self) -> impl Future<Output = ()> + Send;

    /// How many reads of the whole pod were hits; `None` when there is no such thing.
    fn hits(&self) -> Option<u64>;
}

impl Subject for AsyncSubject {
    async fn open(url: &str) -> RedisResult<Self> {
        let con = Connection::open(url).await?;
        let multiplexed = None;
        Ok(Self { con, multiplexed })
    }

    async fn multiplexed(self) -> Self {
        let multiplexed = self.con.multiplexed().await.expect("there is a runtime");
        Self {
            multiplexed: Some(multiplexed),
            ..self
        }
    }

    async fn another(&self) -> Self {
        let another = Self {
            con: self.con.clone(),
            multiplexed: None,
        };
        match self.multiplexed {
            Some(_) => another.multiplexed().await,
            None => another,
        }
    }

    async fn settle(&self) {
        self.con.cache().fence().await.expect("the lane is up");
    }

    fn hits(&self) -> Option<u64> {
        Some(self.con.cache().stats().totals.hits_total)
    }
}

impl AsyncSubject {
    fn connection(&mut self) -> &mut (dyn ConnectionLike + Send) {
        match &mut self.multiplexed {
            Some(con) => con,
            None => &mut self.con,
        }
    }
}

impl ConnectionLike for AsyncSubject {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection().req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection()
            .req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.con.get_db()
    }
}

impl Subject for BlockingSubject {
    async fn open(url: &str) -> RedisResult<Self> {
        Self::open(url)
    }

    async fn another(&self) -> Self {
        self.clone()
    }

    async fn settle(&self) {
        self.as_async()
            .cache()
            .fence()
            .await
            .expect("the lane is up");
    }

    fn hits(&self) -> Option<u64> {
        Some(self.as_async().cache().stats().totals.hits_total)
    }
}
