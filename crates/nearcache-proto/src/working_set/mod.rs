//! The working set: which keys a pod reads, which the fleet reads, and how pods tell each other.
//!
//! Pure: no clock, IO, thread or randomness; time is an argument, what is published is bytes. What is
//! decoded here was written by anyone: it may be refused or skipped, it is never trusted.

mod blob;
mod counts;
mod frame;
mod ignored;
mod item;
mod items;
mod manifest;
mod merge;
mod name;
mod names;
mod plan;
mod profile;
mod sample;
mod snapshot;
mod tally;
mod trace;

pub use blob::{Blob, Rates};
pub use counts::Counts;
pub use ignored::Ignored;
pub use item::Item;
pub use manifest::Manifest;
pub use merge::{Merger, merge};
pub use name::Name;
pub use names::KeyNames;
pub use plan::Plan;
pub use profile::Profile;
pub use sample::Sampler;
pub use snapshot::Snapshot;
pub use trace::{ReadTrace, TraceNames};

#[cfg(all(test, not(nearcache_loom)))]
mod tests;
