//! Reads as they are counted: how many, and of which slots.
//!
//! Never waits: a sample that cannot be left at once is dropped.

use std::time::Duration;

use nearcache_l1::{Hit, Key, Timestamp};

use super::{Pod, Verdict, cut};
use crate::coherence::key_hash;
use crate::counters::stripe;
use crate::shim::Ordering;
use crate::warm::Lost;

/// The end of a copy is near in the last of so many parts of its life.
const NEAR: u64 = 4;

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

    /// A copy was found: when it is fresh and its end is near, by a bound of this pod's that a later read would set anew,
    /// the background is told, once. What ends with its key would come back with the same end.
    #[inline]
    pub(crate) fn note_end(&self, slot: Key<'_>, hit: &Hit, verdict: &Verdict, now: Timestamp) {
        if hit.deadline == Timestamp::MAX || !matches!(verdict, Verdict::Fresh) {
            return;
        }
        let end = hit.deadline.as_micros();
        let left = end.saturating_sub(now.as_micros());
        let life = end.saturating_sub(hit.filled_at.as_micros());
        if left <= life / NEAR && self.warmth.wants_lost() {
            self.note_bounded_end(slot, hit, life);
        }
    }

    #[cold]
    fn note_bounded_end(&self, slot: Key<'_>, hit: &Hit, life: u64) {
        let bounds = [self.lease_time, cut(self.config.untracked_life)];
        if bounds
            .iter()
            .all(|bound| bound.as_micros() != u128::from(life))
        {
            return;
        }
        let first = self.warmth.first_told(key_hash(slot.bytes), hit.filled_at);
        if first && !self.warmth.lose(slot, Lost::Ending) {
            self.counters.refetch_dropped_total.bump();
        }
    }

    /// How long a copy lives that no push ends in time.
    pub(crate) fn bounded_life(&self) -> Duration {
        match self.is_tracked() {
            true => self.lease_time,
            false => cut(self.config.untracked_life),
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

#[cfg(test)]
mod tests {
    use nearcache_l1::{EntryId, Stamp, StoreConfig};

    use super::*;
    use crate::config::PodConfig;

    /// A pod whose bound is 990 ms, and a copy of some slot that was read at 1 s and lives so long.
    fn pod_and_copy(life_us: u64) -> (Pod, Hit) {
        let config = PodConfig {
            max_staleness: Duration::from_secs(1),
            untracked_life: Duration::from_secs(10),
            ..PodConfig::default()
        };
        let pod = Pod::new(StoreConfig::new(1 << 20), config).unwrap();
        pod.warmth.want_lost(true);
        let hit = Hit {
            value: None,
            stamp: Stamp::default(),
            filled_at: Timestamp::from_micros(1_000_000),
            deadline: Timestamp::from_micros(1_000_000 + life_us),
            id: EntryId(1),
        };
        (pod, hit)
    }

    fn told(pod: &Pod, hit: &Hit, at_us: u64) -> usize {
        let now = Timestamp::from_micros(1_000_000 + at_us);
        pod.note_end(Key::new(0, b"k"), hit, &Verdict::Fresh, now);
        pod.warmth.take_lost().len()
    }

    #[test]
    fn the_end_of_a_bounded_copy_is_told_once_and_in_its_last_quarter() {
        for life in [990_000, 9_900_000] {
            let (pod, hit) = pod_and_copy(life);
            assert_eq!(told(&pod, &hit, life / 2), 0);
            assert_eq!(told(&pod, &hit, life * 4 / 5), 1);
            assert_eq!(told(&pod, &hit, life * 9 / 10), 0, "once");
            // The copy that takes its place has an end of its own.
            let next = Hit {
                filled_at: hit.filled_at.saturating_add(Duration::from_micros(life)),
                deadline: hit.deadline.saturating_add(Duration::from_micros(life)),
                ..hit
            };
            assert_eq!(told(&pod, &next, life + life * 4 / 5), 1);
        }
    }

    #[test]
    fn what_ends_with_its_key_or_never_or_is_not_fresh_is_not_told() {
        let (pod, hit) = pod_and_copy(5_000_000);
        assert_eq!(told(&pod, &hit, 4_900_000), 0);
        let (pod, hit) = pod_and_copy(990_000);
        let now = Timestamp::from_micros(1_900_000);
        pod.note_end(Key::new(0, b"k"), &hit, &Verdict::Lapsed, now);
        assert_eq!(pod.warmth.take_lost().len(), 0);
        let forever = Hit {
            deadline: Timestamp::MAX,
            ..hit
        };
        assert_eq!(told(&pod, &forever, 900_000), 0);
    }

    #[test]
    fn ends_that_nobody_takes_are_bounded_and_counted() {
        let (pod, hit) = pod_and_copy(990_000);
        let now = Timestamp::from_micros(1_900_000);
        for n in 0..5000_u32 {
            let name = n.to_string();
            pod.note_end(Key::new(0, name.as_bytes()), &hit, &Verdict::Fresh, now);
        }
        assert_eq!(pod.warmth.take_lost().len(), 1024);
        assert_eq!(pod.totals().refetch_dropped_total, 5000 - 1024);
        pod.warmth.want_lost(false);
        assert_eq!(told(&pod, &hit, 900_000), 0);
    }
}
