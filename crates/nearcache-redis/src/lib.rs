//! Redis and Valkey as an L2 of nearcache; with the feature `redis-rs` the drop-in in the place of a connection of redis-rs's, too.
//!
//! Holds no protocol of its own: what is sent and what an answer means is decided in `nearcache-proto`.

#[cfg(feature = "redis-rs")]
mod convert;
#[cfg(feature = "redis-rs")]
mod handle;
#[cfg(feature = "redis-rs")]
mod pipe;
mod server;

#[cfg(feature = "redis-rs")]
pub use convert::call_error as redis_error;
#[cfg(feature = "redis-rs")]
pub use handle::Handle;
#[cfg(feature = "redis-rs")]
pub use pipe::Driver;
#[cfg(feature = "redis-rs")]
pub use redis;
pub use server::{RedisL2, TlsFiles};
