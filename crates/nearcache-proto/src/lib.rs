//! The protocol of nearcache without IO: how a pod keeps its L1 coherent with a shared Redis or Valkey.
//!
//! No clock, socket, thread or randomness: time and seeds are arguments, requests and replies are values.

/// Whether a mechanism was switched off, which no ordinary build can.
#[cfg(nearcache_break)]
macro_rules! off {
    ($mechanism:ident) => {
        crate::sabotage::is_off(crate::sabotage::Mechanism::$mechanism)
    };
}
#[cfg(not(nearcache_break))]
macro_rules! off {
    ($mechanism:ident) => {
        false
    };
}

mod admission;
mod cache;
pub mod commands;
mod config;
mod counters;
mod decoded;
mod derive;
mod entry_key;
mod epochs;
mod error;
mod fill;
mod fleet;
mod held;
mod lane;
mod load;
mod op;
mod pod;
mod primary;
mod random;
mod read;
mod read_many;
mod readiness;
mod replies;
mod request;
pub mod resp;
mod rights;
#[cfg(nearcache_break)]
pub mod sabotage;
#[cfg(all(test, nearcache_loom))]
#[path = "schedules/tests.rs"]
mod schedules;
mod session;
mod shim;
pub mod warm;
pub mod working_set;
mod write;

pub use cache::{Cache, Freshness, Io, Read, ReadPolicy, Source, WhileAway};
pub use config::{LaneConfig, PodConfig};
pub use counters::Totals;
pub use entry_key::{user_key, weighed_key};
pub use error::{Error, ErrorKind, Reason, WriteOutcome};
pub use fleet::{check_service, fleet_key};
pub use lane::{Action, Condition, Lane, Report, TooLargeFor};
pub use load::{Call, LoadPolicy, Loaded, OnL2Down};
pub use op::{
    BatchId, BatchReply, BoxFuture, Connection, ConnectionId, Endpoint, Events, Invalidations, L2,
    Line, Op, OpError, OpReply, PrimaryId, Protocol, Side, Tracking, Traits,
};
pub use pod::Pod;
pub use primary::{LaneState, LaneStats};
pub use request::Request;
pub use rights::Rights;
pub use session::Session;
pub use write::check_ttl;
