//! What came of each fault: for how long some pod had no answer, and when all hit L1 again. Counts what was read.
//! Does not know what is right.

use std::collections::BTreeMap;

use super::schedule::Fault;
use crate::bench::errors;
use crate::fleet::message::{How, Probed};

/// A fault that was begun, and the time until the next one.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// What.
    pub(super) fault: Fault,
    /// When it began.
    pub(super) begin_ns: u64,
    /// When it was over; 0: it is not.
    pub(super) end_ns: u64,
    /// The longest time in which a pod had no answer but stale ones, until the next fault.
    pub(super) unavailable_ns: u64,
    /// Reads that failed.
    pub(super) failed: u64,
    /// When the last of them did.
    failed_ns: u64,
    /// When each pod was first seen to hit again, by reads that began after the end.
    hit_ns: Vec<Option<u64>>,
}

impl Mark {
    /// How long after the end of the fault the last read had failed and every pod had hit L1 again; `None`: not before
    /// the next fault.
    pub(super) fn recovery_ns(&self) -> Option<u64> {
        let hits: Option<Vec<u64>> = self.hit_ns.iter().copied().collect();
        let last = hits?.into_iter().max()?.max(self.failed_ns);
        Some(last.saturating_sub(self.end_ns))
    }
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch {
    /// All faults so far, in their order.
    pub(super) marks: Vec<Mark>,
    /// When each pod last had an answer.
    answered_ns: Vec<Option<u64>>,
    /// Answers, by how they were asked for.
    pub(super) reads: BTreeMap<&'static str, u64>,
    /// Answers that L1 gave, as far as that is told.
    pub(super) hits: u64,
    /// Reads that failed, by why.
    pub(super) errors: BTreeMap<String, u64>,
    /// Reads that were due and not begun.
    pub(super) shed: u64,
    /// The most memory a pod had.
    pub(super) resident_bytes: u64,
    /// The most that L1 of a pod held.
    pub(super) l1_bytes: u64,
}

impl Watch {
    /// Of so many pods.
    pub(super) fn new(pods: usize) -> Self {
        Self {
            marks: Vec::new(),
            answered_ns: vec![None; pods],
            reads: BTreeMap::new(),
            hits: 0,
            errors: BTreeMap::new(),
            shed: 0,
            resident_bytes: 0,
            l1_bytes: 0,
        }
    }

    /// A fault begins.
    pub(super) fn begin(&mut self, fault: Fault, now_ns: u64) {
        self.marks.push(Mark {
            fault,
            begin_ns: now_ns,
            end_ns: 0,
            unavailable_ns: 0,
            failed: 0,
            failed_ns: 0,
            hit_ns: vec![None; self.answered_ns.len()],
        });
    }

    /// It is over.
    pub(super) fn end(&mut self, now_ns: u64) {
        if let Some(mark) = self.marks.last_mut() {
            mark.end_ns = now_ns;
        }
    }

    /// All answers.
    pub(super) fn answers(&self) -> u64 {
        self.reads.values().sum()
    }

    /// A pod told what it read; `None`: a writer did.
    pub(super) fn heard(&mut self, slot: Option<usize>, told: &Probed) {
        for seen in &told.seen {
            *self.reads.entry(name(seen.how)).or_default() += 1;
            self.hits += u64::from(seen.hit);
            let Some(slot) = slot else { continue };
            // Whoever did not allow stale values has no answer meanwhile.
            if seen.how == How::Stale {
                continue;
            }
            let before = self.answered_ns[slot].replace(seen.ended_ns);
            let gap = before.map_or(0, |before| seen.ended_ns.saturating_sub(before));
            // It belongs to the fault that began before its middle: the next may begin before it ends.
            if let Some(mark) = at(&mut self.marks, seen.ended_ns - gap / 2) {
                mark.unavailable_ns = mark.unavailable_ns.max(gap);
            }
            let Some(mark) = at(&mut self.marks, seen.ended_ns) else {
                continue;
            };
            let over = mark.end_ns != 0 && seen.started_ns >= mark.end_ns;
            // Not what a slow answer brought: how it is for whoever asks now.
            if over && seen.hit {
                mark.hit_ns[slot].get_or_insert(seen.ended_ns);
            }
        }
        for (ended_ns, error) in &told.failed {
            self.count(error, 1);
            if let Some(mark) = at(&mut self.marks, *ended_ns) {
                mark.failed += 1;
                mark.failed_ns = mark.failed_ns.max(*ended_ns);
            }
        }
        self.shed += told.shed;
        self.resident_bytes = self.resident_bytes.max(told.resident_bytes.unwrap_or(0));
        self.l1_bytes = self.l1_bytes.max(told.l1_bytes);
    }

    /// Counts an error.
    pub(super) fn count(&mut self, error: &str, times: u64) {
        errors::count(&mut self.errors, error, times);
    }
}

/// The fault after which a moment came.
fn at(marks: &mut [Mark], at_ns: u64) -> Option<&mut Mark> {
    let after = marks.partition_point(|mark| mark.begin_ns <= at_ns);
    marks.get_mut(after.checked_sub(1)?)
}

/// As the figures call it.
pub(super) fn name(how: How) -> &'static str {
    match how {
        How::Default => "default",
        How::Many => "many",
        How::Validated => "validated",
        How::Fresh => "serve_stale_fresh",
        How::Stale => "serve_stale_marked",
        How::Own => "own_write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::message::Seen;

    fn told(reads: &[(u64, bool)], failed: &[u64]) -> Probed {
        let seen = |&(ended_ns, hit): &(u64, bool)| Seen {
            key: 0,
            sequence: Some(1),
            started_ns: ended_ns - 1,
            ended_ns,
            how: How::Default,
            hit,
        };
        Probed {
            seen: reads.iter().map(seen).collect(),
            failed: failed
                .iter()
                .map(|&ended_ns| (ended_ns, format!("port {ended_ns}")))
                .collect(),
            ..Probed::default()
        }
    }

    #[test]
    fn a_fault_is_over_when_every_pod_hits_and_no_read_fails() {
        let mut watch = Watch::new(2);
        watch.heard(Some(0), &told(&[(50, true)], &[]));
        watch.begin(Fault::Partition, 100);
        watch.end(200);
        watch.heard(Some(0), &told(&[(150, true), (260, true)], &[240, 300]));
        assert_eq!(watch.marks[0].recovery_ns(), None);
        watch.heard(Some(1), &told(&[(210, false), (220, true)], &[]));
        assert_eq!(watch.marks[0].recovery_ns(), Some(100));
        assert_eq!(watch.marks[0].unavailable_ns, 110);
        assert_eq!(watch.marks[0].failed, 2);
        assert_eq!(watch.errors["port #"], 2);
        assert_eq!((watch.answers(), watch.hits), (5, 4));
    }

    #[test]
    fn what_is_told_late_counts_for_the_fault_it_belongs_to() {
        let mut watch = Watch::new(1);
        watch.begin(Fault::Flush, 100);
        watch.end(101);
        watch.begin(Fault::PodStop, 500);
        watch.heard(Some(0), &told(&[(300, true)], &[400]));
        assert_eq!(watch.marks[0].failed, 1);
        assert_eq!(watch.marks[0].recovery_ns(), Some(299));
        assert_eq!(watch.marks[1].recovery_ns(), None);
    }
}
