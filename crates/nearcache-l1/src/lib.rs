//! The byte-bounded in-process store of nearcache: entries, flights, eviction, removal.
//! Sync; it owns no IO, no thread, no clock and no randomness: time and seeds are arguments.
//! It never judges whether an entry is fresh; it hands out what the caller needs to judge.

mod config;
mod entries;
mod entry;
mod flight;
mod ghost;
mod key;
mod packed;
mod promise;
mod queues;
mod shim;
mod slab;
mod stats;
mod store;
mod time;

pub use config::{
    ConfigError, DefaultWeigher, ENTRY_OVERHEAD, FLIGHT_OVERHEAD, RemovalCause, RemovalHook,
    StoreConfig, Weigher,
};
pub use entry::{EntryId, EntryInfo, Filled, Hit, Published, Refusal, Stamp};
pub use flight::{Entrance, Flight, FlightGuard, Landed, Landing};
pub use key::Key;
pub use promise::{Promise, PromiseFuture};
pub use stats::StoreStats;
pub use store::Store;
pub use time::Timestamp;
