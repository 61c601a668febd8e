//! The IO edge of nearcache, but for any server's client: the thread that does all IO and drives the lanes, the clock,
//! what a process keeps to itself, and the embedded server as an L2.
//!
//! Holds no protocol of its own: what is sent and what an answer means is decided in `nearcache-proto`. Knows no Redis.

mod clock;
mod driver;
mod in_order;
mod memory;
mod process;
mod snapshot;

pub use clock::now;
pub use driver::IoThread;
pub use in_order::{Executor, InOrder};
pub use memory::MemoryL2;
pub use process::{Owned, PerProcess, left_behind};
pub use snapshot::SnapshotFile;
