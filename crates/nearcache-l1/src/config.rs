//! How a store is set up: its bounds, its weigher, its removal hook. Plain data; nothing here runs by itself.

use std::fmt;
use std::sync::Arc;

use crate::Key;
use crate::key::INLINE;

/// Bytes of bookkeeping an entry costs beside its key and value, at most: slot, table, ghost, the header of a shared
/// value and what an allocator rounds up. `tests/overhead.rs` measures it.
pub const ENTRY_OVERHEAD: usize = 160;

/// Bytes a key costs beside its own when it has an allocation to itself.
const LONG_KEY_OVERHEAD: usize = 40;

/// Bytes an open flight costs, roughly: its shared state, its key, its place in the table.
pub const FLIGHT_OVERHEAD: usize = 384;

/// Called for every entry that leaves the store, after the lock it was removed under is released.
pub type RemovalHook = Arc<dyn Fn(Key<'_>, RemovalCause) + Send + Sync>;

/// The bounds and parts of a [`Store`](crate::Store).
#[derive(Clone)]
pub struct StoreConfig {
    /// The budget, in bytes or in the weigher's units.
    ///
    /// With the default weigher up to a sixteenth of it is set aside for open flights and for the shards
    /// themselves.
    pub capacity: usize,
    /// What a single entry may weigh at most; `None` for an eighth of the capacity. Never more than 4 GiB - 1.
    pub max_entry_weight: Option<usize>,
    /// How many flights one key may have in the air, orphaned ones included.
    pub max_flights_per_key: usize,
    /// How many flights the store may have in the air.
    pub max_flights: usize,
    /// How many locks the keys are spread over, rounded up to a power of two, at most 256; `None` to derive it from
    /// the capacity. More locks mean less contention and a policy that sees less of the traffic.
    pub shards: Option<usize>,
    /// Seeds the key hash; give each process its own where keys come from strangers.
    pub seed: u64,
    /// What entries weigh; `None` for their bytes, bookkeeping included.
    pub weigher: Option<Arc<dyn Weigher>>,
    /// Called for every entry that leaves the store.
    pub on_removal: Option<RemovalHook>,
}

impl StoreConfig {
    /// Makes the default configuration for a capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            max_entry_weight: None,
            max_flights_per_key: 4,
            max_flights: 16_384,
            shards: None,
            seed: 0,
            weigher: None,
            on_removal: None,
        }
    }
}

/// Says what an entry counts against the capacity.
pub trait Weigher: Send + Sync {
    /// Returns the weight of an entry, given the lengths of its value and of its attached decoded form in bytes (0 for
    /// none). Called without a lock held; a weight of zero counts as one.
    fn weigh(&self, key: Key<'_>, value_bytes: usize, decoded_bytes: usize) -> usize;
}

/// Weighs an entry by its bytes: key, value, decoded form and [`ENTRY_OVERHEAD`]; and 40 more for a key longer than 22
/// bytes, which does not fit its slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultWeigher;

impl Weigher for DefaultWeigher {
    fn weigh(&self, key: Key<'_>, value_bytes: usize, decoded_bytes: usize) -> usize {
        let long_key = match key.bytes.len() > INLINE {
            true => LONG_KEY_OVERHEAD,
            false => 0,
        };
        (key.bytes.len() + long_key)
            .saturating_add(value_bytes)
            .saturating_add(decoded_bytes)
            .saturating_add(ENTRY_OVERHEAD)
    }
}

/// Why an entry left the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Someone wrote the key.
    Invalidated,
    /// There was no room.
    Evicted,
    /// Its time was up.
    Expired,
    /// A newer value took its place, or was too heavy to.
    Replaced,
    /// The caller dropped it from this store only.
    Forgotten,
    /// The whole store was cleared.
    Cleared,
}

/// What is wrong with a [`StoreConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The capacity is zero: the store could hold nothing.
    ZeroCapacity,
    /// A bound on flights is zero: nothing could ever be filled.
    ZeroFlights,
    /// The largest entry may weigh nothing: the store could hold nothing.
    ZeroEntryWeight,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroCapacity => {
                "the capacity is zero; give the store room for at least one entry"
            }
            Self::ZeroFlights => "max_flights and max_flights_per_key must be at least 1",
            Self::ZeroEntryWeight => "max_entry_weight must be at least 1, or None",
        })
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("capacity", &self.capacity)
            .field("max_entry_weight", &self.max_entry_weight)
            .field("max_flights_per_key", &self.max_flights_per_key)
            .field("max_flights", &self.max_flights)
            .field("shards", &self.shards)
            .field("weigher", &self.weigher.as_ref().map(|_| "custom"))
            .finish_non_exhaustive()
    }
}
