//! What a run of `bench chaos` found, as JSON (`docs/benchmarks.md` documents it). Plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::options::Options;
use super::schedule::Fault;
use super::watch::Mark;
use crate::fleet::plan::Plan;

/// What was asked for, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// What every pod was told.
    pub(super) plan: Plan,
    /// What else was asked for.
    pub(super) options: Options,
    /// Answers that were checked.
    pub(super) reads: u64,
    /// The same, by how they were asked for.
    pub(super) reads_by: BTreeMap<&'static str, u64>,
    /// Answers that L1 gave, as far as reads tell.
    pub(super) hits: u64,
    /// Answers that were marked stale, which the policy of their reads allows.
    pub(super) stale_by_policy: u64,
    /// Reads that were due and not begun, since too many were under way in their pod.
    pub(super) shed: u64,
    /// Writes and deletions that were acknowledged.
    pub(super) writes: u64,
    /// Faults that were survived.
    pub(super) faults: u64,
    /// The same by kind.
    pub(super) fault_kinds: Vec<FaultKind>,
    /// Pods killed and replaced.
    pub(super) pods_killed: u64,
    /// Keys that the server evicted under pressure.
    pub(super) evicted: u64,
    /// Reads and writes that failed, by why.
    pub(super) errors: BTreeMap<String, u64>,
    /// Answers that were wrong.
    pub(super) violations: u64,
    /// The same by kind.
    pub(super) violations_by: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub(super) violation_examples: Vec<Violation>,
    /// The most memory a pod had.
    pub(super) resident_bytes_max: u64,
    /// The most that L1 of a pod held.
    pub(super) l1_bytes_max: u64,
    /// The most memory the server had set aside, asked before and after the faults.
    pub(super) server_bytes_max: u64,
}

/// All faults of one kind.
#[derive(Debug, Serialize)]
pub(super) struct FaultKind {
    /// Which.
    pub(super) fault: Fault,
    /// How many.
    pub(super) times: u64,
    /// How long they lasted together.
    pub(super) lasted_ms: u64,
    /// The longest time in which a pod had no answer but stale ones.
    pub(super) unavailable_ms_max: u64,
    /// From the end of the fault until no read failed and every pod hit L1: the longest.
    pub(super) recovery_ms_max: Option<u64>,
    /// How many were not over in this sense before the next fault.
    pub(super) unrecovered: u64,
    /// Reads that failed until the next fault.
    pub(super) failed_reads: u64,
}

impl FaultKind {
    /// Puts the faults of each kind together.
    pub(super) fn all(marks: &[Mark]) -> Vec<Self> {
        let of = |fault| {
            let marks: Vec<&Mark> = marks.iter().filter(|mark| mark.fault == fault).collect();
            let ms = |ns: u64| ns / 1_000_000;
            let lasted = |mark: &&Mark| mark.end_ns.saturating_sub(mark.begin_ns);
            let recoveries = marks.iter().filter_map(|mark| mark.recovery_ns());
            Self {
                fault,
                times: marks.len() as u64,
                lasted_ms: ms(marks.iter().map(lasted).sum()),
                unavailable_ms_max: ms(marks
                    .iter()
                    .map(|mark| mark.unavailable_ns)
                    .max()
                    .unwrap_or(0)),
                recovery_ms_max: recoveries.max().map(ms),
                unrecovered: marks
                    .iter()
                    .filter(|mark| mark.recovery_ns().is_none())
                    .count() as u64,
                failed_reads: marks.iter().map(|mark| mark.failed).sum(),
            }
        };
        let all = Fault::ALL.into_iter().map(of);
        all.filter(|kind| kind.times > 0).collect()
    }
}

/// A wrong answer.
#[derive(Debug, Serialize)]
pub(super) struct Violation {
    /// In which way.
    pub(super) what: &'static str,
    /// By how many milliseconds more than is allowed.
    pub(super) late_ms: f64,
    /// Who got it: a place in the fleet; `None`: a writer.
    pub(super) pod: Option<usize>,
    /// For which key.
    pub(super) key: u32,
    /// Which write came back, if one did.
    pub(super) sequence: Option<u64>,
    /// How it was asked for.
    pub(super) how: &'static str,
    /// Whether L1 gave it, as far as reads tell.
    pub(super) hit: bool,
    /// Seconds from the beginning of the run to that of the read.
    pub(super) at_seconds: f64,
    /// The last fault that had begun by then.
    pub(super) after: Option<Fault>,
}
