//! The driver of nearcache: its L2 on Redis and Valkey by redis-rs, its embedded L2, and the thread that
//! does all IO.
//!
//! Holds no protocol of its own: what is sent and what an answer means is decided in `nearcache-proto`.

mod clock;
mod convert;
mod handle;
mod io;
mod memory;
mod pipe;
mod process;
mod server;
mod snapshot;

pub use clock::now;
pub use convert::call_error as redis_error;
pub use handle::{Handle, left_behind};
pub use io::IoThread;
pub use memory::MemoryL2;
pub use pipe::Driver;
pub use process::{Owned, PerProcess};
pub use redis;
pub use server::{RedisL2, TlsFiles};
pub use snapshot::SnapshotFile;
