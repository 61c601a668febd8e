//! The checker: joins what the writer saw acknowledged with what the pods read. Knows nothing of how either did it.

use std::collections::HashMap;

use super::message::{Report, Sample};

/// One acknowledged write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// What was written.
    pub(crate) key: u32,
    /// Which write of it, from 1.
    pub(crate) sequence: u64,
    /// When the answer was there.
    pub(crate) acked_ns: u64,
}

/// All acknowledged writes, in the order in which the one writer made them.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    by_key: HashMap<u32, Vec<(u64, u64)>>,
}

/// What the checker found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Reads that were checked.
    pub(crate) checked: u64,
    /// Reads that returned less than the newest write acknowledged before they began less the staleness bound.
    pub(crate) stale: u64,
    /// Reads that returned what nobody wrote to their key.
    pub(crate) unwritten: u64,
    /// Reads that returned less than the newest write acknowledged before they began.
    pub(crate) behind: u64,
    /// The longest time a write had been acknowledged before a read began that did not return it.
    pub(crate) behind_max_ns: u64,
}

impl Findings {
    /// Adds what was found elsewhere.
    pub(crate) fn add(&mut self, more: &Self) {
        self.checked += more.checked;
        self.stale += more.stale;
        self.unwritten += more.unwritten;
        self.behind += more.behind;
        self.behind_max_ns = self.behind_max_ns.max(more.behind_max_ns);
    }
}

impl Acks {
    /// Adds what a writer acknowledged, oldest first.
    pub(crate) fn add(&mut self, log: &[Written]) {
        for write in log {
            let acks = self.by_key.entry(write.key).or_default();
            acks.push((write.acked_ns, write.sequence));
        }
    }

    /// When a write was acknowledged.
    pub(crate) fn acked_ns(&self, key: u32, sequence: u64) -> Option<u64> {
        let acks = self.by_key.get(&key)?;
        let at = acks
            .binary_search_by_key(&sequence, |&(_, sequence)| sequence)
            .ok()?;
        Some(acks[at].0)
    }

    /// Checks the reads of all pods against the bound.
    pub(crate) fn check(&self, reports: &[Report], bound_ns: u64) -> Findings {
        let mut found = Findings::default();
        for sample in reports.iter().flat_map(|report| &report.samples) {
            self.judge(sample, bound_ns, &mut found);
        }
        found
    }

    /// For how long a write had been acknowledged, when the read began, that the read did not return; 0: for none.
    pub(crate) fn age_ns(&self, read: &Sample) -> u64 {
        let acks = self.of(read.key);
        // The first write that the read did not return.
        let missed = acks.partition_point(|&(_, sequence)| sequence <= read.sequence);
        match acks.get(missed) {
            Some(&(acked_ns, _)) => read.started_ns.saturating_sub(acked_ns),
            None => 0,
        }
    }

    /// The acknowledged writes of a key, oldest first: when, and which.
    pub(crate) fn of(&self, key: u32) -> &[(u64, u64)] {
        self.by_key.get(&key).map_or(&[], Vec::as_slice)
    }

    fn judge(&self, read: &Sample, bound_ns: u64, found: &mut Findings) {
        found.checked += 1;
        found.unwritten += u64::from(self.acked_ns(read.key, read.sequence).is_none());
        let age_ns = self.age_ns(read);
        if age_ns > 0 {
            found.behind += 1;
            found.behind_max_ns = found.behind_max_ns.max(age_ns);
        }
        if age_ns > bound_ns {
            found.stale += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u64 = 100;

    fn judged(reads: &[(u32, u64, u64)]) -> Findings {
        let mut acks = Acks::default();
        let write = |key, sequence, acked_ns| Written {
            key,
            sequence,
            acked_ns,
        };
        acks.add(&[
            write(1, 1, 10),
            write(1, 2, 1000),
            write(2, 1, 1010),
            write(1, 3, 1050),
        ]);
        assert_eq!(acks.acked_ns(1, 3), Some(1050));
        assert_eq!(acks.acked_ns(1, 4), None);
        let samples = reads.iter().map(|&read| read.into()).collect();
        acks.check(
            &[Report {
                samples,
                ..Report::default()
            }],
            BOUND,
        )
    }

    #[test]
    fn a_read_may_lag_as_far_as_the_bound() {
        // Before the second write was acknowledged, just after, and as late as the bound allows.
        let found = judged(&[(1, 1, 999), (1, 1, 1001), (1, 1, 1100)]);
        assert_eq!(
            found,
            Findings {
                checked: 3,
                behind: 2,
                behind_max_ns: 100,
                ..Findings::default()
            }
        );
    }

    #[test]
    fn an_older_read_is_stale() {
        // The first missed write counts, not the newest.
        let found = judged(&[(1, 1, 1101)]);
        assert_eq!(
            found,
            Findings {
                checked: 1,
                stale: 1,
                behind: 1,
                behind_max_ns: 101,
                ..Findings::default()
            }
        );
    }

    #[test]
    fn a_write_may_be_seen_before_it_is_acknowledged() {
        assert_eq!(
            judged(&[(1, 3, 500)]),
            Findings {
                checked: 1,
                ..Findings::default()
            }
        );
    }

    #[test]
    fn what_nobody_wrote_is_found() {
        assert_eq!(
            judged(&[(1, 4, 500), (9, 1, 5)]),
            Findings {
                checked: 2,
                unwritten: 2,
                ..Findings::default()
            }
        );
    }
}
