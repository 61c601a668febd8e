//! The calls of one pod: what they need, and the read policies. Reading is in `read`, writing in
//! `write`, loading in `load`; all are plain futures that any executor, or none, can drive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use crate::error::{Error, ErrorKind};
use crate::pod::Pod;
use crate::request::{Answer, Request, Work};
use crate::slots;

/// The clock and the way to the lane: what turns the protocol into a running pod.
pub trait Io: Send + Sync + 'static {
    /// Microseconds on a clock that goes on while the machine is suspended and never goes back.
    fn now(&self) -> Timestamp;

    /// Puts a request in line for the lane, or [rejects](Request::reject) it. Never blocks.
    fn submit(&self, request: Request);
}

/// What a read does when its freshness cannot be proven from L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadPolicy {
    /// Ask L2, and fail if L2 does.
    #[default]
    PassThrough,
    /// Fail at once instead of waiting for a heartbeat.
    Error,
    /// Serve the resident value, marked stale, unless it was last known to be fresh longer ago than `max`.
    ServeStale {
        /// The hard maximum.
        max: Duration,
    },
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<V = Bytes> {
    /// The value; `None`: there is no such key.
    pub value: Option<V>,
    /// Whether it reflects every write that L2 executed before `max_staleness` ago.
    pub freshness: Freshness,
    /// Where it came from.
    pub source: Source,
}

impl<V> Read<V> {
    /// The same answer with another form of its value.
    pub fn with_value<W>(self, value: Option<W>) -> Read<W> {
        Read {
            value,
            freshness: self.freshness,
            source: self.source,
        }
    }
}

/// Whether a read kept the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within `max_staleness`.
    Fresh,
    /// Last known to be fresh this long ago.
    Stale(Duration),
}

/// Who answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This process.
    L1,
    /// The shared store.
    L2,
    /// A loader of this process.
    Origin,
}

/// The calls of one pod, on the clock and lane of `I`.
pub struct Cache<I> {
    pub(crate) pod: Arc<Pod>,
    pub(crate) io: Arc<I>,
}

impl<I> Clone for Cache<I> {
    fn clone(&self) -> Self {
        Self {
            pod: self.pod.clone(),
            io: self.io.clone(),
        }
    }
}

impl<I: Io> Cache<I> {
    /// The calls of `pod`.
    pub fn new(pod: Arc<Pod>, io: Arc<I>) -> Self {
        Self { pod, io }
    }

    /// The pod.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The clock and the way to the lane.
    pub fn io(&self) -> &Arc<I> {
        &self.io
    }

    /// Resolves when the lane is up. For as long as `patience`, attempts that failed in a way that can heal
    /// are followed by others; with none, the first one decides. It needs no runtime: the lane answers.
    ///
    /// # Errors
    /// Why the last attempt to connect failed: at once when that cannot heal
    /// ([`ErrorKind::Configuration`]), else when patience is at its end.
    ///
    /// # Cancellation
    /// The lane goes on trying whether or not anybody waits.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let until = self.io.now().saturating_add(patience);
        self.ask(until, Work::Ready).await
    }

    /// Drops this pod's copy of one key of one db, and every kept reply about it. L2 is not told.
    pub fn forget(&self, db: u32, key: &[u8]) -> bool {
        // What is being loaded was asked of the origin before.
        self.pod.coherence.bump_epoch(key);
        let key = nearcache_l1::Key::new(db, key);
        let replies = self.pod.store.forget(slots::head(key));
        self.pod.store.forget(slots::loads(key));
        self.pod.store.forget(key) | replies
    }

    pub(crate) fn call_deadline(&self) -> Timestamp {
        self.io
            .now()
            .saturating_add(self.pod.config.operation_timeout)
    }

    pub(crate) fn submit(&self, deadline: Timestamp, work: Work) {
        self.io.submit(Request { deadline, work });
    }

    /// Submits the work that `make` builds around a promise, and waits for its answer.
    pub(crate) fn ask<T: Clone + Send + 'static>(
        &self,
        deadline: Timestamp,
        make: impl FnOnce(crate::request::Done<T>) -> Work,
    ) -> nearcache_l1::PromiseFuture<Result<T, Error>> {
        let (done, answer): (_, Answer<T>) = crate::request::Done::new();
        let future = answer.future();
        self.submit(deadline, make(done));
        future
    }
}

/// A key longer than L2 accepts would be refused there with a broken connection.
pub(crate) fn check_sizes(key: &[u8], value: usize) -> Result<(), Error> {
    const LIMIT: usize = 512 << 20;
    if key.len() > LIMIT || value > LIMIT {
        return Err(Error::new(
            ErrorKind::Usage,
            "a key or value is longer than 512 MiB, which no Redis or Valkey accepts: split it",
        ));
    }
    Ok(())
}
