//! Reads as they are counted: how many, and of which entries.
//!
//! Never waits: a sample that cannot be left at once is dropped.

use std::time::Duration;

use nearcache_l1::{Hit, Timestamp};

use super::{Pod, cut};
use crate::counters::stripe;
use crate::entry_key::EntryKey;
use crate::shim::Ordering;

impl Pod {
    /// A read was served from L1.
    #[inline]
    pub(crate) fn count_hit(&self, entry: EntryKey<'_>) {
        let (stripe, number) = self.counters.hits.bump();
        if self.counting.load(Ordering::Relaxed) && self.sampler.wants(number) {
            self.sampler.push(stripe, entry.filed());
        }
    }

    /// A read was not.
    pub(crate) fn count_miss(&self, entry: EntryKey<'_>) {
        let number = self.counters.misses_total.next();
        if self.counting.load(Ordering::Relaxed) && self.sampler.wants(number) {
            self.sampler.push(stripe(), entry.filed());
        }
    }

    /// How long a copy lives by a bound of this pod's, which a later read would set anew; `None` when it ends with its key or
    /// not at all.
    pub(crate) fn bounded_life(&self, hit: &Hit) -> Option<Duration> {
        if hit.deadline == Timestamp::MAX {
            return None;
        }
        // To the microsecond: a time to live that happens to be a bound costs a read in vain.
        let life = hit.deadline.saturating_since(hit.filled_at);
        let bounds = [self.lease_time, cut(self.config.untracked_life)];
        let same = |bound: &Duration| bound.as_micros() == life.as_micros();
        bounds.iter().any(same).then_some(life)
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
