//! The store: shards of entries and flights under one byte budget. This file sets it up and looks things up;
//! `store/flights.rs` fills it, `store/removal.rs` empties it, `store/room.rs` keeps the budget.

mod flights;
mod lookup;
mod removal;
mod room;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashTable;

use crate::entries::{Entries, Gone};
use crate::key::{KeyHasher, shard_of};
use crate::shim::RwLock;
use crate::slab::PAGE_BYTES;
use crate::{
    ConfigError, DefaultWeigher, EntryInfo, FLIGHT_OVERHEAD, Flight, Key, RemovalHook, StoreConfig,
    StoreStats, Weigher,
};
use room::Budget;

/// Capacity a shard should have at least, so that its policy sees enough of the traffic.
const SHARD_CAPACITY: usize = 1 << 20;
/// Bytes a shard takes beside its entries: itself, and a page not yet in use.
const SHARD_OVERHEAD: usize = PAGE_BYTES + 1024;
const SHARDS_DEFAULT_MAX: usize = 64;
const SHARDS_MAX: usize = 256;

/// A handle of a store; clones share the store.
///
/// `M` is what a leader says of its flight, `O` what the flight's waiters get.
///
/// Closures and weighers that a call takes must not call the store: some run under a shard's lock. The removal hook
/// may.
pub struct Store<M, O> {
    inner: Arc<Inner<M, O>>,
}

/// The store itself.
///
/// Concurrency: each shard has one read-write lock and nobody holds two of them at once, except `validate`, which takes
/// them in order. Look-ups read, everything else writes. No value is dropped, no hook called, no waker run under a
/// shard's lock. The budget is one atomic: room is reserved before the lock of the entry's shard is taken and given
/// back after the lock of the shard that lost an entry is released, so the sum of the entries' weights never exceeds it.
pub(crate) struct Inner<M, O> {
    shards: Box<[Padded<ShardLock<M, O>>]>,
    mask: usize,
    hasher: KeyHasher,
    budget: Budget,
    capacity: usize,
    max_entry_weight: u32,
    max_flights_per_key: usize,
    max_flights: usize,
    /// Flights in the air; a bound, not a protocol.
    flights_open: Counter,
    /// The shard to evict from next, where one's own has nothing left.
    cursor: Counter,
    weigher: Arc<dyn Weigher>,
    on_removal: Option<RemovalHook>,
    hook_panics: Counter,
}

/// Keeps neighbouring locks out of each other's cache lines.
#[repr(align(128))]
struct Padded<T>(T);

type ShardLock<M, O> = RwLock<Shard<M, O>>;

/// What one lock guards.
pub(crate) struct Shard<M, O> {
    entries: Entries,
    flights: HashTable<Arc<Flight<M, O>>>,
    /// Counters of this shard; sizes in it are unused.
    counts: StoreStats,
}

impl<M, O> Store<M, O> {
    /// Makes a store.
    ///
    /// # Errors
    /// When a bound is zero.
    pub fn new(config: StoreConfig) -> Result<Self, ConfigError> {
        let inner = Arc::new(Inner::new(config)?);
        Ok(Self { inner })
    }

    /// Returns the number of resident entries.
    ///
    /// # Cost
    /// One read lock per shard.
    pub fn len(&self) -> usize {
        self.inner
            .shards
            .iter()
            .map(|shard| shard.0.read().entries.len())
            .sum()
    }

    /// Returns whether no entry is resident.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what counts against the capacity now: resident entries, and room reserved for those about to be stored.
    pub fn weight(&self) -> usize {
        self.inner.budget.used()
    }

    /// Returns the configured capacity.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Returns what a single entry may weigh.
    pub fn max_entry_weight(&self) -> usize {
        self.inner.max_entry_weight as usize
    }

    /// Returns what an entry of this key with a value of so many bytes would count against the capacity.
    pub fn weigh(&self, key: Key<'_>, value_bytes: usize) -> usize {
        self.inner.weigh(key, value_bytes, 0)
    }

    /// Calls `see` for every entry, in no order, one shard at a time under its read lock.
    pub fn for_each(&self, mut see: impl FnMut(Key<'_>, &EntryInfo)) {
        for shard in &self.inner.shards {
            shard.0.read().entries.for_each(&mut see);
        }
    }

    /// Returns counters and sizes.
    ///
    /// # Cost
    /// One read lock per shard.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats {
            weight: self.weight(),
            capacity: self.capacity(),
            flights_open: self.inner.flights_open.load(Relaxed),
            hook_panics: self.inner.hook_panics.load(Relaxed),
            ..StoreStats::default()
        };
        for shard in &self.inner.shards {
            let shard = shard.0.read();
            stats.add(&shard.counts);
            stats.entries += shard.entries.len();
        }
        stats
    }

    /// Checks every invariant of the store, for tests.
    ///
    /// # Panics
    /// When one is broken, with what is wrong.
    pub fn validate(&self) {
        let shards: Vec<_> = self
            .inner
            .shards
            .iter()
            .map(|shard| shard.0.read())
            .collect();
        let mut weight = 0;
        for (number, shard) in shards.iter().enumerate() {
            shard.validate();
            weight += shard.entries.weight();
            let stray = shard
                .flights
                .iter()
                .find(|f| shard_of(f.hash, self.inner.mask) != number);
            assert!(stray.is_none(), "a flight is in the wrong shard");
        }
        let (used, limit) = (self.inner.budget.used(), self.inner.budget.limit());
        assert!(
            weight <= used as u64,
            "entries weigh {weight} but only {used} is accounted for"
        );
        assert!(
            used <= limit && limit <= self.inner.capacity,
            "{used} used of {limit}"
        );
    }
}

impl<M, O> Inner<M, O> {
    fn new(config: StoreConfig) -> Result<Self, ConfigError> {
        let capacity = config.capacity;
        if capacity == 0 {
            return Err(ConfigError::ZeroCapacity);
        }
        if config.max_flights == 0 || config.max_flights_per_key == 0 {
            return Err(ConfigError::ZeroFlights);
        }
        if config.max_entry_weight == Some(0) {
            return Err(ConfigError::ZeroEntryWeight);
        }
        let shards = config
            .shards
            .unwrap_or((capacity / SHARD_CAPACITY).min(SHARDS_DEFAULT_MAX));
        let shards = shards.clamp(1, SHARDS_MAX).next_power_of_two();
        let limit = capacity - set_aside(&config, shards);
        let share = (capacity / 8).max(1);
        let max_entry = config.max_entry_weight.unwrap_or(share).min(limit);
        let hasher = KeyHasher::new(config.seed);
        let shard = |number| Padded(RwLock::new(Shard::new(hasher.clone(), shards, number)));
        Ok(Self {
            shards: (0..shards).map(shard).collect(),
            mask: shards - 1,
            hasher: hasher.clone(),
            budget: Budget::new(limit),
            capacity,
            max_entry_weight: u32::try_from(max_entry).unwrap_or(u32::MAX),
            max_flights_per_key: config.max_flights_per_key,
            max_flights: config.max_flights,
            flights_open: Counter::new(0),
            cursor: Counter::new(0),
            weigher: config.weigher.unwrap_or_else(|| Arc::new(DefaultWeigher)),
            on_removal: config.on_removal,
            hook_panics: Counter::new(0),
        })
    }

    #[inline]
    fn shard(&self, hash: u64) -> &ShardLock<M, O> {
        &self.shards[shard_of(hash, self.mask)].0
    }

    /// Weighs an entry; zero counts as one, so that the number of entries is bounded too.
    fn weigh(&self, key: Key<'_>, value_bytes: usize, decoded_bytes: usize) -> usize {
        self.weigher.weigh(key, value_bytes, decoded_bytes).max(1)
    }

    /// Tells the hook of entries that left, drops them, and only then gives their room back. No lock may be held.
    fn let_go(&self, gone: Vec<Gone>) {
        let weight = gone.iter().map(|gone| gone.slot.weight as usize).sum();
        // Given back even if the hook panics.
        let _room = self.budget.returning(weight);
        if let Some(hook) = &self.on_removal {
            for gone in &gone {
                let key = Key::new(gone.slot.db, gone.slot.key.as_slice());
                // It runs wherever entries leave, inside the reader of a connection too: a panic of the
                // hook must not end that.
                let told = catch_unwind(AssertUnwindSafe(|| hook(key, gone.cause)));
                if told.is_err() {
                    self.hook_panics.fetch_add(1, Relaxed);
                }
            }
        }
        drop(gone);
    }
}

/// What flights and the shards themselves take of the budget. The units of a weigher of the caller's own need not be
/// bytes, so nothing can be charged in them.
fn set_aside(config: &StoreConfig, shards: usize) -> usize {
    if config.weigher.is_some() {
        return 0;
    }
    let flights = config.max_flights.saturating_mul(FLIGHT_OVERHEAD);
    let aside = flights.saturating_add(shards * SHARD_OVERHEAD);
    aside.min(config.capacity / 16)
}

impl<M, O> Shard<M, O> {
    fn new(hasher: KeyHasher, shards: usize, shard: usize) -> Self {
        Self {
            entries: Entries::new(hasher, shards, shard),
            flights: HashTable::new(),
            counts: StoreStats::default(),
        }
    }

    fn validate(&self) {
        self.entries.validate();
        for flight in self.flights.iter().filter(|flight| flight.is_open()) {
            let same = |other: &&Arc<Flight<M, O>>| other.key() == flight.key() && other.is_open();
            let open = self.flights.iter_hash(flight.hash).filter(same).count();
            assert_eq!(
                open,
                1,
                "{:?} has {open} flights that may be joined",
                flight.key()
            );
        }
    }
}

impl<M, O> Clone for Store<M, O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M, O> fmt::Debug for Store<M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("capacity", &self.capacity())
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}
