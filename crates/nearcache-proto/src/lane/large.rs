//! What is too large to be kept: the keys that are read beside the lane, and what the operator hears of it, once.
//!
//! Holds hashes of keys, never their names.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::{Lane, Report};

/// Keys that are remembered, of each kind.
const LIMIT: usize = 4096;

/// How long after the first value of a kind the operator is told how many there were.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// What a value that was not kept was too large for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLargeFor {
    /// The lane: `max_inline`.
    Inline {
        /// Bytes, the largest that are kept.
        limit: usize,
    },
    /// L1: `max_entry`, or what room there is.
    Entry,
}

/// Values that were not kept for one reason, until the operator has been told.
#[derive(Default)]
pub(super) struct Tally {
    keys: HashSet<u64>,
    largest: usize,
    tell_at: Option<Timestamp>,
    told: bool,
}

impl Tally {
    fn note(&mut self, key: u64, bytes: usize, now: Timestamp) {
        if self.told {
            return;
        }
        if self.keys.len() < LIMIT {
            self.keys.insert(key);
        }
        self.largest = self.largest.max(bytes);
        self.tell_at
            .get_or_insert_with(|| now.saturating_add(TELL_AFTER));
    }

    /// What there is to tell, when it is time.
    fn tell(&mut self, what: TooLargeFor, now: Timestamp) -> Option<Report> {
        self.tell_at.take_if(|at| now >= *at)?;
        self.told = true;
        let keys = std::mem::take(&mut self.keys).len();
        Some(Report::TooLarge {
            what,
            keys,
            more: keys >= LIMIT,
            largest_bytes: self.largest,
        })
    }
}

impl Lane {
    /// The value of a read was too large to be kept.
    pub(super) fn too_large(&mut self, key: u64, what: TooLargeFor, bytes: usize, now: Timestamp) {
        self.pod.counters.oversize_total.bump();
        let tally = match what {
            TooLargeFor::Inline { .. } => &mut self.large_inline,
            TooLargeFor::Entry => &mut self.large_entries,
        };
        tally.note(key, bytes, now);
    }

    /// When the operator is to be told.
    pub(super) fn tell_large_at(&self) -> Option<Timestamp> {
        let tallies = [&self.large_inline, &self.large_entries];
        tallies.into_iter().filter_map(|tally| tally.tell_at).min()
    }

    pub(super) fn tell_large(&mut self, now: Timestamp) {
        let inline = self.inline();
        let told = [
            self.large_inline.tell(inline, now),
            self.large_entries.tell(TooLargeFor::Entry, now),
        ];
        self.report(told.into_iter().flatten());
    }

    pub(super) fn inline(&self) -> TooLargeFor {
        TooLargeFor::Inline {
            limit: self.pod.config.max_inline,
        }
    }
}

/// Keys whose values were too large to be kept: read on the side connection. The oldest are forgotten.
#[derive(Default)]
pub(super) struct Oversize {
    keys: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Oversize {
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.keys.contains(&hash)
    }

    pub(super) fn remember(&mut self, hash: u64) {
        if self.keys.insert(hash) {
            self.order.push_back(hash);
            if self.order.len() > LIMIT
                && let Some(oldest) = self.order.pop_front()
            {
                self.keys.remove(&oldest);
            }
        }
    }

    pub(super) fn forget(&mut self, hash: u64) {
        if self.keys.remove(&hash) {
            self.order.retain(|known| *known != hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_large_keys_is_bounded() {
        let mut oversize = Oversize::default();
        for hash in 0..10_000 {
            oversize.remember(hash);
        }
        assert_eq!(oversize.keys.len(), LIMIT);
        assert!(!oversize.contains(0) && oversize.contains(9_999));
        oversize.forget(9_999);
        assert!(!oversize.contains(9_999));
        assert_eq!(oversize.order.len(), LIMIT - 1);
    }
}
