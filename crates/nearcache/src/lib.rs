//! A coherent near cache in front of a shared Redis or Valkey: hot keys are read in this process, and a
//! write anywhere in the fleet reaches every process's copy.
//!
//! ```
//! use nearcache::{NearCache, Ttl};
//!
//! # pollster::block_on(async {
//! let cache = NearCache::builder()
//!     .memory() // an embedded L2; a server is .redis("redis://127.0.0.1:6379")
//!     .capacity("64MiB")
//!     .connect()
//!     .await?;
//!
//! cache.set("product:123", "tea", Ttl::secs(60)).await?;
//! assert_eq!(cache.get("product:123").await?.as_deref(), Some(&b"tea"[..])); // from L2, kept
//! assert_eq!(cache.get("product:123").await?.as_deref(), Some(&b"tea"[..])); // from this process
//! assert_eq!(cache.stats().totals.hits_total, 1);
//! # Ok::<(), nearcache::Error>(()) }).unwrap();
//! ```
//!
//! - [`NearCache`]: bytes; a hit copies nothing and allocates nothing. [`Typed`]: values decoded once.
//! - [`redis::Connection`]: code written for redis-rs, unchanged, with its reads served from this process.
//! - [`blocking`]: the same without an executor. [`Session`]: commands of every other kind.
//! - [`NearCache::ready`]: a new pod fetches what the fleet reads before its first request; feature `http` has the probes.
//! - [`Settings`]: everything that can be set; [`Builder`]: the same by calls.
//! - [`l2`]: what a store of your own has to do.
//!
//! Only this crate need be named: what it shows of the others is re-exported here.

pub mod blocking;
mod builder;
mod cache;
pub mod codec;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod pool;
#[cfg(feature = "redis-rs")]
pub mod redis;
mod session;
pub mod settings;
mod stats;
mod trace;
mod ttl;
mod typed;
mod versioned;

pub use builder::Builder;
pub use bytes::{self, Bytes};
pub use cache::NearCache;
#[cfg(feature = "json")]
pub use codec::Json;
#[cfg(feature = "msgpack")]
pub use codec::MessagePack;
pub use codec::{Codec, Raw};
pub use nearcache_io::MemoryL2;
pub use nearcache_l1::{DefaultWeigher, Key, RemovalCause, RemovalHook, StoreStats, Weigher};
pub use nearcache_proto::resp::Reply;
pub use nearcache_proto::warm::{Phase, Readiness, WarmEnd, WarmReport};
pub use nearcache_proto::working_set::TraceNames;
pub use nearcache_proto::{
    Error, ErrorKind, Freshness, L2, LaneState, LoadPolicy, OnL2Down, Read, ReadPolicy, Reason,
    Source, Totals, WhileAway, WriteOutcome, fleet_key,
};
#[cfg(feature = "redis")]
pub use nearcache_redis::RedisL2;
/// The client that is used below, in the release that is used: for `redis::ConnectionInfo`.
#[cfg(feature = "redis-rs")]
pub use nearcache_redis::redis as redis_rs;
pub use session::Session;
pub use settings::{ManifestKeys, Settings, SettingsBuilder};
pub use stats::{LaneStats, Stats};
pub use trace::TraceExport;
pub use ttl::Ttl;
pub use typed::Typed;
pub use versioned::versioned;

/// What a store of your own implements, to be used with [`Builder::store`].
///
/// [`L2`] opens connections, a [`Connection`](l2::Connection) answers [`Op`](l2::Op)s in order - the easy way to make one is an
/// [`Executor`](l2::Executor), which answers by futures - and
/// [`Events`](l2::Events) hear of changes. A store that cannot tell of changes says so with
/// [`Tracking::None`](l2::Tracking): its entries then live for a bounded time.
pub mod l2 {
    pub use nearcache_io::{Executor, InOrder, MemoryL2};
    pub use nearcache_proto::resp::Reply;
    pub use nearcache_proto::{
        BatchReply, BoxFuture, Connection, ConnectionId, Endpoint, Events, Invalidations, L2, Op,
        OpError, OpReply, PrimaryId, Protocol, Tracking, Traits,
    };
    #[cfg(feature = "redis")]
    pub use nearcache_redis::RedisL2;
}
