//! The working set of a simulated fleet: what its pods would tell each other.
//!
//! Counts of several pods with one half-life add up, so that one table that counts every read is what a merge of all blobs
//! would give, without making and reading fifty of them each minute.

use std::time::Duration;

use nearcache_l1::{Key, Timestamp};
use nearcache_proto::working_set::{Blob, Counts, Manifest, Rates, merge};

/// Slots that are counted at most.
const MOST_SLOTS: usize = 1 << 20;

/// Memory for them.
const MOST_BYTES: usize = 256 << 20;

/// Keys that running pods top themselves up by, at most and at least.
const MOST_TOPPED: usize = 4096;
const FEWEST: usize = 128;

pub(crate) struct WorkingSet {
    counts: Counts,
    pods: u32,
    version: u64,
    /// How many keys were worth a look last.
    most: usize,
}

impl WorkingSet {
    pub(crate) fn new(half_life: Duration, pods: usize) -> Self {
        Self {
            counts: Counts::new(MOST_SLOTS, MOST_BYTES, half_life),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
            version: 0,
            most: FEWEST,
        }
    }

    /// Some pod read a key whose value has so many bytes.
    #[inline]
    pub(crate) fn read(&mut self, now: Timestamp, key: &[u8], value_bytes: u32) {
        let slot = Key::new(0, key);
        self.counts.add(now, slot, 1);
        self.counts.note_bytes(slot, value_bytes as usize);
    }

    /// What pods top themselves up by: at least the keys that any pod can expect to read `theta` times in an hour.
    pub(crate) fn brief(&mut self, now: Timestamp, theta: f64) -> Manifest {
        let half_life = self.counts.half_life();
        let hour = Duration::from_secs(3600).as_secs_f64() / half_life.as_secs_f64();
        // No pod takes itself for more than four ordinary ones.
        let least = theta * f64::from(self.pods) / (hour * std::f64::consts::LN_2 * 4.0);
        let mut items = loop {
            let items = self.counts.ranked(now, self.most);
            let enough = items.last().is_none_or(|item| item.score < least);
            if enough || items.len() < self.most || self.most >= MOST_TOPPED {
                break items;
            }
            self.most *= 2;
        };
        items.truncate(items.partition_point(|item| item.score >= least));
        self.most = (items.len() * 5 / 4).max(FEWEST);
        self.version += 1;
        Manifest {
            version: self.version,
            half_life,
            mass: self.counts.mass(now),
            fleet: self.pods,
            merged: self.pods,
            rates: Rates::default(),
            items,
            skipped: 0,
        }
    }

    /// The `most` keys that the fleet reads most.
    pub(crate) fn manifest(&mut self, now: Timestamp, most: usize) -> Manifest {
        let blob = Blob::new(0, self.version, &self.counts, now, most);
        // One blob that speaks for all pods is not scaled to them.
        let manifest = merge([(blob, Duration::ZERO)], 1, self.version);
        self.version = manifest.version;
        Manifest {
            fleet: self.pods,
            merged: self.pods,
            ..manifest
        }
    }
}

#[cfg(test)]
mod tests {
    use nearcache_proto::working_set::KeyNames;

    use super::*;

    #[test]
    fn one_table_for_all_says_what_a_merge_of_all_blobs_says() {
        let half_life = Duration::from_secs(1800);
        let mut all = WorkingSet::new(half_life, 3);
        let table = || Counts::new(1000, 1 << 20, half_life);
        let mut pods = [table(), table(), table()];
        let at = |number: u64| Timestamp::from_micros(10_000_000 + number * 7_000_000);
        for number in 0..3000 {
            let key = format!("article:{}", number * number % 101);
            all.read(at(number), key.as_bytes(), 100);
            pods[number as usize % 3].add(at(number), Key::new(0, key.as_bytes()), 1);
        }
        let now = at(3000);
        let blob = |(pod, counts): (u64, &Counts)| {
            let blob = Blob::new(pod, 1, counts, now, 1000);
            let bytes = blob.encode(Blob::LIMIT_BYTES, KeyNames::Plain);
            (Blob::decode(&bytes).unwrap(), Duration::ZERO)
        };
        let merged = merge((0..).zip(&pods).map(blob), 3, 0);
        let whole = all.manifest(now, 1000);
        assert!((merged.mass / whole.mass - 1.0).abs() < 1e-3);
        assert_eq!(merged.fleet, whole.fleet);
        for item in &whole.items {
            let same = merged.items.iter().find(|other| other.name == item.name);
            let ratio = same.unwrap().score / item.score;
            assert!((ratio - 1.0).abs() < 1e-2, "{:?}: {ratio}", item.name);
        }
        let brief = all.brief(now, 0.5);
        let best = brief.items.iter().map(|item| item.score);
        assert!(best.is_sorted_by(|a, b| a >= b) && !brief.items.is_empty());
    }
}
