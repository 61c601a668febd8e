//! One slot of the working set: its name, its score, its size.

use std::cmp::Ordering;
use std::fmt;

use nearcache_l1::{DefaultWeigher, ENTRY_OVERHEAD, Key, Weigher};

use super::names;
use crate::slots::REPLIES;

/// Slots with longer names are not counted, published or read from what was published.
pub(super) const LONGEST: usize = 1024;

/// What a slot is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// As L1 files it.
    Plain {
        /// Number of the db, and flags.
        db: u32,
        /// The key, or the name of a kept reply.
        bytes: Box<[u8]>,
    },
    /// Only the hash of its name was told: it can be recognised, but not read.
    Hashed(u64),
}

impl Name {
    /// The name of a slot.
    pub fn plain(slot: Key<'_>) -> Self {
        Self::Plain {
            db: slot.db,
            bytes: slot.bytes.into(),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain { db, bytes } => Key::new(*db, bytes).fmt(f),
            Self::Hashed(hash) => write!(f, "#{hash:016x}"),
        }
    }
}

/// One slot and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Which slot.
    pub name: Name,
    /// Its decayed reads: of one pod, or of the fleet in a manifest.
    pub score: f64,
    /// Length of its value in bytes, at least 1; 0 when it is not known.
    pub bytes: u32,
}

impl Item {
    /// The slot in L1, if its name was told.
    pub fn slot(&self) -> Option<Key<'_>> {
        match &self.name {
            Name::Plain { db, bytes } => Some(Key::new(*db, bytes)),
            Name::Hashed(_) => None,
        }
    }

    /// What the slot weighs in L1, by its bytes: value, name and bookkeeping; for a kept reply also the head that
    /// it is filed under.
    pub fn weight(&self) -> u64 {
        let slot = self.slot().unwrap_or(Key::new(0, b""));
        let head = match slot.db & REPLIES {
            0 => 0,
            _ => ENTRY_OVERHEAD,
        };
        (DefaultWeigher.weigh(slot, self.bytes as usize, 0) + head) as u64
    }

    /// Whether this is the slot, by name or by hash.
    pub fn is(&self, slot: Key<'_>) -> bool {
        match &self.name {
            Name::Plain { db, bytes } => *db == slot.db && **bytes == *slot.bytes,
            Name::Hashed(hash) => names::hash(slot) == Some(*hash),
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
