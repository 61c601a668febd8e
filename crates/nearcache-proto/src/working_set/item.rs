//! One entry of the working set: its name, its score, its size.

use std::cmp::Ordering;

use nearcache_l1::{DefaultWeigher, ENTRY_OVERHEAD, Key, Weigher};

use super::name::Name;
use super::names;
use crate::entry_key::{EntryKey, Kind};

/// One entry and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Which entry.
    pub name: Name,
    /// Its decayed reads: of one pod, or of the fleet in a manifest.
    pub score: f64,
    /// Length of its value in bytes, at least 1; 0 when it is not known.
    pub bytes: u32,
}

impl Item {
    /// The entry in L1, if its name was told.
    pub fn key(&self) -> Option<Key<'_>> {
        match &self.name {
            Name::Plain { db, bytes } => Some(Key::new(*db, bytes)),
            Name::Hashed(_) => None,
        }
    }

    /// What the entry weighs in L1, by its bytes: value, name and bookkeeping; for a kept reply also the head that
    /// it is filed under.
    pub fn weight(&self) -> u64 {
        let filed = self.key().unwrap_or(Key::new(0, b""));
        let head = match EntryKey::of(filed).kind {
            Kind::Reply => ENTRY_OVERHEAD,
            _ => 0,
        };
        (DefaultWeigher.weigh(filed, self.bytes as usize, 0) + head) as u64
    }

    /// Whether this is the entry, by name or by hash.
    pub fn is(&self, filed: Key<'_>) -> bool {
        match &self.name {
            Name::Plain { db, bytes } => *db == filed.db && **bytes == *filed.bytes,
            Name::Hashed(hash) => names::hash(filed) == Some(*hash),
        }
    }
}

/// Highest score first, equals in the order of their names.
pub(super) fn by_score(a: &Item, b: &Item) -> Ordering {
    b.score
        .total_cmp(&a.score)
        .then_with(|| a.name.cmp(&b.name))
}

/// Highest score per byte of L1 first, equals in the order of their names: what a byte budget buys most
/// with.
pub(super) fn by_density(a: &Item, b: &Item) -> Ordering {
    let density = |item: &Item| item.score / item.weight() as f64;
    density(b)
        .total_cmp(&density(a))
        .then_with(|| a.name.cmp(&b.name))
}
