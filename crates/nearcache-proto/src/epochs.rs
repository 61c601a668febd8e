//! Counts of invalidations by key, and what a fill takes of them before it is queued.
//!
//! Of the pod and not of a primary: what one primary pushes counts for copies that came from another.

use nearcache_l1::Stamp;

use crate::shim::{AtomicU32, Ordering};

/// Most key epochs. They are shared by keys of equal hash: a collision costs a refused fill, never a
/// stale one.
#[cfg(not(nearcache_loom))]
pub(crate) const MOST_EPOCHS: usize = 1 << 16;
#[cfg(nearcache_loom)]
pub(crate) const MOST_EPOCHS: usize = 2;

/// Taken before a fill is queued, compared when its answer is stored: unchanged means that no
/// invalidation of the key, no flush and no loss of history was received in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FillToken {
    pub(crate) epoch: u32,
    /// The primary, the life of the lane and the flush count the fill belongs to.
    pub(crate) stamp: Stamp,
}

pub(crate) struct Epochs(Box<[AtomicU32]>);

impl Epochs {
    /// So many, of four bytes each.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| AtomicU32::new(0)).collect())
    }

    pub(crate) fn get(&self, key: &[u8]) -> u32 {
        self.of(key).load(Ordering::Acquire)
    }

    /// An invalidation of `key` was received, or the key is being written by this pod.
    pub(crate) fn bump(&self, key: &[u8]) {
        self.of(key).fetch_add(1, Ordering::AcqRel);
    }

    fn of(&self, key: &[u8]) -> &AtomicU32 {
        &self.0[key_hash(key) as usize % self.0.len()]
    }
}

/// FNV-1a, finished with a multiply-shift so that low bits depend on all of the key.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}
