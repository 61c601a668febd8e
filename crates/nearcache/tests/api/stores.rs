//! Stores that misbehave, and that their users' own stores can be plugged in.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nearcache::l2::{
    BatchReply, BoxFuture, Connection, Endpoint, Events, Executor, InOrder, L2, Op, OpError,
    OpReply, Protocol, Tracking, Traits,
};
use nearcache::{Bytes, Error, ErrorKind, MemoryL2, NearCache, ReadPolicy, Source, Ttl};

use super::bytes;

/// Never answers an attempt to connect.
pub(crate) struct Silent;

impl L2 for Silent {
    fn tracking(&self) -> Tracking {
        Tracking::Pushes
    }
    fn describe(&self) -> String {
        "silence".to_owned()
    }
    fn connect(&self, _: &Endpoint, _: Events) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        Box::pin(pending())
    }
    fn connect_side(
        &self,
        _: &Endpoint,
        _: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        Box::pin(pending())
    }
}

/// An embedded store; the token tells when the last holder has let go of it.
pub(crate) struct Watched {
    pub(crate) l2: MemoryL2,
    pub(crate) _token: Arc<()>,
}

impl L2 for Watched {
    fn tracking(&self) -> Tracking {
        self.l2.tracking()
    }
    fn describe(&self) -> String {
        self.l2.describe()
    }
    fn connect(
        &self,
        endpoint: &Endpoint,
        events: Events,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.l2.connect(endpoint, events)
    }
    fn connect_side(
        &self,
        endpoint: &Endpoint,
        protocol: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        self.l2.connect_side(endpoint, protocol)
    }
}

/// The smallest store there can be: one value for all keys, no reports of changes.
#[derive(Clone, Default)]
struct OneValue {
    value: Arc<Mutex<Option<Bytes>>>,
    reads: Arc<AtomicU64>,
}

impl L2 for OneValue {
    fn tracking(&self) -> Tracking {
        Tracking::None
    }
    fn describe(&self) -> String {
        "one value".to_owned()
    }
    fn connect(&self, _: &Endpoint, _: Events) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let con: Box<dyn Connection> = Box::new(InOrder::new(self.clone()));
        Box::pin(ready(Ok(con)))
    }
    fn connect_side(
        &self,
        _: &Endpoint,
        _: Protocol,
    ) -> BoxFuture<Result<Box<dyn Connection>, Error>> {
        let con: Box<dyn Connection> = Box::new(InOrder::new(self.clone()));
        Box::pin(ready(Ok(con)))
    }
}

impl Executor for OneValue {
    fn execute(&mut self, ops: Vec<Op>) -> BoxFuture<Result<BatchReply, Error>> {
        let replies = ops.iter().map(|op| self.answer(op)).collect();
        Box::pin(ready(Ok(replies)))
    }
}

impl OneValue {
    fn answer(&self, op: &Op) -> Result<OpReply, OpError> {
        let mut value = self.value.lock().unwrap();
        Ok(match op {
            Op::Read { .. } => {
                self.reads.fetch_add(1, Ordering::Relaxed);
                OpReply::Read {
                    value: value.clone(),
                    ttl: None,
                    tracked: false,
                }
            }
            Op::Set { value: new, .. } => {
                *value = Some(new.clone());
                OpReply::Stored(true)
            }
            Op::Replace {
                old, value: new, ..
            } => {
                let holds = value.as_ref() == Some(old);
                if holds {
                    *value = Some(new.clone());
                }
                OpReply::Stored(holds)
            }
            Op::Delete { .. } => OpReply::Deleted(value.take().is_some()),
            Op::Fence { .. } | Op::FenceOf { .. } => OpReply::Fenced,
            Op::Heartbeat => OpReply::Role { primary: true },
            Op::ProbeDb { .. } => OpReply::Selectable,
            Op::Handshake { .. } => OpReply::Handshake {
                primary: true,
                traits: Traits::default(),
                tracking: Err("there is none".to_owned()),
            },
            Op::ReadWith { .. } | Op::Command { .. } | Op::Transaction { .. } => {
                return Err(OpError::Unsupported("commands".to_owned()));
            }
        })
    }
}

#[tokio::test]
async fn a_store_of_ones_own_that_cannot_invalidate() {
    let store = OneValue::default();
    let cache = NearCache::builder()
        .store(store.clone())
        .connect()
        .await
        .unwrap();
    cache.set("k", "v1", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v1"));
    // Somebody else writes, and nobody tells: it is seen all the same, within `max_staleness`.
    *store.value.lock().unwrap() = bytes("v2");
    let see_it = async {
        while cache.get("k").await.unwrap() != bytes("v2") {
            tokio::task::yield_now().await;
        }
    };
    let bound = nearcache_testkit::WAIT_MAX;
    tokio::time::timeout(bound, see_it)
        .await
        .expect("the entry never expired");
    // What was kept for a while was served: far fewer reads than rounds of that loop.
    let totals = cache.stats().totals;
    assert!(store.reads.load(Ordering::Relaxed) <= totals.fills_total);
    assert_eq!(cache.settings().url, "", "a store needs no address");
    assert_eq!(cache.stats().lanes[0].l2, "one value");
}

#[tokio::test]
async fn c10_a_store_that_never_answers_fails_the_calls_in_time() {
    let builder = NearCache::builder()
        .store(Silent)
        .connect_timeout("20ms")
        .operation_timeout("20ms")
        .warm_deadline("20ms");
    let error = builder.clone().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let cache = builder.build().unwrap();
    let error = cache.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test]
async fn c2_serve_stale_marks_what_it_serves_and_ends_at_its_maximum() {
    let l2 = MemoryL2::new();
    let cache = super::builder(&l2)
        .max_staleness("50ms")
        .connect()
        .await
        .unwrap();
    cache.set("k", "v", Ttl::NONE).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), bytes("v"));
    l2.refuse_connections(true);
    l2.disconnect_all();

    let stale = ReadPolicy::ServeStale {
        max: std::time::Duration::from_secs(600),
    };
    super::eventually("the lane is down", || {
        cache.stats().totals.disconnects_total == 1
    })
    .await;
    let read = cache.get_with("k", stale).await.unwrap();
    assert_eq!((read.value, read.source), (bytes("v"), Source::L1));
    assert!(
        matches!(read.freshness, nearcache::Freshness::Stale(_)),
        "{:?}",
        read.freshness
    );
    assert!(cache.stats().totals.stale_total >= 1);
    assert_eq!(cache.get_resident("k"), None, "nothing is proven fresh");
    assert_eq!(cache.get("k").await.unwrap_err().kind(), ErrorKind::Retry);
    let none = ReadPolicy::ServeStale {
        max: std::time::Duration::ZERO,
    };
    assert_eq!(
        cache.get_with("k", none).await.unwrap_err().kind(),
        ErrorKind::Retry
    );

    cache.shutdown().await;
    let error = cache.get_with("k", stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}
