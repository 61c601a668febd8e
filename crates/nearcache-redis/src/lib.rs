//! Redis and Valkey as an L2 of nearcache, by redis-rs, and the drop-in in the place of a connection of redis-rs's.
//!
//! Holds no protocol of its own: what is sent and what an answer means is decided in `nearcache-proto`.

mod convert;
mod handle;
mod pipe;
mod server;

pub use convert::call_error as redis_error;
pub use handle::Handle;
pub use pipe::Driver;
pub use redis;
pub use server::{RedisL2, TlsFiles};
