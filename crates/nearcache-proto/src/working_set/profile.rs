//! What a pod reads most, held against what others publish: whether they can be pods of one service.

use nearcache_l1::Timestamp;

use super::counts::Counts;
use super::item::Item;
use super::name::Name;
use super::names;

/// Reads of late that make an entry one of them: one that is read by chance tells nothing.
const OFTEN: f64 = 8.0;

/// Reads of those entries that must have been made here, and be expected elsewhere, before their absence there means anything.
const SURE: f64 = 100.0;

/// The part of what is expected that strangers may read all the same: a key that every service has, say.
const CHANCE: f64 = 0.01;

/// What a pod reads most.
pub struct Profile {
    /// In order; of each entry its name and the hash of it, since others may publish either.
    names: Vec<Name>,
    /// The part of the pod's reads that are of these entries.
    share: f64,
}

impl Profile {
    /// That of a pod that counted this; `None`: it has read too little to be told from others.
    ///
    /// # Cost
    /// A copy and a hash of each name counted, and their sorting.
    pub fn new(counts: &Counts, now: Timestamp) -> Option<Self> {
        let mut names = Vec::new();
        let mut score = 0.0;
        // All of them: of two pods that read everything alike, those that each reads most may well be others.
        for item in counts.ranked(now, usize::MAX) {
            if item.score < OFTEN {
                break;
            }
            score += item.score;
            names.extend(item.key().and_then(names::hash).map(Name::Hashed));
            names.push(item.name);
        }
        names.sort_unstable();
        (score >= SURE).then(|| Self {
            names,
            share: score / counts.mass(now).max(score),
        })
    }

    /// Whether whoever reads these items reads the same; `None`: there are too few reads of them to tell.
    pub fn is_like(&self, items: &[Item]) -> Option<bool> {
        // Of what is told, which may be a small part: the reads of the rest cannot be looked for.
        let told: f64 = items.iter().map(|item| item.score).sum();
        let expected = self.share * told;
        if expected < SURE {
            return None;
        }
        let shared = |item: &&Item| self.names.binary_search(&item.name).is_ok();
        let found: f64 = items.iter().filter(shared).map(|item| item.score).sum();
        Some(found >= expected * CHANCE)
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use std::time::Duration;

    use nearcache_l1::Key;

    use super::super::{Blob, KeyNames};
    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    fn counts(prefix: &str, keys: u32, reads: u32) -> Counts {
        let mut counts = Counts::new(1 << 14, 4 << 20, Duration::from_secs(1800));
        for n in 0..keys {
            counts.add(NOW, Key::new(0, format!("{prefix}:{n}").as_bytes()), reads);
        }
        counts
    }

    /// What a pod that counted this publishes.
    fn published(counts: &Counts, names: KeyNames, limit: usize) -> Blob {
        let blob = Blob::new(1, 1, counts, NOW, 1 << 14);
        Blob::decode(&blob.encode(limit, names)).unwrap()
    }

    fn is_like(own: &Counts, other: &Counts, names: KeyNames) -> Option<bool> {
        let blob = published(other, names, Blob::LIMIT_BYTES);
        Profile::new(own, NOW).unwrap().is_like(&blob.items)
    }

    #[test]
    fn pods_of_one_service_are_alike_and_of_two_are_not() {
        let (shop, mail) = (counts("product", 50, 20), counts("letter", 50, 20));
        for names in [KeyNames::Plain, KeyNames::Hashed] {
            assert_eq!(is_like(&shop, &shop, names), Some(true), "{names:?}");
            assert_eq!(is_like(&shop, &mail, names), Some(false), "{names:?}");
            assert_eq!(is_like(&mail, &shop, names), Some(false), "{names:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_few_reads() {
        let (shop, mail) = (counts("product", 50, 20), counts("letter", 9, 10));
        assert_eq!(is_like(&shop, &mail, KeyNames::Plain), None);
        assert!(Profile::new(&mail, NOW).is_none());
        // However many there are, of as many keys: another pod would hardly read the same ones.
        assert!(Profile::new(&counts("rare", 10_000, 1), NOW).is_none());
    }

    #[test]
    fn a_few_keys_that_all_services_read_do_not_make_them_alike() {
        let (mut shop, mut mail) = (counts("product", 50, 200), counts("letter", 50, 200));
        for counts in [&mut shop, &mut mail] {
            counts.add(NOW, Key::new(0, b"flags"), 20);
        }
        assert_eq!(is_like(&shop, &mail, KeyNames::Plain), Some(false));
        mail.add(NOW, Key::new(0, b"product:1"), 200);
        assert_eq!(is_like(&shop, &mail, KeyNames::Plain), Some(true));
    }

    #[test]
    fn a_pod_that_tells_a_small_part_is_known_all_the_same() {
        // All keys are read alike, and each pod has read others of them a little more.
        let (mut one, mut two) = (counts("k", 5000, 10), counts("k", 5000, 10));
        for n in 0..5000_u32 {
            let more = if n % 4 == 0 { &mut one } else { &mut two };
            more.add(NOW, Key::new(0, format!("k:{n}").as_bytes()), 1);
        }
        let blob = published(&two, KeyNames::Plain, 8 << 10);
        assert!(blob.items.len() < 1000, "{}", blob.items.len());
        let own = Profile::new(&one, NOW).unwrap();
        assert_eq!(own.is_like(&blob.items), Some(true));
    }
}
