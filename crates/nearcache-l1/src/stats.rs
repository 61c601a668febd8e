//! What the store counts. Counters live in the shards and are summed here on demand; nothing decides by them.

/// A snapshot of a store's counters and sizes; each shard is read at a slightly different moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Resident entries.
    pub entries: usize,
    /// What counts against the capacity now: entries, and entries about to be stored.
    pub weight: usize,
    /// The configured capacity.
    pub capacity: usize,
    /// Flights in the air, orphaned and settled ones included.
    pub flights_open: usize,
    /// Times the removal hook panicked; each was caught.
    pub hook_panics: usize,
    /// Flights ever started.
    pub flights_total: u64,
    /// Entries stored, replacements included.
    pub inserts: u64,
    /// Entries that took the place of an older value of their key.
    pub replaced: u64,
    /// Entries dropped for want of room.
    pub evictions: u64,
    /// Entries dropped because their time was up.
    pub expired: u64,
    /// Entries dropped because someone wrote the key.
    pub invalidated: u64,
    /// Entries the caller dropped from this store only.
    pub forgotten: u64,
    /// Entries dropped by clearing the store.
    pub cleared: u64,
    /// Publishes refused because the flight was orphaned.
    pub refused_orphaned: u64,
    /// Publishes refused by the caller's check.
    pub refused_invalid: u64,
    /// Publishes refused for their weight.
    pub refused_too_large: u64,
    /// Flights orphaned before they ended.
    pub orphaned: u64,
    /// Callers that joined a flight.
    pub joins: u64,
    /// Callers turned away because their key had too many flights in the air.
    pub crowded: u64,
    /// Callers turned away because the store had too many flights in the air.
    pub full: u64,
    /// Entries stored whose key was remembered from an earlier stay.
    pub ghost_hits: u64,
    /// Decoded forms attached.
    pub attached: u64,
}

impl StoreStats {
    /// Adds the counters of one shard; sizes of the whole store are left alone.
    pub(crate) fn add(&mut self, shard: &Self) {
        self.entries += shard.entries;
        self.flights_total += shard.flights_total;
        self.inserts += shard.inserts;
        self.replaced += shard.replaced;
        self.evictions += shard.evictions;
        self.expired += shard.expired;
        self.invalidated += shard.invalidated;
        self.forgotten += shard.forgotten;
        self.cleared += shard.cleared;
        self.refused_orphaned += shard.refused_orphaned;
        self.refused_invalid += shard.refused_invalid;
        self.refused_too_large += shard.refused_too_large;
        self.orphaned += shard.orphaned;
        self.joins += shard.joins;
        self.crowded += shard.crowded;
        self.full += shard.full;
        self.ghost_hits += shard.ghost_hits;
        self.attached += shard.attached;
    }
}
