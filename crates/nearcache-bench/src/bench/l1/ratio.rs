//! Hit ratios on recorded request streams: each library keeps so many entries, whatever their size.

use std::sync::Arc;

use bytes::Bytes;
use nearcache_cli::outcome::Failure;
use nearcache_l1::{Entrance, Filled, Key, Stamp, StoreConfig, Timestamp, Weigher};
use nearcache_sim::{Kind, Lines};
use serde::Serialize;

/// What one library kept of one trace.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) trace: String,
    pub(super) library: &'static str,
    pub(super) capacity_entries: usize,
    pub(super) hit_ratio: f64,
}

/// Capacities, as shares of the number of different keys.
pub(super) const SHARES: [f64; 4] = [0.01, 0.05, 0.1, 0.25];

/// Runs a trace through every library at every capacity.
pub(super) fn measure(
    name: &str,
    trace: &Lines,
    mut tell: impl FnMut(Ratio),
) -> Result<(), Failure> {
    for share in SHARES {
        let capacity = ((f64::from(trace.keys) * share) as usize).max(16);
        let caches: [(&'static str, Box<dyn Policy>); 4] = [
            ("nearcache", Box::new(Store::with_entries(capacity)?)),
            (
                "quick_cache",
                Box::new(quick_cache::sync::Cache::<u32, ()>::new(capacity)),
            ),
            (
                "moka",
                Box::new(moka::sync::Cache::<u32, ()>::new(capacity as u64)),
            ),
            (
                "foyer",
                Box::new(
                    foyer::CacheBuilder::<u32, (), _>::new(capacity)
                        .with_shards(1)
                        .with_eviction_config(foyer::S3FifoConfig::default())
                        .build(),
                ),
            ),
        ];
        for (library, cache) in caches {
            let hit_ratio = run(trace, &*cache);
            tell(Ratio {
                trace: name.to_owned(),
                library,
                capacity_entries: capacity,
                hit_ratio,
            });
        }
    }
    Ok(())
}

fn run(trace: &Lines, cache: &dyn Policy) -> f64 {
    let (mut hits, mut gets) = (0u64, 0u64);
    for &(kind, key) in &trace.requests {
        match kind {
            Kind::Read => {
                gets += 1;
                hits += u64::from(cache.get_or_fill(key));
            }
            Kind::Write => cache.forget(key),
        }
    }
    hits as f64 / gets.max(1) as f64
}

/// A cache as a trace sees it.
trait Policy {
    /// Whether the key is there; if not, it is put there.
    fn get_or_fill(&self, key: u32) -> bool;

    /// Drops the key.
    fn forget(&self, key: u32);
}

/// nearcache's store, without anything around it.
pub(super) struct Store(nearcache_l1::Store<(), ()>);

struct EachIsOne;

impl Weigher for EachIsOne {
    fn weigh(&self, _: Key<'_>, _: usize, _: usize) -> usize {
        1
    }
}

impl Store {
    fn with_entries(capacity: usize) -> Result<Self, Failure> {
        let mut config = StoreConfig::new(capacity);
        config.weigher = Some(Arc::new(EachIsOne));
        config.max_entry_weight = Some(1);
        nearcache_l1::Store::new(config)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// A store with room for all these entries, filled with them and each read once.
    pub(super) fn with_bytes(names: &[String], value: impl Fn(usize) -> Bytes) -> Self {
        let store = Self(
            nearcache_l1::Store::new(StoreConfig::new(names.len() * 1024))
                .expect("no bound is zero"),
        );
        for (number, name) in names.iter().enumerate() {
            store.fill(name.as_bytes(), value(number));
            store.0.get(Key::new(0, name.as_bytes()));
        }
        store
    }

    fn fill(&self, key: &[u8], value: Bytes) -> bool {
        match self.0.enter(Key::new(0, key), |_| true, |()| true, || ()) {
            Entrance::Hit(_) => true,
            Entrance::Lead(guard) => {
                let filled = Filled {
                    value: Some(value),
                    stamp: Stamp::default(),
                    filled_at: Timestamp::ZERO,
                    deadline: Timestamp::MAX,
                };
                self.0.publish(guard, filled, |()| true, ());
                false
            }
            _ => false,
        }
    }
}

impl Policy for Store {
    fn get_or_fill(&self, key: u32) -> bool {
        let key = key.to_le_bytes();
        // As the read path does: a look-up first, and only then the way in.
        self.0.get(Key::new(0, &key)).is_some() || self.fill(&key, Bytes::new())
    }

    fn forget(&self, key: u32) {
        self.0.invalidate(&key.to_le_bytes());
    }
}

impl Policy for quick_cache::sync::Cache<u32, ()> {
    fn get_or_fill(&self, key: u32) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        hit
    }

    fn forget(&self, key: u32) {
        self.remove(&key);
    }
}

impl Policy for moka::sync::Cache<u32, ()> {
    fn get_or_fill(&self, key: u32) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        hit
    }

    fn forget(&self, key: u32) {
        self.invalidate(&key);
    }
}

impl Policy for foyer::Cache<u32, ()> {
    fn get_or_fill(&self, key: u32) -> bool {
        let hit = self.get(&key).is_some();
        if !hit {
            self.insert(key, ());
        }
        hit
    }

    fn forget(&self, key: u32) {
        self.remove(&key);
    }
}
