//! The seam: which connection is under test. Everything else of this test knows [`AsyncSubject`],
//! [`BlockingSubject`] and the trait only.

use std::future::Future;

use redis::RedisResult;

/// What is under test in async programs.
pub type AsyncSubject = nearcache::redis::Connection;

/// What is under test in blocking programs.
pub type BlockingSubject = nearcache::blocking::Connection;

/// Whether clones of the subject share `SELECT`, `WATCH` and `MULTI`, as those of redis-rs's multiplexed
/// connection do, or have them to themselves. The reference is arranged alike.
pub const CLONES_SHARE_SESSION: bool = false;

/// A connection that stands for a pod: an independent process with its own copies.
pub trait Subject: Clone + Send + Sync + 'static {
    fn open(url: &str) -> impl Future<Output = RedisResult<Self>> + Send;

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
        Self::open(url).await
    }

    async fn another(&self) -> Self {
        self.clone()
    }

    async fn settle(&self) {
        self.cache().fence().await.expect("the lane is up");
    }

    fn hits(&self) -> Option<u64> {
        Some(self.cache().stats().totals.hits_total)
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
        self.as_async().settle().await;
    }

    fn hits(&self) -> Option<u64> {
        self.as_async().hits()
    }
}
