//! Reads as they are counted: how many, and of which slots.
//!
//! Never waits: a sample that cannot be left at once is dropped.

use nearcache_l1::Key;

use super::Pod;
use crate::counters::stripe;
use crate::shim::Ordering;

impl Pod {
    /// A read was served from L1.
    #[inline]
    pub(crate) fn count_hit(&self, slot: Key<'_>) {
        let (stripe, number) = self.counters.hits.bump();
        if self.counting.load(Ordering::Relaxed) && self.sampler.wants(number) {
            self.sampler.push(stripe, slot);
        }
    }

    /// A read was not.
    pub(crate) fn count_miss(&self, slot: Key<'_>) {
        let number = self.counters.misses_total.next();
        if self.counting.load(Ordering::Relaxed) && self.sampler.wants(number) {
            self.sampler.push(stripe(), slot);
        }
    }

    /// From now on reads are counted by key, or no more.
    pub fn count_reads(&self, wanted: bool) {
        self.counting.store(wanted, Ordering::Relaxed);
    }

    /// All reads: hits, misses, and those that were served stale or refused by their policy.
    pub fn reads_total(&self) -> u64 {
        let counters = &self.counters;
        counters.hits.get()
            + counters.misses_total.get()
            + counters.stale_total.get()
            + counters.unproven_total.get()
    }
}
