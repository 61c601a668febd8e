//! The budget: one number that never exceeds its limit, and the evictions that make room in it.

use std::sync::atomic::Ordering::Relaxed;

use crate::key::shard_of;
use crate::shim::{AtomicUsize, Ordering, yield_now};

use super::Inner;

/// Entries evicted under one hold of a lock, at most.
const BATCH: usize = 64;

/// Times the whole store may be searched in vain before an insert gives up. Only inserts that have reserved room and
/// not yet stored anything can bring that about, and they are few and quick.
const ROUNDS: usize = 8;

/// What is used of the limit: the weights of resident entries and the room reserved for new ones.
///
/// Concurrency: one atomic; it goes up only by a compare-exchange that stays within the limit. It orders nothing.
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

/// Room that was reserved; given back when dropped, unless kept.
#[must_use = "dropping it gives the room back"]
pub(crate) struct Room<'a> {
    budget: &'a Budget,
    weight: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns a guard that gives `weight` back when dropped.
    pub(crate) fn returning(&self, weight: usize) -> Room<'_> {
        Room {
            budget: self,
            weight,
        }
    }

    /// Reserves room, or says how much is lacking.
    pub(super) fn take(&self, weight: usize) -> Result<Room<'_>, usize> {
        let mut used = self.used();
        loop {
            let lacking = used.saturating_add(weight).saturating_sub(self.limit);
            if lacking > 0 {
                return Err(lacking);
            }
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self
                .used
                .compare_exchange(used, used + weight, success, failure)
            {
                Ok(_) => return Ok(self.returning(weight)),
                Err(now) => used = now,
            }
        }
    }
}

impl Room<'_> {
    /// Hands the room over to an entry.
    pub(crate) fn keep(mut self) {
        self.weight = 0;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.weight > 0 {
            self.budget.used.fetch_sub(self.weight, Ordering::AcqRel);
        }
    }
}

impl<M, O> Inner<M, O> {
    /// Reserves room for an entry of the shard that `hash` belongs to, evicting others. No lock may be held.
    pub(crate) fn reserve(&self, hash: u64, weight: usize) -> Option<Room<'_>> {
        let mut shard = shard_of(hash, self.mask);
        let mut in_vain = 0;
        loop {
            let lacking = match self.budget.take(weight) {
                Ok(room) => return Some(room),
                Err(lacking) => lacking,
            };
            if weight > self.budget.limit || in_vain == ROUNDS * self.shards.len() {
                return None;
            }
            if self.evict(shard, lacking) == 0 {
                in_vain += 1;
                shard = self.cursor.fetch_add(1, Relaxed) & self.mask;
                if in_vain > self.shards.len() {
                    yield_now();
                }
            }
        }
    }

    /// Evicts about as much as is lacking from a shard; returns what that gave back.
    fn evict(&self, shard: usize, lacking: usize) -> usize {
        let mut gone = Vec::new();
        let mut freed = 0;
        let mut shard = self.shards[shard].0.write();
        while freed < lacking && gone.len() < BATCH {
            let Some(victim) = shard.entries.evict() else {
                break;
            };
            freed += victim.slot.weight as usize;
            gone.push(victim);
        }
        shard.counts.evictions += gone.len() as u64;
        drop(shard);
        self.let_go(gone);
        freed
    }
}
