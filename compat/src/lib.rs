//! What redis-rs's tests name as `redis`: that crate, with connections that are opened as `COMPAT_WAY` says: its own
//! (`redis-rs`), nearcache's drop-in (`drop-in`), or its own in front of nearcache's L1 (`multiplexed`).
//!
//! Changes nothing else. What the drop-in leaves to redis-rs (pub/sub, MONITOR) stays on a connection of redis-rs.

mod client;
mod connection;
mod managed;
mod shared;

pub use client::Client;
pub use connection::Connection;
pub use real::*;

/// redis-rs's asynchronous parts, with our connections.
pub mod aio {
    pub use crate::managed::ConnectionManager;
    pub use crate::shared::MultiplexedConnection;
    pub use real::aio::*;
}

/// How connections are opened.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    RedisRs,
    DropIn,
    Multiplexed,
}

fn way() -> Way {
    match std::env::var("COMPAT_WAY").as_deref() {
        Ok("redis-rs") => Way::RedisRs,
        Ok("drop-in") => Way::DropIn,
        Ok("multiplexed") => Way::Multiplexed,
        _ => panic!("set COMPAT_WAY to redis-rs, drop-in or multiplexed"),
    }
}
